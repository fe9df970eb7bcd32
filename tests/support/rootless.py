"""A storage root of an ordinary user, with subordinate ids of the test's own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.containers import ContainerRoot
from support.machine import with_cgroup_layout
from support.waiting import wait_for

USER = "daemon"  # an account that every Debian has
FIRST_ID = 200_000


class OrdinaryRoot(ContainerRoot):
    """Calls pyengine as ``USER``, in a mount namespace with a subuid file of the test's own."""

    def __init__(self, pyengine: str, directory: Path, subordinate: int) -> None:
        super().__init__(pyengine, directory)
        self._file = directory / "subuid"
        self.give(subordinate)
        account = pwd.getpwnam(USER)
        (directory / "xdg").mkdir(mode=0o700, exist_ok=True)
        os.chown(directory / "xdg", account.pw_uid, account.pw_gid)
        self.storage_conf = ""
        self.layout = "host"  # of cgroups, when the namespaces are made
        self.before: tuple[str, ...] = ()  # in front of the program
        self.setup = "true"  # a command of root's before each, in the same mount namespace

    def give(self, subordinate: int) -> None:
        """Let the user have so many ids, when the next namespace is made."""
        self._file.write_text(f"{USER}:{FIRST_ID}:{subordinate}\n" if subordinate else "")

    def argv(self, *arguments: str | Path) -> list[str]:
        command = super().argv(*arguments)
        if self.storage_conf:
            del command[1:5]  # the roots: with them the file does not count
        return [*self.prefix(), *command]

    def prefix(self) -> list[str]:
        """What makes a command one of ``USER``."""
        script = (
            f"mount --bind {self._file} /etc/subuid; mount --bind {self._file} /etc/subgid; "
            f"{self.setup}; "
            f'exec setpriv --reuid {USER} --regid {USER} --clear-groups "$@"'
        )
        inside = with_cgroup_layout(self.layout, ["unshare", "--mount", "sh", "-c", script, "sh"])
        home = self._file.parent
        environment = ["env", f"XDG_RUNTIME_DIR={home}/xdg", f"HOME={home}"]
        if self.storage_conf:
            environment.append(f"CONTAINERS_STORAGE_CONF={self.storage_conf}")
        return [*inside, *environment, *self.before]

    def use_storage_conf(self, text: str) -> None:
        """Let a storage.conf of the test's own say where and how things are stored."""
        home = self._file.parent
        conf = home / "storage.conf"
        conf.write_text(f'[storage]\ngraphroot = "{home}"\nrunroot = "{home}/run"\n{text}')
        conf.chmod(0o644)
        self.storage_conf = str(conf)
        self.root, self.runroot = home / "pyengine", home / "run/pyengine"

    @property
    def pause_pid(self) -> int:
        """The process that holds the namespaces; 0 without one."""
        try:
            return int((self.runroot / "pause").read_text().split()[0])
        except FileNotFoundError:
            return 0

    def mounts(self) -> list[str]:
        """In the user's namespace."""
        try:
            text = Path(f"/proc/{self.pause_pid}/mounts").read_text()
        except FileNotFoundError:
            return []
        found = [line.split()[1] for line in text.splitlines()]
        return [path for path in found if path.startswith(str(self.root))]


@contextmanager
def ordinary_home() -> Iterator[Path]:
    """A directory of ``USER`` where others may look; pytest's own are for root alone.

    What holds the namespaces of the roots in it is ended.
    """
    directory = Path(tempfile.mkdtemp(prefix="pyengine-rootless-", dir="/tmp"))
    account = pwd.getpwnam(USER)
    os.chown(directory, account.pw_uid, account.pw_gid)
    try:
        yield directory
    finally:
        end_pause(directory / "runroot")
        shutil.rmtree(directory)


def end_pause(runroot: Path) -> None:
    """Kill what holds a user's namespaces, and wait until it holds them no more."""
    try:
        pid = int((runroot / "pause").read_text().split()[0])
        os.kill(pid, 9)
    except (FileNotFoundError, ProcessLookupError):
        return
    wait_for(lambda: not os.path.exists(f"/proc/{pid}/ns/mnt"), f"the end of process {pid}")


def require_open(program: str) -> str:
    """The program, where an ordinary user can start it."""
    check = ["setpriv", "--reuid", USER, "--clear-groups", "test", "-x", program]
    if subprocess.run(check, check=False).returncode != 0:
        pytest.skip(f"{USER} may not look into {program}")
    return program
