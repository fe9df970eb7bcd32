"""What the systemd driver asks of systemd (org.freedesktop.systemd1(5)), and how it finds it."""

from __future__ import annotations

import os

from pyrun.errors import KernelError
from pyrun.linux.cgroups import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrun.linux.cgroups.dbus_wire import Message
    from pyrun.linux.cgroups.systemd_properties import Property

    # a socket, and whether it is a message bus
    Address = tuple[str, bool]

INSTEAD = "use --cgroup-manager cgroupfs where there is no systemd"

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_JOBS = f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='JobRemoved'"
_SYSTEM: list[Address] = [
    ("/run/systemd/private", False),
    ("/run/dbus/system_bus_socket", True),
]


def addresses(environment: Mapping[str, str], *, user: bool) -> list[Address]:
    """Where systemd may listen, the best first.

    Args:
        environment: of this process.
        user: the manager of a user instead of the system's.
    """
    if not user:
        return _SYSTEM
    found: list[Address] = []
    runtime_directory = environment.get("XDG_RUNTIME_DIR")
    if runtime_directory:
        found.append((f"{runtime_directory}/systemd/private", False))
    for entry in environment.get("DBUS_SESSION_BUS_ADDRESS", "").split(";"):
        transport, _, rest = entry.partition(":")
        words = dict(word.partition("=")[::2] for word in rest.split(","))
        if transport == "unix" and "path" in words:
            found.append((_unescaped(words["path"]), True))
        elif transport == "unix" and "abstract" in words:
            found.append(("@" + _unescaped(words["abstract"]), True))
    if runtime_directory and (f"{runtime_directory}/bus", True) not in found:
        found.append((f"{runtime_directory}/bus", True))
    return found


def is_foreign() -> bool:
    """Whether the system's systemd is that of another user namespace, which obeys its root only."""
    path = _SYSTEM[0][0]
    return os.path.exists(path) and not os.access(path, os.W_OK)


def _unescaped(text: str) -> str:
    """%2f is a slash (D-Bus specification, "Server Addresses")."""
    head, *rest = text.split("%")
    return head + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


def connect(places: list[Address], step: str) -> Units:
    """The first of ``places`` where systemd answers, for ``step``.

    Raises:
        KernelError: it answers nowhere; every place is named with the reason.
    """
    if not places:
        problem = "neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS is set: log in as the user"
        raise KernelError(f"{step}: reach the user's systemd", f"{problem}, or {INSTEAD}")
    reasons = []
    for path, bus in places:
        try:
            connection = dbus.Connection(path, bus=bus)
        except KernelError as error:
            reasons.append(str(error))
        else:
            return Units(connection, bus=bus)
    raise KernelError(f"{step}: reach systemd", f"{'; '.join(reasons)}; {INSTEAD}")


class Units:
    """A connection to a systemd manager; a context manager, which closes it."""

    __slots__ = ("_connection", "place")

    def __init__(self, connection: dbus.Connection, *, bus: bool) -> None:
        self._connection = connection
        self.place: Address = (connection.address, bus)
        if not bus:  # the private socket sends every signal without being asked
            return
        try:
            connection.subscribe(_JOBS)
            self._call("Subscribe")
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Units:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _call(self, member: str, signature: str = "", *values: Any) -> list[Any]:
        return self._connection.call((_NAME, _PATH, _MANAGER, member), signature, values)

    def manager_property(self, name: str) -> str:
        """A text property of the manager itself."""
        target = (_NAME, _PATH, "org.freedesktop.DBus.Properties", "Get")
        ((_, value),) = self._connection.call(target, "ss", (_MANAGER, name))
        return str(value)

    def version(self) -> int:
        """252 of ``252.39-1~deb12u2`` or ``v252``."""
        text = self.manager_property("Version").lstrip("v")
        end = next((at for at, char in enumerate(text) if not char.isdigit()), len(text))
        return int(text[:end] or 0)

    def start(self, unit: str, properties: list[Property]) -> None:
        """Start a transient unit and wait until it is there.

        A failed unit of this name, which nobody cleared away, makes room.

        Raises:
            dbus.CallError: systemd refused.
            KernelError: the job failed, or did not end in time.
        """
        none: list[Any] = []  # units to start beside it
        call = ("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", properties, none)
        try:
            (job,) = self._call(*call)
        except dbus.CallError as error:
            if error.name != f"{_NAME}.UnitExists":
                raise
            self.reset_failed(unit)
            (job,) = self._call(*call)
        self._wait(job, f"start {unit}")

    def stop(self, unit: str) -> None:
        """Stop a unit and forget that it failed; none of this name is fine.

        Raises:
            KernelError: systemd refused, or the job did not end in time.
        """
        try:
            (job,) = self._call("StopUnit", "ss", unit, "replace")
            self._wait(job, f"stop {unit}")
        except dbus.CallError as error:
            if error.name != f"{_NAME}.NoSuchUnit":
                raise
        self.reset_failed(unit)

    def reset_failed(self, unit: str) -> None:
        """Have systemd forget a failed unit; none of this name is fine."""
        try:
            self._call("ResetFailedUnit", "s", unit)
        except dbus.CallError as error:
            if error.name != f"{_NAME}.NoSuchUnit":
                raise

    def change(self, unit: str, properties: list[Property]) -> None:
        """Set properties of a unit until it ends."""
        self._call("SetUnitProperties", "sba(sv)", unit, True, properties)

    def attach(self, unit: str, below: str, pid: int) -> None:
        """Move a process into a unit, or into the cgroup ``below`` it (``/name``)."""
        self._call("AttachProcessesToUnit", "ssau", unit, below, [pid])

    def _wait(self, job: str, step: str) -> None:
        def is_it(message: Message) -> bool:
            return message.member == "JobRemoved" and message.arguments[1] == job

        result = self._connection.wait_for_signal(is_it, step).arguments[3]
        if result != "done":
            raise KernelError(step, f"the job of systemd ended with {result!r}")
