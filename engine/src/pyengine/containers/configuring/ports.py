"""``--expose``, ``--publish`` and ``--publish-all``: the ports of a container."""

from __future__ import annotations

from pyengine import log
from pyengine.containers.configuring import names
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.options import ContainerOptions
    from pyengine.specgen.types import ContainerConfig

MAX_PORT = 65535
PROTOCOLS = ("tcp", "udp", "sctp")


def configure(config: ContainerConfig, wanted: ContainerOptions) -> None:
    """Note the ports; whether they can be published is the network's to say.

    Raises:
        ConfigError: one makes no sense, or it would need a bridged network.
    """
    exposed = [port for text in wanted.expose for port in _exposed(text)]
    if exposed:
        config["exposed_ports"] = list(dict.fromkeys([*config.get("exposed_ports", []), *exposed]))
    for text in wanted.publish:
        _check_published(text)
    if not (wanted.publish or wanted.publish_all):
        return
    if wanted.network in ("", "private", "bridge"):
        option = f"--publish {wanted.publish[0]}" if wanted.publish else "--publish-all"
        raise ConfigError(
            f"{option}: only a bridged network has ports to publish, and this version has none:"
            " give --network host, where the container's ports are the host's"
        )
    log.warning(  # as podman does
        f"Port mappings have been discarded: with --network {wanted.network} there is no network"
        " to publish them from"
    )


def _exposed(text: str) -> list[str]:
    """Each port of ``--expose``, with its protocol."""
    numbers, _, protocol = text.partition("/")
    if (protocol or "tcp") not in PROTOCOLS:
        raise ConfigError(f"--expose {text}: the protocol must be tcp, udp or sctp")
    ports = _range(numbers, f"--expose {text}")
    return [f"{port}/{protocol or 'tcp'}" for port in ports]


def _check_published(text: str) -> None:
    """``[[IP:]HOST-PORT:]PORT[/PROTOCOL]``; an IPv6 address is in brackets."""
    option = f"--publish {text}"
    rest, slash, protocol = text.partition("/")
    if slash and protocol not in PROTOCOLS:
        raise ConfigError(f"{option}: the protocol must be tcp, udp or sctp")
    address, bracketed = "", rest.startswith("[")
    if bracketed:
        address, _, rest = rest[1:].partition("]:")
    words = rest.split(":")
    given = bracketed or len(words) == 3
    if given and not bracketed:
        address, *words = words
    if len(words) > 2:
        raise ConfigError(f"{option}: the format is [[IP:]HOST-PORT:]PORT[/PROTOCOL]")
    if given:
        names.check_address(option, address)
    inside = _range(words[-1], option)
    outside = _range(words[0], option) if len(words) == 2 and words[0] else inside
    if len(outside) != len(inside):
        raise ConfigError(
            f"{option}: host and container port ranges have different lengths:"
            f" {len(outside)} vs {len(inside)}"
        )


def _range(text: str, option: str) -> range:
    first, dash, last = text.partition("-")
    ends = (first, last if dash else first)
    if not all(end.isascii() and end.isdecimal() and 0 < int(end) <= MAX_PORT for end in ends):
        raise ConfigError(f"{option}: a port must be a number from 1 to {MAX_PORT}")
    if int(ends[1]) < int(ends[0]):
        raise ConfigError(f"{option}: the range ends before it begins")
    return range(int(ends[0]), int(ends[1]) + 1)
