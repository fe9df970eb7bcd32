"""Copying an image, or all images of an index, from one place to another."""

from __future__ import annotations

import concurrent.futures
from copy import copy as duplicate

from pyengine.errors import ArchiveError, ConfigError
from pyengine.images import choosing, compression, manifests, reporting
from pyengine.images.manifests import Descriptor, Manifest
from pyengine.images.transports.base import COMPRESSED, UNCOMPRESSED
from pyengine.images.trust import policy as trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyengine.images.transports.base import Destination, Source
    from pyengine.images.trust.policy import Policy

    Report = Callable[[str], None]

# By this a reader knows a variant without asking for its manifest, as containers/image does.
_IS_ZSTD = "io.github.containers.compression.zstd"
FORMATS = {"oci": manifests.OCI_MANIFEST, "v2s2": manifests.DOCKER_MANIFEST}
_INDEXES = {"oci": manifests.OCI_INDEX, "v2s2": manifests.DOCKER_LIST}


class CopyOptions:
    """How to copy.

    Attributes:
        multi: of an index, ``system`` for the one image of a platform, ``all`` or ``index-only``.
        platform: which, where one is chosen; None for this machine's.
        form: ``oci`` or ``v2s2`` makes the manifest one; None keeps it where it is possible.
        compression: gzip, zstd or none for every layer; None for what the destination wants.
        level: of the compression; None for the usual one.
        force: pack layers anew that are packed in another way than ``compression``.
        keep_uncompressed: leave uncompressed layers so where the destination would pack them.
        preserve_digests: fail rather than change a manifest.
        remove_signatures: do not copy them.
        policy: which images may be copied; None for the one of the machine.
        sign: makes signatures of the manifest with a digest; None does not sign.
        added: of an index, compressions in which each image is there too.
    """

    __slots__ = (
        "added", "compression", "force", "form", "keep_uncompressed", "level", "multi", "platform",
        "policy", "preserve_digests", "remove_signatures", "sign",
    )  # fmt: skip

    def __init__(
        self,
        *,
        multi: str = "system",
        platform: str | None = None,
        form: str | None = None,
        compression: str | None = None,
        level: int | None = None,
        force: bool = True,
        preserve_digests: bool = False,
        remove_signatures: bool = False,
        policy: Policy | None = None,
        sign: Callable[[str], list[bytes]] | None = None,
    ) -> None:
        self.multi = multi
        self.platform = platform
        self.form = form
        self.compression = compression
        self.level = level
        self.force = force
        self.keep_uncompressed = False
        self.preserve_digests = preserve_digests
        self.remove_signatures = remove_signatures
        self.policy = policy
        self.sign = sign
        self.added: tuple[str, ...] = ()


def copy(source: Source, destination: Destination, options: CopyOptions, report: Report) -> bytes:
    """Copy and commit; the manifest or index as it was written.

    Raises:
        ConfigError: what is asked for does not fit together.
        ArchiveError: what came is broken.
        RegistryError: or StorageError, by the transports.
    """
    if options.level is not None:
        compression.check_level(options.compression or "gzip", options.level)
    data, media_type = source.manifest()
    where = f"{source.label}: manifest {manifests.digest_of(data)}"
    report("Getting image source signatures")
    if manifests.is_index(data, media_type, where) and options.multi != "system":
        written = _copy_index(source, destination, options, report, data)
    else:
        manifest, _ = choosing.choose(source, options.platform)
        written = _Copy(source, destination, options, report).run(manifest, instance=False)
    destination.commit()
    return written


def _copy_index(
    source: Source, destination: Destination, options: CopyOptions, report: Report, data: bytes
) -> bytes:
    """Every image of an index, then the index, rewritten where an image's manifest was."""
    where = f"{source.label}: index {manifests.digest_of(data)}"
    if not destination.takes_index:
        raise ConfigError(f"copy {source.label} to {destination.label}: it holds one image only")
    entries = manifests.index_entries(data, where)
    fields = manifests.parse(data, where)
    if options.multi == "all":
        more = []
        for number, entry in enumerate(entries, 1):
            report(f"Copying image {entry.digest} ({number}/{len(entries)})")
            image, media_type = choosing.instance(source, entry.digest)
            manifest = Manifest(image, media_type or entry.media_type, f"{where}: {entry.digest}")
            copied = _Copy(source, destination, options, report).run(manifest, instance=True)
            listed = fields["manifests"][number - 1]
            if copied != image:
                listed.update(_described(copied, where))
            more += _added(source, destination, options, report, manifest, listed)
        known = {one["digest"] for one in fields["manifests"]}
        fields["manifests"] += [one for one in more if one["digest"] not in known]
    form = options.form or _only_form(destination) or ("oci" if options.added else None)
    if form is not None:
        fields["mediaType"] = _INDEXES[form]
    signatures = _signatures(source, options, data)
    if fields != manifests.parse(data, where):
        if options.preserve_digests:
            raise ConfigError(f"copy {source.label}: its index would change (--preserve-digests)")
        if signatures:
            raise ConfigError(
                f"copy {source.label}: its index would change and its signatures be wrong; see "
                "--remove-signatures"
            )
        data = manifests.encode_in_order(fields)
    report("Writing manifest list to image destination")
    destination.put_manifest(
        data, str(fields.get("mediaType") or manifests.OCI_INDEX), instance=False
    )
    _put_signatures(destination, options, data, signatures)
    return data


def _described(data: bytes, where: str) -> dict[str, Any]:
    """What an index says of a manifest that was written."""
    return {
        "digest": manifests.digest_of(data), "size": len(data),
        "mediaType": manifests.parse(data, where).get("mediaType") or manifests.OCI_MANIFEST,
    }  # fmt: skip


def _added(
    source: Source,
    destination: Destination,
    options: CopyOptions,
    report: Report,
    manifest: Manifest,
    listed: dict[str, Any],
) -> list[dict[str, Any]]:
    """The image in further compressions, as an index lists them: last, for those who know them."""
    found = []
    for kind in options.added:
        variant = duplicate(options)
        variant.compression, variant.force, variant.level = kind, True, None
        copied = _Copy(source, destination, variant, report).run(manifest, instance=True)
        annotations = {**(listed.get("annotations") or {})}
        if kind == "zstd":
            annotations[_IS_ZSTD] = "true"
        entry = {**listed, **_described(copied, source.label)}
        found.append({**entry, "annotations": annotations} if annotations else entry)
    return found


class _Layer:
    """What becomes of one layer; ``pack`` is None where its bytes stay as they are."""

    __slots__ = ("blob", "entry", "pack")

    def __init__(self, blob: Descriptor, entry: dict[str, Any], pack: str | None) -> None:
        self.blob, self.entry, self.pack = blob, entry, pack


class _Copy:
    """One image on its way."""

    def __init__(
        self, source: Source, destination: Destination, options: CopyOptions, report: Report
    ) -> None:
        self._source, self._destination = source, destination
        self._options, self._report = options, report
        self._signatures: list[bytes] = []

    def run(self, manifest: Manifest, *, instance: bool) -> bytes:
        """Copy the blobs, then the manifest; its bytes as they were written."""
        policy = self._options.policy or trust.load()
        policy.check(self._source, manifest.data)
        self._signatures = _signatures(self._source, self._options, manifest.data)
        fields = manifests.parse(manifest.data, self._source.label)
        form = self._form(manifest)
        layers = [
            self._plan(blob, entry, form)
            for blob, entry in zip(manifest.layers, fields["layers"], strict=True)
        ]
        if self._destination.layers == UNCOMPRESSED:
            manifest.check_is_image(f"copy {self._source.label} to {self._destination.label}")
            config = manifests.check_config(
                self._source.small_blob(manifest.config), self._source.label
            )
            diff_ids = config["rootfs"].get("diff_ids") or []
        else:
            diff_ids = []
        self._copy_layers(layers, diff_ids)
        self._report(f"Copying config {manifest.config.digest}")
        if not self._destination.has_blob(manifest.config, self._source):
            self._send(manifest.config)
        data = self._rewritten(manifest, fields, form)
        self._report("Writing manifest to image destination")
        media_type = str(manifests.parse(data, "manifest").get("mediaType") or manifest.media_type)
        self._destination.put_manifest(data, media_type, instance=instance)
        _put_signatures(self._destination, self._options, data, self._signatures)
        return data

    def _form(self, manifest: Manifest) -> str | None:
        """``oci`` or ``v2s2`` where the manifest must become one; None where it may stay."""
        wanted = self._options.form or _only_form(self._destination)
        if wanted is None and self._options.compression == "zstd":
            wanted = "oci"
        if wanted is None or FORMATS[wanted] == manifest.media_type:
            return None
        return wanted

    def _plan(self, blob: Descriptor, entry: dict[str, Any], form: str | None) -> _Layer:
        now = compression.of_media_type(blob.media_type)
        if blob.is_foreign:
            if self._destination.layers != UNCOMPRESSED:
                entry["mediaType"] = compression.foreign_type(blob.media_type, form)
                return _Layer(blob, entry, None)
            entry.pop("urls", None)
            now = now or "gzip"
        if now is None:
            return _Layer(blob, entry, None)
        wanted = now
        if self._destination.layers == UNCOMPRESSED:
            wanted = "none"
        elif self._options.compression is not None and (self._options.force or now == "none"):
            wanted = self._options.compression
        elif (
            self._destination.layers == COMPRESSED
            and now == "none"
            and not self._options.keep_uncompressed
        ):
            wanted = "gzip"
        if self._options.preserve_digests and self._destination.layers != UNCOMPRESSED:
            wanted = now
        kind = form or ("v2s2" if "docker" in blob.media_type else "oci")
        entry["mediaType"] = compression.media_type(kind, wanted)
        always = self._destination.layers == UNCOMPRESSED
        if wanted != now or always:
            _drop_chunk_tables(entry)
            return _Layer(blob, entry, wanted)
        return _Layer(blob, entry, None)

    def _copy_layers(self, layers: list[_Layer], diff_ids: list[str]) -> None:
        """Several at once where the destination takes them; the first failure ends all."""
        first = {layer.blob.digest: layer for layer in reversed(layers)}
        expected = {
            layer.blob.digest: diff_id for layer, diff_id in zip(layers, diff_ids, strict=False)
        }
        pool = concurrent.futures.ThreadPoolExecutor(self._destination.parallel)
        try:
            sent = {
                layer.blob.digest: pool.submit(self._copy_layer, layer, expected)
                for layer in layers
                if first[layer.blob.digest] is layer
            }
            for future in concurrent.futures.as_completed(sent.values()):
                future.result()
        except BaseException as error:
            pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
            raise
        pool.shutdown()
        for layer in layers:
            layer.entry["digest"], layer.entry["size"] = sent[layer.blob.digest].result()

    def _copy_layer(self, layer: _Layer, expected: dict[str, str]) -> tuple[str, int]:
        """Digest and size as written."""
        blob = layer.blob
        if blob.urls and layer.pack is None and self._destination.takes_foreign:
            self._report(f"Copying blob {blob.digest[:19]} skipped: it comes from {blob.urls[0]}")
            return blob.digest, blob.size
        if layer.pack is None:
            if self._destination.has_blob(blob, self._source):
                self._report(f"Copying blob {blob.digest} skipped: already exists")
            else:
                self._report(f"Copying blob {blob.digest}")
                self._send(blob)
                reporting.finished(self._report, blob.digest)
            return blob.digest, blob.size
        self._report(f"Copying blob {blob.digest}")
        label = f"{self._source.label}: blob {blob.digest}"
        chunks = compression.verified(self._counted(blob), blob, self._source.label)
        tar = compression.uncompressed(chunks, label)
        packed = compression.compressed(tar, layer.pack, self._options.level)
        digest, size = self._destination.put_stream(packed)
        if digest != expected.get(blob.digest, digest):
            raise ArchiveError(
                f"{label}: its uncompressed digest is {digest}, the image's config says "
                f"{expected[blob.digest]}"
            )
        reporting.finished(self._report, blob.digest)
        return digest, size

    def _send(self, blob: Descriptor) -> None:
        chunks = compression.verified(self._counted(blob), blob, self._source.label)
        self._destination.put_blob(blob, chunks)

    def _counted(self, blob: Descriptor) -> Iterator[bytes]:
        return reporting.counted(self._report, blob.digest, blob.size, self._source.blob(blob))

    def _rewritten(self, manifest: Manifest, fields: dict[str, Any], form: str | None) -> bytes:
        """The manifest's own bytes, unless something in it is different now."""
        if form is not None:
            fields["mediaType"] = FORMATS[form]
            config = fields["config"]
            docker = config["mediaType"] in (manifests.DOCKER_CONFIG, manifests.OCI_CONFIG)
            if docker:
                config["mediaType"] = (
                    manifests.OCI_CONFIG if form == "oci" else manifests.DOCKER_CONFIG
                )
            elif form == "v2s2":
                raise ConfigError(
                    f"copy {self._source.label}: its config is of type {config['mediaType']}, "
                    "which Docker's format has not"
                )
            if form == "v2s2":
                fields.pop("annotations", None)
        if fields == manifests.parse(manifest.data, self._source.label):
            return manifest.data
        what = f"copy {self._source.label} to {self._destination.label}: its manifest would change"
        if self._options.preserve_digests:
            raise ConfigError(f"{what} (--preserve-digests)")
        if self._signatures:
            raise ConfigError(f"{what} and its signatures be wrong; see --remove-signatures")
        return manifests.encode_in_order(fields)


def _drop_chunk_tables(entry: dict[str, Any]) -> None:
    """Annotations that say where in a zstd:chunked layer which file is."""
    annotations = entry.get("annotations") or {}
    kept = {key: value for key, value in annotations.items() if "zstd-chunked" not in key}
    if kept != annotations:
        entry["annotations"] = kept
    if not kept:
        entry.pop("annotations", None)


def _only_form(destination: Destination) -> str | None:
    """The format that a destination insists on."""
    for form, media_type in FORMATS.items():
        if media_type in destination.manifest_types:
            return form
    return None


def _signatures(source: Source, options: CopyOptions, data: bytes) -> list[bytes]:
    """Those that go with a manifest."""
    return [] if options.remove_signatures else source.signatures(manifests.digest_of(data))


def _put_signatures(
    destination: Destination, options: CopyOptions, data: bytes, signatures: list[bytes]
) -> None:
    """Those of the manifest that was written, and a new one."""
    digest = manifests.digest_of(data)
    made = options.sign(digest) if options.sign is not None else []
    destination.put_signatures(digest, [*signatures, *made])
