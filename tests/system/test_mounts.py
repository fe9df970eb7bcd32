"""What is mounted into a container, seen from inside."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")

PARTS = "localhost/parts:1"
MOUNTS = "busybox grep ' /x' /proc/self/mountinfo"


@pytest.fixture
def root(module_root: ContainerRoot) -> Iterator[ContainerRoot]:
    """Without containers, volumes and mounts of ours at the end of each test."""
    yield module_root
    module_root.remove_everything()
    module_root.ok("volume", "rm", "-a")
    assert module_root.settled() == []
    mounts = module_root.runroot / "mounts"
    assert not mounts.exists() or os.listdir(mounts) == []


@pytest.fixture(scope="module")
def parts(module_root: ContainerRoot) -> str:
    """An image to be mounted, with a link that leads out of it."""
    layer = images.Layer().directory("tree").add("tree/file", b"part\n")
    layer.symlink("tree/out", "/etc").directory("etc").add("etc/inner", b"the image's\n")
    archive = images.oci_archive(
        module_root.root.parent / "parts.tar", {PARTS: images.Image([layer.tar()])}
    )
    module_root.ok("load", "-i", archive)
    return PARTS


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    (directory / "file").write_text("shared\n")
    os.chown(directory / "file", 77, 78)
    return directory


def test_flags_of_a_bind_mount_are_the_mounts(root: ContainerRoot, shared: Path) -> None:
    line = root.sh(MOUNTS, "-v", f"{shared}:/x:ro,noexec,nosuid,nodev,rslave,bind,z")
    options = line.split()[5].split(",")
    assert {"ro", "noexec", "nosuid", "nodev"} <= set(options)
    for option, mark in (("rshared", "shared:"), ("rprivate", " - ")):
        assert mark in root.sh(
            MOUNTS, "--mount", f"type=bind,src={shared},dst=/x,bind-propagation={option}"
        )
    assert "ro" in root.sh(
        MOUNTS, "--mount", f'type=bind,"src={shared}",target=/x,readonly=true,relabel=shared'
    ).split()[5].split(",")
    assert root.sh("cat /a/file /b/file", "-v", f"{shared}:/a", "-v", f"{shared}/.:/b") == (
        "shared\nshared\n"
    )


def test_chown_gives_a_mount_to_the_containers_user(root: ContainerRoot, shared: Path) -> None:
    (shared / "out").symlink_to("/etc/passwd")
    before = os.stat("/etc/passwd").st_uid
    show = "stat -c %u:%g /x /x/file"
    assert root.sh(show, "-u", "user", "-v", f"{shared}:/x:U") == "1000:1000\n1000:1000\n"
    assert os.stat("/etc/passwd").st_uid == before
    assert root.sh("stat -c %u /x", "-u", "user", "--mount", "type=tmpfs,dst=/x,U") == "1000\n"
    for path in ("/etc", "/usr/", "/proc/self/root"):
        assert "the host needs its owner" in root.fails("run", "--rm", "-v", f"{path}:/x:U",
                                                        "-u", "user", IMAGE, "true")  # fmt: skip


def test_an_overlay_keeps_changes_apart(root: ContainerRoot, shared: Path, tmp_path: Path) -> None:
    script = "cat /x/file; echo changed >/x/file; echo new >/x/new; cat /x/file"
    assert root.sh(script, "-v", f"{shared}:/x:O") == "shared\nchanged\n"
    assert sorted(os.listdir(shared)) == ["file"]
    assert (shared / "file").read_text() == "shared\n"
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir()
    work.mkdir()
    root.sh(script, "-v", f"{shared}:/x:O,upperdir={upper},workdir={work}")
    assert (upper / "new").read_text() == "new\n"
    root.ok("volume", "create", "under")
    root.sh(script, "-v", f"{shared}:/y", "-v", "under:/x:O")
    assert root.sh("ls /x", "-v", "under:/x") == ""
    root.ok("create", "--name", "again", "-v", f"{shared}:/x:O", IMAGE, "sh", "-c", script)
    for _ in range(2):  # each start begins anew
        assert root.ok("start", "-a", "again") == "shared\nchanged\n"
    assert "it is no directory" in root.fails(
        "run", "--rm", "-v", f"{shared}/file:/x:O", IMAGE, "true"
    )


def test_images_and_their_parts_are_mounted(root: ContainerRoot, parts: str) -> None:
    mount = f"type=image,src={parts},dst=/x"
    assert (
        root.sh("cat /x/tree/file; (echo a >/x/a) 2>/dev/null || true", "--mount", mount)
        == "part\n"
    )
    assert root.sh("echo a >/x/a; cat /x/a", "--mount", f"{mount},rw=true") == "a\n"
    assert root.sh("ls /x", "--mount", mount) == "etc\ntree\n", "what was written is gone"
    assert root.sh("cat /x/file", "--mount", f"{mount},subpath=/tree") == "part\n"
    assert root.sh("cat /x", "--mount", f"{mount},subpath=tree/file") == "part\n"
    assert root.sh("ls /x", "--mount", f"{mount},subpath=tree/out") == "inner\n", "not the host's"
    assert "No such file or directory" in root.fails(
        "run", "--rm", "--mount", f"{mount},subpath=none", IMAGE, "true"
    )
    root.ok("create", "--name", "keeps", "--mount", mount, IMAGE, "cat", "/x/tree/file")
    shown = json.loads(root.ok("inspect", "--format", "{{json .Mounts}}", "keeps"))
    assert [(one["Type"], one["Destination"], one["RW"]) for one in shown] == [
        ("image", "/x", False)
    ]
    assert "image not known" in root.fails(
        "create", "--mount", "type=image,src=nosuch,dst=/x", IMAGE, "true"
    )


def test_a_part_of_a_volume(root: ContainerRoot, shared: Path) -> None:
    root.sh("busybox mkdir -p /v/below; echo part >/v/below/file", "-v", "whole:/v")
    path = Path(root.ok("volume", "inspect", "--format", "{{.Mountpoint}}", "whole").strip())
    (path / "evil").symlink_to(shared)
    mount = "type=volume,src=whole,dst=/x"
    assert root.sh("cat /x/file; echo two >/x/two", "--mount", f"{mount},subpath=below") == "part\n"
    assert (path / "below/two").read_text() == "two\n"
    assert "subpath evil of whole" in root.fails(
        "run", "--rm", "--mount", f"{mount},subpath=evil", IMAGE, "true"
    )
    assert "must be a path below its root" in root.fails(
        "run", "--rm", "--mount", f"{mount},subpath=../up", IMAGE, "true"
    )


def test_file_systems_of_the_containers_own(root: ContainerRoot) -> None:
    show = "busybox grep ' /x ' /proc/mounts; stat -c %a /x"
    line, mode = root.sh(show, "--mount", "type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=700,ro"
                         ).splitlines()  # fmt: skip
    assert line.startswith("tmpfs /x tmpfs ro,nosuid,nodev")
    assert "size=1024k" in line
    assert mode == "700"
    assert root.sh(show, "--tmpfs", "/x").splitlines()[1] == "1777"
    line = root.sh(show, "--mount", "type=ramfs,dst=/x,tmpfs-mode=711").splitlines()[0]
    assert line.startswith("ramfs /x ramfs rw,nosuid,nodev")
    line = root.sh(show, "--mount", "type=devpts,dst=/x,uid=1000,mode=620,max=9").splitlines()[0]
    assert {"uid=1000", "mode=620", "max=9"} <= set(line.split()[3].split(","))
    root_list = root.sh("ls /etc/passwd; cat /etc/passwd | wc -l", "--tmpfs", "/etc")
    assert root_list == "/etc/passwd\n2\n", "what the image has there is copied"
    assert root.sh("ls /etc", "--tmpfs", "/etc:notmpcopyup", "--no-hosts") != root_list


def test_glob_mounts_each_path_that_fits(root: ContainerRoot, shared: Path) -> None:
    (shared / "fil2").write_text("second\n")
    (shared / "other").write_text("other\n")
    pattern = f"{shared}/fil*"
    assert root.sh("ls /x", "--mount", f"type=glob,src={pattern},dst=/x,ro") == "fil2\nfile\n"
    assert root.sh(f"ls {shared}", "--mount", f"type=glob,src={pattern}") == "fil2\nfile\n"
    assert "no file paths matching" in root.fails(
        "create", "--mount", f"type=glob,src={shared}/none*,dst=/x", IMAGE, "true"
    )


def test_ids_of_a_mount_are_mapped(root: ContainerRoot, shared: Path) -> None:
    mapping = "idmap=uids=77-1077-1;gids=78-1078-1"
    done = root.call("run", "--rm", "-v", f"{shared}:/x:{mapping}", IMAGE, "stat", "-c", "%u:%g",
                     "/x/file")  # fmt: skip
    assert (done.stdout, done.stderr) == ("1077:1078\n", "")
    assert root.sh("stat -c %u:%g /x/file", "-v", f"{shared}:/x:idmap") == "77:78\n"
    assert (shared / "file").stat().st_uid == 77
    root.fails("run", "--rm", "-v", f"{shared}:/x:idmap=uids=zero", IMAGE, "true", status=125)


def test_volumes_from_another_container(root: ContainerRoot, shared: Path) -> None:
    root.ok("create", "--name", "giver", "-v", f"{shared}:/a:ro", "-v", "given:/b", IMAGE, "true")
    script = (
        "cat /a/file; echo written >/b/file; cat /b/file; busybox grep -c ' /[ab] ' /proc/mounts"
    )
    assert root.sh(script, "--volumes-from", "giver") == "shared\nwritten\n2\n"
    assert (
        root.sh("busybox grep ' /b ' /proc/mounts", "--volumes-from", "giver:ro,z")
        .split()[3]
        .startswith("ro,")
    )
    assert root.sh("ls /a", "--volumes-from", "giver", "-v", "own:/a") == "", "one's own count more"
    assert "for volumes-from: no container with name" in root.fails(
        "create", "--volumes-from", "nosuch", IMAGE, "true"
    )
    assert "can only use z,ro,rw options" in root.fails(
        "create", "--volumes-from", "giver:bogus", IMAGE, "true"
    )


def test_a_read_only_container_writes_to_tmpfs_only(root: ContainerRoot, shared: Path) -> None:
    script = (
        "for d in / /tmp /run /var/tmp /dev/shm /x; do echo a 2>/dev/null >$d/a && echo $d; done"
    )
    options = ("--read-only", "-v", f"{shared}:/x")
    done = root.call("run", "--rm", *options, IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["/tmp", "/run", "/var/tmp", "/dev/shm", "/x"]
    done = root.call("run", "--rm", *options, "--read-only-tmpfs=false", IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["/dev/shm", "/x"]


def test_the_size_of_shared_memory(root: ContainerRoot) -> None:
    size = "busybox df /dev/shm | busybox awk 'NR>1{print $2}'"
    assert root.sh(size, "--shm-size", "2m") == "2048\n"
    assert root.sh(size) == "64000\n"
    assert "size=" not in root.sh("busybox grep /dev/shm /proc/mounts", "--shm-size", "0")
    assert "invalid size" in root.fails("create", "--shm-size", "much", IMAGE, "true")


def test_a_directory_as_root(root: ContainerRoot, tmp_path: Path) -> None:
    directory = tmp_path / "rootfs"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/sh").write_bytes(Path("/bin/busybox").read_bytes())
    (directory / "bin/sh").chmod(0o755)
    command = ("/bin/sh", "-c", "echo hello >/new; read x </new; echo $x")
    assert root.ok("run", "--rm", "--rootfs", f"{directory}:O", *command) == "hello\n"
    assert not (directory / "new").exists()
    assert root.ok("run", "--rm", "--rootfs", directory, *command) == "hello\n"
    assert (directory / "new").exists()
    assert "no such directory" in root.fails("run", "--rootfs", f"{directory}/none:O", "x")


def test_parents_are_mounted_before_what_is_below_them(root: ContainerRoot, shared: Path) -> None:
    options = ("-v", f"{shared}:/x/deep/down", "--tmpfs", "/x/deep", "-v", "top:/x")
    assert root.sh("cat /x/deep/down/file; ls /x /x/deep", *options) == (
        "shared\n/x:\ndeep\n\n/x/deep:\ndown\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-v", "a:/x", "--tmpfs", "/x/"], "/x: duplicate mount destination"),
        (["-v", "a:/x", "--mount", "type=tmpfs,dst=/x"], "/x: duplicate mount destination"),
        (["-v", "a:/x:ro,rw"], "can only specify 1 'rw' or 'ro' option"),
        (["-v", "/a:/x:O,ro"], "can't use 'O' with other options"),
        (["-v", "/a:/x:O,upperdir=/u"], "must set both `upperdir` and `workdir`"),
        (["-v", ":/x"], "host directory cannot be empty"),
        (["--mount", "type=bogus,dst=/x"], 'invalid filesystem type "bogus"'),
        (["--mount", "type=bind,src=/tmp,dst=/x,bogus"], "bogus: invalid mount option"),
    ],
)
def test_what_makes_no_sense_is_refused(
    root: ContainerRoot, options: list[str], message: str
) -> None:
    assert message in root.fails("create", *options, IMAGE, "true")


def test_a_killed_start_gives_everything_back(
    root: ContainerRoot, parts: str, shared: Path
) -> None:
    root.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "counted")
    options = ("-v", f"{shared}:/a:O", "--mount", f"type=image,src={parts},dst=/b,rw=true",
               "--mount", f"type=image,src={parts},dst=/c,subpath=tree", "-v", "counted:/d",
               "-v", "/e")  # fmt: skip
    for delay_s in (0.05, 0.1, 0.15, 0.2, 0.3):
        process = root.popen("run", "--rm", *options, IMAGE, "sleep", "1000")
        try:
            process.wait(timeout=delay_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=60)
    root.ok("rm", "-f", "-t", "0", "-a")
    assert root.settled() == []
    assert root.rows("SELECT * FROM volume_mounts") == []
    assert root.ok("volume", "ls", "-q") == "counted\n"
    assert sorted(os.listdir(shared)) == ["file"]
