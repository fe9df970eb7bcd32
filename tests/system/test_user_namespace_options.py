"""Containers with a user namespace of their own, and whose their files are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyengine.errors import StorageError
from pyengine.storage import idmapped
from support.containers import IMAGE, ContainerRoot

FIRST = 200_000
MAP = f"0:{FIRST}:65536"


def _maps_owners(directory: Path) -> bool:
    try:
        namespace_fd = idmapped.namespace([[0, FIRST, 1]], [[0, FIRST, 1]])
        os.close(idmapped.clone(str(directory), namespace_fd))
        os.close(namespace_fd)
    except (OSError, StorageError):
        return False
    return True


pytestmark = pytest.mark.needs("root", "busybox", "userns")


def test_a_container_has_users_of_its_own(box: ContainerRoot, tmp_path: Path) -> None:
    if not _maps_owners(tmp_path):
        pytest.skip("owners cannot be mapped here")
    (tmp_path / "mine").write_text("of root")
    script = (
        "cat /proc/self/uid_map; ls -lan /etc/passwd /etc/hosts /data/own /idmap/mine;"
        " busybox grep CapEff /proc/self/status; exec sleep 1000"
    )
    box.ok(
        "run", "-d", "--name", "own", "--uidmap", MAP, "-v", "fresh:/data", "-v",
        f"{tmp_path}:/idmap:idmap", IMAGE, "sh", "-c", f"echo x >/data/own; {script}",
    )  # fmt: skip
    box.ok("exec", "own", "sh", "-c", "echo new >/made; echo more >>/etc/passwd")
    lines = box.ok("logs", "own").splitlines()
    assert lines[0].split() == ["0", str(FIRST), "65536"]
    assert [line.split()[2:4] for line in lines[1:5]] == [["0", "0"]] * 4
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", "own").strip()
    assert f"\t{FIRST}\t" in Path(f"/proc/{pid}/status").read_text()
    root = Path(f"/proc/{pid}/root")
    assert (root / "made").stat().st_uid == FIRST
    assert (root / "etc/passwd").stat().st_uid == FIRST
    layers = list((box.root / "layers").rglob("passwd"))
    assert {path.stat().st_uid for path in layers} == {0}  # the image is as it was
    assert box.sh("busybox tail -n 1 /etc/passwd") != "more\n"
    box.ok("stop", "-t", "0", "own")
    box.ok("start", "own")
    assert box.ok("exec", "own", "sh", "-c", "cat /made; busybox tail -n 1 /etc/passwd"
                  ) == "new\nmore\n"  # fmt: skip
    guest = box.sh("readlink /proc/self/ns/user; echo y >/y; ls -lan /y | busybox cut -c 1-20",
                   "--userns", "container:own")  # fmt: skip
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", "own").strip()
    assert guest.splitlines()[0] == os.readlink(f"/proc/{pid}/ns/user")
    found = json.loads(box.ok("inspect", "own"))[0]
    assert found["HostConfig"]["UsernsMode"] == "private"
    for words in (("export", "own"), ("commit", "own", "x")):
        assert "belong to ids of this host" in box.fails(*words)
    host = box.sh("ls /sys/class/net", "--uidmap", MAP, "--network", "host")
    assert set(host.split()) == set(os.listdir("/sys/class/net"))


def test_what_cannot_be_mapped_is_an_error_that_leaves_nothing(box: ContainerRoot) -> None:
    error = box.fails("run", "--rm", "--uidmap", f"1:{FIRST}:5", IMAGE, "true")
    assert "the container's root has no user of the host" in error
    error = box.fails("--storage-driver", "vfs", "run", "--rm", "--uidmap", MAP, IMAGE, "true")
    assert "user namespaces need the overlay driver" in error
    error = box.fails("run", "--rm", "--userns", "container:nosuch", IMAGE, "true")
    assert "no such container" in error
    plain = box.ok("run", "-d", IMAGE, "sleep", "1000").strip()
    error = box.fails("run", "--rm", "--userns", f"container:{plain}", IMAGE, "true")
    assert "it has no user namespace of its own" in error
    assert box.ok("ps", "-aq", "--no-trunc") == f"{plain}\n"
