"""cp: where files go, who owns them, and that no container leads it astray."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot

pytestmark = pytest.mark.needs("root", "busybox")

NAMES = ("running", "stopped")
VOLUME = ("-v", "copied:/volume", "--tmpfs", "/small")


@pytest.fixture(scope="module")
def pair(module_root: ContainerRoot) -> Iterator[ContainerRoot]:
    """A container that runs as a user, and one that never ran; both with a volume."""
    module_root.ok("run", "-d", "--name", "running", "-u", "user", *VOLUME, IMAGE, "sleep", "1000")
    module_root.ok("create", "--name", "stopped", "-u", "user", *VOLUME, IMAGE, "ls", "/tmp")
    yield module_root
    module_root.remove_everything()
    module_root.ok("volume", "rm", "-a")
    assert module_root.settled() == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A file, a directory with a link that leads out and an attribute, and a link to each."""
    source = tmp_path / "source"
    (source / "dir/below").mkdir(parents=True)
    (source / "file").write_text("file\n")
    os.chmod(source / "file", 0o640)
    os.chown(source / "file", 123, 456)
    os.utime(source / "file", (1_000_000_000, 1_000_000_000))
    (source / "dir/inner").write_text("inner\n")
    os.setxattr(source / "dir/inner", "user.colour", b"red\xff")
    (source / "dir/out").symlink_to("/etc/passwd")
    os.link(source / "dir/inner", source / "dir/below/again")
    (source / "to-file").symlink_to("file")
    (source / "to-dir").symlink_to("dir")
    return source


def inside(root: ContainerRoot, name: str, script: str) -> str:
    """What a shell in the container says; a stopped one is looked at through its archive."""
    return root.ok("exec", "-u", "root", name, "sh", "-c", script)


def members(root: ContainerRoot, path: str) -> dict[str, tarfile.TarInfo]:
    done = subprocess.run(
        root.argv("cp", path, "-"), capture_output=True, check=True, stdin=subprocess.DEVNULL
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {member.name: member for member in archive}


@pytest.mark.parametrize("name", NAMES)
def test_the_last_part_of_the_destination_decides(
    pair: ContainerRoot, tree: Path, name: str
) -> None:
    for source, destination in (
        ("file", "/tmp/"), ("file", "/tmp/renamed"), ("dir", "/tmp/"), ("dir", "/tmp/new"),
        ("dir", "/tmp/new"), ("dir/.", "/tmp/plain"), ("to-file", "/tmp/was-link"),
        ("to-dir", "/tmp/was-dir"),
    ):  # fmt: skip
        pair.ok("cp", f"{tree}/{source}", f"{name}:{destination}")
    found = members(pair, f"{name}:/tmp")
    for path in (
        "tmp/file", "tmp/renamed", "tmp/was-link", "tmp/dir/inner", "tmp/dir/below/again",
        "tmp/new/inner", "tmp/new/dir/inner", "tmp/plain/inner", "tmp/was-dir/inner",
    ):  # fmt: skip
        assert found[path].isfile() or found[path].islnk(), path
    assert found["tmp/dir/out"].linkname == "/etc/passwd"
    assert (found["tmp/file"].mode, found["tmp/file"].mtime) == (0o640, 1_000_000_000)
    assert {(member.uid, member.gid) for path, member in found.items() if path != "tmp"} == {
        (1000, 1000)
    }, "everything is the container's user's"


def test_owners_are_kept_without_archive_and_become_the_callers_on_the_host(
    pair: ContainerRoot, tree: Path
) -> None:
    pair.ok("cp", "-a=false", f"{tree}/file", "running:/tmp/kept")
    assert inside(pair, "running", "stat -c %u:%g:%a /tmp/kept") == "123:456:640\n"
    pair.ok("cp", "running:/tmp/kept", tree / "back")
    status = (tree / "back").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o640)
    assert (tree / "back").read_text() == "file\n"


def test_attributes_links_and_hard_links_come_back(pair: ContainerRoot, tree: Path) -> None:
    pair.ok("cp", f"{tree}/dir", "stopped:/root/there")
    pair.ok("cp", "stopped:/root/there", tree / "back")
    back = tree / "back"
    assert os.getxattr(back / "inner", "user.colour") == b"red\xff"
    assert os.readlink(back / "out") == "/etc/passwd"
    assert (back / "inner").stat().st_ino == (back / "below/again").stat().st_ino


@pytest.mark.parametrize("name", NAMES)
def test_a_volume_gets_what_is_copied_to_its_place(
    pair: ContainerRoot, tree: Path, name: str
) -> None:
    pair.ok("cp", f"{tree}/file", f"{name}:/volume/by-{name}")
    mountpoint = pair.ok("volume", "inspect", "--format", "{{.Mountpoint}}", "copied").strip()
    assert Path(mountpoint, f"by-{name}").read_text() == "file\n"


def test_a_tmpfs_is_there_while_the_container_runs(pair: ContainerRoot, tree: Path) -> None:
    pair.ok("cp", f"{tree}/file", "running:/small/")
    assert inside(pair, "running", "cat /small/file") == "file\n"
    pair.ok("cp", "running:/small/.", tree / "small")
    assert os.listdir(tree / "small") == ["file"]
    assert "could not be found on container stopped" in pair.fails(
        "cp", f"{tree}/file", "stopped:/small/file"
    )


def test_what_was_copied_before_the_first_start_is_there_at_it(
    pair: ContainerRoot, tree: Path
) -> None:
    pair.ok("create", "--name", "fresh", "-v", "cfilled:/etc", IMAGE, "nosuch-command")
    pair.ok("cp", f"{tree}/file", "fresh:/tmp/early")
    pair.fails("start", "-a", "fresh", status=127)
    pair.ok("cp", "fresh:/tmp/early", tree / "still")
    assert (tree / "still").read_text() == "file\n"
    pair.ok("cp", "fresh:/etc/passwd", tree / "passwd")  # the image's, through the new volume
    assert (tree / "passwd").read_text().startswith("root:")
    pair.ok("rm", "fresh")


def test_from_one_container_to_another_and_within_one(pair: ContainerRoot, tree: Path) -> None:
    pair.ok("cp", f"{tree}/dir", "stopped:/root/one")
    pair.ok("cp", "stopped:/root/one", "running:/root/two")
    assert inside(pair, "running", "cat /root/two/inner") == "inner\n"
    pair.ok("cp", "running:/root/two", "running:/root/three")
    assert inside(pair, "running", "cat /root/three/inner") == "inner\n"
    for target in ("/root/two", "/root/two/below"):
        message = pair.fails("cp", "running:/root/two", f"running:{target}")
        assert "into itself" in message


def test_a_tar_streams_in_and_out(pair: ContainerRoot, tree: Path) -> None:
    packed = tree / "packed.tar.xz"
    with tarfile.open(packed, "w:xz") as archive:
        archive.add(tree / "dir", "streamed")
        archive.add(tree / "file", "streamed/.wh.file")  # an ordinary name here
    pair.ok("cp", "-", "stopped:/root", stdin=packed.read_bytes())
    assert set(members(pair, "stopped:/root/streamed")) >= {
        "streamed", "streamed/inner", "streamed/.wh.file", "streamed/below/again",
    }  # fmt: skip
    assert "inner" in members(pair, "stopped:/root/streamed/.")
    assert "must be a (compressed) tar archive" in pair.fails(
        "cp", "-", "running:/root", stdin=b"no tar " * 200
    )
    assert "destination must be a directory" in pair.fails(
        "cp", "-", "running:/etc/passwd", stdin=b""
    )


def test_directories_and_files_replace_one_another_only_when_told(
    pair: ContainerRoot, tree: Path
) -> None:
    inside(pair, "running", "busybox mkdir -p /root/over/file; echo x > /root/over/dir")
    assert "destination must be a directory" in pair.fails(
        "cp", f"{tree}/dir", "running:/root/over/dir"
    )
    assert "use --overwrite" in pair.fails("cp", f"{tree}/file", "running:/root/over")
    assert "use --overwrite" in pair.fails("cp", f"{tree}/dir", "running:/root/over")
    pair.ok("cp", "--overwrite", f"{tree}/file", "running:/root/over")
    pair.ok("cp", "--overwrite", f"{tree}/dir", "running:/root/over/dir")
    assert inside(pair, "running", "cat /root/over/file /root/over/dir/inner") == "file\ninner\n"


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("{tree}/nosuch", "running:/tmp", '"{tree}/nosuch" could not be found on the host'),
        ("{tree}/file", "running:/nosuch/x", '"/nosuch/x" could not be found on container running'),
        ("{tree}/file", "running:/nosuch/", "could not be found on container running"),
        ("running:/nosuch", "{tree}", '"/nosuch" could not be found on container running'),
        ("running:/etc/passwd", "{tree}/none/x", "could not be found on the host"),
        ("{tree}/file", "nosuch:/tmp", 'container "nosuch" does not exist'),
        ("{tree}/file", "running:", "you must specify paths"),
        ("{tree}/file", "{tree}/other", "name or ID cannot be empty"),
    ],
)
def test_what_is_missing_is_named(
    pair: ContainerRoot, tree: Path, source: str, destination: str, words: str
) -> None:
    filled = [text.replace("{tree}", str(tree)) for text in (source, destination, words)]
    assert filled[2] in pair.fails("cp", filled[0], filled[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_link_in_the_container_leads_nowhere_on_the_host(
    pair: ContainerRoot, tree: Path, tmp_path: Path, name: str
) -> None:
    """The attacks: links to the host's directories, upwards and through /proc, both ways."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "passwd").write_text("the host's\n")
    evil = tree / "evil"
    evil.mkdir()
    for link, target in (
        ("absolute", str(secret)), ("upwards", f"../../../../../../../..{secret}"),
        ("file", f"{secret}/passwd"), ("proc", f"/proc/self/root{secret}"),
    ):  # fmt: skip
        (evil / link).symlink_to(target)
    pair.ok("cp", evil, f"{name}:/root/evil")
    for link in ("absolute", "upwards", "proc"):
        pair.fails("cp", f"{tree}/file", f"{name}:/root/evil/{link}/written")
        pair.fails("cp", f"{name}:/root/evil/{link}/passwd", tree / "stolen")
    pair.fails("cp", f"{name}:/root/evil/file", tree / "stolen")
    with tarfile.open(tree / "evil.tar", "w") as archive:
        archive.add(evil, "again")
        archive.add(tree / "file", "again/absolute/through")
    assert "is no directory" in pair.fails(
        "cp", "-", f"{name}:/root", stdin=(tree / "evil.tar").read_bytes()
    )
    with tarfile.open(tree / "up.tar", "w") as archive:
        archive.add(tree / "file", "../../escaped")
    assert "leads out" in pair.fails(
        "cp", "-", f"{name}:/root", stdin=(tree / "up.tar").read_bytes()
    )
    assert sorted(os.listdir(secret)) == ["passwd"]
    assert (secret / "passwd").read_text() == "the host's\n"
    assert not (tree / "stolen").exists()


def test_a_copy_to_the_host_does_not_follow_the_containers_links(
    pair: ContainerRoot, tree: Path, tmp_path: Path
) -> None:
    """A tree whose link and directory have one name must not write through the link."""
    victim = tmp_path / "victim"
    victim.mkdir()
    inside(pair, "running", f"busybox mkdir -p /root/trap; busybox ln -s {victim} /root/trap/way")
    target = tree / "target"
    pair.ok("cp", "running:/root/trap", target)
    assert os.readlink(target / "way") == str(victim)
    inside(pair, "running", "busybox rm /root/trap/way; busybox mkdir /root/trap/way;"
           " echo got >/root/trap/way/file")  # fmt: skip
    assert "use --overwrite" in pair.fails("cp", "running:/root/trap/.", target)
    assert os.listdir(victim) == []


def test_a_killed_copy_leaves_no_mount_and_no_lock(pair: ContainerRoot, tree: Path) -> None:
    process = pair.popen("cp", "-", "stopped:/root", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(bytes(10 << 20))  # more than the pipes hold: it is reading
    process.kill()
    process.wait(timeout=60)
    process.stdin.close()
    assert [line for line in pair.left() if line.startswith("mount")] == [
        line for line in pair.left() if line.startswith("mount") and "/merged" in line
    ]
    assert pair.ok("cp", "stopped:/etc/passwd", tree / "after") == ""
