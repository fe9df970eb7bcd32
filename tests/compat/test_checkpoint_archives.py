"""Archives of checkpoints between podman and pyengine, with a criu that saves nothing.

What CRIU itself does is tried in the guest (``test_podman_checkpoint.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import images
from support.containers import IMAGE, ContainerRoot
from support.criu import DUMP, RESTORE, FakeCriu
from support.side_by_side import LIMITS
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox", "podman", "conmon")

SCRIPT = (
    "echo new >/new; [ ! -e /data ] || echo kept >/data/kept; busybox rm /bin/wc;"
    " echo shared >/dev/shm/s; echo one; exec sleep 1000"
)
OPTIONS = ("--label", "a=b", IMAGE, "sh", "-c", SCRIPT)
VOLUME = ("-v", "stuff:/data")
Podman = Callable[..., str]


@pytest.fixture
def criu(tmp_path: Path) -> FakeCriu:
    return FakeCriu(tmp_path / "criu")


@pytest.fixture
def box(
    pyengine_path: str, pyrun_path: str, tmp_path: Path, criu: FakeCriu
) -> Iterator[ContainerRoot]:
    programs = ("--runtime", pyrun_path, "--runtime-flag", f"criu={criu.path}")
    made = ContainerRoot(pyengine_path, tmp_path, programs)
    made.load_image()
    yield made
    made.remove_everything()
    assert made.settled() == []


@pytest.fixture
def podman(pyrun_path: str, tmp_path: Path, criu: FakeCriu) -> Iterator[Podman]:
    """It asks the first criu of $PATH for its version."""
    conf = tmp_path / "containers.conf"
    conf.write_text(f'{LIMITS}\n[engine.runtimes]\npyrun = ["{pyrun_path}"]\n')
    environment = {**os.environ, "CONTAINERS_CONF": str(conf),
                   "PATH": f"{criu.path.parent}:{os.environ['PATH']}"}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cr") as top:  # podman wants a short path
        command = [
            "podman", "--root", f"{top}/root", "--runroot", f"{top}/run", "--tmpdir", f"{top}/tmp",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
            "--runtime", "pyrun", "--runtime-flag", f"criu={criu.path}",
        ]  # fmt: skip

        def call(*words: str | Path) -> str:
            done = subprocess.run(
                [*command, *words], check=False, capture_output=True, text=True, env=environment,
                timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        archive = tmp_path / "podmans.tar"
        call("load", "-i", images.oci_archive(archive, {IMAGE: images.busybox_image()}))
        yield call
        call("rm", "--force", "--time", "0", "--all")
        call("volume", "rm", "--all", "--force")


def plan(criu: FakeCriu, images_directory: str | Path) -> None:
    inventory = f"{images_directory}/checkpoint/inventory.img"
    criu.plan({DUMP: [["write", [inventory, "its memory"]], ["answer", ""]],
               RESTORE: [["restored", "exec sleep 1000"], ["answer", ""]]})  # fmt: skip


def test_podmans_container_goes_on_here(
    box: ContainerRoot, podman: Podman, criu: FakeCriu, tmp_path: Path
) -> None:
    id_ = podman("run", "-d", "--name", "p", "--network", "none", *VOLUME, *OPTIONS)
    wait_for(lambda: podman("logs", "p") == "one", "its output")
    plan(criu, podman("inspect", "--format", "{{.StaticDir}}", "p"))
    podman("container", "checkpoint", "-R", "-e", tmp_path / "p.tar", "p")
    podman("rm", "-f", "-t", "0", "p")  # which the real criu would have ended
    assert box.ok("container", "restore", "-i", tmp_path / "p.tar") == f"{id_}\n"
    tree = box.root / "containers" / id_ / "merged"
    assert ((tree / "new").read_text(), (tree / "bin/wc").exists()) == ("new\n", False)
    config = json.loads((box.runroot / "containers" / id_ / "config.json").read_text())
    sources = {one["destination"]: Path(one["source"]) for one in config["mounts"]}
    assert (sources["/dev/shm"] / "s").read_text() == "shared\n"
    assert (sources["/data"] / "kept").read_text() == "kept\n"
    assert box.ok("inspect", "--format", "{{.Config.Labels.a}} {{.Name}}", "p") == "b p\n"
    assert box.ok("logs", "p") == "one\n"
    box.ok("rm", "-f", "-t", "0", "-v", "p")
    box.ok("volume", "rm", "stuff")


def test_our_container_goes_on_under_podman(
    box: ContainerRoot, podman: Podman, criu: FakeCriu, tmp_path: Path
) -> None:
    """Without a volume: podman wants that where its default storage has it."""
    id_ = box.ok("run", "-d", "--name", "o", "--restart", "on-failure:3", *OPTIONS).strip()
    wait_for(lambda: box.ok("logs", "o") == "one\n", "its output")
    plan(criu, box.root / "containers" / id_)
    box.ok("container", "checkpoint", "-R", "-e", tmp_path / "o.tar", "o")
    box.ok("rm", "-f", "-t", "0", "o")  # which the real criu would have ended
    podman("container", "restore", "-i", tmp_path / "o.tar")
    shown = json.loads(podman("inspect", "o"))[0]
    assert (shown["Id"], shown["Name"], shown["State"]["Status"]) == (id_, "o", "running")
    assert shown["Config"]["Labels"] == {"a": "b"}
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    root = Path(podman("container", "mount", "o"))
    assert root.stat().st_mode & 0o777 == 0o755  # not podman's 0555: CRIU wants what it has seen
    assert ((root / "new").read_text(), (root / "bin/wc").exists()) == ("new\n", False)
    podman("container", "unmount", "o")
