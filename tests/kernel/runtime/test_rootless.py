"""pyrun for a caller without privileges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import busybox_root
from support.runtime import Done

pytestmark = pytest.mark.needs("root", "busybox", "userns")
NOBODY = 65534


class Caller:
    """Runs pyrun as nobody, with everything in a directory of its own."""

    def __init__(self, program: str, home: Path) -> None:
        self.program = program
        self.home = home

    def call(self, *words: str) -> Done:
        """Run one command to its end."""
        return subprocess.run(
            [self.program, "--root", str(self.home / "state"), *words], check=False, text=True,
            capture_output=True, cwd=self.home, user=NOBODY, group=NOBODY, extra_groups=[],
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip


@pytest.fixture
def caller(pyrun_path: str) -> Iterator[Caller]:
    home = Path(tempfile.mkdtemp(prefix="pyrun-rootless-", dir="/tmp"))
    try:
        busybox_root(home / "rootfs")
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(home)], check=True)
        made = Caller(pyrun_path, home)
        try:
            made.call("--version")
        except PermissionError:
            pytest.skip(f"{pyrun_path} is closed to other users")
        yield made
    finally:
        shutil.rmtree(home)


def config(caller: Caller, args: list[str]) -> None:
    assert caller.call("spec", "--rootless").returncode == 0
    text = json.loads((caller.home / "config.json").read_text())
    text["process"].update(terminal=False, args=args)
    text["linux"]["uidMappings"][0]["hostID"] = NOBODY
    text["linux"]["gidMappings"][0]["hostID"] = NOBODY
    (caller.home / "config.json").write_text(json.dumps(text))
    os.chown(caller.home / "config.json", NOBODY, NOBODY)


def test_a_container_without_privileges(caller: Caller) -> None:
    config(caller, ["sh", "-c", "id -u; cat /proc/self/uid_map; touch /dev/shm/x; exit 4"])
    done = caller.call("run", "one")
    assert (done.returncode, done.stdout.split()) == (4, ["0", "0", str(NOBODY), "1"]), done.stderr
    assert not list((caller.home / "state").iterdir())


def test_exec_without_privileges(caller: Caller) -> None:
    config(caller, ["sleep", "1000"])
    words = [caller.program, "--root", str(caller.home / "state"), "run", "-d", "two"]
    quiet = subprocess.DEVNULL
    subprocess.run(
        words, check=True, cwd=caller.home, user=NOBODY, group=NOBODY, extra_groups=[],
        stdin=quiet, stdout=quiet, timeout=60,
    )  # fmt: skip
    try:
        done = caller.call("exec", "two", "sh", "-c", "id -u; exit 3")
        assert (done.returncode, done.stdout) == (3, "0\n"), done.stderr
    finally:
        assert caller.call("delete", "--force", "two").returncode == 0


def test_ids_that_nobody_gave_are_refused(caller: Caller) -> None:
    config(caller, ["true"])
    text = json.loads((caller.home / "config.json").read_text())
    text["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 10}]
    (caller.home / "config.json").write_text(json.dumps(text))
    done = caller.call("run", "three")
    assert done.returncode == 1
    assert "map" in done.stderr
    assert not list((caller.home / "state").iterdir())
