"""Attacks on runtimes that were found once, tried on this one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

# Runs as the interpreter itself: the kernel follows the first line to whoever executes the script.
# Its descriptor outlives it in a shell, which tries to write once nobody executes the file.
OVERWRITE = """#!/proc/self/exe
import os
fd = os.open("/proc/self/exe", os.O_PATH)
os.set_inheritable(fd, True)
if os.fork() == 0:
    script = "while ! [ -e /result/go ]; do sleep 0.05; done;" \\
        f"( : >>/proc/self/fd/{fd} ) 2>/result/said && echo done >/result/said;" \\
        "echo >/result/end"
    os.execv("/bin/busybox", ["sh", "-c", script])
os.execv("/bin/busybox", ["sleep", "1000"])
"""


@pytest.fixture
def private_pyrun(tmp_path: Path) -> Iterator[Runtime]:
    """pyrun installed with an interpreter that nothing else on this machine executes."""
    home = tmp_path / "venv"
    subprocess.run(
        [sys.executable, "-m", "venv", "--copies", "--without-pip", str(home)], check=True
    )
    beside = Path(sys.executable).parent
    (package,) = beside.parent.glob("lib/python3*/site-packages/pyrun")
    (site,) = home.glob("lib/python3*/site-packages")
    shutil.copytree(package, site / "pyrun")
    shutil.copy(beside / "pyrun", home / "bin/pyrun")
    try:
        with Runtime(str(home / "bin/pyrun"), tmp_path / "state") as runtime:
            yield runtime
    finally:
        mounted = Path(f"/run/pyrun-interpreter{home}/bin")
        if mounted.exists():
            subprocess.run(["umount", str(mounted / "python3")], check=True)
            shutil.rmtree(mounted)
            os.removedirs(mounted.parent)


def test_the_mounted_interpreter_finds_its_library_as_the_original_does(
    private_pyrun: Runtime, bundle: Bundle
) -> None:
    """It has a path of its own, which must lack nothing."""
    assert private_pyrun.run(bundle).returncode == 0
    home = Path(private_pyrun.program).parent
    code = "import sys; print(*sys.path, sep='\\n'); import ctypes, encodings.idna, json, _json"
    paths = []
    for python in (home / "python3", Path(f"/run/pyrun-interpreter{home}/python3")):
        words = [str(python), "-I", "-S", "-c", code]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        paths.append(done.stdout.splitlines())
    first, *rest = paths[1]
    assert rest == [entry for entry in paths[0] if Path(entry).exists()]
    assert (Path(first) / "encodings.py").samefile(*home.glob("../**/pyrun/startup/encodings.py"))


@pytest.fixture
def attacker(bundle: Bundle, tmp_path: Path) -> Bundle:
    """A container in which the host's Python can run, with a place for results."""
    bundle.config["root"]["readonly"] = False
    (tmp_path / "result").mkdir()
    bundle.mount("/result", type="bind", source=str(tmp_path / "result"), options=["bind"])
    bundle.host_python()
    (bundle.rootfs / "evil").write_text(OVERWRITE)
    (bundle.rootfs / "evil").chmod(0o755)
    bundle.process["noNewPrivileges"] = False
    return bundle


@pytest.mark.parametrize("way", ["start", "exec"])
def test_the_interpreter_cannot_be_overwritten_through_proc_exe(
    private_pyrun: Runtime, attacker: Bundle, tmp_path: Path, way: str
) -> None:
    """CVE-2019-5736, from the entry point and from exec."""
    python = tmp_path / "venv/bin/python3"
    before = python.stat()
    attacker.process["args"] = ["/evil"] if way == "start" else ["sleep", "1000"]
    name = private_pyrun.start(attacker)
    pid = private_pyrun.state(name)["pid"]
    if way == "exec":
        words = private_pyrun.command("exec", "-d", "--pid-file", f"{tmp_path}/pid", name, "/evil")
        quiet = subprocess.DEVNULL
        assert subprocess.run(words, check=False, stdin=quiet, stdout=quiet).returncode == 0
        pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: os.readlink(f"/proc/{pid}/exe") == "/bin/busybox", "the container's program")
    (tmp_path / "result/go").touch()
    wait_for((tmp_path / "result/end").exists, "the attack's end")
    assert "Read-only file system" in (tmp_path / "result/said").read_text()
    after = python.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_without_a_mount_the_interpreter_is_a_sealed_copy(
    private_pyrun: Runtime, bundle: Bundle
) -> None:
    """As where /run cannot be written: the same attack meets a sealed file in memory."""
    bundle.save()
    words = private_pyrun.command("run", "-b", str(bundle.path), private_pyrun.new_id())
    script = 'mount -t tmpfs -o ro none /run && exec "$@"'
    unshare = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    trace = ["strace", "-f", "-e", "trace=execve", *words]
    done = subprocess.run(
        [*unshare, *trace], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert 'execve("/proc/self/fd/' in done.stderr


def test_init_cannot_be_looked_into_before_it_executes_its_program(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """CVE-2016-9962: not dumpable, so its files in /proc are root's of the host."""
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    pid = pyrun.state(pyrun.create(bundle))["pid"]
    assert os.stat(f"/proc/{pid}/environ").st_uid == 0


def test_the_working_directory_is_not_a_leaked_descriptor(pyrun: Runtime, bundle: Bundle) -> None:
    """CVE-2024-21626."""
    for number in range(3, 16):
        bundle.process["cwd"] = f"/proc/self/fd/{number}"
        done = pyrun.run(bundle)
        assert done.returncode != 0
        assert "change to the working directory" in done.stderr


def test_no_descriptor_leaks(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("ls /proc/self/fd")
    assert pyrun.output(bundle).split() == ["0", "1", "2", "3"]  # 3 is the directory being read
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    assert pyrun.call("exec", name, "ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("way", ["run", "exec"])
def test_a_descriptor_that_the_caller_left_open_does_not_reach_the_program(
    pyrun: Runtime, bundle: Bundle, way: str
) -> None:
    """CVE-2024-21626, with a caller that leaks a directory of the host into pyrun."""
    host_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    show = ["ls", "/proc/self/fd"]
    bundle.process["args"] = show if way == "run" else ["sleep", "1000"]
    if way == "run":
        bundle.save()
        words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    else:
        words = pyrun.command("exec", pyrun.start(bundle), *show)
    try:
        done = subprocess.run(
            words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            pass_fds=[host_fd], timeout=60,
        )  # fmt: skip
    finally:
        os.close(host_fd)
    assert done.stdout.split() == ["0", "1", "2", "3"], done.stderr


@pytest.mark.parametrize("link", ["/host", "../../../../../../../../host", "/proc/self/root/host"])
def test_a_link_in_the_image_does_not_lead_a_mount_outside(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, link: str
) -> None:
    """CVE-2021-30465 and its kind: the destination stays inside of the root."""
    outside = tmp_path / "host"
    outside.mkdir()
    target = link.replace("/host", str(outside), 1)
    os.symlink(target, bundle.rootfs / "trap")
    bundle.config["root"]["readonly"] = False
    bundle.mount("/trap/new", type="tmpfs", source="tmpfs")
    bundle.shell("echo ran")
    pyrun.run(bundle)
    assert list(outside.iterdir()) == []


def test_procfs_is_not_replaced_by_the_image(pyrun: Runtime, bundle: Bundle) -> None:
    """CVE-2019-16884, CVE-2023-27561: /proc as a link, and a mount over part of it."""
    (bundle.rootfs / "proc").rmdir()
    os.symlink("tmp", bundle.rootfs / "proc")
    done = pyrun.run(bundle)
    assert "a link in the image" in done.stderr
    (bundle.rootfs / "proc").unlink()
    (bundle.rootfs / "proc").mkdir()
    bundle.mount("/proc/self/attr", type="tmpfs", source="tmpfs")
    done = pyrun.run(bundle)
    assert (done.returncode, "is inside of /proc" in done.stderr) == (1, True)


def test_masked_files_show_the_null_device_of_the_host(pyrun: Runtime, bundle: Bundle) -> None:
    """CVE-2025-31133: /dev/null of the image could be a link to a file of procfs."""
    bundle.config["root"]["readonly"] = False
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/dev"]
    bundle.config["mounts"] = [
        m for m in bundle.config["mounts"] if not m["destination"].startswith("/dev/")
    ]
    os.symlink("/proc/sys/kernel/core_pattern", bundle.rootfs / "dev/null")
    done = pyrun.run(bundle)
    assert (done.returncode, "/dev/null" in done.stderr) == (1, True)
    (bundle.rootfs / "dev/null").unlink()
    bundle.linux["maskedPaths"] = ["/proc/version"]
    bundle.shell("stat -c %t,%T /proc/version")
    assert pyrun.output(bundle) == "1,3"


def test_a_null_device_that_is_another_file_masks_nothing(pyrun: Runtime, bundle: Bundle) -> None:
    """What were masked with it could be read, or written."""
    bundle.save()
    script = 'mount --bind /dev/zero /dev/null && exec "$@"'
    unshare = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    done = subprocess.run(
        [*unshare, *words], check=False, stdin=subprocess.PIPE, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "open /dev/null of the host: it is not the null device" in done.stderr


def test_a_path_out_of_proc_and_back_is_masked(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["maskedPaths"] = ["/proc/../etc/passwd"]
    bundle.shell("wc -c </etc/passwd")
    assert pyrun.output(bundle) == "0"


def test_a_masked_directory_takes_no_files(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.linux["maskedPaths"] = ["/tmp"]
    bundle.shell("touch /tmp/x 2>&1")
    assert "Read-only file system" in pyrun.run(bundle).stdout


def test_a_terminal_is_not_made_of_what_the_image_calls_one(pyrun: Runtime, bundle: Bundle) -> None:
    """The image's file would get the ioctls, and be handed to whoever shows the terminal."""
    gone = ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] not in gone]
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "dev/pts").mkdir()
    (bundle.rootfs / "dev/pts/ptmx").write_text("")
    bundle.process["terminal"] = True
    done = pyrun.run(bundle)
    assert done.returncode == 1
    assert "make a terminal: /dev/pts of the container is no devpts" in done.stderr


@pytest.mark.parametrize("way", ["run", "exec"])
def test_ambient_capabilities_of_the_caller_stay_with_it(
    pyrun: Runtime, bundle: Bundle, way: str
) -> None:
    """Where they are inheritable in the container, dropping those does not drop them, too."""
    sets = bundle.process["capabilities"]
    sets["inheritable"] = sets["permitted"]
    bundle.process["args"] = (
        ["sleep", "1000"] if way == "exec" else ["grep", "Cap", "/proc/1/status"]
    )
    bundle.save()
    if way == "exec":
        words = pyrun.command("exec", pyrun.start(bundle), "grep", "Cap", "/proc/self/status")
    else:
        words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    done = subprocess.run(
        ["setpriv", "--inh-caps", "+kill", "--ambient-caps", "+kill", *words],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = dict(line.split(":") for line in done.stdout.splitlines())
    assert (int(found["CapInh"], 16), int(found["CapAmb"], 16)) == (0x20000420, 0), done


def test_console_is_mounted_on_what_is_inside(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2025-52565: /dev/console as a link to a file outside of the root."""
    victim = tmp_path / "victim"
    victim.write_text("unchanged")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/dev"]
    bundle.config["root"]["readonly"] = False
    os.symlink(str(victim), bundle.rootfs / "dev/console")
    bundle.process["terminal"] = True
    bundle.shell("true")
    bundle.save()
    words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert stat.S_ISREG(victim.stat().st_mode)
    assert victim.read_text() == "unchanged"


@pytest.mark.parametrize("way", ["run", "exec"])
def test_inheritable_capabilities_are_only_those_asked_for(
    pyrun: Runtime, bundle: Bundle, way: str
) -> None:
    """CVE-2022-29162: a file with inheritable capabilities must not give any to the process."""
    show = "grep -E '^Cap(Inh|Amb)' /proc/self/status"
    if way == "run":
        bundle.shell(show)
        shown = pyrun.output(bundle)
    else:
        bundle.shell("sleep 1000")
        name = pyrun.start(bundle)
        done = pyrun.call("exec", name, "sh", "-c", show)
        assert done.returncode == 0, done.stderr
        shown = done.stdout
    assert [int(line.split()[1], 16) for line in shown.splitlines()] == [0, 0]


@pytest.mark.parametrize("kind", ["directory", "file", "device", "tmpfs", "masked"])
def test_nothing_is_made_on_the_host_through_a_destination_that_is_a_link(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, kind: str
) -> None:
    """CVE-2024-45310: what is missing of a destination is made inside of the root, or nowhere."""
    host, source = tmp_path / "host", tmp_path / "source"
    host.mkdir()
    bundle.config["root"]["readonly"] = False
    up = "../" * 30
    for number, target in enumerate((str(host), f"{up}{host}", f"/proc/self/root/{host}")):
        (bundle.rootfs / f"link{number}").symlink_to(target)
        destination = f"/link{number}/made"
        if kind == "directory":
            source.mkdir(exist_ok=True)
            bundle.mount(destination, type="bind", source=str(source), options=["bind"])
        elif kind == "file":
            source.touch()
            bundle.mount(destination, type="bind", source=str(source), options=["bind"])
        elif kind == "tmpfs":
            bundle.mount(destination, type="tmpfs", source="tmpfs")
        elif kind == "masked":
            bundle.linux["maskedPaths"].append(f"/link{number}")
        else:
            device = {"path": destination, "type": "c", "major": 1, "minor": 3}
            bundle.linux.setdefault("devices", []).append(device)
        bundle.shell("echo ran")
        pyrun.run(bundle)
    assert list(host.iterdir()) == []
    assert str(host) not in Path("/proc/self/mountinfo").read_text()


def test_a_link_to_the_host_becomes_a_place_in_the_root(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2024-45310, seen from inside: the absolute link is followed below the root."""
    host, source = tmp_path / "host", tmp_path / "source"
    host.mkdir()
    source.write_text("from outside")
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "link").symlink_to(host)
    bundle.mount("/link/made", type="bind", source=str(source), options=["bind"])
    bundle.shell(f"cat {host}/made")
    assert pyrun.output(bundle) == "from outside"
    assert list(host.iterdir()) == []


@pytest.mark.parametrize(
    "destination",
    [
        "/proc/self/attr/exec",
        "/proc/thread-self/attr/exec",
        "/proc/1/oom_score_adj",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/./self/../self/attr/exec",
        "/trap/sys/net/ipv4/ip_forward",
    ],
)
def test_what_is_written_to_procfs_is_not_redirected_by_a_mount(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, destination: str
) -> None:
    """CVE-2025-52881: a mount over a file of procfs that the runtime itself writes to."""
    victim = tmp_path / "victim"
    victim.write_text("unchanged")
    (bundle.rootfs / "trap").symlink_to("/proc")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.mount(destination, type="bind", source=str(victim), options=["bind"])
    done = pyrun.run(bundle)
    assert (done.returncode, "is inside of /proc" in done.stderr) == (1, True)
    assert victim.read_text() == "unchanged"


def test_settings_are_written_to_the_kernel_whatever_the_image_calls_proc(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """CVE-2025-52881: the root has no procfs but files of its own below /proc."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/proc"]
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.config["root"]["readonly"] = False
    fake = bundle.rootfs / "proc/sys/net/ipv4/ip_forward"
    fake.parent.mkdir(parents=True)
    fake.write_text("untouched")
    (bundle.rootfs / "proc/self").mkdir()
    (bundle.rootfs / "proc/self/oom_score_adj").write_text("untouched")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.process["oomScoreAdj"] = 77
    bundle.shell("cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; sleep 1000")
    name = pyrun.start(bundle)
    pid = pyrun.state(name)["pid"]
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "77\n"
    assert fake.read_text() == "untouched"
    inside = ["nsenter", "-t", str(pid), "-n", "cat", "/proc/sys/net/ipv4/ip_forward"]
    shown = subprocess.run(inside, check=True, capture_output=True, text=True).stdout
    assert shown == "1\n"


# The tests below let a hook do, in the very moment that counts, what test_races.py lets another
# container try all the time.


def test_dev_null_that_is_exchanged_while_the_container_is_made_masks_nothing_with_itself(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2025-31133: a mask would show the file that the link leads to, and let it be written."""
    null = bundle.rootfs / "dev/null"
    bundle.hook("createContainer", tmp_path / "hook", f"rm {null} && ln -s /proc/version {null}")
    bundle.linux["maskedPaths"] = ["/proc/uptime"]
    bundle.shell("readlink /dev/null; stat -c %t,%T /proc/uptime")
    assert pyrun.output(bundle).split() == ["/proc/version", "1,3"]


def test_a_console_that_is_exchanged_while_the_container_is_made_is_refused(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2025-52565: the terminal would be mounted on a file of procfs, and protect it from us."""
    console = bundle.rootfs / "dev/console"
    bundle.hook("createContainer", tmp_path / "hook", f"ln -s /proc/sys/kernel/panic {console}")
    bundle.process["terminal"] = True
    done = pyrun.run(bundle)
    assert (done.returncode, "/dev/console: it is a link" in done.stderr) == (1, True)


def test_a_procfs_that_is_moved_away_while_the_container_is_made_is_missed(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2025-52881, CVE-2023-27561: nothing below it would be masked or read-only."""
    proc = bundle.rootfs / "proc"
    bundle.hook("createRuntime", tmp_path / "hook", f"mv {proc} {proc}2 && ln -s tmp {proc}")
    bundle.shell("cat /proc2/kcore | wc -c")
    done = pyrun.run(bundle)
    assert (done.returncode, "another file has taken the place" in done.stderr) == (1, True)


def test_no_mount_of_a_container_reaches_a_host_that_shares_its_mounts(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """As where systemd is: every mount of the host is shared with each copy of its namespace."""
    seen = tmp_path / "seen"
    bundle.hook("createRuntime", tmp_path / "hook", f"cat /proc/self/mountinfo >{seen}")
    bundle.mount("/tmp", type="bind", source="/usr", options=["rbind", "ro"])
    bundle.save()
    words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "shared", *words],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert " shared:" in seen.read_text()
    assert str(bundle.rootfs) not in seen.read_text()


def add_device_of_a_user_namespace(bundle: Bundle) -> None:
    """/dev/mine, which is bound there and not made; the namespace's root is the host's."""
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    bundle.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}]


@pytest.mark.needs("userns")
def test_no_device_of_a_user_namespace_is_a_peer_of_a_host_that_shares_its_mounts(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """What the container mounts upon it would be on the host's, too."""
    add_device_of_a_user_namespace(bundle)
    bundle.shell("grep ' /dev/mine ' /proc/self/mountinfo")
    bundle.save()
    words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "shared", *words],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "shared:" not in done.stdout


@pytest.mark.needs("userns")
def test_a_device_of_a_user_namespace_covers_a_link_and_not_what_it_points_at(
    pyrun: Runtime, bundle: Bundle
) -> None:
    gone = ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] not in gone]
    bundle.config["root"]["readonly"] = False
    (bundle.rootfs / "tmp/victim").write_text("unchanged")
    (bundle.rootfs / "dev/mine").symlink_to("/tmp/victim")
    add_device_of_a_user_namespace(bundle)
    bundle.shell("stat -c %t,%T /dev/mine; cat /tmp/victim")
    assert pyrun.output(bundle).split() == ["1,3", "unchanged"]
