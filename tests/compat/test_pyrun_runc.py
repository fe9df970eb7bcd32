"""One scenario with pyrun and with runc: callers must not notice the difference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox", "runc")

Pair = tuple[Runtime, Runtime]


@pytest.fixture
def both(pyrun_path: str, tmp_path: Path) -> Iterator[Pair]:
    runc = shutil.which("runc") or ""
    with Runtime(pyrun_path, tmp_path / "pyrun") as ours, Runtime(runc, tmp_path / "runc") as other:
        yield ours, other


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    return Bundle(tmp_path / "bundle")


def same(both: Pair, what: Callable[[Runtime], object]) -> object:
    """What both give; a difference fails."""
    ours, theirs = (what(runtime) for runtime in both)
    assert ours == theirs
    return ours


@pytest.mark.parametrize(
    "script",
    [
        "exit 0", "exit 77", "kill -TERM $$; sleep 1; exit 3",
        "id; pwd; umask; env | sort; hostname",
        "for d in /dev/*; do stat -c '%n %F %a %t,%T' $d; done",
        "cut -d' ' -f5-6 /proc/self/mountinfo | sed 's/,relatime//' | grep -Ev 'cgroup|timer_list'",
        "grep -E 'Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Umask|Sig[BCIP]' /proc/self/status",
        "ls -l /proc/self/fd | wc -l; ulimit -a",
        "cat /proc/self/oom_score_adj /proc/sys/kernel/domainname;"
        # runc leaves cgroup2 out where it is beside the v1 hierarchies
        "ls /sys/fs/cgroup | grep -v unified",
        "cat /proc/timer_list 2>&1; ls /sys/firmware; touch /proc/sys/kernel/hostname 2>&1",
    ],
)  # fmt: skip
def test_the_container_sees_the_same(both: Pair, bundle: Bundle, script: str) -> None:
    bundle.shell(script)

    def run(runtime: Runtime) -> tuple[int, list[str]]:
        done = runtime.run(bundle)
        return done.returncode, sorted(done.stdout.splitlines())

    same(both, run)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("nope", 'exec: "nope": executable file not found in $PATH'),
        ("", 'exec: "": executable file not found in $PATH'),
        ("/nope", "no such file or directory"),
        ("../nope", "no such file or directory"),
        ("/etc/passwd/x", "not a directory"),
        ("/etc", "permission denied"),
        ("/etc/passwd", "permission denied"),
        ("/script", "no such file or directory"),
        ("/data", "exec format error"),
    ],
)
def test_the_words_of_what_cannot_be_executed(
    both: Pair, bundle: Bundle, program: str, words: str
) -> None:
    (bundle.rootfs / "script").write_text("#!/nosuch/interpreter\n")
    (bundle.rootfs / "data").write_bytes(b"\1\2data")
    for name in ("script", "data"):
        (bundle.rootfs / name).chmod(0o755)
    bundle.shell("sleep 1000")
    running = [runtime.start(bundle) for runtime in both]
    bundle.process["args"] = [program]
    for runtime, name in zip(both, running, strict=True):
        for done in (runtime.run(bundle), runtime.call("exec", name, program)):
            assert done.returncode != 0
            assert words in done.stderr.replace('\\"', '"')


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["nosuch"], 3), (["help"], 0), (["help", "nosuch"], 3), (["--nosuch"], 1),
        (["run", "--nosuch"], 1), (["list", "--format", "nosuch"], 1), (["features"], 0),
        (["pause", "none"], 1), (["resume", "none"], 1), (["ps", "none"], 1),
        (["events", "--stats", "none"], 1), (["update", "--pids-limit", "1", "none"], 1),
        (["events", "--interval", "0s", "none"], 1),
    ],
)  # fmt: skip
def test_exit_status_of_the_command_line(both: Pair, words: list[str], status: int) -> None:
    assert same(both, lambda runtime: runtime.call(*words).returncode) == status


@pytest.mark.needs("cgroup_memory", "cgroup_cpu", "cgroup_pids")
def test_statistics_have_all_members_of_runc(both: Pair, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    bundle.shell("sleep 1000")

    def members(value: Any, place: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {f"{place} {type(value).__name__}"}
        return {place}.union(*(members(inner, f"{place}/{key}") for key, inner in value.items()))

    def stats(runtime: Runtime) -> set[str]:
        return members(json.loads(runtime.call("events", "--stats", runtime.start(bundle)).stdout))

    ours, theirs = (stats(runtime) for runtime in both)
    assert theirs - ours == set()
    # runc 1.1 knows no pressure, and no huge pages where only cgroup2 has them
    assert {
        place for place in ours - theirs if "/psi" not in place and "/hugetlb" not in place
    } == (set())


def test_state_has_the_same_members(both: Pair, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    bundle.config["annotations"] = {"a": "b"}

    def members(runtime: Runtime) -> list[tuple[str, str]]:
        state = runtime.state(runtime.start(bundle))
        varying = ("id", "pid", "created")
        return sorted(
            (key, "" if key in varying else json.dumps(value)) for key, value in state.items()
        )

    found = dict(members(both[0]))
    other = dict(members(both[1]))
    assert found.keys() == other.keys()
    # the owner is empty in runc's state, and told in its list as in crun's state
    for key in ("status", "bundle", "rootfs", "annotations"):
        assert found[key] == other[key]


@pytest.mark.parametrize(
    "words",
    [
        ["state", "none"], ["start", "none"], ["kill", "none"], ["delete", "none"],
        ["delete", "--force", "none"], ["exec", "none", "true"], ["run", "a/b"], ["list", "-q"],
    ],
)  # fmt: skip
def test_exit_status_without_a_container(both: Pair, words: list[str]) -> None:
    same(both, lambda runtime: runtime.call(*words).returncode)


def test_exit_status_of_operations_that_do_not_fit(both: Pair, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")

    def statuses(runtime: Runtime) -> list[int]:
        name = runtime.start(bundle)
        found = [
            runtime.call(*words).returncode
            for words in (["start", name], ["delete", name], ["run", "-b", str(bundle.path), name],
                          ["exec", name, "sh", "-c", "exit 9"], ["kill", name, "KILL"])
        ]  # fmt: skip
        runtime.wait_until_stopped(name)
        return [
            *found,
            runtime.call("kill", name).returncode,
            runtime.call("delete", name).returncode,
        ]

    assert same(both, statuses) == [1, 1, 1, 9, 0, 1, 0]
