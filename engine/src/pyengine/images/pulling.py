"""Pulling images into the store, from registries and from every other transport."""

from __future__ import annotations

import time

from pyengine.errors import ConfigError, NotFoundError, RegistryError
from pyengine.images import choosing, manifests, platforms, references
from pyengine.images.adding import NewImage, add_image, signatures_of
from pyengine.images.transports import names, opening, schema1
from pyengine.images.trust import policy as trust
from pyengine.registry.settings import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyengine.images.references import Reference
    from pyengine.images.store import Images
    from pyengine.images.transports.base import Source
    from pyengine.registry.registries_conf import Registries

    Report = Callable[[str], None]

POLICIES = ("always", "missing", "never", "newer")
_FIRST_DELAY_S = 1.0


class PullOptions:
    """How to pull.

    Attributes:
        platform: ``os/architecture[/variant]``; None for this machine's.
        access: to registries.
        policy: one of ``POLICIES``: whether an image that is there is pulled again.
        policy_file: the signature policy; None for the one of the machine.
        all_tags: every tag of the repository.
        retry: how often what may succeed later is tried again.
        retry_delay_s: before that; None doubles it from one second.
    """

    __slots__ = ("access", "all_tags", "platform", "policy", "policy_file", "retry",
                 "retry_delay_s")  # fmt: skip

    def __init__(
        self,
        *,
        platform: str | None = None,
        access: Access | None = None,
        policy: str = "always",
        policy_file: str | None = None,
        all_tags: bool = False,
        retry: int = 0,
        retry_delay_s: float | None = None,
    ) -> None:
        self.platform = platform
        self.access = access or Access()
        self.policy = policy
        self.policy_file = policy_file
        self.all_tags = all_tags
        self.retry = retry
        self.retry_delay_s = retry_delay_s


def pull(images: Images, text: str, options: PullOptions, report: Report) -> str:
    """Pull an image and give it its full name; layers that are here already are not fetched.

    Args:
        images: the store.
        text: a name, or a transport and what it takes.
        options: how.
        report: takes podman's progress lines.

    Returns:
        The image's id; with ``all_tags`` a line for each.

    Raises:
        ConfigError: ``text`` is no name.
        NotFoundError: the policy is never and it is not there.
        RegistryError: the registry does not answer, or refuses.
        ArchiveError: what came is broken.
        StorageError: it cannot be written.
    """
    if names.is_place(text) and not text.startswith("docker://"):
        return _pull_place(images, text, options, report)
    if options.policy in ("missing", "never"):
        try:
            return images.resolve(text.removeprefix("docker://")).id
        except NotFoundError:
            if options.policy == "never":
                raise
    pulled = retrying(options, lambda: _pull_name(images, text, options, report), report)
    for image_id in pulled.splitlines():
        images.events.tell("image", "pull", id_=image_id, name=text)
    return pulled


def retrying(options: PullOptions, act: Callable[[], str], report: Report) -> str:
    """Repeat what failed for a reason that may pass."""
    for attempt in range(options.retry + 1):
        try:
            return act()
        except RegistryError as error:
            if not error.transient or attempt == options.retry:
                raise
            delay_s = options.retry_delay_s
            delay_s = _FIRST_DELAY_S * 2**attempt if delay_s is None else delay_s
            report(f"Failed, retrying in {delay_s:g}s ... ({attempt + 1}/{options.retry}): {error}")
            time.sleep(delay_s)
    raise AssertionError("a retry is at least tried once")


def _pull_place(images: Images, text: str, options: PullOptions, report: Report) -> str:
    place = names.parse(text)
    if options.all_tags:
        raise ConfigError(f"pull {text}: --all-tags is for registries")
    source = opening.open_source(place, opening.Settings(images=images))
    try:
        source = schema1.opened(source, f"{images.storage.root}/staging")
        listed = getattr(source, "names", [])[:1]
        full_names = [references.local_name(name).name for name in listed]
        image_id = _add(images, source, full_names, options, report)
    finally:
        source.close()
    images.events.tell("image", "pull", id_=image_id, name=text)
    return image_id


def _pull_name(images: Images, text: str, options: PullOptions, report: Report) -> str:
    from pyengine.images.transports import remote
    from pyengine.registry import registries_conf

    registries = registries_conf.load()
    problems: list[RegistryError] = []
    for reference in remote.candidates(text, registries):
        try:
            if options.all_tags:
                pulled = "\n".join(_pull_tags(images, reference, options, report, registries))
            else:
                pulled = _pull_reference(images, reference, options, report, registries)
            if registries.chosen is not None:
                registries_conf.record_alias(*registries.chosen)
            return pulled
        except RegistryError as error:
            problems.append(error)
    raise RegistryError(
        "; ".join(map(str, problems)), transient=any(one.transient for one in problems)
    )


def _pull_tags(
    images: Images,
    reference: Reference,
    options: PullOptions,
    report: Report,
    registries: Registries,
) -> Iterator[str]:
    from pyengine.images.transports import remote

    if reference.tag or reference.digest:
        raise ConfigError(f"pull {reference}: tag can't be used with --all-tags/-a")
    endpoint = registries.endpoints(reference.repository, by_digest=False)[-1]
    registry = remote.connect(endpoint, options.access)
    for tag in registry.tags(endpoint.path):
        tagged = references.Reference(reference.registry, reference.path, tag)
        yield _pull_reference(images, tagged, options, report, registries)


def _pull_reference(
    images: Images,
    reference: Reference,
    options: PullOptions,
    report: Report,
    registries: Registries,
) -> str:
    from pyengine.images.transports import remote

    report(f"Trying to pull {reference}...")
    found = remote.RemoteSource(reference, options.access, registries)
    source = schema1.opened(found, f"{images.storage.root}/staging")
    named = [] if reference.digest else [reference.name]
    try:
        return _add(images, source, named, options, report, reference.repository)
    finally:
        source.close()


def _add(
    images: Images,
    source: Source,
    full_names: list[str],
    options: PullOptions,
    report: Report,
    repository: str = "",
) -> str:
    manifest, digests = choosing.choose(source, options.platform)
    image_id = manifest.config.digest.removeprefix("sha256:")
    if options.policy == "newer" and _is_named(images, image_id, full_names):
        return image_id
    report("Getting image source signatures")
    trust.load(options.policy_file).check(source, manifest.data)
    config = source.small_blob(manifest.config)
    new = NewImage(
        manifest,
        config,
        full_names,
        repository=repository,
        repo_digests=tuple(digests) if repository else (),
        resumable=bool(repository),
        signatures=signatures_of(source, manifest),
    )
    added = add_image(images, new, source.blob_from, report)
    platforms.warn_unless_fits(manifests.parse(config, "config"), options.platform)
    return added


def _is_named(images: Images, image_id: str, full_names: list[str]) -> bool:
    """Whether these names stand for this image already."""
    try:
        return all(images.resolve(name).id == image_id for name in full_names)
    except NotFoundError:
        return False
