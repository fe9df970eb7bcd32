"""The files a container finds in /etc and /run, written into its run directory at each start."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import ContainerConfig

ANYWHERE = ("192.0.2.1", 9)  # RFC 5737: connecting a datagram socket sends nothing
HOST_NAMES = "host.containers.internal host.docker.internal"
LOOPBACK = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"


def write(
    directory: str, config: ContainerConfig, hostname: str, name: str, more: dict[str, str]
) -> dict[str, str]:
    """Write the files; the answer is the path of each by its destination.

    A destination that the user mounts over is left out. ``more`` are contents by destination.
    """
    host = config["network"] == "host"
    texts = {
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": base_hosts("/etc/hosts"),
        "/run/.containerenv": "",
        **more,
    }
    if host:
        texts["/etc/resolv.conf"] = host_file("/etc/resolv.conf")
    if config["names"]:
        from pyengine.specgen import name_files

        name_files.change(texts, config, hostname, name)
    else:
        texts["/etc/hosts"] += internal_line(host_address())
        if config["network"] == "none":
            texts["/etc/hosts"] += own_line(hostname, name)
    taken = {os.path.normpath(volume["destination"]) for volume in config["volumes"]}
    paths = {}
    for destination, text in texts.items():
        if destination in taken:
            continue
        path = f"{directory}/{destination.rpartition('/')[2].lstrip('.')}"
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        paths[destination] = path
    return paths


def base_hosts(path: str) -> str:
    """The lines of a hosts file of the host in podman's form, without comments."""
    lines = [line.partition("#")[0].split() for line in host_file(path).splitlines()]
    text = "".join([f"{words[0]}\t{' '.join(words[1:])}\n" for words in lines if len(words) > 1])
    return text or LOOPBACK


def own_line(hostname: str, name: str) -> str:
    """Under which names a container knows itself."""
    return f"127.0.0.1\t{hostname} {name}\n"


def internal_line(address: str) -> str:
    """Under which names a container knows its host; nothing where that has no address."""
    return f"{address}\t{HOST_NAMES}\n" if address else ""


def host_address() -> str:
    """The address that this host would send from; empty where it has none."""
    import _socket

    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        probe.connect(ANYWHERE)
        return str(probe.getsockname()[0])
    except OSError:  # without a route
        return ""
    finally:
        probe.close()


def host_file(path: str) -> str:
    """The content of a file of the host, with a newline at its end."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except FileNotFoundError:
        return ""
    return text if not text or text.endswith("\n") else f"{text}\n"
