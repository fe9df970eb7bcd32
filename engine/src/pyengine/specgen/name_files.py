"""What ``--add-host``, ``--dns`` and their like change in the container's files."""

from __future__ import annotations

from pyengine.errors import ConfigError
from pyengine.specgen import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import ContainerConfig, NameSettings

HOSTS, RESOLVER = "/etc/hosts", "/etc/resolv.conf"


def change(texts: dict[str, str], config: ContainerConfig, hostname: str, name: str) -> None:
    """Change the files' contents by their destinations.

    Raises:
        ConfigError: the host has no address, or a file is gone.
    """
    settings = config["names"]
    if settings.get("no_hostname"):
        del texts["/etc/hostname"]
    if settings.get("no_hosts"):
        del texts[HOSTS]
    elif settings.get("hosts_file") == "image" and not _own_hosts(settings):
        del texts[HOSTS]  # podman: the image's file as it is
    else:
        own = files.own_line(hostname, name) if config["network"] == "none" else ""
        text = "".join(f"{line}\n" for line in _own_hosts(settings)) + _base(settings)
        if "host.containers.internal" not in text.split():
            text += files.internal_line(_host_address(settings))
        texts[HOSTS] = text + own
    if settings.get("dns") == ["none"]:
        texts.pop(RESOLVER, None)
    elif settings.keys() & {"dns", "dns_searches", "dns_options"}:
        texts[RESOLVER] = _resolver(settings, texts.get(RESOLVER, ""))


def _own_hosts(settings: NameSettings) -> list[str]:
    lines = list(settings.get("hosts", []))
    if settings.get("host_gateway"):
        address = _host_address(settings)
        if not address:
            raise ConfigError(
                "--add-host NAME:host-gateway: this host has no address to reach it by: give"
                " host_containers_internal_ip in containers.conf"
            )
        lines += [f"{address}\t{names}" for names in settings["host_gateway"]]
    return lines


def _base(settings: NameSettings) -> str:
    path = settings.get("hosts_file", HOSTS)
    if path == "none":
        return files.LOOPBACK
    if path == "image":
        raise ConfigError("--hosts-file image: cannot be combined with --add-host")
    return files.base_hosts(path)


def _host_address(settings: NameSettings) -> str:
    """Of ``host_containers_internal_ip``, or what this host has; empty for none."""
    given = settings.get("host_ip", "")
    return "" if given == "none" else given or files.host_address()


def _resolver(settings: NameSettings, base: str) -> str:
    """resolv.conf(5): what is given replaces the host's lines of its kind."""
    kept = [line.split() for line in base.splitlines()]
    searches = settings.get("dns_searches")
    if searches is None:
        searches = [word for words in kept if words[:1] == ["search"] for word in words[1:]]
    servers = settings.get("dns") or [words[1] for words in kept if words[:1] == ["nameserver"]]
    options = settings.get("dns_options")
    if options is None:
        options = [word for words in kept if words[:1] == ["options"] for word in words[1:]]
    lines = []
    if searches and searches != ["."]:
        lines.append(f"search {' '.join(searches)}")
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)
