"""skopeo's commands, so that ``alias skopeo='pyengine skopeo'`` works: no root, no store."""

from __future__ import annotations

import hashlib
import json
import sys

import click

from pyengine import log
from pyengine.cli import access, login, signing, skopeo_files, skopeo_options
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.cli.push import write_digest
from pyengine.cli.skopeo_options import Globals
from pyengine.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyengine.engine import Engine
    from pyengine.images.transports.opening import Settings


class Context:
    """What a command is given."""

    __slots__ = ("engine", "globals")

    def __init__(self, engine: Engine, given: Globals) -> None:
        self.engine, self.globals = engine, given

    def settings(self, values: dict[str, Any], side: str = "") -> Settings:
        """Take the options of one side, where they were declared, out of ``values``."""
        from pyengine.images.transports.opening import Settings

        prefix = f"{side}_" if side else ""
        return Settings(
            access=skopeo_options.access(values, self.globals, side),
            stores=self.engine.images_at,
            daemon_host=values.pop(f"{prefix}daemon_host", None),
            shared_blobs=values.pop(f"{prefix}shared_blob_dir", None),
            scratch=self.globals.scratch,
        )


@click.group()
@click.option("--command-timeout", metavar="DURATION", help="End a command after this long.")
@click.option("--debug", is_flag=True, help="Print what is done.")
@click.option("--insecure-policy", is_flag=True, help="Accept every image, signed or not.")
@click.option("--override-arch", metavar="ARCH", help="Choose images of this architecture.")
@click.option("--override-os", metavar="OS", help="Choose images of this operating system.")
@click.option("--override-variant", metavar="VARIANT", help="Choose images of this variant.")
@click.option("--policy", "policy_file", metavar="FILE", help="The signature policy.")
@click.option("--registries.d", "registries_d", metavar="DIR", help="Places of signatures.")
@click.option("--require-signed", is_flag=True, help="Accept no image without a signature.")
@click.option("--tmpdir", metavar="DIR", help="Where large temporary files go.")
@click.option("--user-agent-prefix", metavar="TEXT", help="Begin the user agent's name with this.")
@click.version_option(VERSION, "-v", "--version", message="skopeo version %(version)s (pyengine)")
@click.pass_context
def skopeo(
    ctx: click.Context,
    /,
    command_timeout: str | None,
    debug: bool,
    insecure_policy: bool,
    override_arch: str | None,
    override_os: str | None,
    override_variant: str | None,
    policy_file: str | None,
    registries_d: str | None,
    require_signed: bool,
    tmpdir: str | None,
    user_agent_prefix: str | None,
) -> None:
    """Copy and inspect images between registries, archives and directories."""
    from pyengine.images import manifests

    platform = None
    if override_arch or override_os or override_variant:
        platform = manifests.platform_of(override_os, override_arch, override_variant)
    if debug:
        log.set_level("debug")
    if command_timeout is not None:
        _limit(command_timeout)
    if insecure_policy and require_signed:
        raise click.UsageError("--insecure-policy and --require-signed contradict each other")
    given = Globals(platform, policy_file, insecure_policy, registries_d, tmpdir)
    given.require_signed, given.agent = require_signed, user_agent_prefix
    ctx.obj = Context(ctx.obj, given)


def _limit(duration: str) -> None:
    """End the command, as if it was interrupted, when its time is up."""
    import signal

    def expire(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt(f"skopeo: it is not done after {duration} (--command-timeout)")

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, access.seconds(duration) or 0)


def report_to_stdout(quiet: bool) -> Any:
    """Progress, which skopeo prints on standard output."""

    def report(line: str) -> None:
        if not quiet:
            click.echo(line)

    return report


@skopeo.command(cls=GoFlagsCommand)
@skopeo_options.access_options("src")
@skopeo_options.access_options("dest")
@skopeo_options.place_options("src")
@skopeo_options.place_options("dest")
@skopeo_options.retry_option
@skopeo_options.layer_options
@click.option("--additional-tag", "additional_tags", multiple=True, metavar="NAME",
              help="A further name in a docker-archive.")  # fmt: skip
@click.option("-a", "--all", "everything", is_flag=True, help="All images of a list.")
@click.option("--authfile", metavar="FILE", help="auth.json for both sides.")
@click.option("--digestfile", metavar="FILE", help="Write the manifest's digest to a file.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option("-f", "--format", "form", type=click.Choice(["oci", "v2s2"]),
              help="Make the manifest one of this format.")  # fmt: skip
@click.option("--multi-arch", type=click.Choice(["system", "all", "index-only"]),
              help="Which images of a list.")  # fmt: skip
@click.option("--preserve-digests", is_flag=True, help="Fail where a manifest would change.")
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@click.option("--remove-signatures", is_flag=True, help="Do not copy signatures.")
@signing.options
@click.option("--sign-identity", metavar="NAME", help="Sign this name, not the destination's.")
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DESTINATION")
@click.pass_obj
def copy(
    context: Context,
    /,
    source: str,
    destination: str,
    sign_identity: str | None,
    additional_tags: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    digestfile: str | None,
    form: str | None,
    multi_arch: str | None,
    preserve_digests: bool,
    quiet: bool,
    remove_signatures: bool,
    **values: Any,
) -> None:
    """Copy an image from SOURCE to DESTINATION."""
    from pyengine.images import manifests
    from pyengine.images.copying import CopyOptions
    from pyengine.images.pulling import retrying
    from pyengine.images.transports import names
    from pyengine.images.trust.signing import signer

    if everything and multi_arch:
        raise click.UsageError("Cannot use --all and --multi-arch flags at the same time")
    layers = skopeo_options.Layers(values)
    here, there = names.parse(source), names.parse(destination)
    options = CopyOptions(
        multi=multi_arch or ("all" if everything else "system"),
        platform=context.globals.platform,
        form=form,
        compression=layers.compression,
        level=layers.level,
        force=layers.force,
        preserve_digests=preserve_digests,
        remove_signatures=remove_signatures,
        policy=context.globals.policy(),
        sign=signer(there, signing.make(values, sign_identity)),
    )
    reading = context.settings(values, "src")
    writing = context.settings(values, "dest")
    writing.additional_tags = [name for one in additional_tags for name in one.split(",")]
    writing.precompute = layers.precompute
    report = report_to_stdout(quiet)

    def once() -> str:
        from pyengine.images import syncing

        copied = syncing.copy_place(
            here, there, reading, writing, options, report,
            lambda target: layers.change(target, there.transport),
        )  # fmt: skip
        return manifests.digest_of(copied)

    if dry_run:
        click.echo(f"Would have copied image {here} to {there}")
        return
    digest = retrying(skopeo_options.retries(values), once, report)
    if digestfile:
        write_digest(digestfile, digest)


@skopeo.command(cls=GoFlagsCommand)
@skopeo_options.access_options()
@skopeo_options.place_options()
@skopeo_options.retry_option
@click.option("--config", "show_config", is_flag=True, help="Print the image's config.")
@click.option("-f", "--format", "form", default="", metavar="TEMPLATE", help="A Go template.")
@click.option("--manifest-digest", "algorithm", type=click.Choice(["sha256", "sha512"]),
              default="sha256", help="Print the manifest's digest of this kind.")  # fmt: skip
@click.option("-n", "--no-tags", is_flag=True, help="Do not list the repository's tags.")
@click.option("--raw", is_flag=True, help="Print the manifest, or with --config the config, as is.")
@click.argument("image")
@click.pass_obj
def inspect(
    context: Context,
    /,
    image: str,
    show_config: bool,
    form: str,
    algorithm: str,
    no_tags: bool,
    raw: bool,
    **values: Any,
) -> None:
    """Print what is known of IMAGE without fetching its layers."""
    from pyengine.cli import fields
    from pyengine.images import choosing
    from pyengine.images.pulling import retrying
    from pyengine.images.transports import names, opening, schema1

    place = names.parse(image)
    settings, retries = context.settings(values), skopeo_options.retries(values)

    def once() -> str:
        from pyengine.images import remote_inspect

        source = opening.open_source(place, settings)
        try:
            if raw and not show_config:
                return source.manifest()[0].decode()
            source = schema1.opened(source, settings.scratch_directory, layers=False)
            manifest, digests = choosing.choose(source, context.globals.platform)
            config = source.small_blob(manifest.config)
            if raw:
                return config.decode()
            if show_config:
                return json.dumps(json.loads(config), indent=4, ensure_ascii=False)
            found = remote_inspect.describe(source, manifest, digests, config, tags=not no_tags)
            if algorithm != "sha256":
                digest = hashlib.new(algorithm, source.manifest()[0]).hexdigest()
                found["Digest"] = f"{algorithm}:{digest}"
            if form:
                return fields.render(form, found)
            return fields_json(found)
        finally:
            source.close()

    text = retrying(retries, once, lambda line: click.echo(line, err=True))
    sys.stdout.write(text if raw else f"{text}\n")


def fields_json(value: Any) -> str:
    """As skopeo prints it: Go's encoder escapes what HTML would read as markup."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    for one in "<>&":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return text


@skopeo.command(cls=GoFlagsCommand)
@skopeo_options.access_options()
@skopeo_options.place_options()
@skopeo_options.retry_option
@click.argument("image")
@click.pass_obj
def delete(context: Context, /, image: str, **values: Any) -> None:
    """Remove IMAGE from its registry, store or OCI layout."""
    from pyengine.images import syncing
    from pyengine.images.pulling import retrying
    from pyengine.images.transports import names

    place, settings = names.parse(image), context.settings(values)
    retries = skopeo_options.retries(values)
    retrying(retries, lambda: syncing.delete(place, settings), lambda line: click.echo(line))


@skopeo.command("list-tags", cls=GoFlagsCommand)
@skopeo_options.access_options()
@skopeo_options.retry_option
@click.argument("repository")
@click.pass_obj
def list_tags(context: Context, /, repository: str, **values: Any) -> None:
    """List the tags of REPOSITORY, or the names in a docker-archive."""
    from pyengine.images import syncing
    from pyengine.images.pulling import retrying
    from pyengine.images.transports import names

    place, access = names.parse(repository), skopeo_options.access(values, context.globals)
    retries = skopeo_options.retries(values)

    def once() -> str:
        name, tags = syncing.list_tags(place, access)
        fields = {"Repository": name} if name else {}
        return json.dumps({**fields, "Tags": tags}, indent=4)

    click.echo(retrying(retries, once, lambda line: click.echo(line, err=True)))


@skopeo.command(cls=GoFlagsCommand)
@skopeo_options.access_options("src")
@skopeo_options.access_options("dest")
@skopeo_options.retry_option
@click.option("-a", "--all", "everything", is_flag=True, help="All images of a list.")
@click.option("--append-suffix", default="", metavar="TEXT", help="Append this to each tag.")
@click.option("--authfile", metavar="FILE", help="auth.json for both sides.")
@click.option("-d", "--dest", "dest_kind", required=True, help="Transport of DESTINATION.",
              type=click.Choice(["docker", "dir", "oci"]))  # fmt: skip
@click.option("--digestfile", metavar="FILE", help="Write each digest and place to a file.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option("-f", "--format", "form", type=click.Choice(["oci", "v2s2"]),
              help="Make manifests ones of this format.")  # fmt: skip
@click.option("--keep-going", is_flag=True, help="Go on after an image that failed.")
@click.option("--preserve-digests", is_flag=True, help="Fail where a manifest would change.")
@click.option("--remove-signatures", is_flag=True, help="Do not copy signatures.")
@signing.options
@click.option("--scoped", is_flag=True, help="Keep the whole path of each source's name.")
@click.option("-s", "--src", "src_kind", required=True, help="Transport of SOURCE.",
              type=click.Choice(["docker", "dir", "oci", "yaml"]))  # fmt: skip
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DESTINATION")
@click.pass_obj
def sync(
    context: Context,
    /,
    source: str,
    destination: str,
    src_kind: str,
    dest_kind: str,
    append_suffix: str,
    digestfile: str | None,
    everything: bool,
    dry_run: bool,
    form: str | None,
    keep_going: bool,
    preserve_digests: bool,
    remove_signatures: bool,
    scoped: bool,
    **values: Any,
) -> None:
    """Copy every image of SOURCE to DESTINATION."""
    from pyengine.images import syncing
    from pyengine.images.copying import CopyOptions

    options = CopyOptions(
        multi="all" if everything else "system",
        platform=context.globals.platform,
        form=form,
        preserve_digests=preserve_digests,
        remove_signatures=remove_signatures,
        policy=context.globals.policy(),
    )
    reading = skopeo_options.access(values, context.globals, "src")
    work = syncing.Sync(
        dest_kind,
        destination,
        skopeo_options.access(values, context.globals, "dest"),
        options,
        report_to_stdout(quiet=False),
        scoped=scoped,
        dry_run=dry_run,
        keep_going=keep_going,
        retries=skopeo_options.retries(values),
        signing=signing.make(values),
        suffix=append_suffix,
    )
    copied = work.run(syncing.sources(src_kind, source, reading))
    if digestfile:
        write_digest(digestfile, "".join(f"{line}\n" for line in copied))


for one in (login.skopeo_login, login.skopeo_logout, *skopeo_files.COMMANDS):
    skopeo.add_command(one)
