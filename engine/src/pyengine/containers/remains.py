"""Ends what a killed pyengine, monitor or runtime left of a container outside the database.

A runtime that is killed half way knows nothing of what it made, so its processes are found by
their command line and the container's by its cgroup.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import os
import select

from pyengine import jsontext, log
from pyengine.containers.host import start_time
from pyengine.specgen.cgroups import CGROUP_ROOT, cgroups_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host
    from pyengine.containers.record import Container

END_TIMEOUT_MS = 5000


def end_monitor(host: Host, id_: str) -> None:
    """Kill the container's monitor and a runtime that it is just calling, and wait for their end.

    Killed, the monitor writes no exit file for a start that never happened.
    """
    wanted = os.fsencode(id_)
    bundle = os.fsencode(host.bundle(id_))
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if pid == os.getpid() or wanted not in words:
            continue
        is_monitor = b"-c" in words and words[words.index(b"-c") + 1] == wanted
        if is_monitor or (b"create" in words and bundle in words):
            _kill(pid)


def end_processes(host: Host, container: Container) -> None:
    """Kill every process in the container's cgroups and remove the cgroups."""
    directories = _directories(host, container)
    if host.rootless and not directories and container.pid:  # it has no cgroup
        if start_time(container.pid) == container.pid_start:
            _kill(container.pid)
        return
    _thaw(directories)
    for directory in directories:
        for parent, _, _ in os.walk(directory, topdown=False):
            for pid in _members(parent):
                _kill(pid)
            try:
                os.rmdir(parent)
            except OSError as error:
                log.warning(f"remove cgroup {parent}: {error.strerror}")


def thaw(host: Host, container: Container) -> None:
    """Let a paused container's processes go on without its runtime, which has forgotten it."""
    _thaw(_directories(host, container))


def _thaw(directories: list[str]) -> None:
    """In a frozen cgroup of v1 nothing dies."""
    for directory in directories:
        for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            try:
                with open(f"{directory}/{name}", "r+", encoding="utf-8") as file:
                    file.write(value)
            except FileNotFoundError:  # another hierarchy's
                continue


def _directories(host: Host, container: Container) -> list[str]:
    limits = container.config["resources"]
    if limits.get("cgroups") == "disabled":
        return []
    inside = cgroups_path(container.id, limits, systemd=False)
    if limits.get("cgroups") == "split" or host.rootless:
        inside = _recorded_path(host.bundle(container.id)) or inside
        if host.rootless and not inside.startswith("/"):  # none, or one of systemd's
            return []
    return _cgroups(inside)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _recorded_path(bundle: str) -> str:
    """``linux.cgroupsPath`` of the last start."""
    try:
        with open(f"{bundle}/config.json", encoding="utf-8") as file:
            return str(jsontext.loads(file.read())["linux"]["cgroupsPath"])
    except (FileNotFoundError, ValueError, KeyError):
        return ""


def _cgroups(inside: str) -> list[str]:
    """The container's directory in each hierarchy, or in the one of cgroup v2."""
    try:
        names = os.listdir(CGROUP_ROOT)
    except FileNotFoundError:
        return []
    places = {os.path.realpath(f"{CGROUP_ROOT}/{name}") + inside for name in (".", *names)}
    # A runtime may make plain directories where it expected a hierarchy that is not mounted.
    marks = ("cgroup.clone_children", "cgroup.controllers")  # in each cgroup of v1, of v2
    return [path for path in places if any(os.path.exists(f"{path}/{mark}") for mark in marks)]


def _members(directory: str) -> list[int]:
    try:
        with open(f"{directory}/cgroup.procs", encoding="utf-8") as file:
            return [int(line) for line in file]
    except OSError:  # another process removed it meanwhile
        return []


def _kill(pid: int) -> None:
    """Kill one process and wait for its end, by descriptor: the pid may be reused meanwhile."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        _signal.pidfd_send_signal(pidfd, _signal.SIGKILL)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.poll(END_TIMEOUT_MS)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
