"""Containers of an ordinary user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE
from support.machine import BUSYBOX
from support.rootless import (
    FIRST_ID,
    USER,
    OrdinaryRoot,
    end_pause,
    ordinary_home,
    require_open,
)
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "userns", "newuidmap", "busybox")
SLEEP = (IMAGE, "sleep", "1000")


@pytest.fixture(scope="module")
def module_user(pyengine_path: str) -> Iterator[OrdinaryRoot]:
    """A root for the containers of this module, with the busybox image."""
    require_open(pyengine_path)
    with ordinary_home() as home:
        root = OrdinaryRoot(pyengine_path, home, 65_536)
        root.load_image()
        yield root


@pytest.fixture
def box(module_user: OrdinaryRoot) -> Iterator[OrdinaryRoot]:
    """The module's root, without containers at the end of each test."""
    yield module_user
    module_user.remove_everything()
    assert module_user.settled() == []


@pytest.fixture
def home(pyengine_path: str) -> Iterator[Path]:
    """Of a root that a test makes itself."""
    require_open(pyengine_path)
    with ordinary_home() as directory:
        yield directory


def own_ids() -> tuple[str, str]:
    account = pwd.getpwnam(USER)
    return str(account.pw_uid), str(account.pw_gid)


def test_a_container_of_a_user_is_root_of_his_ids(box: OrdinaryRoot) -> None:
    lines = box.sh("id -u; cat /proc/self/uid_map; stat -c %u /etc/passwd /dev/null").split()
    assert lines == ["0", "0", own_ids()[0], "1", "1", str(FIRST_ID), "65536", "0", "65534"]
    assert box.call("run", "--rm", IMAGE, "sh", "-c", "exit 7").returncode == 7
    assert "/nosuch" in box.fails("run", "--rm", IMAGE, "/nosuch", status=127)
    found = json.loads(box.ok("info", "--format", "json"))["host"]
    assert found["security"]["rootless"] is True
    assert found["idMappings"]["uidmap"][1] == {
        "container_id": 1, "host_id": FIRST_ID, "size": 65536,
    }  # fmt: skip


def test_commands_see_what_others_have_mounted(box: OrdinaryRoot, home: Path) -> None:
    box.ok("run", "-d", "--name", "one", IMAGE, "sh", "-c", "echo out; touch /new; sleep 1000")
    wait_for(lambda: box.ok("logs", "one") == "out\n", "the container's output")
    assert box.ok("exec", "one", "sh", "-c", "id -u; ls /new").split() == ["0", "/new"]
    (home / "file").write_text("content")
    (home / "file").chmod(0o644)
    box.ok("cp", str(home / "file"), "one:/copied")
    assert box.ok("exec", "one", "stat", "-c", "%u %s", "/copied") == "0 7\n"
    assert "sleep 1000" in box.ok("top", "one")
    assert {"A /new", "A /copied"} <= set(box.ok("diff", "one").splitlines())
    box.ok("commit", "-q", "one", "made")
    assert box.ok("run", "--rm", "made", "ls", "/new") == "/new\n"
    box.ok("rmi", "made")
    assert "must execute `pyengine unshare` first" in box.fails("mount", "one")
    script = f"ls $({' '.join(box.argv('mount', 'one')[-7:])})/new"
    assert box.ok("unshare", "sh", "-c", script).endswith("/merged/new\n")
    box.ok("restart", "-t", "0", "one")
    box.ok("kill", "one")
    assert box.ok("wait", "one") == "137\n"
    box.ok("start", "one")
    box.ok("rm", "-f", "-t", "0", "one")


def test_mounts_volumes_and_secrets_have_the_users_owner(box: OrdinaryRoot, home: Path) -> None:
    uid = int(own_ids()[0])
    data, given = home / "data", home / "given"
    for directory in (data, given):
        directory.mkdir()
        os.chown(directory, uid, uid)
    box.ok("secret", "create", "word", "-", stdin=b"hush")
    lines = box.sh(
        "cat /run/secrets/word; echo; echo x >/data/new; echo y >/named/f; stat -c %u /given;"
        " id -u; echo z >/given/g",
        "-v", f"{data}:/data", "-v", f"{given}:/given:U", "-v", "vol:/named", "--secret", "word",
        "--user", "0",
    ).split()  # fmt: skip
    assert lines == ["hush", "0", "0"]
    assert (data / "new").stat().st_uid == uid
    box.sh("echo z >/given/h", "-v", f"{given}:/given:U", "--user", "1000:1000")
    assert {path.stat().st_uid for path in given.iterdir()} == {FIRST_ID + 999}
    assert box.sh("cat /named/f", "-v", "vol:/named") == "y\n"
    box.ok("volume", "rm", "vol")
    box.ok("secret", "rm", "word")


def test_the_user_namespace_is_the_one_asked_for(box: OrdinaryRoot) -> None:
    show = "id -u; id -g; cat /proc/self/uid_map; stat -c %u /bin"
    uid, gid = own_ids()
    after = str(int(uid) + 1)
    rest = [after, after, str(65_536 - int(uid))]
    kept = [uid, gid, "0", "1", uid, uid, "0", "1", *rest, "0"]
    assert box.sh(show, "--userns", "keep-id").split() == kept
    assert box.sh(f"busybox grep ^{USER} /etc/passwd", "--userns", "keep-id") == (
        f"{USER}:*:{uid}:{gid}:{USER}:/:/bin/sh\n"
    )
    lines = box.sh(show, "--userns", "keep-id:uid=200,gid=210").split()
    assert lines[:8] == ["200", "210", "0", "1", "200", "200", "0", "1"]
    assert lines[-1] == "0"
    assert box.sh(show, "--userns", "nomap").split() == ["0", "0", "0", "1", "65536", "0"]
    assert box.sh(show, "--userns", "auto").split() == ["0", "0", "0", "1", "1024", "0"]
    assert box.sh(show, "--uidmap", "0:5:9").split() == ["0", "0", "0", "5", "9", "0"]
    assert "has 65537 ids" in box.fails("run", "--uidmap", "0:1:70000", IMAGE, "true")
    lines = box.sh(show, "--userns", "keep-id:uid=1,gid=1,size=5").split()
    assert lines == ["1", "1", "0", "1", "1", "1", "0", "1", "2", "2", "3", "0"]
    more = ("busybox tail -n 1 /proc/self/gid_map", "--gidmap", f"+g100000:@{gid}")
    assert box.sh(*more).split() == ["100000", "0", "1"]
    assert box.sh(show, "--uidmap", "0:0:5").split()[2:-1] == ["0", "0", "1", "1", "1", "4"]
    assert "only uid=N, gid=N" in box.fails("run", "--userns", "keep-id:foo=3", IMAGE, "true")
    script = ("sh", "-c", "echo >/new")
    box.ok("run", "--name", "changed", "--userns", "keep-id", "--user", "0", IMAGE, *script)
    assert "A /new" in box.ok("diff", "changed")
    box.ok("commit", "-q", "changed", "made")
    assert box.ok("run", "--rm", "made", "stat", "-c", "%u", "/new") == "0\n"
    box.ok("rm", "changed")
    box.ok("rmi", "made")


def test_a_directory_of_the_user_is_a_root_file_system(box: OrdinaryRoot, home: Path) -> None:
    (home / "tree/bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, home / "tree/bin/sh")
    subprocess.run(["chown", "-R", f"--reference={home}", str(home / "tree")], check=True)
    words = ("--rootfs", f"{home}/tree", "sh", "-c", "echo >/new && echo done")
    assert box.ok("run", "--rm", *words) == "done\n"
    words = ("--rootfs", f"{home}/tree:O", "sh", "-c", "echo >/other && echo done")
    assert box.ok("run", "--rm", "--userns", "keep-id", *words) == "done\n"
    assert (home / "tree/new").stat().st_uid == int(own_ids()[0])
    assert not (home / "tree/other").exists()


def test_what_belongs_to_the_host_is_bound(box: OrdinaryRoot) -> None:
    assert set(box.sh("ls /sys/class/net", "--network", "host").split()) == set(
        os.listdir("/sys/class/net")
    )
    first = Path("/proc/1/comm").read_text()
    shared = ("--pid", "host", "--ipc", "host", "--uts", "host")
    assert box.sh("cat /proc/1/comm", *shared) == first
    device = box.sh("stat -c %t,%T /dev/none", "--device", "/dev/null:/dev/none")
    assert device == "1,3\n"
    assert box.sh("ls /dev/null /dev/loop-control 2>/dev/null; true", "--privileged").split()[
        0
    ] in ("/dev/null", "/dev/loop-control")
    sysctl = ("--sysctl", "net.ipv4.ping_group_range=0 0")
    assert box.sh("cat /proc/sys/net/ipv4/ping_group_range", *sysctl).split() == ["0", "0"]


@pytest.mark.needs("hybrid")
def test_without_cgroups_what_needs_them_is_refused(box: OrdinaryRoot) -> None:
    for words in (("--memory", "64m"), ("--pids-limit", "9"), ("--cpus", "1")):
        message = box.fails("create", *words, IMAGE, "true")
        assert "not supported on cgroups V1 rootless systems" in message
    box.ok("run", "-d", "--name", "one", "--pids-limit", "-1", *SLEEP)
    assert "rootless mode without cgroups v2" in box.fails("stats", "--no-stream")
    assert "may not make cgroups" in box.fails("pause", "one")
    assert box.ok("ps", "--format", "{{.Names}}") == "one\n"


def test_the_monitor_checks_and_restarts(box: OrdinaryRoot) -> None:
    box.ok("run", "-d", "--name", "one", "--health-cmd", "true", "--health-interval", "1s", *SLEEP)
    health = ("inspect", "--format", "{{.State.Health.Status}}", "one")
    wait_for(lambda: box.ok(*health) == "healthy\n", "a health check")
    box.ok("run", "-d", "--name", "two", "--restart", "on-failure:1", IMAGE, "false")
    count = ("inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "two")
    wait_for(lambda: box.ok(*count) == "1 exited\n", "a restart and its end")


def test_a_lost_namespace_is_found_again(box: OrdinaryRoot) -> None:
    """By what still runs in it; where nothing does, as after a reboot, there is a new one."""
    box.ok("run", "-d", "--name", "one", *SLEEP)
    pause = box.pause_pid
    namespace = os.readlink(f"/proc/{pause}/ns/user")
    end_pause(box.runroot)
    assert box.ok("exec", "one", "echo", "there") == "there\n"
    assert box.pause_pid != pause
    assert os.readlink(f"/proc/{box.pause_pid}/ns/user") == namespace
    assert len(box.mounts()) == 1
    box.ok("stop", "-t", "0", "one")
    end_pause(box.runroot)
    box.ok("start", "one")
    assert os.readlink(f"/proc/{box.pause_pid}/ns/user") != namespace
    box.ok("stop", "-t", "0", "one")
    end_pause(box.runroot)
    shutil.rmtree(box.runroot)
    assert box.ok("start", "one") == "one\n"
    assert box.ok("exec", "one", "echo", "there") == "there\n"


def test_migrate_and_reset_leave_no_process(pyengine_path: str, home: Path) -> None:
    root = OrdinaryRoot(pyengine_path, home, 65_536)
    root.load_image()
    id_ = root.ok("run", "-d", "--stop-signal", "KILL", *SLEEP).strip()
    pause = root.pause_pid
    assert root.ok("system", "migrate", "--new-runtime", "runc") == f"stopped {id_}\n"
    assert not os.path.exists(f"/proc/{pause}/ns/mnt")
    wait_for(lambda: not root.processes(), "the end of the monitor")
    root.give(1000)
    assert root.ok("unshare", "cat", "/proc/self/uid_map").split()[-1] == "1000"
    runtime = root.ok("inspect", "--format", "{{.OCIRuntime}}", id_)
    assert runtime.endswith("runc\n")
    pause = root.pause_pid
    root.ok("system", "reset", "-f")
    assert list(root.root.iterdir()) == list(root.runroot.iterdir()) == []
    assert not os.path.exists(f"/proc/{pause}/ns/mnt")


def test_one_id_is_enough_to_run(pyengine_path: str, home: Path) -> None:
    root = OrdinaryRoot(pyengine_path, home, 0)
    root.load_image()
    assert root.sh("id -u; cat /proc/self/uid_map").split() == ["0", "0", own_ids()[0], "1"]
    assert "/etc/subuid" in root.fails("run", "--userns", "keep-id", IMAGE, "true")
    root.ok("system", "migrate")
    assert f"user {own_ids()[0]} has no ids in /etc/subuid" in root.call("images").stderr
    root.remove_everything()
    assert root.settled() == []


def test_without_newuidmap_the_user_is_told(pyengine_path: str, home: Path) -> None:
    root = OrdinaryRoot(pyengine_path, home, 65_536)
    (home / "bin").mkdir()
    for name in ("sh", "readlink", "sleep"):
        (home / "bin" / name).symlink_to(shutil.which(name) or name)
    root.before = ("env", f"PATH={home}/bin")
    message = root.fails("images")
    assert "newuidmap: No such file or directory: install it" in message
    assert root.pause_pid == 0


def test_a_run_directory_of_somebody_else_is_not_used(pyengine_path: str, home: Path) -> None:
    root = OrdinaryRoot(pyengine_path, home, 65_536)
    root.runroot.mkdir(mode=0o777)
    root.runroot.chmod(0o777)
    os.chown(root.runroot, 65534, 65534)
    assert "belongs to user 65534: set XDG_RUNTIME_DIR" in root.fails("images")


def test_without_overlay_layers_are_copied(pyengine_path: str, home: Path) -> None:
    root = OrdinaryRoot(pyengine_path, home, 65_536)
    root.programs = ("--storage-driver", "vfs")
    root.load_image()
    assert root.sh("touch /new; stat -c %u /new") == "0\n"
    assert root.sh("stat -c %u /bin", "--userns", "keep-id") == "0\n"
    root.remove_everything()
    assert root.settled() == []


@pytest.mark.needs("fuse-overlayfs")
def test_fuse_overlayfs_mounts_where_it_is_asked_for(pyengine_path: str, home: Path) -> None:
    root = OrdinaryRoot(pyengine_path, home, 65_536)
    node = home / "fuse"  # users may not open the host's everywhere
    try:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.stat("/dev/fuse").st_rdev)
        os.close(os.open(node, os.O_RDWR))
    except OSError as error:
        pytest.skip(f"no /dev/fuse for users: {error}")
    node.chmod(0o666)
    root.setup = f"mount --bind {node} /dev/fuse"
    program = shutil.which("fuse-overlayfs")
    root.use_storage_conf(f'[storage.options.overlay]\nmount_program = "{program}"\n')
    root.load_image()
    show = "busybox grep -c fuse-overlayfs /proc/mounts; stat -c %u /bin"
    assert root.sh(show).split() == ["1", "0"]
    assert root.sh(show, "--userns", "keep-id").split() == ["1", "0"]
    root.remove_everything()
    assert root.settled() == []
    end_pause(root.runroot)


@pytest.mark.needs("crun", "runc", "conmon", "hybrid")
def test_other_runtimes_and_conmon_serve_a_user(pyengine_path: str, home: Path) -> None:
    root = OrdinaryRoot(pyengine_path, home, 65_536)
    root.layout = "v1"  # crun refuses the other
    root.load_image()
    for runtime in ("crun", "runc"):
        root.programs = ("--runtime", runtime, "--conmon", "/usr/bin/conmon")
        root.ok("run", "-d", "--name", runtime, IMAGE, "sh", "-c", "echo out; sleep 1000")
        assert root.ok("exec", runtime, "id", "-u") == "0\n"
        wait_for(lambda: root.ok("logs", runtime) == "out\n", "the output")  # noqa: B023 - called at once
        uid = own_ids()[0]
        assert root.sh("id -u", "--userns", "keep-id") == f"{uid}\n"
        root.ok("rm", "-f", "-t", "0", runtime)
    root.remove_everything()
    assert root.settled() == []
