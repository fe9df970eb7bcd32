"""mounts add and mounts remove, crun's commands for a container that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import Done, Runtime

pytestmark = pytest.mark.needs("root", "busybox")


def change(pyrun: Runtime, action: str, name: str, mounts: object) -> Done:
    path = pyrun.root.parent / "mounts.json"
    path.write_text(json.dumps(mounts))
    return pyrun.call("mounts", action, name, str(path))


def add(pyrun: Runtime, name: str, *mounts: dict[str, Any]) -> None:
    done = change(pyrun, "add", name, list(mounts))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def name(pyrun: Runtime, bundle: Bundle) -> str:
    bundle.config["root"]["readonly"] = False
    bundle.shell("sleep 1000")
    return pyrun.start(bundle)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    made.mkdir()
    (made / "file").write_text("content\n")
    return made


def run(pyrun: Runtime, name: str, script: str) -> str:
    return pyrun.call("exec", name, "sh", "-c", script).stdout


def test_mounts_come_and_go(pyrun: Runtime, name: str, volume: Path) -> None:
    mounts: list[dict[str, Any]] = [
        {"destination": "/vol", "type": "bind", "source": str(volume), "options": ["ro"]},
        {"destination": "/etc/file", "type": "bind", "source": str(volume / "file")},
        {"destination": "/deep/er", "type": "tmpfs", "source": "tmpfs",
         "options": ["size=64k", "mode=0711", "noexec"]},
        {"destination": "/deep/er/below", "type": "bind", "source": str(volume)},
    ]  # fmt: skip
    add(pyrun, name, *mounts)
    assert run(pyrun, name, "cat /vol/file /etc/file /deep/er/below/file") == "content\n" * 3
    assert run(pyrun, name, "touch /vol/x 2>&1; touch /deep/er/below/x").count("Read-only") == 1
    assert (volume / "x").exists()
    line = run(pyrun, name, "grep ' /deep/er tmpfs' /proc/mounts; stat -c %a /deep/er")
    assert ("noexec" in line, "size=64k" in line, line.split()[-1]) == (True, True, "711")
    done = change(pyrun, "remove", name, mounts[::-1])
    assert (done.returncode, done.stderr) == (0, "")
    assert run(pyrun, name, "cat /proc/mounts | grep -E 'vol|deep|etc/file'; ls /vol") == ""
    refused = change(pyrun, "remove", name, mounts[:1])
    assert (refused.returncode, "unmount /vol" in refused.stderr) == (1, True)


def test_a_procfs_shows_the_containers_processes(pyrun: Runtime, name: str) -> None:
    add(pyrun, name, {"destination": "/proc2", "type": "proc", "source": "proc"})
    assert run(pyrun, name, "cat /proc2/1/cmdline").startswith("sleep")


def test_the_host_does_not_see_them(pyrun: Runtime, name: str, volume: Path) -> None:
    add(pyrun, name, {"destination": "/vol", "type": "bind", "source": str(volume)})
    assert str(volume) not in Path("/proc/self/mountinfo").read_text()
    assert pyrun.call("delete", "--force", name).returncode == 0
    assert pyrun.left(name) == []


@pytest.mark.needs("userns")
def test_a_container_in_a_user_namespace_gets_mounts(
    pyrun: Runtime, bundle: Bundle, volume: Path
) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.config["root"]["readonly"] = False
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    plain = {"destination": "/vol", "type": "bind", "source": str(volume)}
    mapped = {**plain, "destination": "/own", "options": ["idmap"]}
    add(pyrun, name, plain, mapped)
    assert run(pyrun, name, "stat -c %u /vol/file; stat -c %u /own/file") == "65534\n0\n"


def test_a_link_in_the_image_does_not_lead_out(
    pyrun: Runtime, bundle: Bundle, name: str, volume: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (bundle.rootfs / "link").symlink_to(outside)
    add(pyrun, name, {"destination": "/link/vol", "type": "bind", "source": str(volume)})
    assert list(outside.iterdir()) == []
    assert run(pyrun, name, f"cat {outside}/vol/file") == "content\n"


@pytest.mark.parametrize(
    ("mounts", "problem"),
    [
        ({"destination": "/x"}, "must hold a JSON array"),
        ([{"type": "tmpfs"}], "/mounts/0/destination: is missing"),
        ([{"destination": "/x", "type": "bind", "source": "/nosuch"}], "open the mount /nosuch"),
        ([{"destination": "/x", "type": "nosuchfs", "source": "x"}], "mount nosuchfs on /x"),
        ([{"destination": "/x", "type": "cgroup"}], "/mounts/0/type: cgroups cannot be mounted"),
        ([{"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup"]}], "tmpcopyup has no"),
        ([{"destination": "/x", "type": "tmpfs", "options": ["idmap"]}], "/mounts/0/options"),
        ([{"destination": "/proc/sys", "type": "tmpfs"}], "inside of"),
        ([{"destination": "/", "type": "tmpfs"}], "the root itself"),
    ],
)
def test_what_cannot_be_mounted_is_refused(
    pyrun: Runtime, name: str, mounts: object, problem: str
) -> None:
    before = run(pyrun, name, "cat /proc/mounts")
    done = change(pyrun, "add", name, mounts)
    assert (done.returncode, problem in done.stderr) == (1, True), done.stderr
    assert run(pyrun, name, "cat /proc/mounts") == before


def test_the_command_line_must_be_right(pyrun: Runtime, bundle: Bundle, name: str) -> None:
    done = change(pyrun, "change", name, [])
    assert (done.returncode, "add or remove" in done.stderr) == (1, True)
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    done = change(pyrun, "add", name, [])
    assert (done.returncode, "status is stopped" in done.stderr) == (1, True)
    kept = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "mount"]
    bundle.linux["namespaces"] = kept
    for setting in ("maskedPaths", "readonlyPaths"):
        del bundle.linux[setting]
    bundle.config["mounts"] = []
    shared = pyrun.start(bundle)
    done = change(pyrun, "add", shared, [])
    assert (done.returncode, "no mount namespace of its own" in done.stderr) == (1, True)
