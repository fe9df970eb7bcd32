"""Small images for tests, made from busybox without any registry: the same input, the same bytes.

``Layer`` collects members of a tar, ``image`` puts layers and a config together, and
``oci_archive`` and ``docker_archive`` are the files that ``load`` reads.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.machine import BUSYBOX

APPLETS = ("cat", "echo", "env", "false", "id", "ls", "sh", "sleep", "stat", "true", "wc")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)

ArchiveWriter = Callable[[Path, "dict[str, Image]"], Path]


class Layer:
    """A tar, member by member; broken and hostile ones too."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, data: bytes = b"", **attributes: Any) -> Layer:
        """A member; ``attributes`` are those of ``tarfile.TarInfo``."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        for key, value in attributes.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def directory(self, name: str, mode: int = 0o755, **attributes: Any) -> Layer:
        return self.add(name, type=tarfile.DIRTYPE, mode=mode, **attributes)

    def symlink(self, name: str, target: str) -> Layer:
        return self.add(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)

    def hardlink(self, name: str, target: str) -> Layer:
        return self.add(name, type=tarfile.LNKTYPE, linkname=target)

    def tar(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def busybox_layer() -> bytes:
    """A root file system in which a shell and a few commands run."""
    layer = Layer()
    for name in ("bin", "dev", "etc", "proc", "root", "sys"):
        layer.directory(name)
    layer.directory("tmp", 0o1777)
    layer.add("bin/busybox", Path(BUSYBOX).read_bytes(), mode=0o755)
    for applet in APPLETS:
        layer.symlink(f"bin/{applet}", "busybox")
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    layer.add("etc/group", b"root:x:0:\nuser:x:1000:\n")
    return layer.tar()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


class Image:
    """Uncompressed layers and a config; ``blobs`` is what a registry would serve."""

    def __init__(
        self,
        layers: list[bytes],
        compression: str = "gzip",
        history: list[dict[str, Any]] | None = None,
        created: str = "2024-05-06T07:08:09.123456789Z",
        **config: Any,
    ) -> None:
        self.layers = layers
        self.packed = [_compress(layer, compression) for layer in layers]
        steps: dict[str, Any] = {"history": history} if history else {}
        self.config = encode(
            {
                **steps,
                "architecture": ARCHITECTURE,
                "os": "linux",
                "created": created,
                "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **config},
                "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            }
        )
        layer_type = "application/vnd.oci.image.layer.v1.tar"
        suffix = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}[compression]
        self.manifest = encode(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": digest(self.config),
                    "size": len(self.config),
                },
                "layers": [
                    {"mediaType": layer_type + suffix, "digest": digest(data), "size": len(data)}
                    for data in self.packed
                ],
            }
        )

    @property
    def id(self) -> str:
        return digest(self.config).removeprefix("sha256:")

    @property
    def blobs(self) -> dict[str, bytes]:
        return {digest(data): data for data in (*self.packed, self.config, self.manifest)}


def _compress(data: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(data, 1, mtime=0)
    if how == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(1).compress(data)
    return data


def busybox_image(**config: Any) -> Image:
    """What most tests want."""
    return Image([busybox_layer()], **config)


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    layer = Layer()
    for name, data in files.items():
        layer.add(name, data)
    path.write_bytes(layer.tar())
    return path


def oci_files(images: dict[str, Image]) -> dict[str, bytes]:
    """The members of an oci-archive of images by name; a name may be empty."""
    entries = []
    files = {"oci-layout": encode({"imageLayoutVersion": "1.0.0"})}
    for name, image in images.items():
        entry: dict[str, Any] = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(image.manifest),
            "size": len(image.manifest),
        }
        if name:
            entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        entries.append(entry)
        files |= {f"blobs/{key.replace(':', '/')}": data for key, data in image.blobs.items()}
    return {"index.json": encode({"schemaVersion": 2, "manifests": entries}), **files}


def oci_archive(path: Path, images: dict[str, Image]) -> Path:
    return write_tar(path, oci_files(images))


def docker_files(images: dict[str, Image]) -> dict[str, bytes]:
    """The members of a docker-archive of images by name."""
    entries = []
    files: dict[str, bytes] = {}
    for name, image in images.items():
        layers = [f"{digest(data)[7:]}/layer.tar" for data in image.layers]
        files |= {f"{image.id}.json": image.config, **dict(zip(layers, image.layers, strict=True))}
        entries.append(
            {"Config": f"{image.id}.json", "RepoTags": [name] if name else None,
             "Layers": layers}
        )  # fmt: skip
    return {**files, "manifest.json": encode(entries)}


def docker_archive(path: Path, images: dict[str, Image]) -> Path:
    return write_tar(path, docker_files(images))
