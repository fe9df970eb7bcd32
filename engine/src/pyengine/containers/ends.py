"""How a container's lives ended: the last ones are kept, for ``why``.

The monitor's exit record (docs/pyconmon.md) says most; conmon leaves an exit code only. Who asked
for the end is noted beside it before a signal is sent. Both become a row in the transaction that
records the end, so they outlive run directory, restarts and reboots.
"""

from __future__ import annotations

import os
import time

from pyengine import jsontext

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


def note_request(host: Host, id_: str, signal_number: int, command: str) -> None:
    """Remember, until the end, who sends a signal."""
    request = {"command": command, "signal": signal_number, "pid": os.getpid(),
               "uid": os.getuid(), "time": time.time()}  # fmt: skip
    try:
        with open(f"{host.bundle(id_)}/asked", "a", encoding="utf-8") as file:
            file.write(f"{jsontext.dumps(request)}\n")
    except FileNotFoundError:  # it has just ended
        return


def collect(host: Host, container: Container) -> str:
    """What is known of the life that has just ended, before its run directory is removed."""
    end = _monitors_record(host, container) or _own_record(host, container)
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


def _own_record(host: Host, container: Container) -> End:
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
        "lastOutput": _last_output(host, container),
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
