"""diff, commit, export and mount, with both storage drivers."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")

SCRIPT = (
    "echo hi >/new; busybox rm /etc/group; busybox mkdir /d; busybox chown 7:8 /d;"
    " busybox ln -s new /l"
)


@pytest.fixture(scope="module", params=["overlay", "vfs"])
def root(
    request: pytest.FixtureRequest, pyengine_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerRoot]:
    driver = ("--storage-driver", request.param)
    made = ContainerRoot(pyengine_path, tmp_path_factory.mktemp("trees"), driver)
    made.load_image()
    yield made
    made.remove_everything()
    assert made.settled() == []


def test_changes_become_an_image_and_an_archive(root: ContainerRoot, tmp_path: Path) -> None:
    root.call("run", "--name", "c", "-e", "A=b", "-w", "/tmp", "--expose", "80", IMAGE, "sh", "-c",
              SCRIPT)  # fmt: skip
    upper = root.root / "containers" / root.ok("inspect", "--format", "{{.Id}}", "c").strip()
    tree = upper / ("diff" if (upper / "diff").exists() else "merged")
    os.setxattr(tree / "new", "user.note", b"kept")
    lines = ["A /d", "C /etc", "D /etc/group", "A /l", "A /new"]
    assert sorted(root.ok("diff", "c").splitlines()) == sorted(lines)
    assert json.loads(root.ok("container", "diff", "--format", "json", "-l")) == {
        "changed": ["/etc"], "added": ["/d", "/l", "/new"], "deleted": ["/etc/group"],
    }  # fmt: skip

    iid = tmp_path / "iid"
    changes = ("-c", "ENV X=y", "-c", 'CMD ["cat","/new"]', "-c", "WORKDIR /")
    image_id = root.ok("commit", "-q", "--iidfile", str(iid), "-a", "me", *changes, "c", "made:1")
    assert iid.read_text() == image_id.strip()
    assert root.ok("run", "--rm", "made:1") == "hi\n"
    script = 'echo $A$X; busybox stat -c "%u %g" /d; busybox readlink /l; ls /etc/group || pwd'
    shown = root.call("run", "--rm", "made:1", "sh", "-c", script)
    assert shown.stdout == "by\n7 8\nnew\n/\n"
    (found,) = json.loads(root.ok("image", "inspect", "made:1"))
    assert (found["Author"], found["Config"]["Cmd"]) == ("me", ["cat", "/new"])
    assert found["Config"]["ExposedPorts"] == {"80/tcp": {}}
    (container,) = json.loads(root.ok("inspect", "c"))
    assert container["Config"]["ExposedPorts"] == {"80/tcp": {}}
    (tmp_path / "config").write_text('{"User": "7", "Env": ["A=merged"]}')
    root.ok("commit", "-q", "--config", str(tmp_path / "config"), "c", "made:3")
    assert root.ok("run", "--rm", "made:3", "sh", "-c", "id -u; echo $A") == "7\nmerged\n"
    assert "not JSON" in root.fails("commit", "--config", "/etc/passwd", "c")
    words = ("commit", "-q", "-f", "docker", "-m", "why", "--squash", "c", "made:2")
    root.ok(*words)
    (found,) = json.loads(root.ok("image", "inspect", "made:2"))
    assert (found["Comment"], len(found["RootFS"]["Layers"])) == ("why", 1)
    assert root.ok("run", "--rm", "made:2", "cat", "/new") == "hi\n"

    archive = tmp_path / "c.tar"
    root.ok("export", "-o", archive, "c")
    with tarfile.open(archive) as tar:
        assert tar.getmember("d").uid == 7
        assert tar.getmember("new").pax_headers["SCHILY.xattr.user.note"] == "kept"
        assert "etc/group" not in tar.getnames()
    root.ok("import", "-q", archive, "back:1")
    again = tmp_path / "again.tar"
    root.ok("create", "--name", "b", "back:1", "true")
    root.ok("export", "-o", again, "b")
    assert again.read_bytes() == archive.read_bytes()

    assert "only compatible with the docker" in root.fails("commit", "-m", "x", "c", "no:1")
    assert "unrecognized image format" in root.fails("commit", "-f", "zip", "c", "no:1")
    assert "known: CMD" in root.fails("commit", "-c", "BOGUS x", "c", "no:1")
    assert "no such container" in root.fails("commit", "nosuch")
    assert "no such container" in root.fails("export", "-o", tmp_path / "none.tar", "nosuch")
    assert not (tmp_path / "none.tar").exists()
    assert "no such container and no such image" in root.fails("diff", "nosuch")
    root.remove_everything()


def test_a_running_container_is_paused_meanwhile(root: ContainerRoot) -> None:
    root.ok("run", "-d", "--name", "p", "-v", "data:/data", IMAGE, "sleep", "1000")
    first = root.ok("commit", "-q", "--pause", "--include-volumes", "p", "paused:1")
    assert "Up" in root.status("p")
    (found,) = json.loads(root.ok("image", "inspect", first.strip()))
    assert found["Config"]["Volumes"] == {"/data": {}}
    wanted = ("--filter", "container=p", "--format", "{{.Status}}")
    told = root.ok("events", "--stream=false", "--since", "1h", *wanted).split()
    assert told[-3:] == ["pause", "unpause", "commit"]
    root.remove_everything()


def test_a_mounted_container_is_seen_until_it_is_unmounted(root: ContainerRoot) -> None:
    root.ok("create", "--name", "m", IMAGE, "sleep", "1000")
    assert root.ok("diff", "m") == ""
    path = Path(root.ok("mount", "m").strip())
    (path / "mine").write_text("x\n")
    root.ok("start", "m")
    assert root.ok("exec", "m", "cat", "/mine") == "x\n"
    root.ok("stop", "-t", "0", "m")
    assert (path / "mine").exists()
    assert root.ok("diff", "m") == "A /mine\n"
    if "overlay" in root.programs:  # a copy is always there
        (listed,) = json.loads(root.ok("mount", "--format", "json"))
        assert (listed["Names"], listed["mountpoint"]) == (["m"], str(path))
    assert root.ok("umount", "m") == "m\n"
    assert root.ok("mount") == ""
    assert "is not mounted" in root.fails("unmount", "m")
    assert root.ok("container", "unmount", "--force", "m") == "m\n"
    root.ok("container", "mount", "--all")
    assert (path / "mine").exists()
    root.ok("umount", "--all")
    assert "no such container" in root.fails("mount", "nosuch")
    root.remove_everything()
