"""checkpoint and restore against a criu that does as it is told: failures, options, events."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.criu import DUMP, FEATURE_CHECK, NOTIFY, PRE_DUMP, RESTORE, VERSION, FakeCriu
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def criu(tmp_path: Path) -> FakeCriu:
    return FakeCriu(tmp_path / "criu")


@pytest.fixture
def pyrun(pyrun_path: str, tmp_path: Path, criu: FakeCriu) -> Iterator[Runtime]:
    with Runtime(pyrun_path, tmp_path / "state", "--criu", str(criu.path)) as runtime:
        yield runtime


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Files enough to be taken for a checkpoint."""
    path = tmp_path / "images"
    path.mkdir()
    (path / "inventory.img").touch()
    (path / "descriptors.json").write_text('["/dev/null", "/dev/null", "/dev/null"]')
    return path


def running(pyrun: Runtime, bundle: Bundle) -> str:
    bundle.process["args"] = ["sleep", "1000"]
    return pyrun.start(bundle)


def checkpoint(pyrun: Runtime, name: str, images: Path, *options: str) -> str:
    """The error of a checkpoint that must fail, and leave the container as it was."""
    done = pyrun.call("checkpoint", "--image-path", str(images), *options, name)
    assert done.returncode == 1
    assert pyrun.state(name)["status"] == "running"
    assert pyrun.call("exec", name, "true").returncode == 0
    return done.stderr


def restore(pyrun: Runtime, bundle: Bundle, images: Path, *options: str) -> str:
    """The error of a restore that must fail, and leave nothing."""
    bundle.save()
    name = pyrun.new_id()
    words = ["restore", "--image-path", str(images), "-b", str(bundle.path), *options, name]
    done = pyrun.call(*words)
    assert done.returncode == 1, done.stderr
    assert pyrun.left(name) == []
    return done.stderr


def test_without_criu_the_error_says_what_to_install(
    pyrun_path: str, tmp_path: Path, bundle: Bundle
) -> None:
    with Runtime(pyrun_path, tmp_path / "state") as plain:
        name = running(plain, bundle)
        words = ["checkpoint", "--image-path", str(tmp_path / "i"), name]
        done = plain.call(*words, env={"PATH": "/no/where"})
        assert done.returncode == 1
        assert "criu is not in $PATH (/no/where): install CRIU" in done.stderr
        assert plain.state(name)["status"] == "running"


def test_a_failed_dump_is_told_by_the_lines_of_its_log(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path
) -> None:
    log = "(00.1) all is well\n(00.2) Error (criu/x.c:1): no vdso\n"
    log += "(00.3)  7: Error (criu/y.c:2): bad\n(00.4)  7: Error (criu/y.c:2): bad\n"
    name = running(pyrun, bundle)
    images = tmp_path / "images"
    words = ["checkpoint", "--work-path", str(tmp_path), "--image-path", str(images), name]
    criu.plan({DUMP: [["write", [str(tmp_path / "dump.log"), log]], ["fail", [22, "first"]]]})
    done = pyrun.call(*words)
    assert done.returncode == 1
    wanted = f"(criu/x.c:1): no vdso; (criu/y.c:2): bad (its log: {tmp_path}/dump.log)"
    assert f"checkpoint container {name}: criu failed: {wanted}" in done.stderr
    assert pyrun.state(name)["status"] == "running"


def test_a_failure_without_a_log_is_told_by_its_message_or_its_number(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path
) -> None:
    name = running(pyrun, bundle)
    criu.plan({DUMP: [["fail", [22, "no such process"]]]})
    assert "criu failed: no such process" in checkpoint(pyrun, name, tmp_path / "i")
    criu.plan({DUMP: [["fail", [22, ""]]]})
    assert "criu failed: Invalid argument" in checkpoint(pyrun, name, tmp_path / "i")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (["exit", 3], "it ended with status 3: last words"),
        (["kill", signal.SIGKILL], "it was killed by signal 9: last words"),
        (["raw", "0b0b"], "its answer cannot be read"),
        (["raw", "1001"], "its answer cannot be read: it is incomplete"),
    ],
)
def test_a_criu_that_dies_or_talks_nonsense_is_an_error(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path, step: list[object], told: str
) -> None:
    name = running(pyrun, bundle)
    criu.plan({DUMP: [["print", "last words"], step]})
    assert told in checkpoint(pyrun, name, tmp_path / "i")


@pytest.mark.needs("v2_view")
def test_a_container_that_a_killed_criu_left_frozen_goes_on(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path
) -> None:
    name = running(pyrun, bundle)
    paths = json.loads((pyrun.root / name / "state.json").read_text())["cgroup"]["paths"]
    if "freezer" in paths:
        freeze = [paths["freezer"] + "/freezer.state", "FROZEN"]
    else:
        freeze = [paths[""] + "/cgroup.freeze", "1"]
    criu.plan({DUMP: [["write", freeze], ["kill", signal.SIGKILL]]})
    assert "killed by signal 9" in checkpoint(pyrun, name, tmp_path / "i")


def test_only_a_running_container_can_be_checkpointed(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    name = pyrun.create(bundle)
    words = ["checkpoint", "--image-path", str(tmp_path / "i"), name]
    assert "status is created, must be running" in pyrun.call(*words).stderr
    pyrun.call("start", name)
    pyrun.wait_until_stopped(name)
    assert "status is stopped, must be running" in pyrun.call(*words).stderr
    assert "container nobody does not exist" in pyrun.call("checkpoint", "nobody").stderr
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--manage-cgroups-mode", "hard"], "ignore, soft, full, strict, not 'hard'"),
        (["--network-lock", "rope"], "iptables, nftables, skip, not 'rope'"),
        (["--empty-ns", "mount"], "--empty-ns knows only network"),
        (["--page-server", "8080"], "--page-server is ADDRESS:PORT"),
        (["--page-server", "localhost:99999"], "--page-server is ADDRESS:PORT"),
        (["--status-fd", "1"], "--status-fd tells of --lazy-pages"),
        (["--lazy-pages", "--status-fd", "77"], "--status-fd 77: Bad file descriptor"),
        (["--parent-path", "/abs"], "must be relative to --image-path"),
        (["--parent-path", "../gone"], "i/../gone: No such file or directory"),
        (["--work-path", "/proc/gone"], "open the directory /proc/gone"),
    ],
)
def test_an_option_without_a_meaning_is_refused(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, words: list[str], told: str
) -> None:
    name = running(pyrun, bundle)
    assert told in checkpoint(pyrun, name, tmp_path / "i", *words)


def test_a_feature_that_the_kernel_lacks_is_refused(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path
) -> None:
    name = running(pyrun, bundle)
    criu.plan({FEATURE_CHECK: [["raw", "08091001"]]})
    for option, feature in (("--pre-dump", "mem_track"), ("--lazy-pages", "lazy_pages")):
        told = checkpoint(pyrun, name, tmp_path / "i", option)
        assert f"{option}: criu says that this kernel lacks {feature}" in told


def test_every_option_reaches_criu(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "criu.conf").touch()
    bundle.config["annotations"] = {"org.criu.config": str(tmp_path / "criu.conf")}
    bundle.mount("/data", type="bind", source=str(tmp_path), options=["rbind"])
    name = running(pyrun, bundle)
    (tmp_path / "images/before").mkdir(parents=True)
    switches = ["--leave-running", "--tcp-established", "--tcp-skip-in-flight", "--link-remap"]
    switches += ["--ext-unix-sk", "--shell-job", "--file-locks", "--auto-dedup"]
    values = ["--parent-path", "before", "--manage-cgroups-mode", "strict"]
    values += ["--network-lock", "nftables", "--page-server", "127.0.0.1:8027"]
    values += ["--image-path", str(tmp_path / "images"), "--empty-ns", "network"]
    done = pyrun.call("checkpoint", *switches, *values, name)
    assert done.returncode == 0, done.stderr
    found = criu.options(DUMP)
    assert all(found[field] == [1] for field in (3, 4, 5, 7, 8, 12, 15, 16, 18, 24, 46, 50))
    assert found[2] == [pyrun.state(name)["pid"]]
    assert (found[13], found[14]) == ([str(bundle.rootfs).encode()], [b"before"])
    assert (found[34], found[64], found[38]) == ([5], [2], [0x40000000])
    assert found[11] == [b"\x0a\x09127.0.0.1\x10\xdb\x3e"]
    assert found[51] == [str(tmp_path / "criu.conf").encode()]
    assert b"\x0a\x05/data\x12\x05/data" in found[23]
    assert b"\x0a\x10/proc/timer_list\x12\x09/dev/null" in found[23]
    descriptors = json.loads((tmp_path / "images/descriptors.json").read_text())
    assert [text.split()[0].encode() for text in descriptors] == found[37]
    assert all(text.startswith("file[") for text in descriptors)
    assert descriptors[0].endswith("] /dev/null")


def test_a_missing_configuration_file_for_criu_is_an_error(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.config["annotations"] = {"org.criu.config": "/no/criu.conf"}
    name = running(pyrun, bundle)
    told = checkpoint(pyrun, name, tmp_path / "i")
    assert "/annotations/org.criu.config: /no/criu.conf, the configuration file" in told


def test_a_container_is_deleted_after_its_checkpoint_but_not_after_its_pre_dump(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.hook("poststop", tmp_path / "hook", f"cat > {tmp_path}/told")
    name = running(pyrun, bundle)
    path = str(tmp_path / "images")
    assert pyrun.call("checkpoint", "--pre-dump", "--image-path", path, name).returncode == 0
    assert criu.options(PRE_DUMP)[15] == [1]
    assert pyrun.state(name)["status"] == "running"
    assert pyrun.call("checkpoint", "--image-path", path, name).returncode == 0
    assert pyrun.left(name) == []
    assert json.loads((tmp_path / "told").read_text())["status"] == "stopped"


def test_status_fd_gets_a_zero_byte_when_the_pages_are_served(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, tmp_path: Path
) -> None:
    name = running(pyrun, bundle)
    criu.plan({DUMP: [["notify", "pre-dump"], ["notify", "status-ready"], ["answer", ""]]})
    read_fd, write_fd = os.pipe()
    words = ["checkpoint", "--lazy-pages", "--image-path", str(tmp_path / "i"), name]
    done = pyrun.call(*words, "--status-fd", str(read_fd), pass_fds=[read_fd])
    assert f"--status-fd {read_fd}: it is not open for writing" in done.stderr
    done = pyrun.call(*words, "--status-fd", str(write_fd), pass_fds=[write_fd])
    os.close(write_fd)
    assert done.returncode == 0, done.stderr
    assert os.read(read_fd, 10) == b"\0"
    os.close(read_fd)
    answers = [request for request in criu.requests() if request[1] == [NOTIFY]]
    assert [answer[3] for answer in answers] == [[1], [1]]


def test_restore_waits_for_the_container_and_has_its_exit_status(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, images: Path
) -> None:
    bundle.save()
    criu.plan({RESTORE: [["restored", "exit 17"], ["answer", ""]]})
    name = pyrun.new_id()
    done = pyrun.call("restore", "--image-path", str(images), "-b", str(bundle.path), name)
    assert done.returncode == 17, done.stderr
    assert pyrun.left(name) == []


def test_a_detached_restore_leaves_a_running_container(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "log").touch()
    bundle.config["annotations"] = {"org.criu.config": ""}
    bundle.mount("/data", type="bind", source=str(tmp_path / "log"))
    bundle.hook("createRuntime", tmp_path / "hook", f"cat > {tmp_path}/told")
    bundle.save()
    descriptors = '["file[1:2] /dev/null", "pipe:[77]", "pipe:[77]", "/dev/pts/0"]'
    (images / "descriptors.json").write_text(descriptors)
    steps = [["restored", "exec sleep 1000"], ["notify", "setup-namespaces"], ["answer", ""]]
    criu.plan({RESTORE: steps})
    bundle.linux["namespaces"] = [
        {"type": "mount"},
        {"type": "network", "path": "/proc/self/ns/net"},
    ]
    bundle.linux["namespaces"] += [{"type": "ipc", "path": "/proc/self/ns/ipc"}, {"type": "uts"}]
    bundle.save()
    name = pyrun.new_id()
    words = ["restore", "-d", "--image-path", str(images), "-b", str(bundle.path)]
    words += ["--pid-file", str(tmp_path / "pid"), "--tcp-close", "--lsm-profile", "apparmor:x"]
    done = pyrun.call(*words, "--lsm-mount-context", "c", "--lazy-pages", name)
    assert done.returncode == 0, done.stderr
    state = pyrun.state(name)
    assert state["status"] == "running"
    assert (tmp_path / "pid").read_text() == str(state["pid"])
    assert json.loads((tmp_path / "told").read_text())["pid"] == state["pid"]
    found = criu.options(RESTORE)
    assert all(found[field] == [1] for field in (6, 12, 24, 26, 48, 50, 52))
    assert (found[53], found[63]) == ([b"apparmor:x"], [b"c"])
    assert 51 not in found
    assert b"\x0a\x09/dev/null\x12\x09/dev/null" in found[23]
    source = str(tmp_path / "log").encode()
    assert b"\x0a\x05/data\x12" + bytes([len(source)]) + source in found[23]
    keys = [value[2 : 2 + value[1]] for value in found[27]]
    assert keys == [b"file[1:2]", b"pipe:[77]", b"extRootNetNS"]
    assert found[39] == [b"\x0a\x03ipc\x12\x11/proc/self/ns/ipc"]
    assert found[25]
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    assert pyrun.call("delete", name).returncode == 0
    assert pyrun.left(name) == []


def test_the_restored_terminal_goes_to_the_console_socket(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    bundle.process["terminal"] = True
    bundle.save()
    steps = [["restored", "exec sleep 1000"], ["notify", "orphan-pts-master"], ["answer", ""]]
    criu.plan({RESTORE: steps})
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        words = ["restore", "-d", "--image-path", str(images), "-b", str(bundle.path)]
        done = pyrun.call(*words, "--console-socket", path, pyrun.new_id())
        assert done.returncode == 0, done.stderr
        peer, _ = listener.accept()
        with peer:
            message, fds, _, _ = socket.recv_fds(peer, 100, 1)
        assert message.startswith(b"/dev/pts/")
        assert os.isatty(fds[0])
        os.close(fds[0])


def test_a_restore_that_needs_a_terminal_asks_for_the_socket(
    pyrun: Runtime, bundle: Bundle, images: Path
) -> None:
    bundle.process["terminal"] = True
    assert "pass --console-socket" in restore(pyrun, bundle, images, "--detach")


def test_what_is_no_checkpoint_is_refused_by_name(
    pyrun: Runtime, bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    told = restore(pyrun, bundle, tmp_path / "gone")
    assert f"there is no directory {tmp_path}/gone (--image-path)" in told
    assert f"{bundle.path} is no checkpoint: it has no inventory.img" in restore(
        pyrun, bundle, bundle.path
    )
    (images / "descriptors.json").write_text("[")
    assert "descriptors.json is not JSON" in restore(pyrun, bundle, images)
    (images / "descriptors.json").write_text("[1]")
    assert "must hold a list of strings" in restore(pyrun, bundle, images)
    (images / "descriptors.json").unlink()
    assert "(is it a --pre-dump?)" in restore(pyrun, bundle, images)


def test_a_file_of_the_host_that_is_gone_is_named(
    pyrun: Runtime, bundle: Bundle, images: Path
) -> None:
    (images / "descriptors.json").write_text('["", "file[1:2] /no/log"]')
    told = restore(pyrun, bundle, images)
    assert "descriptor 1 of the container was /no/log: No such file or directory" in told


def test_a_failed_restore_leaves_nothing_and_says_why(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, images: Path
) -> None:
    log = "Error (criu/image.c:1): magic does not match\n"
    criu.plan({RESTORE: [["write", [str(images / "restore.log"), log]], ["fail", [0, ""]]]})
    told = restore(pyrun, bundle, images)
    assert "criu failed: (criu/image.c:1): magic does not match (its log: " in told


def test_a_restored_container_is_ended_when_the_rest_fails(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, images: Path
) -> None:
    criu.plan({RESTORE: [["restored", "exec sleep 1000"], ["answer", ""]]})
    told = restore(pyrun, bundle, images, "--detach", "--pid-file", "/proc/no/pid")
    assert "write the pid file /proc/no/pid" in told


def test_a_failing_hook_ends_the_restore(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    bundle.hook("prestart", tmp_path / "hook", "echo no; exit 3")
    bundle.linux["namespaces"] = [{"type": "mount"}, {"type": "uts"}]
    steps = [["restored", "exec sleep 1000"], ["notify", "setup-namespaces"], ["answer", ""]]
    criu.plan({RESTORE: steps})
    told = restore(pyrun, bundle, images)
    assert "hook prestart/0" in told
    assert "exit status 3: no" in told


def test_a_bundle_that_has_lost_its_root_or_a_source_is_refused(
    pyrun: Runtime, bundle: Bundle, images: Path
) -> None:
    bundle.mount("/data", type="bind", source="/no/source")
    assert "/mounts/7/source: /no/source does not exist" in restore(pyrun, bundle, images)
    bundle.rootfs.rename(bundle.path / "elsewhere")
    assert "/root/path" in restore(pyrun, bundle, images)


def test_an_existing_container_is_not_restored_over(
    pyrun: Runtime, bundle: Bundle, images: Path
) -> None:
    name = running(pyrun, bundle)
    done = pyrun.call("restore", "--image-path", str(images), "-b", str(bundle.path), name)
    assert done.returncode == 1
    assert "a container with this id exists already" in done.stderr
    assert pyrun.state(name)["status"] == "running"


@pytest.mark.parametrize("word", ["apparmor", "apparmor:", "smack:label"])
def test_a_malformed_profile_is_refused(
    pyrun: Runtime, bundle: Bundle, images: Path, word: str
) -> None:
    told = restore(pyrun, bundle, images, "--lsm-profile", word)
    assert f"--lsm-profile is apparmor:NAME or selinux:NAME, not '{word}'" in told


def test_an_old_criu_is_refused_where_it_lacks_something(
    pyrun: Runtime, criu: FakeCriu, bundle: Bundle, images: Path
) -> None:
    criu.plan({VERSION: [["raw", "080a1001" + "5204" + "0803100f"]]})  # 3.15
    told = restore(pyrun, bundle, images, "--lsm-profile", "apparmor:x")
    assert "--lsm-profile needs CRIU 3.16" in told
    criu.plan({VERSION: [["raw", "080a1001" + "5204" + "0802100a"]]})  # 2.10
    assert "is older than 3.0" in restore(pyrun, bundle, images)


def test_without_privileges_it_is_refused(pyrun_path: str) -> None:
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        bundle = Bundle(folder / "bundle")
        bundle.save()
        words = [pyrun_path, "--root", str(folder / "own"), "restore", "-b", str(bundle.path)]
        done = subprocess.run(
            [*user, *words, "mine"],
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert "restore container mine: CRIU needs root" in done.stderr
