"""A criu that does what a test wants, for what the real one cannot be made to do, or not here.

It speaks ``criu swrk`` and follows a plan: a list of steps for each kind of request. The requests
are kept as they came, and ``fields`` reads them without the code under test.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10

_SCRIPT = """\
import array, ctypes, json, os, pty, socket, sys
folder = os.path.dirname(os.path.abspath(__file__))
with open(folder + "/plan.json") as file:
    plan = json.load(file)
port = socket.socket(fileno=int(sys.argv[2]))
assert sys.argv[1] == "swrk"


def varint(value):
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def receive():
    data = port.recv(1 << 20)
    if not data:  # given up: criu ends what it has restored
        if pid:
            os.kill(pid, 9)
        sys.exit(1)
    with open(f"{folder}/requests", "a") as file:
        file.write(data.hex() + "\\n")
    return data


def restored(script):
    # the restored container is a sibling of criu: CLONE_PARENT | SIGCHLD
    clone = 56 if os.uname().machine == "x86_64" else 220
    pid = ctypes.CDLL(None).syscall(clone, 0x8011, 0, 0, 0, 0)
    if pid == 0:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.closerange(3, 1 << 10)
        os.execv("/bin/sh", ["sh", "-c", script])
    return pid


pid = 0
kind = receive()[1]
for step, value in plan.get(str(kind), [["answer", ""]]):
    if step == "write":
        with open(value[0], "w") as file:
            file.write(value[1])
    elif step == "print":
        print(value, file=sys.stderr)
    elif step == "exit":
        os._exit(value)
    elif step == "kill":
        os.kill(os.getpid(), value)
    elif step == "restored":
        pid = restored(value)
    elif step == "notify":
        notice = text(1, value.encode()) + (number(2, pid) if pid else b"")
        data = number(1, 6) + number(2, 1) + text(5, notice)
        rights = []
        if value == "orphan-pts-master":
            master, slave = pty.openpty()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [master]))]
        port.sendmsg([data], rights)
        receive()
    elif step == "raw":
        port.send(bytes.fromhex(value))
        receive()
    elif step == "fail":
        port.send(number(1, kind) + number(2, 0) + number(7, value[0]) + text(9, value[1].encode()))
    elif step == "answer":
        more = {
            10: text(10, number(1, 3) + number(2, 17) + number(4, 1)),
            9: text(8, number(1, 1) + number(2, 1)),
            2: text(4, number(1, pid)),
        }
        port.send(number(1, kind) + number(2, 1) + more.get(kind, b""))
"""


class FakeCriu:
    """The program, in a directory of its own.

    Attributes:
        path: of the program, for ``--criu``.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "criu"
        self.path.write_text(f"#!{sys.executable} -I\n{_SCRIPT}")
        self.path.chmod(0o755)
        self.plan({})

    def plan(self, steps: dict[int, list[list[Any]]]) -> None:
        """Set what follows on each kind of request; the others are answered with success."""
        (self.path.parent / "plan.json").write_text(json.dumps(steps))

    def requests(self) -> list[dict[int, Any]]:
        """All requests so far, answers to notifications among them."""
        lines = (self.path.parent / "requests").read_text().splitlines()
        return [fields(bytes.fromhex(line)) for line in lines]

    def options(self, kind: int) -> dict[int, Any]:
        """The options of the last request of a kind."""
        found = [request for request in self.requests() if request[1] == [kind]]
        return fields(found[-1][2][0])


def fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of a message by number: integers, and bytes for texts and messages."""
    found: dict[int, list[Any]] = {}
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        tag = varint()
        value: Any = varint()
        if tag & 7 == 2:
            position, value = position + value, data[position : position + value]
        found.setdefault(tag >> 3, []).append(value)
    return found
