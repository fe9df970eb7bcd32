"""The files a container finds in /etc and /run, written into its run directory at each start."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.specgen.types import ContainerConfig


LOOPBACK = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"


def write(directory: str, config: ContainerConfig, hostname: str, name: str) -> dict[str, str]:
    """Write the files; the answer is the path of each by its destination.

    A destination that the user mounts over is left out.
    """
    host = config["network"] == "host"
    texts = {
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": _hosts(host=host, hostname=hostname, name=name),
        "/run/.containerenv": "",
    }
    if host:
        texts["/etc/resolv.conf"] = _host_file("/etc/resolv.conf")
    taken = {os.path.normpath(volume["destination"]) for volume in config["volumes"]}
    paths = {}
    for destination, text in texts.items():
        if destination in taken:
            continue
        path = f"{directory}/{destination.rpartition('/')[2].lstrip('.')}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        paths[destination] = path
    return paths


def _hosts(*, host: bool, hostname: str, name: str) -> str:
    if host:
        return _host_file("/etc/hosts") or LOOPBACK
    return f"{LOOPBACK}127.0.0.1\t{hostname} {name}\n"


def _host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
