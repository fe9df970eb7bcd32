"""checkpoint and restore with the real CRIU."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox", "criu")

# It has a secret that is nowhere but in its memory, and tells it again when /tmp/go is there.
SCRIPT = (
    "read secret < /proc/sys/kernel/random/uuid; echo $secret > /tmp/secret; echo $secret;"
    "while [ ! -e /tmp/go ]; do sleep 0.1; done; echo $secret $$; exit 7"
)


@pytest.fixture
def bundle(bundle: Bundle) -> Bundle:
    bundle.config["root"]["readonly"] = False
    bundle.shell(SCRIPT)
    return bundle


class Container:
    """One that has told its secret; its output is a pipe."""

    def __init__(self, pyrun: Runtime, bundle: Bundle) -> None:
        self.pyrun, self.bundle = pyrun, bundle
        read_fd, write_fd = os.pipe()
        self.name = pyrun.start(bundle, stdout=write_fd)
        os.close(write_fd)
        with open(read_fd) as output:
            self.secret = output.readline().strip()
        assert self.secret

    def checkpoint(self, images: Path, *options: str) -> None:
        done = self.pyrun.call("checkpoint", "--image-path", str(images), *options, self.name)
        assert done.returncode == 0, done.stderr


def restore_command(images: Path, bundle: Bundle, *options: str) -> list[str]:
    return ["restore", "--image-path", str(images), "-b", str(bundle.path), *options]


def test_a_restored_container_goes_on_and_its_exit_status_is_passed_on(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    bundle.mount("/data/here", type="bind", source=str(tmp_path / "data"), options=["rbind"])
    container = Container(pyrun, bundle)
    container.checkpoint(tmp_path / "images", "--work-path", str(tmp_path / "work"))
    assert pyrun.left(container.name) == []
    assert (tmp_path / "work/dump.log").exists()
    assert not (tmp_path / "images/dump.log").exists()
    shutil.rmtree(bundle.rootfs / "data")  # a mount point is made again
    (bundle.rootfs / "tmp/go").touch()
    name = pyrun.new_id()
    done = pyrun.call(*restore_command(tmp_path / "images", bundle), name)
    assert (done.returncode, done.stdout) == (7, f"{container.secret} 1\n"), done.stderr
    assert pyrun.left(name) == []


def test_a_restored_container_is_one_like_any_other(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.linux["resources"] = {"pids": {"limit": 50}}
    container = Container(pyrun, bundle)
    container.checkpoint(tmp_path / "before", "--pre-dump")
    assert pyrun.state(container.name)["status"] == "running"
    container.checkpoint(tmp_path / "images", "--parent-path", "../before", "--leave-running")
    assert pyrun.state(container.name)["status"] == "running"
    assert (tmp_path / "images/parent").is_symlink()
    pid_file = tmp_path / "pid"
    name = pyrun.new_id()
    words = restore_command(tmp_path / "images", bundle, "-d", "--pid-file", str(pid_file))
    command = pyrun.command(*words, name)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    state = pyrun.state(name)
    assert state["status"] == "running"
    assert pid_file.read_text() == str(state["pid"])
    assert pyrun.call("exec", name, "cat", "/tmp/secret").stdout.strip() == container.secret
    shown = pyrun.call("exec", name, "sh", "-c", "cat /proc/1/cgroup; ip addr show lo").stdout
    assert shown.startswith("0::/\n")
    assert "127.0.0.1/8" in shown
    place = Path(f"/proc/{state['pid']}/cgroup").read_text().strip().partition("::")[2]
    assert place.endswith(f"/{name}")
    assert Path(f"/sys/fs/cgroup{place}/pids.max").read_text() == "50\n"
    assert pyrun.call(*words, name).returncode == 1  # it is there already
    assert pyrun.call("kill", name, "KILL").returncode == 0
    pyrun.wait_until_stopped(name)
    assert pyrun.call("delete", name).returncode == 0
    assert pyrun.left(name) == []
    assert pyrun.state(container.name)["status"] == "running"


def test_a_terminal_is_restored_to_the_console_socket(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.process["terminal"] = True
    bundle.shell("read before; read after; echo got $before $after; sleep 1000")
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def master() -> int:
            peer, _ = listener.accept()
            with peer:
                return socket.recv_fds(peer, 100, 1)[1][0]

        name = pyrun.start(bundle, "--console-socket", path)
        first_fd = master()
        os.write(first_fd, b"one\n")
        assert os.read(first_fd, 100).startswith(b"one")  # the echo
        images = str(tmp_path / "images")
        done = pyrun.call("checkpoint", "--image-path", images, name)
        assert done.returncode == 0, done.stderr
        os.close(first_fd)
        words = restore_command(tmp_path / "images", bundle, "-d", "--console-socket", path)
        done = pyrun.call(*words, pyrun.new_id())
        assert done.returncode == 0, done.stderr
        second_fd = master()
    os.write(second_fd, b"two\n")
    told = b""
    while b"got one two" not in told:
        told += os.read(second_fd, 100)
    os.close(second_fd)


def test_images_that_do_not_fit_are_refused_with_the_words_of_criu(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    Container(pyrun, bundle).checkpoint(images)
    name = pyrun.new_id()

    def failure() -> str:
        done = pyrun.call(*restore_command(images, bundle), name)
        assert done.returncode == 1
        assert pyrun.left(name) == []
        return done.stderr

    (bundle.rootfs / "bin/busybox").rename(bundle.path / "busybox")
    told = failure()
    assert "criu failed: (criu/" in told
    assert "bin/busybox" in told
    (bundle.path / "busybox").rename(bundle.rootfs / "bin/busybox")
    whole = (images / "pstree.img").read_bytes()
    (images / "pstree.img").write_bytes(b"nonsense")
    told = failure()
    assert "criu failed: (criu/" in told
    assert f"(its log: {images}/restore.log)" in told
    (images / "pstree.img").write_bytes(whole)
    (bundle.rootfs / "tmp/go").touch()
    assert pyrun.call(*restore_command(images, bundle), name).returncode == 7


def test_a_failed_dump_leaves_the_container_running(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """A connection to the outside needs --ext-unix-sk."""
    ours, theirs = socket.socketpair()
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle, stdin=theirs.fileno())
    theirs.close()
    done = pyrun.call("checkpoint", "--image-path", str(tmp_path / "images"), name)
    assert done.returncode == 1
    assert f"checkpoint container {name}: criu failed: (criu/" in done.stderr
    assert pyrun.state(name)["status"] == "running"
    assert pyrun.call("exec", name, "echo", "well").stdout == "well\n"
    ours.close()


@pytest.mark.needs("systemd")
def test_a_container_in_a_scope_is_restored_into_another(
    pyrun_path: str, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.linux["cgroupsPath"] = "machine.slice:pyrun:one"
    with Runtime(pyrun_path, tmp_path / "state", "--systemd-cgroup") as pyrun:
        container = Container(pyrun, bundle)
        container.checkpoint(tmp_path / "images")
        bundle.linux["cgroupsPath"] = "machine.slice:pyrun:two"
        bundle.save()
        name = pyrun.new_id()
        words = pyrun.command(*restore_command(tmp_path / "images", bundle, "-d"), name)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        place = Path(f"/proc/{pyrun.state(name)['pid']}/cgroup").read_text().strip()
        assert place.endswith("/machine.slice/pyrun-two.scope")
        shown = subprocess.check_output(["systemctl", "is-active", "pyrun-two.scope"], text=True)
        assert shown.strip() == "active"
