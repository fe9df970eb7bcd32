"""Where storage.conf puts things, and what mounts layers there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support import images
from support.images import Image, Layer

pytestmark = pytest.mark.needs("root", "busybox")

# What we keep in /run is not this machine's then.
PRIVATE = 'mount -t tmpfs tmpfs /run; exec "$@"'


def call(
    pyengine: str, conf: Path, *words: str | Path, script: str = PRIVATE
) -> subprocess.CompletedProcess[str]:
    inside = ["unshare", "--mount", "sh", "-c", script, "sh", "env",
              f"CONTAINERS_STORAGE_CONF={conf}", pyengine]  # fmt: skip
    return subprocess.run(
        [*inside, *map(str, words)], check=False, capture_output=True, text=True, timeout=60
    )


def write(path: Path, text: str) -> Path:
    path.write_text(f"[storage]\n{text}\n")
    return path


def archive(directory: Path) -> Path:
    layers = [images.busybox_layer(), Layer().add("etc/new", b"new\n").add("etc/.wh.group").tar()]
    return images.docker_archive(directory / "a.tar", {"x": Image(layers)})


def test_images_go_below_the_configured_directory(pyengine_path: str, tmp_path: Path) -> None:
    root = tmp_path / "big disk"
    conf = write(
        tmp_path / "storage.conf",
        f'driver = "vfs"\ngraphroot = "{root}"\nrunroot = "{tmp_path}/run"\n'
        '[storage.options]\nadditionalimagestores = []\npull_options = {use_hard_links = "false"}\n'
        '[storage.options.overlay]\nmountopt = "nodev"',
    )
    done = call(pyengine_path, conf, "load", "-q", "-i", archive(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list((root / "pyengine/layers").iterdir())) == 2
    run = [
        "run",
        "--rm",
        "--network",
        "none",
        "x",
        "sh",
        "-c",
        "cat /etc/new; test ! -e /etc/group",
    ]
    done = call(pyengine_path, conf, *run)
    assert (done.returncode, done.stdout) == (0, "new\n"), done.stderr
    assert (tmp_path / "run/pyengine").is_dir()
    other = tmp_path / "other"
    named = call(pyengine_path, conf, "--root", other, "--runroot", tmp_path / "r", "images", "-q")
    assert (named.returncode, named.stdout) == (0, "")  # a root that is named counts alone
    assert (other / "pyengine.db").exists()


@pytest.mark.needs("fuse-overlayfs")
def test_a_mount_program_stacks_layers_where_the_kernel_does_not(
    pyengine_path: str, tmp_path: Path
) -> None:
    conf = write(
        tmp_path / "storage.conf",
        f'graphroot = "{tmp_path}"\nrunroot = "{tmp_path}/run"\n'
        '[storage.options.overlay]\nmount_program = "/usr/bin/fuse-overlayfs"',
    )
    script = f"""
        mount -t tmpfs tmpfs /run
        set -e
        "$@" load -q -i {archive(tmp_path)} >/dev/null
        path=$("$@" image mount x)
        grep -c "^fuse-overlayfs $path " /proc/self/mounts
        ls $path/etc
        "$@" image unmount x >/dev/null
        "$@" run --network none --name one x sh -c 'rm -f /etc/new; echo more >>/etc/more'
        "$@" start -a one 2>/dev/null
        ls {tmp_path}/pyengine/containers/*/diff/etc | grep -x 'more\\|new'
        "$@" rm one >/dev/null
        "$@" run --rm --network none x ls /etc/new
    """
    done = call(pyengine_path, conf, script=script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "1", "new", "passwd",  # the image's tree
        "more", "new",  # the container's own, a whiteout among them
        "/etc/new",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('driver = "btrfs"', "driver: 'btrfs' is not known"),
        ('graphroot = "relative"', "'relative' is not an absolute path"),
        ("graphroot = 5", "graphroot: 5 is not a string"),
        ("transient_store = true", "transient_store: this cannot be done here"),
        ('[storage.options]\nadditionalimagestores = ["/x"]', "additionalimagestores: this cannot"),
        ('[storage.options.overlay]\nsize = "10G"', "size: this cannot be done here"),
        ("driver = [", "not TOML"),
    ],
)
def test_what_cannot_be_done_is_named(
    pyengine_path: str, tmp_path: Path, text: str, problem: str
) -> None:
    conf = write(tmp_path / "storage.conf", text)
    done = call(pyengine_path, conf, "images")
    assert done.returncode == 125
    assert done.stderr.startswith(f"Error: {conf}: ")
    assert problem in done.stderr
