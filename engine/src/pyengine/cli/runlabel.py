"""container runlabel: runs the command that a label of an image says."""

from __future__ import annotations

import os
import re
import shlex

import click

from pyengine.cli import access
from pyengine.cli.goflags import GoFlagsCommand
from pyengine.errors import ConfigError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.engine import Engine

NESTED = "PODMAN_RUNLABEL_NESTED"
ENGINES = ("podman", "docker", "pyengine")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@click.command(
    cls=GoFlagsCommand,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]},
)
@access.options
@click.option("--display", is_flag=True, help="Print the command instead of running it.")
@click.option("-n", "--name", default="", metavar="NAME", help="What NAME stands for.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing, not even what the command says.")
@click.option("--replace", is_flag=True, help="Remove a container of the name that it gives.")
@click.argument("label")
@click.argument("image")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARG...]")
@click.pass_obj
def runlabel(
    engine: Engine,
    /,
    label: str,
    image: str,
    arguments: tuple[str, ...],
    display: bool,
    name: str,
    quiet: bool,
    replace: bool,
    authfile: str | None,
    cert_dir: str | None,
    creds: str | None,
    tls_verify: bool | None,
) -> None:
    """Run the command in a label of an image on this host; only for images that you trust.

    IMAGE, NAME and PWD stand for the image's name, --name (else the last part of the image's
    name) and this directory. podman, docker and pyengine as the command are this program.
    """
    from pyengine.cli.report import progress
    from pyengine.containers.options import ContainerOptions

    if NESTED in os.environ:
        raise ConfigError(f"runlabel {label}: nested runlabel calls are not supported")
    wanted = ContainerOptions(
        image, quiet=quiet, auth_file=authfile, cert_dir=cert_dir, creds=creds,
        tls_verify=tls_verify,
    )  # fmt: skip
    source = engine.container_source(wanted, lambda: progress(quiet=quiet))
    labels = source.config.get("Labels") or {}
    text = next((labels[key] for key in labels if key.lower() == label.lower()), "")
    if not text:
        raise NotFoundError(f"cannot find the value of label: {label} in image: {image}")
    name = name or image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    try:
        words = [_filled(word, source.name, name) for word in shlex.split(text)]
    except ValueError as error:
        raise ConfigError(f"label {label} of {image}: {error}: {text}") from error
    words += arguments
    if display:
        click.echo(f"command: {shlex.join(words)}")
        return
    if replace and "--name" in words[:-1]:
        _remove(engine, words[words.index("--name") + 1])
    _execute(engine, words, quiet=quiet)


def _filled(word: str, image: str, name: str) -> str:
    values = {"IMAGE": image, "NAME": name, "PWD": os.getcwd(), "HOME": os.environ.get("HOME", "")}
    key = word.rpartition("=")[2]
    if key in ("IMAGE", "NAME"):  # also KEY=IMAGE
        return word.removesuffix(key) + values[key]
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2], ""), word)


def _remove(engine: Engine, name: str) -> None:
    try:
        engine.containers.remove(name, force=True)
    except NotFoundError:
        return


def _execute(engine: Engine, words: list[str], *, quiet: bool) -> None:
    """Become the command."""
    argv = words
    if words[0] in ENGINES or os.path.basename(words[0]) == "docker":
        argv = [*engine.self_command, *words[1:]]
    engine.close()
    if quiet:
        null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in range(3):
            os.dup2(null_fd, fd)
    try:
        os.execvpe(argv[0], argv, {**os.environ, NESTED: "1"})
    except OSError as error:
        raise ConfigError(f"execute {argv[0]}: {error.strerror}") from error
