"""Containers with a user namespace of their own, and whose their files are."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.machine import with_cgroup_layout
from support.waiting import wait_for

FIRST = 200_000
MAP = f"0:{FIRST}:65536"


pytestmark = pytest.mark.needs("root", "busybox", "userns")


@pytest.mark.needs("mapped_mounts")
def test_a_container_has_users_of_its_own(box: ContainerRoot, tmp_path: Path) -> None:
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
    line = [f"0:{FIRST}:65536"]
    assert found["HostConfig"]["IDMappings"] == {"UidMap": line, "GidMap": line}
    host = box.sh(
        "busybox head -c 1 /dev/zed | busybox wc -c; echo x >/image/new; stat -c %u /image/bin"
        " /image/new /read/etc; ls /sys/class/net", "--uidmap", MAP, "--mount",
        f"type=image,source={IMAGE},destination=/image,rw=true", "--mount",
        f"type=image,source={IMAGE},destination=/read",
        "--network", "host", "--ipc", "host", "--device", "/dev/zero:/dev/zed",
    )  # fmt: skip
    assert host.split()[:4] == ["1", "0", "0", "0"]
    assert set(host.split()[4:]) == set(os.listdir("/sys/class/net"))


@pytest.mark.needs("v2_view")
def test_the_hosts_network_brings_its_sys_but_the_containers_cgroup(box: ContainerRoot) -> None:
    """Of cgroup v2, which the kernel does not mount on itself."""
    # The host's root has no type.
    script = "busybox tail -n 1 /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.type"
    argv = box.argv("run", "--rm", "--uidmap", MAP, "--network", "host", IMAGE, "sh", "-c", script)
    done = subprocess.run(with_cgroup_layout("v2", argv), capture_output=True, check=False)
    assert done.stdout.decode() == "0::/\n/sys/fs/cgroup/cgroup.type\n", done.stderr.decode()


@pytest.mark.needs("mapped_mounts")
def test_auto_estimates_and_ns_joins(box: ContainerRoot, tmp_path: Path) -> None:
    ids = tmp_path / "subuid"
    ids.write_text(f"containers:{FIRST}:5000\n")
    private = f'mount --bind {ids} /etc/subuid && mount --bind {ids} /etc/subgid && exec "$@"'

    def create(*words: str) -> subprocess.CompletedProcess[str]:
        """With /etc/subuid of our own."""
        argv = ["unshare", "-m", "sh", "-c", private, "sh", *box.argv("create", *words)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def id_maps(name: str) -> str:
        template = "{{.HostConfig.IDMappings.UidMap}} {{.HostConfig.IDMappings.GidMap}}"
        return box.ok("inspect", "--format", template, name).strip()

    sleep = (IMAGE, "sleep", "1000")
    for name, mode in (
        ("one", "auto"), ("two", "auto:size=7"), ("three", "auto:size=3,uidmapping=1:50:1"),
    ):  # fmt: skip
        done = create("--name", name, "--userns", mode, *sleep)
        assert done.returncode == 0, done.stderr
    assert id_maps("one") == f"[0:{FIRST}:1024] [0:{FIRST}:1024]"
    assert id_maps("two") == f"[0:{FIRST + 1024}:7] [0:{FIRST + 1024}:7]"
    third = FIRST + 1031
    assert id_maps("three") == f"[0:{third}:1 1:50:1 2:{third + 1}:1] [0:{third}:3]"
    done = create("--userns", "auto:size=5000", *sleep)
    assert (done.returncode, "could not find enough available IDs" in done.stderr) == (125, True)
    argv = ["unshare", "-m", "sh", "-c", private, "sh", *box.argv("container", "clone", "two")]
    subprocess.run(argv, capture_output=True, check=True)
    assert id_maps("two-clone") == f"[0:{FIRST + 1033}:7] [0:{FIRST + 1034}:7]"
    box.ok("start", "three")
    lines = box.ok("exec", "three", "cat", "/proc/self/uid_map").splitlines()
    assert [line.split() for line in lines] == [
        ["0", str(third), "1"], ["1", "50", "1"], ["2", str(third + 1), "1"],
    ]  # fmt: skip
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", "three").strip()
    path = f"/proc/{pid}/ns/user"
    box.ok("create", "--name", "joins", "--userns", f"ns:{path}", *sleep)
    box.ok("start", "joins")
    assert box.ok(
        "exec", "joins", "busybox", "readlink", "/proc/self/ns/user"
    ).strip() == os.readlink(path)
    assert box.ok("exec", "joins", "stat", "-c", "%u", "/bin") == "0\n"
    mode = box.ok("inspect", "--format", "{{.HostConfig.UsernsMode}}", "joins").strip()
    assert mode == f"ns:{path}"
    assert id_maps("joins") == id_maps("three")
    box.ok("stop", "-t", "0", "joins", "three")
    error = box.fails("start", "joins")
    assert "cannot find specified user namespace path" in error


def test_root_keeps_its_ids_in_a_namespace_of_its_own(box: ContainerRoot) -> None:
    script = (
        "id -u; cat /proc/self/uid_map; stat -c %u /bin; echo x >/new; stat -c %u /new;"
        " readlink /proc/self/ns/user"
    )
    *found, namespace = box.sh(script, "--userns", "keep-id").split()
    assert found == ["0", "0", "0", "4294967295", "0", "0"]
    assert namespace != os.readlink("/proc/self/ns/user")
    show = ("id -u; id -g", "--userns", "keep-id:uid=7,gid=8")
    assert box.sh(*show).split() == ["7", "8"]
    assert box.sh(*show, "--user", "5:6").split() == ["5", "6"]


@pytest.mark.needs("mapped_mounts")
def test_a_directory_is_a_root_with_mapped_owners(box: ContainerRoot, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    mapped = f"{tree}:idmap"
    script = ("busybox", "sh", "-c", "busybox stat -c %u:%g /bin; echo x >/new; busybox sleep 1000")
    box.ok("run", "-d", "--name", "m", "--uidmap", MAP, "--rootfs", mapped, *script)
    wait_for(lambda: (tree / "new").exists(), "the container's file")
    assert box.ok("logs", "m") == "0:0\n"
    pid = box.ok("inspect", "--format", "{{.State.Pid}}", "m").strip()
    assert os.stat(f"/proc/{pid}/root/new").st_uid == FIRST
    assert (tree / "new").stat().st_uid == 0
    (tmp_path / "file").write_text("x")
    for state in ("running", "stopped"):
        box.ok("cp", tmp_path / "file", f"m:/{state}")
        assert (tree / state).stat().st_uid == 0
        exported = subprocess.run(box.argv("export", "m"), capture_output=True, check=True).stdout
        assert {owner[:2] for owner in owners(exported).values()} == {(0, 0)}
        box.ok("stop", "-t", "0", "m")
    box.ok("rm", "m")
    assert not box.mounts()
    os.chown(tree / "new", 3, 4)
    ids = f"{mapped}=uids=0-{FIRST}-1#@3-9-1;gids=0-{FIRST}-5"
    show = ("--uidmap", MAP, "--rootfs", ids, "busybox", "stat", "-c", "%u:%g", "/bin", "/new")
    assert box.ok("run", "--rm", *show) == "0:0\n9:4\n"
    error = box.fails("run", "--rm", "--rootfs", mapped, "busybox", "true")
    assert "the container has no user namespace" in error
    assert "must be uids= or gids=" in box.fails("run", "--rootfs", f"{mapped}=uids=0-1", "x")


CHANGE = (
    "echo root >/made; echo user >/home; busybox chown 1000:1000 /home; busybox mkdir /d;"
    " busybox chown 7:8 /d; echo more >>/etc/passwd; busybox rm /bin/wc"
)


def owners(tar: bytes) -> dict[str, tuple[int, int, int]]:
    """Owner and mode of each member, mount points and marks left out."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {one.name: (one.uid, one.gid, one.mode) for one in archive}


@pytest.mark.needs("mapped_mounts")
def test_what_leaves_such_a_container_has_its_own_ids(box: ContainerRoot, tmp_path: Path) -> None:
    """As from an ordinary one: by commit, by export, by cp; and diff shows the same."""
    box.ok("run", "--name", "plain", IMAGE, "sh", "-c", CHANGE)
    box.ok("run", "--name", "mapped", "--uidmap", MAP, IMAGE, "sh", "-c", CHANGE)
    assert box.ok("diff", "mapped") == box.ok("diff", "plain")
    exported = [subprocess.run(box.argv("export", name), capture_output=True, check=True).stdout
                for name in ("plain", "mapped")]  # fmt: skip
    assert owners(exported[0]) == owners(exported[1])
    assert owners(exported[1])["home"][:2] == (1000, 1000)
    box.ok("commit", "-q", "mapped", "localhost/mapped:1")
    listing = "ls -lan / /etc | busybox grep -E 'made|home|d$|passwd'; ls /bin/wc || true"
    command = ("run", "--rm", "localhost/mapped:1", "sh", "-c", listing)
    assert [line.split()[2:4] for line in box.ok(*command).splitlines()] == [
        line.split()[2:4]
        for line in box.ok("run", "--rm", "--uidmap", MAP, *command[2:]).splitlines()
    ]
    user = box.ok("run", "--rm", "localhost/mapped:1", "stat", "-c", "%u:%g", "/home", "/d")
    assert user == "1000:1000\n7:8\n"
    box.ok("cp", "mapped:/home", tmp_path / "home")
    assert (tmp_path / "home").stat().st_uid == 0
    stream = subprocess.run(box.argv("cp", "mapped:/home", "-"), capture_output=True, check=True)
    assert owners(stream.stdout) == {"home": (1000, 1000, 0o644)}
    path = box.ok("mount", "mapped").strip()
    assert os.stat(f"{path}/home").st_uid == FIRST + 1000
    assert os.stat(f"{path}/bin").st_uid == FIRST
    box.ok("umount", "mapped")


@pytest.mark.needs("mapped_mounts")
def test_what_is_copied_into_such_a_container_is_its_users(
    box: ContainerRoot, tmp_path: Path
) -> None:
    for name in ("tree", "idmap", "bind"):
        (tmp_path / name).mkdir()
    (tmp_path / "tree/file").write_text("x")
    os.chown(tmp_path / "tree/file", 5, 6)
    box.ok("secret", "create", "plain", tmp_path / "tree/file")
    options = (
        "--uidmap",
        MAP,
        "--user",
        "1000:1000",
        "-v",
        f"{tmp_path}/idmap:/idmap:idmap",
        "-v",
        f"{tmp_path}/bind:/bind:U",
        "--secret",
        "plain,uid=3,gid=4,mode=0400",
    )
    for name in ("runs", "waits"):
        box.ok("create", "--name", name, *options, IMAGE, "sleep", "1000")
    box.ok("start", "runs")
    for name in ("runs", "waits"):
        for place in ("/tmp", "/idmap", "/bind"):
            box.ok("cp", tmp_path / "tree", f"{name}:{place}/{name}")
        for place in ("/tmp", "/idmap"):
            box.ok("cp", "-a=false", tmp_path / "tree", f"{name}:{place}/{name}-kept")
    box.ok("cp", "waits:/tmp/waits-kept", "runs:/tmp/other")
    stat = ("exec", "runs", "stat", "-c", "%u:%g")
    places = ("/tmp/runs", "/idmap/runs", "/bind/runs", "/idmap/waits", "/bind/waits")
    everything = [path for place in places for path in (place, f"{place}/file")]
    assert set(box.ok(*stat, *everything, "/bind", "/tmp/other").split()) == {"1000:1000"}
    kept = ("/tmp/runs-kept/file", "/idmap/runs-kept/file", "/idmap/waits-kept/file")
    assert set(box.ok(*stat, *kept).split()) == {"5:6"}
    assert os.stat(tmp_path / "idmap/runs/file").st_uid == 1000
    assert os.stat(tmp_path / "bind/runs/file").st_uid == FIRST + 1000
    assert box.ok(*stat, "/run/secrets/plain", "/run/secrets").split() == ["3:4", "0:0"]
    box.ok("start", "waits")
    assert box.ok("exec", "waits", "stat", "-c", "%u:%g", "/tmp/waits/file", "/tmp/waits-kept/file",
                  "/bind").split() == ["1000:1000", "5:6", "1000:1000"]  # fmt: skip
    os.chown(tmp_path / "tree/file", 70_000, 0)
    error = box.fails("cp", "-a=false", tmp_path / "tree", "runs:/tmp/outside")
    assert "id 70000 is not among the ids of the container" in error


@pytest.mark.parametrize("where", ["vfs", "ramfs"])
def test_where_owners_cannot_be_mapped_the_image_is_copied(
    pyengine_path: str, tmp_path: Path, where: str
) -> None:
    """With the vfs driver, and on a file system that has no mapped mounts."""
    top = tmp_path / "top"
    top.mkdir()
    tmp_path.chmod(0o755)
    if where == "ramfs":
        subprocess.run(["mount", "-t", "ramfs", "ramfs", top], check=True)
    root = ContainerRoot(
        pyengine_path, top, () if where == "ramfs" else ("--storage-driver", "vfs")
    )
    try:
        root.load_image()
        root.ok("run", "--name", "mapped", "--uidmap", MAP, IMAGE, "sh", "-c",
                f"{CHANGE}; ls -lan /bin/busybox /etc/passwd >/seen")  # fmt: skip
        assert {"A /made", "A /d", "C /etc/passwd", "D /bin/wc"} <= set(
            root.ok("diff", "mapped").splitlines()
        )
        assert "/etc/group" not in root.ok("diff", "mapped")
        directory = root.root / "containers" / root.ok("ps", "-aq", "--no-trunc").strip()
        assert (directory / "mapped").exists() == (where == "ramfs")
        path = root.ok("mount", "mapped").strip()
        assert os.stat(f"{path}/bin/busybox").st_uid == FIRST
        assert os.stat(f"{path}/home").st_uid == FIRST + 1000
        seen = Path(path, "seen").read_text().splitlines()
        assert [line.split()[2:4] for line in seen] == [["0", "0"]] * 2
        root.ok("commit", "-q", "mapped", "localhost/mapped:1")
        listing = root.ok("run", "--rm", "localhost/mapped:1", "stat", "-c", "%u:%g", "/home",
                          "/d", "/bin/busybox")  # fmt: skip
        assert listing.split() == ["1000:1000", "7:8", "0:0"]
        assert {path.stat().st_uid for path in (root.root / "layers").rglob("busybox")} == {0}
    finally:
        root.remove_everything()
        assert root.settled() == []
        if where == "ramfs":
            subprocess.run(["umount", top], check=True)


@pytest.mark.needs("mapped_mounts")
def test_layers_are_mapped_before_linux_6_15_as_well(tmp_path: Path) -> None:
    """Overlay took only mounts that have a place in the tree: nothing of these is left."""
    for name in ("lower", "more", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/file").write_text("x")
    script = f"""
import os
from pyengine.storage import mapped_overlay, overlay
os.chdir({str(tmp_path)!r})
class Refused(overlay.Stack):
    def mount(self, layers, target):
        if layers[0].startswith("/proc/"):  # detached
            os.makedirs("work/work/incompat/volatile")  # as the kernel, before it refuses
            raise OSError(22, "refused")
        super().mount(layers, target)
stack = Refused(["lower", "more"], "upper", "work", volatile=True)
ids = [[0, {FIRST}, 9]]
mapped_overlay.mount(stack, (ids, ids), os.path.abspath("merged"))
assert os.getcwd() == {str(tmp_path)!r}
print(os.stat("merged/file").st_uid, os.listdir("merged"))
"""
    mounted = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    try:
        assert (mounted.stderr, mounted.stdout) == ("", f"{FIRST} ['file']\n")
        (tmp_path / "merged/new").write_text("x")
        assert (tmp_path / "upper/new").exists()
        left = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        assert [path for path in left if str(tmp_path) in path] == [f"{tmp_path}/merged"]
    finally:
        subprocess.run(["umount", tmp_path / "merged"], check=True)


def test_what_cannot_be_mapped_is_an_error_that_leaves_nothing(box: ContainerRoot) -> None:
    error = box.fails("run", "--rm", "--uidmap", f"1:{FIRST}:5", IMAGE, "true")
    assert "the container's root has no user of the host" in error
    error = box.fails("run", "--rm", "--userns", "container:nosuch", IMAGE, "true")
    assert "no such container" in error
    plain = box.ok("run", "-d", IMAGE, "sleep", "1000").strip()
    error = box.fails("run", "--rm", "--userns", f"container:{plain}", IMAGE, "true")
    assert "it has no user namespace of its own" in error
    assert box.ok("ps", "-aq", "--no-trunc") == f"{plain}\n"
