"""Attacks that need a race, tried a bounded number of times; and looks into processes of pyrun."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")

TRIES = 8

# Exchanges two names as fast as it can; says so once it has, and counts.
SWAP = """
import ctypes, sys
one, two = (word.encode() for word in sys.argv[1:3])
rename = ctypes.CDLL(None).renameat2
if rename(-100, one, -100, two, 2):
    sys.exit("renameat2 cannot exchange here")
print("ready", flush=True)
while True:
    rename(-100, one, -100, two, 2)
"""


@contextlib.contextmanager
def swapping(one: Path, two: Path) -> Iterator[None]:
    """While another process exchanges two files; it must have lived to the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", SWAP, str(one), str(two)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def mounts_on(path: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(path) in line]


@pytest.mark.parametrize("own", [True, False], ids=["own mounts", "the host's mounts"])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a_mount_target_that_becomes_a_link_leads_nowhere_outside(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, own: bool, kind: str
) -> None:
    """CVE-2021-30465. In the host's mount namespace a mount outside would be seen."""
    outside = tmp_path / "outside"
    outside.mkdir()
    bundle.config["root"]["readonly"] = False
    if not own:
        entries = bundle.linux["namespaces"]
        bundle.linux["namespaces"] = [one for one in entries if one["type"] != "mount"]
        bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    (bundle.rootfs / "volume").mkdir()
    (bundle.rootfs / "link").symlink_to("../" * 20 + str(outside))
    source = "/usr" if kind == "bind" else "tmpfs"
    for number in range(4):  # each one is a chance
        bundle.mount(f"/volume/{number}", type=kind, source=source)
    bundle.shell("true")
    with swapping(bundle.rootfs / "volume", bundle.rootfs / "link"):
        for _ in range(TRIES):
            done = pyrun.run(bundle)
            assert "a fault of pyrun" not in done.stderr
            assert list(outside.iterdir()) == []
            assert mounts_on(outside) == []
            assert not mounts_on(bundle.rootfs), done.stderr


def test_proc_that_becomes_a_link_is_real_or_refused(pyrun: Runtime, bundle: Bundle) -> None:
    """CVE-2019-16884, CVE-2025-52881: what is written to procfs must get there."""
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "link").symlink_to("tmp")
    bundle.process["oomScoreAdj"] = 77
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.shell("cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward; ls /tmp")
    with swapping(bundle.rootfs / "proc", bundle.rootfs / "link"):
        for _ in range(TRIES):
            done = pyrun.run(bundle)
            assert "a fault of pyrun" not in done.stderr
            # later the program itself may see the link in the place of the mount
            assert set(done.stdout.split()) <= {"77", "1"}, done
            assert list((bundle.rootfs / "tmp").iterdir()) == []


def test_what_is_masked_stays_so_while_proc_becomes_a_link(pyrun: Runtime, bundle: Bundle) -> None:
    """CVE-2023-27561 and its kind: what is not found cannot be masked, and is there again later."""
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "link").symlink_to("tmp")
    bundle.linux["maskedPaths"] = ["/proc/version"]
    bundle.linux["readonlyPaths"] = ["/proc/sys"]
    bundle.shell(
        "until cat /proc/self/mountinfo >/m 2>/dev/null; do :; done;"
        "cut -d' ' -f5,6 /m | grep -oE '/version rw|/sys ro' | sort | uniq"
    )
    with swapping(bundle.rootfs / "proc", bundle.rootfs / "link"):
        outcomes = [pyrun.run(bundle) for _ in range(2 * TRIES)]
    for done in outcomes:
        assert "a fault of pyrun" not in done.stderr
        assert done.stdout == ("/sys ro\n/version rw\n" if done.returncode == 0 else ""), done


def test_a_read_only_mount_in_a_volume_is_read_only_or_refused_while_its_place_becomes_a_link(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """The flags come in a second call, which must not go to another mount."""
    for name in ("volume", "volume/place", "other", "secret"):
        (tmp_path / name).mkdir()
    (tmp_path / "volume/link").symlink_to("/other")
    bundle.config["root"]["readonly"] = False
    for name in ("other", "volume"):
        source = str(tmp_path / name)
        bundle.mount(f"/{name}", type="bind", source=source, options=["bind"])
    secret = str(tmp_path / "secret")
    bundle.mount("/volume/place", type="bind", source=secret, options=["bind", "ro"])
    bundle.shell("grep '/secret ' /proc/self/mountinfo | cut -d' ' -f6 | cut -d, -f1")
    with swapping(tmp_path / "volume/place", tmp_path / "volume/link"):
        outcomes = [pyrun.run(bundle) for _ in range(3 * TRIES)]
    for done in outcomes:
        assert "a fault of pyrun" not in done.stderr
        assert done.stdout == ("ro\n" if done.returncode == 0 else ""), done


def shared_dev(bundle: Bundle, tmp_path: Path) -> Path:
    """A directory of another container as /dev, in the place of a tmpfs."""
    shared = tmp_path / "dev"
    shared.mkdir()
    (shared / "pts").mkdir()
    kept = [m for m in bundle.config["mounts"] if m["destination"] not in ("/dev", "/dev/shm")]
    bundle.config["mounts"] = [m for m in kept if m["destination"] != "/dev/mqueue"]
    entry = {"destination": "/dev", "type": "bind", "source": str(shared), "options": ["bind"]}
    bundle.config["mounts"].insert(1, entry)
    bundle.config["root"]["readonly"] = False
    return shared


def test_masked_paths_show_nothing_while_dev_null_becomes_a_link(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2025-31133: a link as /dev/null must not be mounted where a path is masked."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    shared = shared_dev(bundle, tmp_path)
    (shared / "link").symlink_to("/proc/sys/kernel/core_pattern")
    os.mknod(shared / "null", 0o20666, os.makedev(1, 3))
    bundle.linux["maskedPaths"] = ["/proc/version", "/etc/passwd"]
    bundle.shell("stat -c %t,%T /proc/version /etc/passwd")
    with swapping(shared / "null", shared / "link"):
        outcomes = [pyrun.run(bundle) for _ in range(TRIES)]
    for done in outcomes:
        assert "a fault of pyrun" not in done.stderr
        assert done.stdout == ("1,3\n1,3\n" if done.returncode == 0 else ""), done
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_the_console_is_never_mounted_on_procfs_while_it_becomes_a_link(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2025-52565: /dev/console and a link to a file that is read-only later."""
    shared = shared_dev(bundle, tmp_path)
    (shared / "console").touch()
    (shared / "link").symlink_to("/proc/sysrq-trigger")
    bundle.process["terminal"] = True
    bundle.shell("grep devpts /proc/self/mountinfo | cut -d' ' -f5; echo end")
    with swapping(shared / "console", shared / "link"):
        for _ in range(TRIES):
            done = pyrun.run(bundle)
            assert "a fault of pyrun" not in done.stderr
            if done.returncode:
                assert "mount the terminal on /dev/console: it is a link" in done.stderr, done
                continue
            places = done.stdout.split()
            assert places[-1] == "end"
            assert not any(place.startswith("/proc") for place in places), places


# --- ptrace and /proc, from inside

# What a process of the container gets of another one: of every way, whether it was let in.
PROBE = """
import ctypes, json, os, sys
pid = sys.argv[1]
def may(action):
    try:
        action()
    except OSError:
        return False
    return True
def attach():
    if ctypes.CDLL(None, use_errno=True).ptrace(16, int(pid), 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")
    ctypes.CDLL(None).ptrace(17, int(pid), 0, 0)
print(json.dumps({
    "memory": may(lambda: open(f"/proc/{pid}/mem", "rb")),
    "environment": may(lambda: open(f"/proc/{pid}/environ", "rb").read()),
    "descriptors": may(lambda: [os.readlink(f"/proc/{pid}/fd/{n}") for n in ("0", "1", "2")]),
    "root": may(lambda: os.stat(f"/proc/{pid}/root/.")),
    "directory": may(lambda: os.readlink(f"/proc/{pid}/cwd")),
    "program": may(lambda: os.readlink(f"/proc/{pid}/exe")),
    "ptrace": may(attach),
}))
"""
EVERYTHING = ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
              "CAP_SETUID", "CAP_SETGID", "CAP_KILL"]  # fmt: skip


def observer(runtime: Runtime, bundle: Bundle, root: int = 200000) -> tuple[str, int]:
    """A running container that is all-powerful in its own user namespace; its id and pid.

    Where its ``root`` is the host's, no change of credentials hides what enters it.
    """
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": root, "size": 2000}]
    bundle.process["capabilities"] = {
        name: list(EVERYTHING) for name in ("bounding", "effective", "permitted")
    }
    bundle.config["root"]["readonly"] = False
    bundle.rootfs.chmod(0o777)
    bundle.host_python()
    bundle.process["args"] = ["sleep", "1000"]
    name = runtime.start(bundle)
    return name, runtime.state(name)["pid"]


def equal(runtime: Runtime, bundle: Bundle) -> tuple[str, int]:
    """One with the user and the capabilities of what it looks at, and none for ptrace."""
    bundle.config["root"]["readonly"] = False
    bundle.host_python()
    bundle.process["args"] = ["sleep", "1000"]
    name = runtime.start(bundle)
    return name, runtime.state(name)["pid"]


def pid_inside(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[-1] for line in lines if line.startswith("NSpid:"))


def test_init_before_start_cannot_be_looked_into(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    watcher, pid = observer(pyrun, bundle)
    (tmp_path / "second").mkdir()
    second = Bundle(tmp_path / "second", ["sleep", "1000"])
    second.linux["namespaces"] = [
        *(one for one in second.linux["namespaces"] if one["type"] != "pid"),
        {"type": "pid", "path": f"/proc/{pid}/ns/pid"},
        {"type": "user", "path": f"/proc/{pid}/ns/user"},
    ]
    second.config["mounts"] = [
        one for one in second.config["mounts"] if not one["destination"].startswith("/sys")
    ]
    name = pyrun.create(second)
    inside = pid_inside(pyrun.state(name)["pid"])
    probe = ["/usr/bin/python3", "-c", PROBE, inside]
    done = pyrun.call("exec", watcher, *probe)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout).values()) == {False}
    assert pyrun.call("start", name).returncode == 0
    done = pyrun.call("exec", watcher, *probe)
    assert set(json.loads(done.stdout).values()) == {True}, done  # so the probe works


def test_init_before_start_cannot_be_looked_into_by_its_equal(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    watcher, pid = equal(pyrun, bundle)
    (tmp_path / "second").mkdir()
    second = Bundle(tmp_path / "second", ["sleep", "1000"])
    second.linux["namespaces"] = [
        *(one for one in second.linux["namespaces"] if one["type"] != "pid"),
        {"type": "pid", "path": f"/proc/{pid}/ns/pid"},
    ]
    name = pyrun.create(second)
    probe = ["/usr/bin/python3", "-c", PROBE, pid_inside(pyrun.state(name)["pid"])]
    for expected in (False, True):  # the second time it is the program: so the probe works
        done = pyrun.call("exec", watcher, *probe)
        assert done.returncode == 0, done.stderr
        assert set(json.loads(done.stdout).values()) == {expected}, done.stdout
        if not expected:
            assert pyrun.call("start", name).returncode == 0


# Tries on every process that comes, until told to end; only what is not yet the program counts.
WATCH = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
own = {"sleep", "true", "touch", "busybox", "watch"}
libc.prctl(15, b"watch", 0, 0, 0)
seen, caught = set(), []
def comm(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
print("ready", flush=True)
while not os.path.exists("/dev/shm/end"):
    for pid in os.listdir("/proc"):
        try:
            if not pid.isdigit() or comm(pid) in own:
                continue
            before = comm(pid)
            seen.add(pid)
            ways = []
            for way in ("environ", "mem", "fd/0"):
                try:
                    if way == "fd/0":
                        os.readlink(f"/proc/{pid}/fd/0")
                    else:
                        os.close(os.open(f"/proc/{pid}/{way}", os.O_RDONLY))
                    ways.append(way)
                except PermissionError:
                    pass
            if libc.ptrace(16, int(pid), 0, 0) == 0:
                ways.append("ptrace")
                os.waitpid(int(pid), 0x40000000)
                after = comm(pid)
                libc.ptrace(17, int(pid), 0, 0)
                os.kill(int(pid), 18)  # the stop of attaching may come after that of an execve
            else:
                after = comm(pid)
            if ways and before == after and after not in own:
                caught.append([before, ways])
        except OSError:
            continue
print(json.dumps({"seen": len(seen), "caught": caught}))
"""


@pytest.mark.parametrize("kind", ["all-powerful", "all-powerful as root", "equal"])
def test_exec_processes_cannot_be_looked_into_before_they_are_the_program(
    pyrun: Runtime, bundle: Bundle, kind: str
) -> None:
    if kind == "equal":
        watcher = equal(pyrun, bundle)[0]
    else:
        watcher = observer(pyrun, bundle, 0 if kind.endswith("root") else 200000)[0]
    words = pyrun.command("exec", watcher, "/usr/bin/python3", "-c", WATCH)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "ready\n"
            for _ in range(TRIES):
                done = pyrun.call("exec", watcher, "true")
                assert done.returncode == 0, done.stderr
        finally:
            pyrun.call("exec", watcher, "touch", "/dev/shm/end")
            said = process.stdout.read()
    result = json.loads(said)
    assert result["caught"] == []
    assert result["seen"] > 0  # else the test saw nothing of pyrun
