"""Where images, containers and state live when no option says otherwise."""

from __future__ import annotations

import os

from pyengine.config import user


def default_root() -> str:
    """Directory of the database, blobs, layers and containers; survives a reboot."""
    if not user.is_rootless():
        return "/var/lib/pyengine"
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return f"{base}/pyengine"


def default_runroot() -> str:
    """Directory of what a reboot may forget, such as monitors' sockets."""
    if not user.is_rootless():
        return "/run/pyengine"
    return f"{runtime_directory()}/pyengine"


def runtime_directory() -> str:
    """An ordinary user's place for sockets and the like, also where nobody logged in properly."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and (_is_own(given) or not os.path.exists(given)):  # su(1) may leave another user's
        return given
    uid = user.user_id()
    usual = f"/run/user/{uid}"
    return usual if _is_own(usual) else f"/tmp/pyengine-run-{uid}"


def _is_own(path: str) -> bool:
    try:
        return os.stat(path).st_uid == os.geteuid() and os.access(path, os.W_OK)
    except OSError:
        return False


def storage_conf() -> str:
    """The storage.conf that applies; empty where there is none."""
    only = os.environ.get("CONTAINERS_STORAGE_CONF")
    if only:
        return only
    found = ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"]
    if user.is_rootless():
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        found.insert(0, f"{base}/containers/storage.conf")
    return next((one for one in found if os.path.exists(one)), "")
