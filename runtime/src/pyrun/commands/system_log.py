"""Messages for the journal or for syslog, as crun's ``--log`` has them; loaded only for those."""

from __future__ import annotations

from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, socket

_PRIORITIES = {"error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)
_DAEMON = 3 << 3
_JOURNAL = "/run/systemd/journal/socket"
_SYSLOG = "/dev/log"


def write(place: str, level: str, message: str) -> None:
    """Send one message.

    Args:
        place: ``journald:NAME`` or ``syslog:NAME``.
        level: one of ``settings.LEVELS``.
        message: a text; line ends become spaces.

    Raises:
        OSError: nobody listens there.
    """
    kind, _, name = place.partition(":")
    name, text = name or "pyrun", " ".join(message.splitlines())
    priority = _PRIORITIES[level]
    if kind == "journald":
        path = _JOURNAL
        packet = f"MESSAGE={text}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER={name}\n"
    else:
        path, packet = _SYSLOG, f"<{_DAEMON | priority}>{name}: {text}"
    sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
    try:
        sender.connect(path)
        sender.send(packet.encode(errors="replace"))
    finally:
        sender.close()
