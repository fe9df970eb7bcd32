"""An ordinary user's containers: what he sees, and what he is refused, is podman's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from support import images, side_by_side
from support.containers import IMAGE
from support.rootless import OrdinaryRoot, ordinary_home, require_open
from support.side_by_side import LIMITS, Player, run, step

pytestmark = [side_by_side.NEEDS, pytest.mark.needs("userns", "newuidmap", "crun", "hybrid")]

SH = (IMAGE, "sh", "-c")
WHOSE = "id -u; id -G; busybox tail -n 1 /etc/passwd; busybox tail -n 1 /etc/group; stat -c %u /bin"

STEPS = [
    step("load", "-q", "-i", "{archive}"),
    run("--rm", *SH, f"{WHOSE}; cat /proc/self/uid_map /proc/self/gid_map"),
    run("--rm", "--userns", "keep-id", *SH, f"{WHOSE}; cat /proc/self/uid_map"),
    run("--rm", "--userns", "keep-id", "--user", "0", *SH, WHOSE),
    run("--rm", "--userns", "keep-id:uid=200,gid=210", *SH, f"{WHOSE}; cat /proc/self/gid_map"),
    run("--rm", "--userns", "nomap", *SH, f"{WHOSE}; cat /proc/self/uid_map"),
    run("--rm", "--userns", "auto", *SH, f"{WHOSE}; cat /proc/self/uid_map"),
    run("--rm", "--uidmap", "0:1:2000", *SH, f"{WHOSE}; cat /proc/self/gid_map"),
    run("--rm", "--user", "1000:1000", *SH, WHOSE),
    run("--rm", "-v", "{shared}:/s", *SH, "stat -c %u /s/file; echo x >/s/new; rm /s/new"),
    run("--rm", "--privileged", *SH, "busybox grep Cap /proc/self/status"),
    run("--rm", "--device", "/dev/null:/dev/zed", *SH, "stat -c %t,%T /dev/zed"),
    run("--rm", "--read-only", "--tmpfs", "/t", *SH, "touch /new; touch /t/new; echo $?"),
    run("--rm", "--userns", "keep-id:foo=1", IMAGE, "true"),
    run("--rm", "--memory", "64m", IMAGE, "true",
        differs="status message", why="what cannot be limited is an error"),
    run("-d", "--name", "one", IMAGE, "sleep", "1000"),
    step("exec", "one", "id", "-u"),
    step("mount", "one"),
    step("pause", "one"),
    step("stats", "--no-stream", "one"),
    step("kill", "one"),
    step("wait", "one"),
    step("rm", "one"),
    step("image", "mount", IMAGE),
    step("unshare", "cat", "/proc/self/uid_map"),
    step("info", "--format", "{{.Host.Security.Rootless}} {{.Host.CgroupControllers}}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers(pyengine_path: str) -> Iterator[side_by_side.Answers]:
    require_open(pyengine_path)
    with ordinary_home() as home:
        root = OrdinaryRoot(pyengine_path, home, 65_536)
        root.layout = "v1"  # crun refuses the other
        root.programs = ("--runtime", "crun")
        (home / "containers.conf").write_text(LIMITS)
        (home / "containers.conf").chmod(0o644)
        shared = home / "shared"
        shared.mkdir()
        (shared / "file").write_text("shared\n")
        subprocess.run(["chown", "-R", f"--reference={home}", str(shared)], check=True)
        archive = images.oci_archive(home / "box.tar", {IMAGE: images.busybox_image()})
        archive.chmod(0o644)
        facts = {"archive": str(archive), "shared": str(shared)}
        environment = {"CONTAINERS_CONF": str(home / "containers.conf")}
        (home / "x").mkdir(mode=0o700)
        subprocess.run(["chown", f"--reference={home}", str(home / "x")], check=True)
        podman = [
            *root.prefix(), "env", f"XDG_RUNTIME_DIR={home}/x", "podman", "--root", f"{home}/p",
            "--runroot", f"{home}/x/r", "--cgroup-manager", "cgroupfs", "--runtime", "crun",
            "--conmon", "/usr/bin/conmon", "--events-backend", "file",
        ]  # fmt: skip
        players = [Player(podman, environment, facts), Player(root.argv(), environment, facts)]
        try:
            theirs, ours = ([player.play(one) for one in STEPS] for player in players)
            yield list(zip(theirs, ours, strict=True))
        finally:
            for words in (["rm", "-f", "-t", "0", "-a"], ["system", "migrate"]):
                players[0].play(step(*words))
            root.remove_everything()
        assert root.settled() == []


@side_by_side.parameters(STEPS)
def test_the_answer_is_podmans(answers: side_by_side.Answers, index: int) -> None:
    side_by_side.compare(STEPS, answers, index)
