"""Volumes: the commands, the first use, mounts that count their users, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.containers import IMAGE, ContainerRoot
from support.engine import EngineRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")

FILLED = "localhost/filled:1"


@pytest.fixture(scope="module")
def filled(module_root: ContainerRoot) -> ContainerRoot:
    """The root with an image that has volumes, one of them with something in it."""
    layer = images.Layer()
    layer.directory("data", 0o750, uid=1000, gid=1000)
    layer.add("data/file", b"from the image\n", mode=0o640, uid=1000, gid=1000)
    layer.symlink("data/link", "file")
    layer.directory("data/sub", 0o700)
    layer.symlink("way-in", "/data")
    layer.directory("empty", 0o711, uid=7)
    image = images.Image(
        [images.busybox_layer(), layer.tar()], Volumes={"/data": {}, "/made/here": {}}
    )
    path = images.oci_archive(module_root.root.parent / "filled.tar", {FILLED: image})
    module_root.ok("load", "-i", path)
    return module_root


@pytest.fixture
def root(filled: ContainerRoot) -> Iterator[ContainerRoot]:
    """Without containers and volumes at the end of each test."""
    yield filled
    filled.remove_everything()
    filled.ok("volume", "rm", "-a")
    assert filled.settled() == []
    assert volumes_left(filled) == []


def volumes_left(root: ContainerRoot) -> list[str]:
    left = os.listdir(root.root / "volumes") if (root.root / "volumes").exists() else []
    left += [name for name in os.listdir(root.root / "locks") if name.startswith("volume")]
    left += [str(row) for row in root.rows("SELECT * FROM volume_mounts")]
    mounts = root.runroot / "mounts"
    return left + (os.listdir(mounts) if mounts.exists() else [])


def names(root: ContainerRoot, *filters: str) -> list[str]:
    words = [word for text in filters for word in ("--filter", text)]
    return root.ok("volume", "ls", "-q", *words).split()


def mountpoint(root: ContainerRoot, name: str) -> Path:
    return Path(root.ok("volume", "inspect", "--format", "{{.Mountpoint}}", name).strip())


def test_create_list_and_inspect(root: ContainerRoot) -> None:
    assert root.ok("volume", "create", "-l", "a=b", "--label", "c", "one") == "one\n"
    anonymous = root.ok("volume", "create").strip()
    assert len(anonymous) == 64
    assert "volume with name one already exists" in root.fails("volume", "create", "one")
    assert root.ok("volume", "create", "--ignore", "one") == "one\n"
    lines = root.ok("volume", "ls").splitlines()
    assert lines[0] == "DRIVER      VOLUME NAME"
    assert "local       one" in lines
    shown = json.loads(root.ok("volume", "inspect", "one"))[0]
    path = root.root / "volumes/one/_data"
    assert shown["Labels"] == {"a": "b", "c": ""}
    assert (shown["Mountpoint"], shown["Driver"], shown["Scope"]) == (str(path), "local", "local")
    assert (shown["MountCount"], shown["NeedsCopyUp"], shown["NeedsChown"]) == (0, True, True)
    assert "Anonymous" not in shown
    assert path.stat().st_mode & 0o777 == 0o755
    form = "{{.Name}} {{.Labels}} {{.Anonymous}}"
    assert root.ok("volume", "ls", "--filter", "label=a", "--format", form) == (
        "one map[a:b c:] false\n"
    )
    done = root.call("volume", "inspect", "one", "nosuch")
    assert (done.returncode, json.loads(done.stdout)[0]["Name"]) == (125, "one")
    assert "inspecting object: no such volume nosuch" in done.stderr
    assert root.call("volume", "exists", "one").returncode == 0
    assert root.call("volume", "exists", "nosuch").returncode == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "a/b"], "names must match"),
        (["create", "-d", "nosuch", "x"], "no volume plugin with name nosuch"),
        (["create", "-o", "bogus=1", "x"], "invalid mount option bogus for driver 'local'"),
        (["create", "-o", "o=size=1m", "x"], "project quotas"),
        (["create", "-o", "o=uid=me", "x"], "cannot convert uid me to integer"),
        (["ls", "--filter", "bogus=1"], '"bogus" is an invalid volume filter'),
        (["ls", "--filter", "dangling=maybe"], "must be true or false"),
        (["prune", "--filter", "name=x", "-f"], '"name" is an invalid volume filter'),
        (["rm"], "choose either one or more volumes or all"),
        (["prune"], "EOF"),
        (["import", "nosuch", "-"], "no such volume nosuch"),
        (["export", "nosuch"], "no such volume nosuch"),
        (["mount", "nosuch"], 'no volume with name "nosuch" found: no such volume'),
    ],
)
def test_what_makes_no_sense_is_refused(
    engine_root: EngineRoot, words: list[str], message: str
) -> None:
    assert message in engine_root.fails("volume", *words)


def test_filters(root: ContainerRoot) -> None:
    root.ok("volume", "create", "-l", "a=b", "first")
    root.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "second")
    root.ok("create", "-v", "third:/x", "-v", "/anonymous", IMAGE, "true")
    (anonymous,) = names(root, "anonymous=true")
    assert names(root, "name=^[fs]") == ["first", "second"]
    assert names(root, "name=first", "name=third") == ["first", "third"]
    assert names(root, "label=a=b") == ["first"]
    assert names(root, "label!=a", "anonymous=false") == ["second", "third"]
    assert names(root, "opt=type=tmpfs") == ["second"]
    assert names(root, "dangling=true") == ["first", "second"]
    assert sorted(names(root, "dangling=false")) == sorted([anonymous, "third"])
    assert names(root, "until=1h") == []
    assert len(names(root, "until=2100-01-01", "driver=local", "scope=local")) == 4
    assert sorted(names(root, "since=second")) == sorted([anonymous, "third"])


def test_a_volume_in_use_stays_until_its_containers_go(root: ContainerRoot) -> None:
    id_ = root.ok("run", "-d", "--name", "user", "-v", "used:/x", IMAGE, "sleep", "1000").strip()
    message = root.fails("volume", "rm", "used", status=2)
    assert message.endswith(f"used by the following container(s): {id_}: volume is being used")
    assert root.ok("volume", "prune", "-f") == ""
    assert root.ok("volume", "rm", "-f", "-t", "0", "used") == "used\n"
    assert root.ok("ps", "-aq") == ""
    assert 'no volume with name "used"' in root.fails("volume", "rm", "used", status=1)
    assert root.ok("volume", "rm", "-f", "used") == ""
    root.ok("volume", "create", "--uid", "7", "idle")
    assert root.ok("volume", "inspect", "--format", "{{.UID}} {{.GID}}", "idle") == "7 0\n"
    assert mountpoint(root, "idle").stat().st_uid == 7
    assert root.ok("volume", "prune", "--dry-run") == "idle\n"
    assert root.ok("volume", "prune", "-f") == "idle\n"


def test_a_new_volume_is_filled_and_owned_as_the_image_has_it(root: ContainerRoot) -> None:
    listing = "stat -c '%a %u:%g %n' /v /v/*; cat /v/link"
    expected = (
        "750 1000:1000 /v\n640 1000:1000 /v/file\n777 0:0 /v/link\n700 0:0 /v/sub\nfrom the image\n"
    )
    root.ok("run", "--rm", "-v", "copy:/data", FILLED, "true")
    assert root.sh(listing, "-v", "copy:/v") == expected
    root.ok("run", "--rm", "-v", "inside:/way-in", FILLED, "true")  # a link in the image
    assert root.sh(listing, "-v", "inside:/v") == expected
    shown = json.loads(root.ok("volume", "inspect", "copy"))[0]
    assert "NeedsCopyUp" not in shown
    assert "NeedsChown" not in shown
    root.sh("echo mine >/v/file", "-v", "copy:/v")
    assert root.ok("run", "--rm", "-v", "copy:/data", FILLED, "cat", "/data/file") == "mine\n"


def test_nocopy_and_what_is_there_keep_the_images_content_out(root: ContainerRoot) -> None:
    root.ok("run", "--rm", "-v", "bare:/data:nocopy", FILLED, "true")
    assert os.listdir(mountpoint(root, "bare")) == []
    assert mountpoint(root, "bare").stat().st_uid == 1000, "the owner it gets all the same"
    root.ok("volume", "create", "-o", "nocopy=", "never")
    root.ok("run", "--rm", "-v", "never:/data", FILLED, "true")
    assert os.listdir(mountpoint(root, "never")) == []
    root.ok("volume", "create", "full")
    (mountpoint(root, "full") / "own").write_text("x")
    root.ok("run", "--rm", "-v", "full:/data", FILLED, "true")
    assert os.listdir(mountpoint(root, "full")) == ["own"]
    root.ok("run", "--rm", "-v", "later:/nowhere", "-u", "user", IMAGE, "true")
    assert mountpoint(root, "later").stat().st_uid == 1000, "nobody's place: the user's"


def test_an_images_link_leads_no_volume_to_the_host(root: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the host's\n")
    layer = images.Layer().symlink("evil", str(tmp_path)).symlink("proc-evil", "/proc/1/root")
    image = images.Image([images.busybox_layer(), layer.tar()])
    archive = images.oci_archive(tmp_path / "evil.tar", {"localhost/evil:1": image})
    root.ok("load", "-i", archive)
    root.call("run", "--rm", "-v", "stolen:/evil", "localhost/evil:1", "true")
    root.call("run", "--rm", "-v", "stolen2:/proc-evil", "localhost/evil:1", "true")
    assert names(root) == ["stolen", "stolen2"]
    for name in names(root):
        assert os.listdir(mountpoint(root, name)) == []


def test_an_images_volumes_are_anonymous_and_go_with_the_container(root: ContainerRoot) -> None:
    assert root.ok("run", "--rm", FILLED, "cat", "/data/file") == "from the image\n"
    assert names(root) == []
    root.ok("create", "--name", "keeper", FILLED, "true")
    assert len(names(root, "anonymous=true")) == 2
    mounts = json.loads(root.ok("inspect", "--format", "{{json .Mounts}}", "keeper"))
    assert [(one["Type"], one["Destination"]) for one in mounts] == [
        ("volume", "/data"), ("volume", "/made/here"),
    ]  # fmt: skip
    root.ok("start", "keeper")
    root.ok("create", "--name", "second", "--volumes-from", "keeper:ro", IMAGE, "cat", "/data/file")
    root.ok("rm", "-v", "keeper")
    assert len(names(root)) == 2, "the second container has them still"
    assert root.ok("start", "-a", "second") == "from the image\n"
    root.ok("rm", "second")
    assert len(names(root)) == 2, "without -v they stay"
    assert len(root.ok("volume", "prune", "-f").split()) == 2


def test_image_volume_says_what_becomes_of_them(root: ContainerRoot) -> None:
    show = ("sh", "-c", "busybox grep -c ' /data tmpfs' /proc/mounts; cat /data/file")
    done = root.call("run", "--rm", "--image-volume", "tmpfs", FILLED, *show)
    assert done.stdout == "1\nfrom the image\n"
    done = root.call("run", "--rm", "--image-volume", "ignore", FILLED, *show)
    assert done.stdout == "0\nfrom the image\n"
    root.ok("create", "--image-volume", "ignore", FILLED, "true")
    assert names(root) == []
    root.ok("create", "-v", "own:/data", "--tmpfs", "/made/here", FILLED, "true")
    assert names(root) == ["own"]
    assert "--image-volume" in root.fails("create", "--image-volume", "never", FILLED, "true")


def test_a_volume_with_mount_options_is_mounted_while_it_has_users(root: ContainerRoot) -> None:
    options = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=2m,uid=1000,noexec")
    root.ok("volume", "create", *options, "small")
    path = mountpoint(root, "small")
    count = ("volume", "inspect", "--format", "{{.MountCount}}", "small")
    root.ok("run", "-d", "--name", "one", "-v", "small:/s", IMAGE, "sleep", "1000")
    root.ok("run", "-d", "--name", "two", "-v", "small:/s", IMAGE, "sleep", "1000")
    assert root.ok("volume", "mount", "small") == f"{path}\n"
    assert root.ok(*count) == "3\n"
    assert os.path.ismount(path)
    assert path.stat().st_uid == 1000
    shown = root.ok("exec", "one", "busybox", "grep", " /s ", "/proc/mounts")
    assert "tmpfs" in shown
    assert "size=2048k" in shown
    assert "noexec" in shown
    root.ok("exec", "one", "sh", "-c", "echo shared >/s/file")
    assert root.ok("exec", "two", "cat", "/s/file") == "shared\n"
    root.ok("rm", "-f", "-t", "0", "one")
    root.ok("rm", "-f", "-t", "0", "two")
    assert (root.ok(*count), os.path.ismount(path)) == ("1\n", True)
    assert root.ok("volume", "unmount", "small") == "small\n"
    assert (root.ok(*count), os.path.ismount(path)) == ("0\n", False)
    assert root.ok("volume", "unmount", "small") == "small\n", "one too many is no error"


def test_a_bind_volume_and_one_that_cannot_be_mounted(root: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    bind = ("-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind,ro")
    root.ok("volume", "create", *bind, "bound")
    assert (
        root.sh("cat /b/file; (echo x >/b/file) 2>/dev/null || true", "-v", "bound:/b") == "bound\n"
    )
    assert (tmp_path / "file").read_text() == "bound\n"
    root.ok("volume", "create", "-o", "type=nosuchfs", "-o", "device=/dev/null", "broken")
    message = root.fails("run", "--rm", "-v", "broken:/b", IMAGE, "true")
    assert "mount volume broken: mount -t nosuchfs /dev/null" in message
    assert "is not a block device" in message
    assert root.ok("volume", "inspect", "--format", "{{.MountCount}}", "broken") == "0\n"


def test_export_and_import_keep_everything(root: ContainerRoot, tmp_path: Path) -> None:
    root.ok("run", "--rm", "-v", "source:/data", FILLED, "true")
    os.setxattr(mountpoint(root, "source") / "file", "user.note", b"kept")
    root.ok("volume", "export", "source", "-o", tmp_path / "out.tar")
    piped = subprocess.run(root.argv("volume", "export", "source"), capture_output=True, check=True)
    assert piped.stdout == (tmp_path / "out.tar").read_bytes()
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert sorted(archive.getnames()) == ["file", "link", "sub"]
    root.ok("volume", "create", "target")
    (mountpoint(root, "target") / "file").mkdir()
    root.ok("volume", "import", "target", "-", stdin=piped.stdout)
    copied = mountpoint(root, "target") / "file"
    assert copied.read_text() == "from the image\n"
    assert (copied.stat().st_uid, os.getxattr(copied, "user.note")) == (1000, b"kept")
    assert "it is no tar archive" in root.fails("volume", "import", "target", "/etc/passwd")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add("/etc/hostname", "../../../out")
    assert "leads out" in root.fails("volume", "import", "target", tmp_path / "evil.tar")


def test_a_copy_that_was_killed_is_completed_or_begun_again(
    root: ContainerRoot, tmp_path: Path
) -> None:
    layer = images.Layer().directory("data")
    for number in range(1500):
        layer.add(f"data/{number}", b"x" * 100)
    image = images.Image([images.busybox_layer(), layer.tar()])
    root.ok("load", "-i", images.oci_archive(tmp_path / "many.tar", {"localhost/many:1": image}))
    volume = root.root / "volumes/killed"
    for _ in range(2):
        root.ok("volume", "rm", "-f", "killed")
        process = root.popen("run", "--rm", "-v", "killed:/data", "localhost/many:1", "true",
                             stderr=subprocess.DEVNULL)  # fmt: skip
        wait_for((volume / "copy").exists, "the copy")
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        root.ok("volume", "ls")
        # Or the monitor's exit command was quicker, and is at it.
        wait_for(lambda: not root.rows("SELECT kind FROM intents"), "the recovery")
        assert not (volume / "copy").exists()
        assert len(os.listdir(volume / "_data")) in (0, 1500)
    assert root.sh("ls /data | wc -l", "-v", "killed:/data") in ("0\n", "1500\n")


def test_a_removal_that_was_killed_is_ended_by_the_next_command(root: ContainerRoot) -> None:
    root.ok("volume", "create", "gone")
    data = mountpoint(root, "gone")
    for number in range(1500):
        (data / f"file-{number}").touch()
    process = root.popen("volume", "rm", "gone", stdout=subprocess.DEVNULL)
    wait_for(lambda: not data.exists(), "the files to move away")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert names(root) == []
    assert os.listdir(root.root / "staging") == []
    assert root.rows("SELECT kind FROM intents") == []
