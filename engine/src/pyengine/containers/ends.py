"""How a container's lives ended: the last ones are kept, for ``why``.

The monitor's exit record (docs/pyconmon.md) says most; conmon leaves an exit code only. Who asked
for the end is noted beside it before a signal is sent. Both become a row in the transaction that
records the end, so they outlive run directory, restarts and reboots.
"""

from __future__ import annotations

import os
import time

from pyengine import jsontext
from pyengine.containers import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container

    End = dict[str, Any]

KEPT = 20
LAST_LINES = 10
KILLED = 128  # a shell's and a runtime's sum of this and a signal
MAX_RECORD_BYTES = 1 << 16
SIGSYS = 31


class History:
    """How a container's last lives ended, the last one first."""

    __slots__ = ("ends", "id", "name", "status")

    def __init__(self, id_: str, name: str, status: str, ends: list[End]) -> None:
        """``status`` is ``removed`` where there is no such container any more."""
        self.id, self.name, self.status, self.ends = id_, name, status, ends

    @property
    def is_live(self) -> bool:
        """Whether there is a life that has not ended."""
        return self.status in record.LIVE


def note_request(host: Host, id_: str, signal_number: int, command: str) -> None:
    """Remember, until the end, who sends a signal."""
    request = {"command": command, "signal": signal_number, "pid": os.getpid(),
               "uid": os.getuid(), "time": time.time()}  # fmt: skip
    try:
        with open(f"{host.bundle(id_)}/asked", "a", encoding="utf-8") as file:
            file.write(f"{jsontext.dumps(request)}\n")
    except FileNotFoundError:  # it has just ended
        return


def collect(host: Host, container: Container, *, brief: bool = False) -> str:
    """What is known of the life that has just ended, before its run directory is removed.

    ``brief`` leaves out what would have to be read from the log.
    """
    end = _monitors_record(host, container) or _own_record(host, container, brief=brief)
    if end.get("signal") == SIGSYS and (pid := _first_pid(host, container.id)):
        from pyengine.containers import system_calls

        began_at = container.started_at or 0.0
        end["systemCall"] = system_calls.refused(pid, began_at) or None
    end["asked"] = _requests(host, container.id)
    end["startedAt"] = container.started_at
    end["finishedAt"] = container.finished_at or time.time()
    if container.error:
        end["error"] = container.error
    return jsontext.dumps(end)


def keep(connection: sqlite3.Connection, id_: str, end: str) -> None:
    """Add an end in the caller's transaction, and forget the oldest."""
    connection.execute("INSERT INTO ends (container_id, end) VALUES (?, ?)", (id_, end))
    connection.execute(
        "DELETE FROM ends WHERE container_id = :id AND number NOT IN"
        " (SELECT number FROM ends WHERE container_id = :id ORDER BY number DESC LIMIT :kept)",
        {"id": id_, "kept": KEPT},
    )


def keep_removed(connection: sqlite3.Connection, container: Container, end: str | None) -> None:
    """Remember how a container ended that is removed in the caller's transaction.

    Without ``end`` it is the last one that is kept; one that was never started has none.
    """
    connection.execute(
        "INSERT INTO gone (container_id, name, end) SELECT :id, :name, found FROM"
        " (SELECT coalesce(:end, (SELECT end FROM ends WHERE container_id = :id"
        " ORDER BY number DESC LIMIT 1)) AS found) WHERE found IS NOT NULL",
        {"id": container.id, "name": container.name, "end": end},
    )
    connection.execute(
        "DELETE FROM gone WHERE number <= (SELECT max(number) FROM gone) - ?", (KEPT,)
    )


def removed(host: Host, name_or_id: str) -> History | None:
    """The last container of this name, or whose id begins like this, that was removed."""
    with host.database.read() as connection:
        row = connection.execute(
            "SELECT container_id, name, end FROM gone WHERE name = :text"
            " OR substr(container_id, 1, length(:text)) = :text ORDER BY number DESC LIMIT 1",
            {"text": name_or_id},
        ).fetchone()
    return History(row[0], row[1], "removed", [jsontext.loads(row[2])]) if row else None


def failed_start(reason: str) -> str:
    """The end of a life that did not begin."""
    return jsontext.dumps({"cause": "start", "error": reason, "finishedAt": time.time()})


def history(host: Host, id_: str) -> list[End]:
    """The ends that are kept, the last one first."""
    with host.database.read() as connection:
        rows = connection.execute(
            "SELECT end FROM ends WHERE container_id = ? ORDER BY number DESC", (id_,)
        ).fetchall()
    return [jsontext.loads(row[0]) for row in rows]


def _monitors_record(host: Host, container: Container) -> End | None:
    supervised = container.config["supervision"] or container.config["may_restart"]
    directory = (host.persist_dir if supervised else host.bundle)(container.id)
    try:
        with open(f"{directory}/exit.json", "rb") as file:
            written_at = os.fstat(file.fileno()).st_mtime
            found = jsontext.loads(file.read(MAX_RECORD_BYTES))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(found, dict) or written_at < (container.started_at or 0.0) - 1:
        return None  # of the life before: this one's monitor was killed
    return {**found, "monitor": "pyconmon"}


def _first_pid(host: Host, id_: str) -> int:
    """The container's first process, also when it has ended."""
    try:
        with open(f"{host.bundle(id_)}/pidfile", encoding="ascii") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return 0


def _own_record(host: Host, container: Container, *, brief: bool) -> End:
    """Without the monitor's word: its exit code may hide a signal, its log has the last lines."""
    code = container.exit_code
    signal_number = code - KILLED if code is not None and KILLED < code <= KILLED + 64 else None
    if container.error:
        cause = "reboot" if container.boot_id != host.boot_id else "unknown"
    elif container.oom_killed:
        cause = "oom"
    else:
        cause = "exit" if signal_number is None else "signal"
    return {
        "exitCode": code, "signal": None if container.error else signal_number, "cause": cause,
        "oomKilled": bool(container.oom_killed), "peakMemoryBytes": None, "restart": None,
        "lastOutput": [] if brief else _last_output(host, container),
        "monitor": os.path.basename(host.monitor_path(container.config["conmon"])),
    }  # fmt: skip


def _last_output(host: Host, container: Container) -> list[str]:
    if container.config["log"].get("driver", "k8s-file") not in ("k8s-file", "json-file"):
        return []
    from pyengine.containers import logs

    lines = logs.read(host.log_path(container), LAST_LINES, lambda _: True)
    return [line.text.decode("utf-8", "replace").rstrip("\r") for line in lines]


def _requests(host: Host, id_: str) -> list[dict[str, Any]]:
    try:
        with open(f"{host.bundle(id_)}/asked", encoding="utf-8") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines[-KEPT:]:
        try:
            found.append(jsontext.loads(line))
        except ValueError:  # cut short by a full disk
            continue
    return found
