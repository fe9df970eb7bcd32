"""container checkpoint and restore, with a criu that does what the test says."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from support.containers import IMAGE, ContainerRoot
from support.criu import DUMP, PRE_DUMP, RESTORE, FakeCriu
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def criu(tmp_path: Path) -> FakeCriu:
    return FakeCriu(tmp_path / "criu")


@pytest.fixture
def saving(pyengine_path: str, pyrun_path: str, tmp_path: Path, criu: FakeCriu
           ) -> Iterator[ContainerRoot]:  # fmt: skip
    programs = ("--runtime", pyrun_path, "--runtime-flag", f"criu={criu.path}")
    made = ContainerRoot(pyengine_path, tmp_path, programs)
    made.load_image()
    try:
        yield made
    finally:
        made.remove_everything()
    assert made.settled() == []


def state(box: ContainerRoot, name: str) -> str:
    form = "{{.State.Status}} {{.State.Checkpointed}}"
    return box.ok("inspect", "--format", form, name).strip()


def test_a_checkpoint_is_kept_until_it_is_restored(saving: ContainerRoot, criu: FakeCriu) -> None:
    saving.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000")
    assert "cannot restore" in saving.fails("container", "restore", "c")
    id_ = saving.ok("container", "checkpoint", "--leave-running", "--file-locks", "c").strip()
    assert state(saving, "c") == "running false"
    images = saving.root / "containers" / id_ / "checkpoint"
    assert (images / "descriptors.json").exists()
    (images / "inventory.img").touch()  # which criu makes
    saving.ok("stop", "-t", "0", "c")
    assert state(saving, "c") == "exited true"
    assert "not running, cannot checkpoint" in saving.fails("container", "checkpoint", "c")

    criu.plan({RESTORE: [["fail", [22, "no luck"]]]})
    assert "no luck" in saving.fails("container", "restore", "c")
    assert state(saving, "c") == "exited true"
    criu.plan({RESTORE: [["restored", "exec sleep 1000"], ["answer", ""]]})
    assert saving.ok("container", "restore", "--all") == f"{id_}\n"
    assert state(saving, "c") == "running false"
    pid = saving.ok("inspect", "--format", "{{.State.Pid}}", "c").strip()
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", b"1000"]
    assert not images.exists()
    os.kill(int(pid), 9)
    assert saving.ok("wait", "c") == "137\n"
    told = saving.ok("events", "--stream=false", "--since", "1h", "--format", "{{.Status}}",
                     "--filter", "container=c").split()  # fmt: skip
    assert [one for one in told if one in ("checkpoint", "restore")] == ["checkpoint", "restore"]


def test_a_checkpoint_that_fails_leaves_the_container_running(
    saving: ContainerRoot, criu: FakeCriu
) -> None:
    id_ = saving.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000").strip()
    criu.plan({DUMP: [["fail", [22, "not possible"]]]})
    error = saving.fails("container", "checkpoint", "c")
    assert "checkpoint container c: " in error
    assert "not possible" in error
    assert state(saving, "c") == "running false"
    assert not (saving.root / "containers" / id_ / "checkpoint").exists()
    saving.ok("run", "-d", "--rm", "--name", "short", IMAGE, "sleep", "1000")
    assert "--rm would remove it" in saving.fails("container", "checkpoint", "short")
    criu.path.unlink()
    assert "criu" in saving.fails("container", "checkpoint", "c")


@pytest.mark.needs("criu", "conmon")
@pytest.mark.parametrize("monitor", ["pyconmon", "conmon"])
def test_the_real_criu_saves_what_is_in_memory(
    box: ContainerRoot, monitor: str, pyconmon_path: str
) -> None:
    path = pyconmon_path if monitor == "pyconmon" else "/usr/bin/conmon"
    script = (
        "read a </proc/sys/kernel/random/uuid; echo $a; while [ ! -e /tmp/go ]; do sleep 0.1; done;"
        " echo $a; exit 9"
    )
    box.ok("run", "-d", "--conmon", path, "--name", "m", IMAGE, "sh", "-c", script)
    wait_for(lambda: box.ok("logs", "m"), "its secret")
    box.ok("container", "checkpoint", "--keep", "m")
    assert state(box, "m") == "exited true"
    assert "because of `checkpoint`" in box.ok("why", "m")
    box.ok("container", "restore", "m")
    assert state(box, "m") == "running false"
    box.ok("exec", "m", "busybox", "touch", "/tmp/go")
    assert box.ok("wait", "m") == "9\n"
    before, after = box.ok("logs", "m").splitlines()
    assert before == after


STATS = "x" * 12 + "\x0a\x06\x08\x05\x10\x07\x28\x09"  # freezing 5, frozen 7, scanned 9


@pytest.fixture
def exported(saving: ContainerRoot, criu: FakeCriu, tmp_path: Path) -> Path:
    """The archive of a container that has changed its image and filled a volume."""
    script = (
        "echo one; echo new >/new; busybox mkdir -m 700 /d; echo in >/d/in; busybox rm /bin/wc;"
        " echo kept >/data/kept; echo more >>/etc/passwd; exec sleep 1000"
    )
    id_ = saving.ok("run", "-d", "--name", "c", "--label", "a=b", "-v", "stuff:/data", IMAGE, "sh",
                    "-c", script).strip()  # fmt: skip
    wait_for(lambda: "A /d/in" in saving.ok("diff", "c"), "its changes")
    images = saving.root / "containers" / id_ / "checkpoint"
    bundle = saving.runroot / "containers" / id_
    criu.plan({DUMP: [["write", [str(images / "inventory.img"), "its memory"]],
                      ["write", [str(bundle / "stats-dump"), STATS]], ["answer", ""]],
               RESTORE: [["restored", "exec sleep 1000"], ["answer", ""]]})  # fmt: skip
    path = tmp_path / "c.tar.zst"
    found = json.loads(saving.ok("container", "checkpoint", "-R", "-e", path, "--print-stats", "c"))
    (row,) = found["container_statistics"]
    assert (row["Id"], row["runtime_checkpoint_duration"] > 0) == (id_, True)
    assert (row["criu_statistics"]["frozen_time"], row["criu_statistics"]["pages_scanned"]) == (
        7,
        9,
    )
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def root_of(box: ContainerRoot, name: str) -> Path:
    """The tree of a container whose process the fake has made outside of it."""
    id_ = box.ok("inspect", "--format", "{{.Id}}", name).strip()
    return box.root / "containers" / id_ / "merged"


def members(path: Path) -> dict[str, bytes]:
    raw = path.read_bytes()
    data = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {one.name: archive.extractfile(one).read() if one.isreg() else b""  # type: ignore[union-attr]  # a file has content
                for one in archive}  # fmt: skip


def test_an_archive_has_podmans_form_and_is_restored_elsewhere(
    saving: ContainerRoot, exported: Path
) -> None:
    found = members(exported)
    dump = json.loads(found["config.dump"])
    assert (dump["name"], dump["rootfsImageName"], dump["namedVolumes"][0]["volumeName"]) == (
        "c", IMAGE, "stuff"
    )  # fmt: skip
    spec = json.loads(found["spec.dump"])
    sources = {one["destination"]: one["source"] for one in spec["mounts"]}
    assert (spec["process"]["args"][0], sources["/data"]) == (
        "sh", "/var/lib/containers/storage/volumes/stuff/_data"
    )  # fmt: skip
    assert found["checkpoint/inventory.img"] == b"its memory"
    assert json.loads(found["deleted.files"]) == ["/bin/wc"]
    with tarfile.open(fileobj=io.BytesIO(found["rootfs-diff.tar"])) as changes:
        assert {"new", "d", "d/in", "etc/passwd"} <= set(changes.getnames())
    assert {"volumes/stuff.tar", "ctr.log", "stats-dump", "network.status"} <= set(found)

    restore = ("container", "restore", "-i", exported)
    assert "is already in use" in saving.fails(*restore)
    saving.ok("rm", "-f", "-t", "0", "c")
    assert "volume with name stuff already exists" in saving.fails(*restore)
    saving.ok("volume", "rm", "stuff")
    old = dump["id"]
    assert saving.ok(*restore) == f"{old}\n"
    assert state(saving, "c") == "running false"
    second = saving.ok(*restore, "-n", "d", "--ignore-volumes", "--keep").strip()
    assert second != old
    for name in ("c", "d"):
        tree = root_of(saving, name)
        assert ((tree / "new").read_text(), (tree / "d/in").read_text()) == ("new\n", "in\n")
        assert ((tree / "d").stat().st_mode & 0o777, (tree / "bin/wc").exists()) == (0o700, False)
        assert (tree / "etc/passwd").read_text().endswith("more\n")
        assert saving.ok("logs", name) == "one\n"
        assert saving.ok("inspect", "--format", "{{.Config.Labels.a}}", name) == "b\n"
    volume = Path(saving.ok("volume", "inspect", "--format", "{{.Mountpoint}}", "stuff").strip())
    assert (volume / "kept").read_text() == "kept\n"
    assert (saving.root / "containers" / second / "checkpoint/inventory.img").exists()
    assert not (saving.root / "containers" / old / "checkpoint").exists()
    events = saving.ok("events", "--stream=false", "--since", "1h", "--format", "{{.Status}}",
                       "--filter", f"container={second}").split()  # fmt: skip
    assert events[:2] == ["create", "restore"]
    saving.ok("rm", "-f", "-t", "0", "-a")
    saving.ok("volume", "rm", "-a", "-f")


def test_podmans_archive_becomes_a_container_of_ours(
    saving: ContainerRoot, exported: Path, tmp_path: Path
) -> None:
    """It says nothing in our words; mounts that podman makes have other sources there."""
    found = members(exported)
    dump, spec = json.loads(found["config.dump"]), json.loads(found["spec.dump"])
    del dump["pyengine"]
    dump["rootfsImageID"] = "0" * 64  # another engine's
    spec["mounts"] = [one for one in spec["mounts"] if one["destination"] != "/dev/shm"]
    for place in ("/dev/shm", "/run/secrets"):
        spec["mounts"].append({"destination": place, "type": "bind", "source": "/gone",
                               "options": ["bind", "private"]})  # fmt: skip
    spec["process"]["capabilities"]["bounding"].append("CAP_SYS_TIME")
    archives = {}
    for mode, namespaces in (("none", spec["linux"]["namespaces"]), ("bridge", [
        {"type": "network", "path": "/run/netns/x"}
    ])):  # fmt: skip
        spec["linux"]["namespaces"] = namespaces
        found.update({"config.dump": json.dumps(dump).encode(),
                      "spec.dump": json.dumps(spec).encode()})  # fmt: skip
        archives[mode] = tmp_path / f"{mode}.tar"
        with tarfile.open(archives[mode], "w") as archive:
            for name, data in found.items():
                if name != "checkpoint":
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    saving.ok("rm", "-f", "-t", "0", "-v", "c")
    saving.ok("volume", "rm", "-f", "stuff")
    assert "bridged network" in saving.fails("container", "restore", "-i", archives["bridge"])
    id_ = saving.ok("container", "restore", "-n", "p", "-i", archives["none"]).strip()
    config = json.loads((saving.runroot / "containers" / id_ / "config.json").read_text())
    sources = {one["destination"]: one["source"] for one in config["mounts"]}
    assert Path(sources["/dev/shm"]).stat().st_mode & 0o7777 == 0o1777
    assert sources["/etc/hosts"].startswith(str(saving.runroot))
    assert sources["/data"].startswith(str(saving.root))
    assert Path(sources["/data"], "kept").read_text() == "kept\n"
    assert (root_of(saving, "p") / "d/in").read_text() == "in\n"
    form = "{{.Config.Cmd}} {{.HostConfig.CapAdd}} {{.Config.Labels.a}} {{.HostConfig.NetworkMode}}"
    told = saving.ok("inspect", "--format", form, "p")
    assert (told.startswith("[sh -c echo one;"), told.endswith("[CAP_SYS_TIME] b none\n")) == (
        True, True
    ), told  # fmt: skip
    saving.ok("stop", "-t", "0", "p")
    saving.ok("start", "p")  # from its beginning, as an ordinary container
    wait_for(lambda: saving.ok("logs", "p") == "one\none\n", "its output")
    saving.ok("rm", "-f", "-t", "0", "-v", "p")
    saving.ok("volume", "rm", "-f", "stuff")


def test_a_checkpoint_may_be_an_image(saving: ContainerRoot, exported: Path) -> None:
    assert exported.exists()
    saving.ok("container", "checkpoint", "-R", "--create-image", "localhost/saved:1", "c")
    text = saving.ok("inspect", "--type", "image", "--format", "{{json .Annotations}}",
                     "localhost/saved:1")  # fmt: skip
    annotations = json.loads(text)
    assert annotations["io.podman.annotations.checkpoint.name"] == "c"
    done = saving.ok("container", "restore", "-n", "again", "--ignore-volumes", "--print-stats",
                     "localhost/saved:1")  # fmt: skip
    assert json.loads(done)["container_statistics"][0]["runtime_restore_duration"] > 0
    assert (root_of(saving, "again") / "new").read_text() == "new\n"
    assert "it is no checkpoint" in saving.fails("container", "restore", IMAGE)
    saving.ok("rm", "-f", "-t", "0", "-a")
    saving.ok("volume", "rm", "-a", "-f")
    saving.ok("rmi", "localhost/saved:1")


def test_memory_is_saved_ahead(saving: ContainerRoot, criu: FakeCriu, tmp_path: Path) -> None:
    id_ = saving.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000").strip()
    assert "there is none" in saving.fails("container", "checkpoint", "-R", "--with-previous", "c")
    image = saving.root / "containers" / id_ / "checkpoint/inventory.img"
    criu.plan({DUMP: [["write", [str(image), "its memory"]], ["answer", ""]]})
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    none = ("--compress", "none")
    saving.ok("container", "checkpoint", "-P", "-e", first, *none, "c")
    assert criu.requests()[-1][1] == [PRE_DUMP]
    assert state(saving, "c") == "running false"
    saving.ok("container", "checkpoint", "-R", "--with-previous", "-e", second, *none, "c")
    assert criu.options(DUMP)[14] == [b"../pre-checkpoint"]
    with tarfile.open(first) as archive:
        assert "pre-checkpoint" in archive.getnames()
    saving.ok("rm", "-f", "-t", "0", "c")
    error = saving.fails("container", "restore", "-i", first)
    assert "it has no complete checkpoint" in error
    criu.plan({RESTORE: [["fail", [22, "no luck"]]]})
    error = saving.fails("container", "restore", "-i", second, "--import-previous", first)
    assert "no luck" in error
    assert saving.ok("ps", "-aq") == ""  # nothing is left of it
    criu.plan({RESTORE: [["restored", "exec sleep 1000"], ["answer", ""]]})
    saving.ok("container", "restore", "--keep", "-i", second, "--import-previous", first)
    assert (saving.root / "containers" / id_ / "pre-checkpoint").is_dir()
    saving.ok("rm", "-f", "-t", "0", "c")


def test_an_archive_that_cannot_be_used_is_refused(saving: ContainerRoot, tmp_path: Path) -> None:
    saving.ok("run", "-d", "--name", "c", IMAGE, "sleep", "1000")
    missing = tmp_path / "none" / "x.tar"
    error = saving.fails("container", "checkpoint", "-e", missing, "c")
    assert "No such file or directory" in error
    assert state(saving, "c") == "running false"  # it was not ended in vain
    assert not (tmp_path / "criu/requests").exists()
    for words, problem in [
        (("checkpoint", "--compress", "gzip", "c"), "can only be used with --export"),
        (("checkpoint", "-e", "x", "--compress", "xz", "c"), "not supported"),
        (("restore", "-n", "d", "c"), "can only be used with image or --import"),
        (("restore", "-i", missing), "failed to open checkpoint archive"),
        (("restore", "-i", missing, "--pod", "p"), "no pods"),
    ]:
        assert problem in saving.fails("container", *words, status=125)
    bad = tmp_path / "bad.tar"
    for name, text, problem in [
        ("x", "", "it has no config.dump"),
        ("config.dump", "[]", "it is no JSON object"),
        ("config.dump", '{"name": 3}', "it has no spec.dump"),
    ]:
        with tarfile.open(bad, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
        assert problem in saving.fails("container", "restore", "-i", bad)
    saving.ok("rm", "-f", "-t", "0", "c")


@pytest.mark.needs("criu")
def test_the_real_criu_takes_a_container_elsewhere(box: ContainerRoot, tmp_path: Path) -> None:
    script = (
        "read a </proc/sys/kernel/random/uuid; echo $a; echo new >/new; echo v >/data/v;"
        " while [ ! -e /tmp/go ]; do sleep 0.1; done; echo $a; cat /new /data/v; exit 9"
    )
    id_ = box.ok("run", "-d", "--name", "m", "-v", "stuff:/data", IMAGE, "sh", "-c", script).strip()
    wait_for(lambda: box.ok("logs", "m"), "its secret")
    done = box.ok("container", "checkpoint", "--print-stats", "-e", tmp_path / "m.tar", "m")
    assert json.loads(done)["container_statistics"][0]["criu_statistics"]["pages_written"] > 0
    box.ok("rm", "m")
    box.ok("volume", "rm", "stuff")
    assert box.ok("container", "restore", "-i", tmp_path / "m.tar") == f"{id_}\n"
    box.ok("exec", "m", "busybox", "touch", "/tmp/go")
    assert box.ok("wait", "m") == "9\n"
    before, after, *rest = box.ok("logs", "m").splitlines()
    assert (before == after, rest) == (True, ["new", "v"])
    box.ok("rm", "m")
    box.ok("volume", "rm", "stuff")
