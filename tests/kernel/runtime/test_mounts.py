"""``mounts``: the words of runc and crun, idmapped mounts, and mounts without a namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def refused(runtime: Runtime, bundle: Bundle) -> str:
    """The message of a ``run`` that fails and leaves nothing."""
    done = runtime.run(bundle)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert runtime.left(runtime.ids[-1]) == []
    return done.stderr


def options_of(mountinfo: str, target: str) -> set[str]:
    """The options of the topmost mount on ``target``."""
    found = [line.split() for line in mountinfo.splitlines() if line.split()[4] == target][-1]
    return set(found[5].split(","))


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with another one mounted below it, and a file of another user in each."""
    top = tmp_path / "tree"
    (top / "below").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    # no tmpfs: it can be idmapped since Linux 6.3 only
    subprocess.run(["mount", "--bind", str(tmp_path / "other"), str(top / "below")], check=True)
    try:
        for place in (top, top / "below"):
            (place / "file").write_text("content")
            os.chown(place / "file", 1000, 2000)
        yield top
    finally:
        subprocess.run(["umount", str(top / "below")], check=True)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"),
        ("rnoatime", "noatime"), ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow"),
    ],
)  # fmt: skip
def test_a_recursive_word_reaches_the_whole_tree(
    pyrun: Runtime, bundle: Bundle, tree: Path, word: str, shown: str
) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.mount("/a", type="bind", source=str(tree), options=["rbind", word])
    back = {"rro": "rrw", "rnoatime": "rrelatime"}.get(word, word.replace("rno", "r", 1))
    bundle.mount("/b", type="bind", source=str(tree), options=["rbind", word, back])
    bundle.shell("cat /proc/self/mountinfo")
    mountinfo = pyrun.output(bundle)
    assert all(shown in options_of(mountinfo, place) for place in ("/a", "/a/below"))
    assert not any(shown in options_of(mountinfo, place) for place in ("/b", "/b/below"))


MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]
MAPPINGS = {"uidMappings": MAPPING, "gidMappings": MAPPING}
OWNERS = "stat -c %u:%g /data/file /data/below/file"


@pytest.mark.parametrize(
    ("words", "fields", "owners"),
    [
        (["rbind", "idmap"], MAPPINGS, "101000:102000 1000:2000"),
        (["rbind", "ridmap"], MAPPINGS, "101000:102000 101000:102000"),
        (["rbind"], MAPPINGS, "101000:102000 1000:2000"),
        (["rbind", "ridmap=uids=1000-7-1;gids=2000-8-1"], {}, "7:8 7:8"),
    ],
)  # fmt: skip
def test_an_idmapped_mount_shows_other_owners(
    pyrun: Runtime,
    bundle: Bundle,
    tree: Path,
    words: list[str],
    fields: dict[str, Any],
    owners: str,
) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.mount("/data", type="bind", source=str(tree), options=words, **fields)
    bundle.shell(OWNERS)
    assert pyrun.output(bundle).split() == owners.split()


def in_user_namespace(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAPPING
    bundle.rootfs.chmod(0o777)


def test_idmap_alone_takes_the_mapping_of_the_user_namespace(
    pyrun: Runtime, bundle: Bundle, tree: Path
) -> None:
    in_user_namespace(bundle)
    bundle.config["root"]["readonly"] = False
    bundle.mount("/data", type="bind", source=str(tree), options=["rbind", "ridmap"])
    bundle.shell(f"{OWNERS}; touch /data/new && stat -c %u:%g /data/new")
    os.chown(tree, 0, 0)
    assert pyrun.output(bundle).split() == ["1000:2000", "1000:2000", "0:0"]
    assert (tree / "new").stat().st_uid == 0  # and not 100000, as without idmap


def test_a_mapping_is_written_only_through_its_mount(
    pyrun: Runtime, bundle: Bundle, tree: Path
) -> None:
    bundle.config["root"]["readonly"] = False
    own = [{"containerID": 1000, "hostID": 0, "size": 1}]
    fields = {"uidMappings": own, "gidMappings": own}
    os.chown(tree, 1000, 1000)
    bundle.mount("/data", type="bind", source=str(tree), options=["bind", "idmap"], **fields)
    bundle.shell("touch /data/new; stat -c %u:%g /data/new /data/file")
    assert pyrun.output(bundle).split() == ["0:0", "0:65534"]
    assert ((tree / "new").stat().st_uid, (tree / "new").stat().st_gid) == (1000, 1000)


def test_idmap_without_any_mapping_is_refused(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.mount("/data", type="bind", source="/usr", options=["rbind", "idmap"])
    message = refused(pyrun, bundle)
    assert "/mounts/7/options: idmap needs uidMappings and gidMappings" in message


def test_a_file_system_without_idmapped_mounts_is_named(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.mount("/data", type="bind", source="/proc/sys", options=["bind", "idmap"], **MAPPINGS)
    message = refused(pyrun, bundle)
    assert "idmap the mount /proc/sys (the file system must be able to)" in message


def test_only_a_bind_mount_is_idmapped(pyrun: Runtime, bundle: Bundle) -> None:
    bundle.mount("/data", type="tmpfs", source="tmpfs", options=["idmap"], **MAPPINGS)
    assert "/mounts/7/options: idmap: is for bind mounts" in refused(pyrun, bundle)


@pytest.mark.parametrize("user", [False, True], ids=["host", "user namespace"])
def test_links_are_copied_mounted_or_covered_as_asked(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path, user: bool
) -> None:
    if user:
        in_user_namespace(bundle)
        tmp_path.chmod(0o755)
    bundle.config["root"]["readonly"] = False
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("nowhere")
    (bundle.rootfs / "inner").symlink_to("/etc/passwd")
    source = str(tmp_path / "link")
    bundle.mount("/x/copied", type="bind", source=source, options=["bind", "copy-symlink"])
    bundle.mount("/mounted", type="bind", source=source, options=["bind", "src-nofollow"])
    (bundle.rootfs / "mounted").touch()
    bundle.mount(
        "/inner",
        type="bind",
        source=str(tmp_path / "file"),
        options=["bind", "dest-nofollow", "ro"],
    )
    bundle.shell("readlink /x/copied; readlink /mounted; cat /inner; echo; head -c 4 /etc/passwd")
    assert pyrun.output(bundle).split() == ["nowhere", "nowhere", "content", "root"]
    assert (bundle.rootfs / "inner").is_symlink()


def test_a_copied_link_does_not_replace_another_file(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.config["root"]["readonly"] = False
    (tmp_path / "link").symlink_to("nowhere")
    source = str(tmp_path / "link")
    (bundle.rootfs / "same").symlink_to("nowhere")
    bundle.mount("/same", type="bind", source=source, options=["bind", "copy-symlink"])
    assert pyrun.output(bundle) == ""
    (bundle.rootfs / "other").symlink_to("elsewhere")
    bundle.mount("/other", type="bind", source=source, options=["bind", "copy-symlink"])
    assert "/other is there and is no link to nowhere" in refused(pyrun, bundle)


def without_mount_namespace(bundle: Bundle) -> None:
    entries = bundle.linux["namespaces"]
    bundle.linux["namespaces"] = [one for one in entries if one["type"] not in ("mount", "cgroup")]
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    bundle.config["root"]["readonly"] = False


def test_mounts_without_a_mount_namespace_go_with_the_container(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    without_mount_namespace(bundle)
    (bundle.rootfs / "kept").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "kept", str(bundle.rootfs / "kept")], check=True)
    try:
        bundle.shell("readlink /proc/self/ns/mnt; stat -c %t,%T /dev/null; exec sleep 1000")
        with open(tmp_path / "out", "w+") as out:
            name = pyrun.start(bundle, stdout=out)
            pid = pyrun.state(name)["pid"]
            wait_for(lambda: os.stat(out.name).st_size, "what the container tells")
        assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        assert str(bundle.rootfs / "dev/pts") in Path("/proc/self/mountinfo").read_text()
        assert (tmp_path / "out").read_text().split() == [os.readlink("/proc/self/ns/mnt"), "1,3"]
        assert pyrun.call("delete", "--force", name).returncode == 0
        left = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        assert [one for one in left if str(bundle.path) in one] == [str(bundle.rootfs / "kept")]
    finally:
        subprocess.run(["umount", str(bundle.rootfs / "kept")], check=True)


def test_a_failed_create_without_a_mount_namespace_leaves_no_mount(
    pyrun: Runtime, bundle: Bundle
) -> None:
    without_mount_namespace(bundle)
    bundle.mount("/last", type="nosuchfs", source="x")
    assert "mount nosuchfs on /last: No such device" in refused(pyrun, bundle)


@pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths", "readonly"])
def test_what_would_change_the_host_needs_a_mount_namespace(
    pyrun: Runtime, bundle: Bundle, key: str
) -> None:
    without_mount_namespace(bundle)
    if key == "readonly":
        bundle.config["root"]["readonly"] = True
    else:
        bundle.linux[key] = ["/etc"]
    assert "needs a mount namespace in /linux/namespaces" in refused(pyrun, bundle)


def test_what_a_killed_create_mounted_goes_with_delete(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    without_mount_namespace(bundle)
    bundle.hook("createRuntime", tmp_path / "hook", "kill -KILL $PPID; exec sleep 1")
    bundle.save()
    name = pyrun.new_id()
    done = pyrun.call("create", "-b", str(bundle.path), name)
    assert done.returncode == -9
    assert pyrun.call("delete", "--force", name).returncode == 0
    assert pyrun.left(name) == []


def test_what_is_mounted_on_the_root_is_the_root(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(bundle.rootfs, other, symlinks=True)
    (other / "other").touch()
    ours = bundle.config["mounts"]
    cover = {"destination": "/", "type": "bind", "source": str(other), "options": ["bind", "ro"]}
    bundle.config["mounts"] = [cover, *ours]
    bundle.shell("ls -d /../other; touch /x 2>/dev/null || echo refused; cat /proc/self/mountinfo")
    for words in ([], ["--no-pivot"]):
        where, said, *mountinfo = pyrun.output(bundle, *words).split("\n")
        assert (where, said) == ("/../other", "refused")
        assert [line.split()[4] for line in mountinfo].count("/") == 1
    copied = {"destination": "/", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    bundle.config["mounts"] = [copied, *ours]
    bundle.config["root"]["readonly"] = False
    bundle.shell("touch /made && ls -d /made; stat -f -c %T /")
    assert pyrun.output(bundle).split() == ["/made", "tmpfs"]
    assert not (bundle.rootfs / "made").exists()


def test_the_root_of_a_user_namespace_cannot_be_covered(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """The host's root would stay below it."""
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.mount("/", type="bind", source=str(tmp_path), options=["bind"])
    assert "destination / is the root itself" in refused(pyrun, bundle)


def test_a_link_to_the_root_is_no_place_for_a_mount(pyrun: Runtime, bundle: Bundle) -> None:
    (bundle.rootfs / "link").symlink_to("/")
    bundle.mount("/link", type="tmpfs", source="tmpfs")
    assert "destination /link is the root itself" in refused(pyrun, bundle)


@pytest.mark.needs("userns")
def test_what_is_mounted_upon_a_bind_of_a_user_namespace_stays_inside(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """The bind is made outside, of a mount that may be shared, as every one is under systemd."""
    source = tmp_path / "shared"
    (source / "inner").mkdir(parents=True)
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    bundle.config["root"]["readonly"] = False
    bundle.mount("/shared", type="bind", source=str(source), options=["rbind"])
    bundle.mount("/shared/inner", type="tmpfs", source="tmpfs")
    bundle.process["args"] = ["sleep", "1000"]
    subprocess.run(["mount", "--bind", source, source], check=True)
    try:
        subprocess.run(["mount", "--make-shared", source], check=True)
        (source / "inner").mkdir(exist_ok=True)
        pyrun.start(bundle)
        assert not os.path.ismount(source / "inner")
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", source], check=True)
