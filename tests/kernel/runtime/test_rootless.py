"""pyrun for a caller without privileges."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle, busybox_root, default_config
from support.runtime import Done, Runtime

pytestmark = pytest.mark.needs("root", "busybox", "userns")
NOBODY = 65534


class Caller:
    """Runs pyrun as an ordinary user, with everything in a directory of its own.

    Attributes:
        ids: of the user, one number for user and group.
        before: what to put in front of each command.
    """

    def __init__(self, program: str, home: Path, ids: int = NOBODY) -> None:
        self.program = program
        self.home = home
        self.ids = ids
        self.before: list[str] = []

    def words(self, *words: str) -> list[str]:
        """The argv of one command."""
        return [*self.before, self.program, "--root", str(self.home / "state"), *words]

    def call(self, *words: str, **settings: Any) -> Done:
        """Run one command to its end."""
        settings = {"stdin": subprocess.DEVNULL, "capture_output": True, **settings}
        return subprocess.run(
            self.words(*words), check=False, text=True, cwd=self.home, user=self.ids,
            group=self.ids, extra_groups=[], timeout=60, **settings,
        )  # fmt: skip

    def detached(self, *words: str) -> None:
        """Run a command whose process lives on, and must succeed."""
        quiet = subprocess.DEVNULL
        with tempfile.TemporaryFile("w+") as errors:
            done = self.call(*words, capture_output=False, stdout=quiet, stderr=errors)
            errors.seek(0)
            assert done.returncode == 0, errors.read()

    def read(self) -> dict[str, Any]:
        """config.json."""
        found: dict[str, Any] = json.loads((self.home / "config.json").read_text())
        return found

    def write(self, config: dict[str, Any]) -> None:
        (self.home / "config.json").write_text(json.dumps(config))
        os.chown(self.home / "config.json", self.ids, self.ids)


@contextlib.contextmanager
def home_of(program: str, ids: int) -> Iterator[Caller]:
    home = Path(tempfile.mkdtemp(prefix="pyrun-rootless-", dir="/tmp"))
    try:
        busybox_root(home / "rootfs")
        subprocess.run(["chown", "-R", f"{ids}:{ids}", str(home)], check=True)
        made = Caller(program, home, ids)
        try:
            made.call("--version")
        except PermissionError:
            pytest.skip(f"{program} is closed to other users")
        yield made
    finally:
        shutil.rmtree(home)


@pytest.fixture
def caller(pyrun_path: str) -> Iterator[Caller]:
    with home_of(pyrun_path, NOBODY) as made:
        yield made


@pytest.fixture(scope="module")
def subordinate() -> Iterator[tuple[int, int]]:
    """A user made for this module: its id, and the first of its 65536 subordinate ids."""
    name = f"pyrun{uuid.uuid4().hex[:8]}"
    subprocess.run(["useradd", "--no-create-home", "--user-group", name], check=True)
    try:
        ids = int(subprocess.check_output(["id", "-u", name]))
        assert ids == int(subprocess.check_output(["id", "-g", name]))
        found = []
        for kind in ("uid", "gid"):
            lines = Path(f"/etc/sub{kind}").read_text().splitlines()
            found += [line.split(":")[1:] for line in lines if line.startswith(f"{name}:")]
        assert found[0] == found[1]
        assert int(found[0][1]) >= 65536
        yield ids, int(found[0][0])
    finally:
        subprocess.run(["userdel", name], check=True)


@pytest.fixture
def tester(pyrun_path: str, subordinate: tuple[int, int]) -> Iterator[Caller]:
    with home_of(pyrun_path, subordinate[0]) as made:
        yield made


def config(caller: Caller, args: list[str]) -> None:
    assert caller.call("spec", "--rootless").returncode == 0
    text = caller.read()
    text["process"].update(terminal=False, args=args)
    caller.write(text)


def test_a_container_without_privileges(caller: Caller) -> None:
    config(caller, ["sh", "-c", "id -u; cat /proc/self/uid_map; touch /dev/shm/x; exit 4"])
    done = caller.call("run", "one")
    assert (done.returncode, done.stdout.split()) == (4, ["0", "0", str(NOBODY), "1"]), done.stderr
    assert not list((caller.home / "state").iterdir())


@pytest.mark.needs("cgroup_pids")
def test_a_container_may_have_the_id_of_another_user_s(
    caller: Caller, pyrun: Runtime, bundle: Bundle
) -> None:
    """The cgroup of that name is somebody else's, and holds processes."""
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    config(caller, ["cat", "/proc/self/cgroup"])
    done = caller.call("run", name)
    assert (done.returncode, f"/{name}" in done.stdout) == (0, False), done.stderr
    changed = caller.read()
    changed["linux"]["resources"] = {"pids": {"limit": 10}}
    caller.write(changed)
    done = caller.call("run", name)
    assert (done.returncode, "/linux/resources/pids/limit: needs" in done.stderr) == (1, True)
    assert pyrun.state(name)["status"] == "running"


@pytest.mark.parametrize("own", [True, False])
def test_processes_that_may_outlive_the_container_are_warned_of(caller: Caller, own: bool) -> None:
    config(caller, ["true"])
    changed = caller.read()
    if not own:
        others = [one for one in changed["linux"]["namespaces"] if one["type"] != "pid"]
        changed["linux"]["namespaces"] = others
        for entry in changed["mounts"]:
            if entry["destination"] == "/proc":  # nobody without the host's privileges mounts it
                entry.update(type="none", source="/proc", options=["rbind"])
    caller.write(changed)
    done = caller.call("run", "alone")
    words = "processes may outlive the container"
    assert (done.returncode, words in done.stderr) == (0, not own), done.stderr


def test_exec_without_privileges(caller: Caller) -> None:
    config(caller, ["sleep", "1000"])
    caller.detached("run", "-d", "two")
    try:
        done = caller.call("exec", "two", "sh", "-c", "id -u; exit 3")
        assert (done.returncode, done.stdout) == (3, "0\n"), done.stderr
    finally:
        assert caller.call("delete", "--force", "two").returncode == 0


def test_a_container_without_a_cgroup_is_watched_but_neither_paused_nor_limited(
    caller: Caller,
) -> None:
    config(caller, ["sleep", "1000"])
    caller.detached("run", "-d", "box")
    try:
        pid = json.loads(caller.call("state", "box").stdout)["pid"]
        assert json.loads(caller.call("ps", "--format", "json", "box").stdout) == [pid]
        done = caller.call("events", "--stats", "box")
        assert (done.returncode, json.loads(done.stdout)["data"]["pids"]) == (0, {}), done.stderr
        for words, problem in (
            (["pause", "box"], "freeze the container"),
            (["update", "--pids-limit", "5", "box"], "/linux/resources/pids/limit: needs the"),
        ):
            refused = caller.call(*words)
            assert (refused.returncode, problem in refused.stderr) == (1, True), refused.stderr
        assert json.loads(caller.call("state", "box").stdout)["status"] == "running"
    finally:
        assert caller.call("delete", "--force", "box").returncode == 0


def test_ids_that_nobody_gave_are_refused(caller: Caller) -> None:
    config(caller, ["true"])
    text = caller.read()
    text["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 10}]
    caller.write(text)
    done = caller.call("run", "three")
    assert done.returncode == 1
    assert "map" in done.stderr
    assert not list((caller.home / "state").iterdir())


# --- subordinate ids, by newuidmap and newgidmap


def with_ranges(caller: Caller, start: int, args: list[str]) -> dict[str, Any]:
    """Root of the container is the caller, the others are its subordinate ids."""
    config(caller, args)
    text = caller.read()
    for kind in ("uidMappings", "gidMappings"):
        text["linux"][kind] = [
            {"containerID": 0, "hostID": caller.ids, "size": 1},
            {"containerID": 1, "hostID": start, "size": 65535},
        ]
    caller.write(text)
    return text


@pytest.mark.needs("newuidmap")
def test_subordinate_ids_are_the_containers_users(
    tester: Caller, subordinate: tuple[int, int]
) -> None:
    ids, start = subordinate
    text = with_ranges(tester, start, ["sleep", "1000"])
    text["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7]}
    tester.write(text)
    tester.detached("create", "box")
    try:
        state = json.loads(tester.call("state", "box").stdout)
        assert state["status"] == "created"
        assert tester.call("start", "box").returncode == 0
        process = Path(f"/proc/{state['pid']}")
        shown = dict(
            line.split(":", 1)
            for line in (process / "status").read_text().splitlines()
            if ":" in line
        )
        assert shown["Uid"].split() == [str(start + 999)] * 4
        assert shown["Gid"].split() == [str(start + 1000)] * 4
        assert set(shown["Groups"].split()) == {str(start + 6)}
        for name in ("uid_map", "gid_map"):
            expected = ["0", str(ids), "1", "1", str(start), "65535"]
            assert (process / name).read_text().split() == expected
        done = tester.call("exec", "--user", "0", "box", "sh", "-c", "id -u; touch /dev/shm/x")
        assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
        assert tester.call("exec", "--user", "5:6", "box", "id", "-G").stdout == "6 7\n"
        assert tester.call("kill", "box", "KILL").returncode == 0
    finally:
        assert tester.call("delete", "--force", "box").returncode == 0
    assert list((tester.home / "state").iterdir()) == []


@pytest.mark.needs("newuidmap")
@pytest.mark.parametrize("kind", ["uid", "gid"])
def test_a_range_that_is_somebody_elses_is_named(
    tester: Caller, subordinate: tuple[int, int], kind: str
) -> None:
    text = with_ranges(tester, subordinate[1], ["true"])
    text["linux"][f"{kind}Mappings"][1]["hostID"] = 1
    tester.write(text)
    done = tester.call("run", "box")
    assert done.returncode == 1
    assert (
        f"new{kind}map ended with status 1: are the ids in /etc/subuid and subgid?" in done.stderr
    )
    assert list((tester.home / "state").iterdir()) == []


@pytest.mark.needs("newuidmap")
def test_programs_for_ids_that_are_not_installed_are_named(
    tester: Caller, subordinate: tuple[int, int]
) -> None:
    with_ranges(tester, subordinate[1], ["true"])
    done = tester.call("run", "box", env={"PATH": "/nowhere"})
    assert done.returncode == 1
    assert "run newuidmap (Debian: package uidmap): No such file or directory" in done.stderr


# --- spec --rootless as it is, and inside of a user namespace


@pytest.mark.parametrize("inside", [False, True], ids=["host", "user namespace"])
def test_what_spec_writes_runs_unchanged(tester: Caller, inside: bool) -> None:
    if inside:
        tester.before = ["unshare", "--user", "--map-root-user"]
    assert tester.call("spec", "--rootless").returncode == 0
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"id -u; exit 3\n")
        done = tester.call("run", "box", stdin=theirs, stdout=theirs, capture_output=False)
        assert done.returncode == 3
        assert b"\r\n0\r\n" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


def test_an_ordinary_config_runs_inside_of_a_user_namespace(tester: Caller) -> None:
    """As in podman unshare: root there needs no user namespace of its own."""
    tester.before = ["unshare", "--user", "--map-root-user", "--mount"]
    text = default_config(["sh", "-c", "id -u; cat /proc/self/uid_map; stat -c %t,%T /dev/null"])
    text["linux"]["resources"] = {}
    text["mounts"] = [one for one in text["mounts"] if one["type"] != "cgroup"]
    tester.write(text)
    done = tester.call("run", "box")
    ids = str(tester.ids)
    assert (done.returncode, done.stdout.split()) == (0, ["0", "0", ids, "1", "1,3"]), done.stderr


# --- cgroups


@pytest.fixture
def delegated(subordinate: tuple[int, int]) -> Iterator[str]:
    """A cgroup of the tester in every hierarchy that has pids; its path below them."""
    name = f"/pyrun-delegated-{uuid.uuid4().hex[:8]}"
    tops = [top for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids") if has_pids(top)]
    made = [top + name for top in tops]
    for path in made:
        os.mkdir(path)
        os.chown(path, subordinate[0], subordinate[0])
        for file in ("cgroup.procs", "cgroup.subtree_control", "tasks"):
            if os.path.exists(f"{path}/{file}"):
                os.chown(f"{path}/{file}", subordinate[0], subordinate[0])
    try:
        yield name
    finally:
        for path in made:
            subprocess.run(["rmdir", path], check=True)


def has_pids(top: str) -> bool:
    if os.path.exists(f"{top}/cgroup.subtree_control"):
        control = Path(f"{top}/cgroup.subtree_control")
        if "pids" in Path(f"{top}/cgroup.controllers").read_text().split():
            control.write_text("+pids")
            return True
        return False
    return os.path.exists(f"{top}/tasks")


@pytest.mark.needs("delegable_pids")
def test_a_delegated_cgroup_takes_the_container_and_its_limit(
    tester: Caller, delegated: str
) -> None:
    config(tester, ["sleep", "1000"])
    text = tester.read()
    text["linux"]["cgroupsPath"] = f"{delegated}/box"
    text["linux"]["resources"] = {"pids": {"limit": 7}}
    tester.write(text)
    # In cgroup2 a process may only move where both ends are its user's.
    enter = f"for f in /sys/fs/cgroup{delegated} /sys/fs/cgroup/pids{delegated}; do"
    enter += ' [ ! -e $f ] || { mkdir -p $f/own; echo $$ >$f/own/cgroup.procs; }; done; exec "$@"'
    try:
        tester.before = ["sh", "-c", enter, "sh"]
        drop = ["setpriv", f"--reuid={tester.ids}", f"--regid={tester.ids}", "--clear-groups"]
        words = ["sh", "-c", enter, "sh", *drop, tester.program, "--root", f"{tester.home}/state"]
        quiet = subprocess.DEVNULL
        done = subprocess.run(
            [*words, "run", "-d", "box"], cwd=tester.home, stdin=quiet, stdout=quiet, check=False,
            timeout=60,
        )  # fmt: skip
        assert done.returncode == 0
        tester.before = []
        limits = [
            path.read_text()
            for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids")
            if (path := Path(f"{top}{delegated}/box/pids.max")).exists()
        ]
        assert limits == ["7\n"]
        pid = json.loads(tester.call("state", "box").stdout)["pid"]
        assert f"{delegated}/box\n" in Path(f"/proc/{pid}/cgroup").read_text()
    finally:
        tester.before = []
        tester.call("delete", "--force", "box")
        for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids"):
            subprocess.run(["rmdir", f"{top}{delegated}/own"], check=False, capture_output=True)
    left = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**{delegated}/box")]
    assert left == []


def test_a_limit_without_a_delegated_cgroup_is_refused(tester: Caller) -> None:
    config(tester, ["true"])
    text = tester.read()
    text["linux"]["resources"] = {"pids": {"limit": 7}}
    tester.write(text)
    done = tester.call("run", "box")
    assert done.returncode == 1
    assert "/linux/resources/pids/limit: needs the cgroup controller pids" in done.stderr
    assert list((tester.home / "state").iterdir()) == []


def test_recording_system_calls_works_or_says_that_tracing_is_not_allowed(caller: Caller) -> None:
    config(caller, ["true"])
    text = caller.read()
    profile = caller.home / "profile.json"
    text["annotations"] = {"io.containers.trace-syscall": f"of:{profile}"}
    caller.write(text)
    done = caller.call("run", "recorded")
    if done.returncode == 0:
        assert "execve" in profile.read_text()
    else:
        assert re.search(r"trace process \d+: Operation not permitted", done.stderr)
        assert not profile.exists()
    assert caller.call("list", "-q").stdout == ""


# --- the host's sysfs, where there is no network namespace


def shares_network(caller: Caller, script: str) -> None:
    """What spec writes, but with a new sysfs asked for in the host's network namespace."""
    config(caller, ["sh", "-c", script])
    text = caller.read()
    spaces = text["linux"]["namespaces"]
    text["linux"]["namespaces"] = [one for one in spaces if one["type"] != "network"]
    words = ["nosuid", "noexec", "nodev", "ro"]
    entry = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": words}
    kept = [one for one in text["mounts"] if not one["destination"].startswith("/sys")]
    text["mounts"] = [*kept, entry]
    text["linux"]["maskedPaths"] = ["/sys/kernel"]
    caller.write(text)


@pytest.mark.parametrize("inside", [False, True], ids=["host", "user namespace"])
def test_the_hosts_sysfs_is_read_only_with_everything_below_it(
    tester: Caller, delegated: str, inside: bool
) -> None:
    """A cgroup that the user may change outside is one that the container may only read."""
    if inside:  # where mounts are shared, as under systemd
        own = "unshare --user --map-root-user --mount --propagation shared"
        tester.before = own.split()
    shares_network(
        tester,
        "cat /proc/self/mountinfo; echo; ls /sys/class/net; echo; ls /sys/kernel; "
        f"for top in /sys/fs/cgroup /sys/fs/cgroup/*; do if [ -d $top{delegated} ]; then "
        f"mkdir $top{delegated}/new 2>&1; fi; done",
    )
    done = tester.call("run", "box")
    text, devices, refused = done.stdout.split("\n\n")
    lines = [line for line in text.splitlines() if line.split()[4].startswith("/sys")]
    for line in lines:
        words = line.split(" - ")[0].split()
        assert words[5].split(",")[0] == "ro", line
        if words[4] != "/sys/kernel":  # which is masked
            assert {"nosuid", "nodev", "noexec"} <= set(words[5].split(",")), line
        assert words[6:] == [], line  # no peer of the host's, and no slave of it
    assert devices.split() == sorted(os.listdir("/sys/class/net"))
    answers = refused.splitlines()
    assert answers, done
    assert all("Read-only file system" in answer for answer in answers)


def test_what_is_no_sysfs_on_the_host_is_not_taken_for_one(caller: Caller) -> None:
    script = 'mount -t tmpfs none /sys && exec "$@"'
    caller.before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    shares_network(caller, "true")
    done = caller.call("--cgroup-manager", "disabled", "run", "box")
    needs = "a user namespace needs a new network namespace for it"
    assert done.returncode == 1
    assert f"mount sysfs on /sys: Operation not permitted: {needs}" in done.stderr, done
    assert not list((caller.home / "state").iterdir())


# --- mounts that the caller may not change


@pytest.mark.parametrize(
    ("word", "problem"),
    [("nosuid", "Read-only file system"), ("rw", "volume on /volume: Operation not permitted")],
)
def test_a_read_only_mount_of_the_hosts_stays_so_or_is_refused(
    caller: Caller, word: str, problem: str
) -> None:
    """The kernel has locked it; whoever asks for more than it allows is told."""
    volume = caller.home / "volume"
    volume.mkdir()
    os.chown(volume, caller.ids, caller.ids)
    config(caller, ["sh", "-c", "touch /volume/x"])
    text = caller.read()
    entry = {"destination": "/volume", "type": "bind", "source": str(volume)}
    text["mounts"].append({**entry, "options": ["bind", word]})
    caller.write(text)
    subprocess.run(["mount", "--bind", volume, volume], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro,nodev", volume], check=True)
        done = caller.call("run", "box")
        assert done.returncode == 1
        assert problem in done.stderr
    finally:
        subprocess.run(["umount", "--lazy", volume], check=True)
