"""Hostile input, damaged states, and callers that die, interrupt or close what they should not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.mark.parametrize("member", ["uid", "gid"])
def test_the_id_that_means_no_change_is_refused(
    pyrun: Runtime, bundle: Bundle, member: str
) -> None:
    """setresuid(-1) changes nothing, so the process would have stayed root."""
    bundle.process["user"] = {"uid": 1, "gid": 1, member: 2**32 - 1}
    done = pyrun.run(bundle)
    assert (done.returncode, f"/process/user/{member}" in done.stderr) == (1, True)


def test_no_user_of_exec_is_the_id_that_means_no_change(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    done = pyrun.call("exec", "--user", str(2**32 - 1), pyrun.start(bundle), "id")
    assert (done.returncode, done.stdout) == (255, "")


@pytest.mark.parametrize("name", ["net/../kernel/printk_ratelimit_burst", "net//x", "net.."])
def test_a_kernel_parameter_cannot_be_named_by_way_of_another(
    pyrun: Runtime, bundle: Bundle, name: str
) -> None:
    same = Path("/proc/sys/kernel/printk_ratelimit_burst").read_text().strip()
    bundle.linux["sysctl"] = {name: same}
    done = pyrun.run(bundle)
    assert (done.returncode, "is not the name of a kernel parameter" in done.stderr) == (1, True)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_home_is_not_read_from_what_never_ends(pyrun: Runtime, bundle: Bundle, kind: str) -> None:
    passwd = bundle.rootfs / "etc/passwd"
    passwd.unlink()
    if kind == "fifo":
        os.mkfifo(passwd)
    else:
        passwd.symlink_to("/dev/zero")
    bundle.shell("echo $HOME")
    assert pyrun.output(bundle) == "/"


def test_limits_above_the_signed_range_are_numbers_too(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_CORE", "soft": 2**64 - 2, "hard": 2**64 - 1},
    ]
    bundle.shell("ulimit -c >/dev/null && grep core /proc/self/limits")
    assert pyrun.output(bundle).split()[4:6] == [str(2**64 - 2), "unlimited"]


def test_a_hook_may_have_a_month(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.hook("createRuntime", tmp_path / "hook", "exit 0", timeout=3_000_000)
    assert pyrun.run(bundle).returncode == 0


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("hostname",), "\ud800"),
        (("linux", "cgroupsPath"), "/\ud800"),
        (("linux", "namespaces"), [{"type": "pid", "path": "/\ud800"}]),
        (("process", "env"), ["A=\ud800"]),
        (("process", "env"), ["=x"]),
        (("process", "env"), ["x"]),
        (("linux", "sysctl"), {"net.\0": "1"}),
    ],
)
def test_what_no_system_call_takes_is_refused_with_its_place(
    pyrun: Runtime, bundle: Bundle, place: tuple[str, ...], value: object
) -> None:
    target = bundle.config
    for name in place[:-1]:
        target = target[name]
    target[place[-1]] = value
    done = pyrun.run(bundle)
    assert (done.returncode, f"config.json: /{'/'.join(place)}" in done.stderr) == (1, True)


@pytest.mark.parametrize("word", ["\u00b2", "9" * 5000, "-1"])
def test_odd_numbers_are_a_message(pyrun: Runtime, word: str) -> None:
    for words in (["run", f"--preserve-fds={word}"], ["kill", "none", word]):
        done = pyrun.call(*words, *(["none"] if words[0] == "run" else []))
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stage": "created", "pid": "x"}'])
def test_a_damaged_state_is_told_and_removed_by_force(
    pyrun: Runtime, bundle: Bundle, text: str
) -> None:
    """As a power cut leaves it where --root is on a disk."""
    folder = pyrun.root / "damaged"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(text)
    (folder / "config.json.new").touch()
    bundle.save()
    for words in (
        ["state", "damaged"],
        ["kill", "damaged"],
        ["exec", "damaged", "true"],
        ["start", "damaged"],
        ["delete", "damaged"],
        ["create", "-b", str(bundle.path), "damaged"],
    ):
        done = pyrun.call(*words)
        assert (done.returncode != 0, "its state is damaged" in done.stderr) == (True, True)
    done = pyrun.call("list", "-q")
    assert (done.returncode, done.stdout, "damaged" in done.stderr) == (0, "", True)
    done = pyrun.call("delete", "--force", "damaged")
    assert (done.returncode, "may be left" in done.stderr) == (0, True)
    assert not folder.exists()


@pytest.mark.parametrize("words", [["delete"], ["delete", "--force"], ["create"]])
def test_a_directory_of_somebody_else_is_not_emptied(
    pyrun: Runtime, bundle: Bundle, words: list[str]
) -> None:
    """``--root /home`` by mistake."""
    precious = pyrun.root / "user/precious"
    precious.parent.mkdir(parents=True)
    precious.touch()
    bundle.save()
    done = pyrun.call(*words, *(["-b", str(bundle.path)] if words == ["create"] else []), "user")
    assert (done.returncode, "is no container" in done.stderr) == (1, True)
    assert precious.exists()


@pytest.mark.needs("cgroup_freezer")
def test_a_paused_container_dies_when_it_is_deleted(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    state = json.loads((pyrun.root / name / "state.json").read_text())
    Path(state["cgroup"]["paths"]["freezer"], "freezer.state").write_text("FROZEN")
    done = pyrun.call("delete", "--force", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert pyrun.left(name) == []


@pytest.mark.parametrize("value", ["0", "f", "FALSE"])
def test_a_switch_can_be_off_in_every_word_of_go(pyrun: Runtime, value: str) -> None:
    assert pyrun.call("delete", f"--force={value}", "none").returncode == 1
    assert pyrun.call("delete", "--force=maybe", "none").returncode == 1


def test_log_level_decides_what_is_written(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.process["capabilities"]["bounding"] = ["CAP_OF_TOMORROW"]
    bundle.save()
    words = ["run", "-b", str(bundle.path)]
    assert "CAP_OF_TOMORROW" in pyrun.call(*words, pyrun.new_id()).stderr
    quiet = [pyrun.program, "--log-level", "error", "--root", str(pyrun.root)]
    done = subprocess.run(
        [*quiet, *words, pyrun.new_id()], check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    loud = [pyrun.program, "--log-level", "loud", "list"]
    assert subprocess.run(loud, check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_the_null_device(
    pyrun: Runtime, bundle: Bundle, closed: str
) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.shell("for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done >/fds")
    bundle.save()
    words = " ".join(pyrun.command("run", "-b", str(bundle.path), pyrun.new_id()))
    done = subprocess.run(
        ["sh", "-c", f"exec {words} {closed}"],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    shown = (bundle.rootfs / "fds").read_text().split()
    assert len(shown) == 3
    for word, fd in (("<&-", 0), ("2>&-", 2)):
        if word in closed.split():
            assert shown[fd] == "/dev/null"


def test_a_signal_while_the_container_is_made_reaches_it(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """``run`` is interrupted during a hook: the container is started, gets it and is removed."""
    ready, go = tmp_path / "ready", tmp_path / "go"
    os.mkfifo(ready)
    os.mkfifo(go)
    bundle.hook("createRuntime", tmp_path / "hook", f"echo >{ready}; read line <{go}")
    # not pid 1 of a namespace, which would not die of a signal before it has set its trap
    bundle.linux["namespaces"] = [n for n in bundle.linux["namespaces"] if n["type"] != "pid"]
    bundle.shell("sleep 1000")
    bundle.save()
    name = pyrun.new_id()
    words = pyrun.command("run", "-b", str(bundle.path), name)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        ready.read_text()
        for _ in range(20):
            running.send_signal(signal.SIGTERM)
        go.write_text("\n")
        assert running.stderr
        assert (running.wait(60), running.stderr.read()) == (143, b"")
    assert pyrun.left(name) == []


def test_interrupted_create_leaves_a_message_and_nothing_else(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    bundle.hook("createRuntime", tmp_path / "hook", f"echo >{ready}; exec sleep 1000", timeout=60)
    bundle.save()
    name = pyrun.new_id()
    words = pyrun.command("create", "-b", str(bundle.path), name)
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        words, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE, start_new_session=True
    ) as running:
        ready.read_text()
        os.killpg(running.pid, signal.SIGINT)  # as the terminal does
        assert running.stderr
        said = running.stderr.read().decode()
        assert running.wait(60) in (1, 130)
    assert "Traceback" not in said
    assert pyrun.left(name) == []


def test_exec_enters_no_cgroup_outside_of_the_container(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    done = pyrun.call("exec", "--cgroup", "../..", pyrun.start(bundle), "true")
    assert (done.returncode, "is not below the container" in done.stderr) == (255, True)


def test_what_nobody_can_read_is_no_reason_to_lose_the_exit_status(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """Standard error takes nothing: the status tells what happened all the same."""
    bundle.process["args"] = ["/nowhere"]
    bundle.save()
    words = pyrun.command("run", "-b", str(bundle.path), pyrun.new_id())
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=full,
            timeout=60,
        )  # fmt: skip
    assert done.returncode == 127


@pytest.mark.needs("strace")
@pytest.mark.parametrize("words", [["delete"], ["delete", "--force"], ["create"]])
def test_a_state_that_cannot_be_looked_at_is_not_taken_for_none(
    pyrun: Runtime, bundle: Bundle, words: list[str]
) -> None:
    """Otherwise the record of a container that runs would be thrown away."""
    bundle.process["args"] = ["sleep", "1000"]
    name = pyrun.start(bundle)
    state = pyrun.root / name / "state.json"
    rest = [name] if words[0] == "delete" else ["-b", str(bundle.path), name]
    for place in (state, state.parent):
        inject = ["-P", str(place), "-e", "inject=stat,newfstatat,openat,open:error=EACCES"]
        command = ["strace", "-qq", "-o", "/dev/null", *inject, *pyrun.command(*words, *rest)]
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        assert (done.returncode, "Permission denied" in done.stderr) == (1, True), done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert pyrun.state(name)["status"] == "running"


@pytest.mark.parametrize("depth", [60, 1500])
def test_a_destination_may_be_as_deep_as_a_path_can_name(
    pyrun: Runtime, bundle: Bundle, depth: int
) -> None:
    place = "/tmp" + "/d" * depth
    bundle.config["root"]["readonly"] = False
    bundle.mount(place, type="tmpfs", source="tmpfs")
    bundle.process["cwd"] = f"{place}/made"
    bundle.shell("pwd; df . | tail -n 1")
    try:
        assert [line[-len(place) :] for line in pyrun.output(bundle).splitlines()[1:]] == [place]
    finally:
        remove_deep(bundle.rootfs / "tmp")


def test_directories_too_deep_to_copy_are_a_message(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.shell("cd /tmp; i=0; while [ $i -lt 1200 ]; do mkdir d; cd d; i=$((i + 1)); done")
    pyrun.output(bundle)
    bundle.mount("/tmp", type="tmpfs", source="tmpfs", options=["tmpcopyup"])
    try:
        done = pyrun.run(bundle)
        assert (done.returncode, "nested too deep" in done.stderr) == (1, True), done.stderr
    finally:
        remove_deep(bundle.rootfs / "tmp")


def remove_deep(path: Path) -> None:
    """Python's rmtree, with which pytest removes old directories, cannot go so deep."""
    subprocess.run(["rm", "-r", str(path)], check=True)


def below(script: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command in a mount namespace of its own that ``script`` has changed."""
    return subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *words],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_host_without_a_null_device_is_a_message(pyrun: Runtime) -> None:
    done = below('mount -t tmpfs none /dev; exec "$@" <&-', pyrun.command("list"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pyrun: open /dev/null for stream 0: No such file or directory\n"


def test_a_read_only_cgroup_file_system_is_told_and_nothing_stays(
    pyrun: Runtime, bundle: Bundle
) -> None:
    """rmdir(2) of what is not there says EROFS, too."""
    bundle.save()
    name = pyrun.new_id()
    each = "/sys/fs/cgroup /sys/fs/cgroup/*"
    script = f'for i in {each}; do mountpoint -q $i && mount -o remount,bind,ro $i; done; exec "$@"'
    done = below(script, pyrun.command("create", "-b", str(bundle.path), name))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "make cgroup" in done.stderr
    assert "Read-only file system" in done.stderr
    assert pyrun.left(name) == []
