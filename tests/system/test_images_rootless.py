"""Images of an ordinary user: with subordinate ids, and with one id only."""

from __future__ import annotations

import json
import pwd
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.engine import EngineRoot
from support.images import Image, Layer
from support.rootless import (
    FIRST_ID,
    USER,
    OrdinaryRoot,
    end_pause,
    ordinary_home,
    require_open,
)

pytestmark = pytest.mark.needs("root", "userns")


@pytest.fixture
def home() -> Iterator[Path]:
    with ordinary_home() as directory:
        yield directory


@pytest.fixture
def program(pyengine_path: str) -> str:
    return require_open(pyengine_path)


def test_root_gives_a_user_an_image_and_takes_it_back(
    program: str, home: Path, tmp_path: Path
) -> None:
    """The user's store is the one below his home, which is here one of the test's own."""
    root = EngineRoot(program, tmp_path)
    image = owned_image()
    root.ok("load", "-i", images.oci_archive(tmp_path / "a.tar", {"localhost/app:1": image}))
    account = pwd.getpwnam(USER)
    line = f"{USER}:x:{account.pw_uid}:{account.pw_gid}::{home}:/bin/sh\n"
    (tmp_path / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{line}")
    (tmp_path / "subids").write_text(f"{USER}:{FIRST_ID}:65536\n")
    mounts = {"passwd": "passwd", "subids": "subuid"}
    script = "; ".join(
        f"mount --bind {tmp_path}/{ours} /etc/{name}" for ours, name in mounts.items()
    )
    script += f"; mount --bind {tmp_path}/subids /etc/subgid"
    inside = ["unshare", "--mount", "sh", "-c", f'{script}; exec "$@"', "sh"]

    def scp(*words: str) -> str:
        command = [*inside, *root.argv("image", "scp", "-q", *words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert scp("app:1", f"{USER}@localhost::") == "Loaded image: localhost/app:1\n"
    root.ok("rmi", "app:1")
    assert scp(f"{USER}@localhost::app:1") == "Loaded image: localhost/app:1\n"
    assert [one["Id"] for one in root.images()] == [image.id]
    as_user = [*inside, "setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "env",
               f"HOME={home}", program]  # fmt: skip
    command = [*as_user, "image", "scp", "app:1", "root@localhost::"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 125
    assert "only root can use the store of user root" in done.stderr
    # what is in the home belongs to ids of a user namespace
    subprocess.run([*as_user, "rmi", "-a", "-f"], check=True, capture_output=True)
    end_pause(Path(f"/tmp/pyengine-run-{account.pw_uid}/pyengine"))
    shutil.rmtree(f"/tmp/pyengine-run-{account.pw_uid}", ignore_errors=True)


def owned_image() -> Image:
    lower = Layer().directory("d", 0o700, uid=7, gid=8).add("d/f", b"x", uid=7, gid=8, mode=0o600)
    lower.add("far", b"y", uid=65_535).add("own", b"z")
    return Image([lower.tar(), Layer().add("d/.wh.f").add("own", b"new").tar()])


def write(path: Path, image: Image) -> Path:
    images.oci_archive(path, {"localhost/x:1": image})
    path.chmod(0o644)
    return path


def owners(root: EngineRoot) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for layer in (root.root / "layers").iterdir():
        for path in layer.rglob("*"):
            status = path.lstat()
            if not stat.S_ISCHR(status.st_mode):
                found.setdefault(str(path.relative_to(layer)), (status.st_uid, status.st_gid))
    return found


@pytest.mark.needs("newuidmap")
def test_subordinate_ids_own_what_others_own_in_the_image(program: str, home: Path) -> None:
    root = OrdinaryRoot(program, home, 65_536)
    root.ok("load", "-i", write(home / "a.tar", owned_image()))
    account = pwd.getpwnam(USER)
    own = (account.pw_uid, account.pw_gid)
    assert owners(root) == {
        "d": (FIRST_ID + 6, FIRST_ID + 7), "d/f": (FIRST_ID + 6, FIRST_ID + 7),
        "far": (FIRST_ID + 65_534, own[1]), "own": own,
    } | {"d": owners(root)["d"]}  # fmt: skip
    assert root.ok("image", "diff", "x:1").splitlines()[-1] == "D /d/f"
    assert json.loads(root.ok("images", "--format", "json"))[0]["Names"] == ["localhost/x:1"]
    root.ok("rmi", "x:1")
    assert root.is_empty()


@pytest.mark.needs("newuidmap")
def test_an_owner_beyond_the_subordinate_ids_is_named(program: str, home: Path) -> None:
    root = OrdinaryRoot(program, home, 1000)
    message = root.fails("load", "-i", write(home / "a.tar", owned_image()))
    assert "member far: its owner 65535:0 is not mapped" in message
    assert "/etc/subuid" in message
    assert root.is_empty()


def test_one_id_owns_everything_where_there_are_no_others(program: str, home: Path) -> None:
    root = OrdinaryRoot(program, home, 0)
    root.ok("load", "-i", write(home / "a.tar", owned_image()))
    account = pwd.getpwnam(USER)
    assert set(owners(root).values()) == {(account.pw_uid, account.pw_gid)}
    saved = home / "out.tar"
    root.ok("save", "--format", "oci-archive", "-o", saved, "x:1")
    assert root.ok("system", "df").splitlines()[1].split()[1] == "1"
    assert "must execute `pyengine unshare` first" in root.fails("image", "mount", "x:1")
    root.ok("rmi", "-a")
    root.ok("load", "-i", saved)
    assert json.loads(root.ok("images", "--format", "json"))[0]["Id"] == owned_image().id
    root.ok("image", "prune", "-a", "-f")
    assert root.is_empty()


def test_no_layer_gives_an_ordinary_user_a_device(program: str, home: Path) -> None:
    """Those that every container has are left out: the runtime makes them."""
    root = OrdinaryRoot(program, home, 0)
    layer = Layer().directory("dev").add("f", b"x")
    layer.add("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    root.ok("load", "-i", write(home / "a.tar", Image([layer.tar()])))
    (unpacked,) = (root.root / "layers").iterdir()
    assert sorted(path.name for path in unpacked.rglob("*")) == ["dev", "f"]
    root.ok("system", "check")
    disk = Layer().add("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0).tar()
    message = root.fails("load", "-i", write(home / "a.tar", Image([disk])))
    assert "member disk: block device 8:0 is not allowed" in message
    root.ok("rmi", "-a")
    assert root.is_empty()


def test_a_user_without_namespaces_is_told(program: str, home: Path) -> None:
    root = OrdinaryRoot(program, home, 0)
    root.before = ("unshare", "--user")  # nobody is mapped: no namespace below
    message = root.fails("images")
    assert "make a user namespace for user 65534: Operation not permitted" in message
    assert not root.root.exists()


@pytest.mark.needs("newuidmap")
def test_unshare_shows_images_as_their_owner_sees_them(program: str, home: Path) -> None:
    root = OrdinaryRoot(program, home, 65_536)
    root.ok("load", "-i", write(home / "a.tar", owned_image()))
    inside = f"{program} --root {root.root} --runroot {root.runroot}"
    script = f"""
        set -e
        path=$({inside} image mount x:1)
        stat -c '%u:%g %n' $path/d $path/far | sed "s#$path##"
        cat $path/own
        {inside} image mount | awk '{{print $1}}'
        {inside} image unmount x:1 >/dev/null
        test ! -e $path/own
        echo " $CONTAINERS_GRAPHROOT"
    """
    assert root.ok("unshare", "sh", "-c", script).split() == [
        "0:0", "/d", "65535:0", "/far", "newlocalhost/x:1", str(root.root)
    ]  # fmt: skip
    (mapped,) = root.ok("unshare", "sh", "-c", "cat /proc/self/uid_map | head -n 1").splitlines()
    assert mapped.split() == ["0", str(pwd.getpwnam(USER).pw_uid), "1"]
    assert root.call("unshare", "sh", "-c", "exit 7").returncode == 7
    assert "/nosuch: No such file" in root.fails("unshare", "/nosuch", status=127)
    assert "/etc/passwd: Permission denied" in root.fails("unshare", "/etc/passwd", status=126)
    assert "--rootless-netns: " in root.fails("unshare", "--rootless-netns", "true")


def test_root_needs_no_unshare(engine_root: EngineRoot) -> None:
    assert engine_root.fails("unshare", "true") == "Error: please use unshare with rootless"


class FuseRoot(OrdinaryRoot):
    """Layers are mounted by fuse-overlayfs, for which /dev/fuse is open to everybody."""

    def argv(self, *arguments: str | Path) -> list[str]:
        words = super().argv(*arguments)
        node = self.root.parent / "fuse"
        make = f"test -e {node} || mknod -m 666 {node} c 10 229; mount --bind {node} /dev/fuse"
        words[4] = f"if [ $(stat -c %a /dev/fuse) != 666 ]; then {make}; fi; {words[4]}"
        return words


@pytest.mark.needs("newuidmap", "fuse-overlayfs", "fuse", "busybox")
def test_a_users_layers_are_stacked_by_fuse_overlayfs(program: str, home: Path) -> None:
    root = FuseRoot(program, home, 65_536)
    lower = Layer().directory("old").add("old/gone", b"x").add("removed", b"y").tar()
    upper = Layer().add("old/.wh..wh..opq").add("old/new", b"z", uid=7).add(".wh.removed").tar()
    image = Image([images.busybox_layer(), lower, upper])
    root.ok("load", "-q", "-i", write(home / "a.tar", image))
    program_fact = "('driver', 'overlay'), ('mount_program', '/usr/bin/fuse-overlayfs')"
    root.execute(f"INSERT OR REPLACE INTO facts VALUES {program_fact}")
    inside = f"{program} --root {root.root} --runroot {root.runroot}"
    script = f"""
        set -e
        path=$({inside} image mount x:1)
        grep -c "^fuse-overlayfs $path fuse" /proc/self/mounts
        find $path/old $path/removed 2>/dev/null | sed "s#$path##" | sort || true
        stat -c %u $path/old/new
        {inside} image unmount x:1 >/dev/null
        grep -c "^fuse-overlayfs" /proc/self/mounts || true
    """
    found = root.ok("unshare", "sh", "-c", script).split()
    assert found == ["1", "/old", "/old/new", "7", "0"]
    root.ok("rmi", "-a")
    assert root.is_empty()
