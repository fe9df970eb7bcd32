"""What single options of checkpoint and restore make CRIU do."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox", "criu")


@pytest.fixture
def bundle(bundle: Bundle) -> Bundle:
    bundle.config["root"]["readonly"] = False
    return bundle


def checkpoint(pyrun: Runtime, name: str, images: Path, *options: str) -> None:
    done = pyrun.call("checkpoint", "--image-path", str(images), *options, name)
    assert done.returncode == 0, done.stderr


def restore(pyrun: Runtime, bundle: Bundle, images: Path, *options: str) -> str:
    bundle.save()
    name = pyrun.new_id()
    words = ["restore", "-d", "--image-path", str(images), "-b", str(bundle.path), *options, name]
    with open(images.parent / f"{name}.restore", "w+") as errors:
        done = subprocess.run(
            pyrun.command(*words), check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=errors, timeout=60,
        )  # fmt: skip
        errors.seek(0)
        assert done.returncode == 0, errors.read()
    assert pyrun.state(name)["status"] == "running"
    return name


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def test_a_paused_container_is_restored_running(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    assert pyrun.call("pause", name).returncode == 0
    checkpoint(pyrun, name, tmp_path / "images")
    again = restore(pyrun, bundle, tmp_path / "images")
    assert pyrun.call("exec", again, "echo", "well").stdout == "well\n"


def test_a_container_of_a_user_namespace(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = maps
    subprocess.run(["chown", "-R", "100000:100000", str(bundle.rootfs)], check=True)
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    (tmp_path / f"{name}.err").chmod(0o666)  # its standard error, opened again inside
    checkpoint(pyrun, name, tmp_path / "images")
    again = restore(pyrun, bundle, tmp_path / "images")
    shown = pyrun.call("exec", again, "cat", "/proc/1/uid_map").stdout
    assert shown.split() == ["0", "100000", "65536"]


def test_a_network_namespace_of_others_is_entered_again(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    command = ["unshare", "--net", "sh", "-c", "echo up; exec sleep 1000"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        path = f"/proc/{holder.pid}/ns/net"
        assert holder.stdout
        assert holder.stdout.readline() == b"up\n"
        for entry in bundle.linux["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = path
        bundle.shell("sleep 1000")
        name = pyrun.start(bundle)
        checkpoint(pyrun, name, tmp_path / "images")
        again = restore(pyrun, bundle, tmp_path / "images")
        pid = pyrun.state(again)["pid"]
        assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(path).st_ino
    finally:
        holder.kill()
        holder.communicate()


def test_memory_can_be_left_behind_and_served(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.shell("read a </proc/sys/kernel/random/uuid; echo $a >/tmp/a; sleep 1000; echo $a")
    name = pyrun.start(bundle)
    wait_for((bundle.rootfs / "tmp/a").exists, "the container to begin")
    port = free_port()
    images = str(tmp_path / "images")
    read_fd, write_fd = os.pipe()
    words = ["checkpoint", "--lazy-pages", "--page-server", f"127.0.0.1:{port}"]
    words += ["--status-fd", str(write_fd), "--image-path", images, name]
    dump = subprocess.Popen(pyrun.command(*words), pass_fds=[write_fd])
    os.close(write_fd)
    assert os.read(read_fd, 1) == b"\0"
    os.close(read_fd)
    work = tmp_path / "work"
    work.mkdir()
    command = ["criu", "lazy-pages", "--page-server", "--address", "127.0.0.1"]
    command += ["--port", str(port), "-D", images, "-W", str(work), "-o", "lazy.log"]
    server = subprocess.Popen(command)
    wait_for((work / "lazy-pages.socket").exists, "criu lazy-pages to listen")
    again = restore(pyrun, bundle, tmp_path / "images", "--lazy-pages", "--work-path", str(work))
    assert server.wait(60) == 0
    assert dump.wait(60) == 0
    assert pyrun.call("exec", again, "echo", "well").stdout == "well\n"


def test_memory_can_be_sent_to_a_page_server(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    images = tmp_path / "images"
    images.mkdir()
    port = free_port()
    read_fd, write_fd = os.pipe()
    command = ["criu", "page-server", "-D", str(images), "--address", "127.0.0.1"]
    command += ["--port", str(port), "--status-fd", str(write_fd), "-o", "server.log"]
    server = subprocess.Popen(command, pass_fds=[write_fd])
    os.close(write_fd)
    os.read(read_fd, 1)
    os.close(read_fd)
    checkpoint(pyrun, name, images, "--page-server", f"127.0.0.1:{port}")
    assert server.wait(60) == 0
    restore(pyrun, bundle, images)


def test_without_pivoting_it_is_restored_all_the_same(
    pyrun: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    bundle.shell("sleep 1000")
    name = pyrun.start(bundle)
    checkpoint(pyrun, name, tmp_path / "images")
    again = restore(pyrun, bundle, tmp_path / "images", "--no-pivot", "--tcp-close")
    assert pyrun.call("exec", again, "ls", "/tmp").returncode == 0


def test_established_connections_go_on(pyrun: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    # the ends that send nothing have a fifo that stays open: at its end they would hang up
    server = "(exec 3<>/tmp/none; nc -l -p 80 <&3 >/tmp/got) &"
    client = "(exec 3<>/tmp/fifo; until nc 127.0.0.1 80 <&3; do sleep 0.1; done) &"
    connected = "while ! grep -q ' 01 ' /proc/net/tcp; do sleep 0.1; done; echo up; sleep 1000"
    bundle.shell(f"{server} {client} {connected}")
    os.mkfifo(bundle.rootfs / "tmp/none")
    os.mkfifo(bundle.rootfs / "tmp/fifo")
    read_fd, write_fd = os.pipe()
    name = pyrun.start(bundle, stdout=write_fd)
    os.close(write_fd)
    assert os.read(read_fd, 10) == b"up\n"
    os.close(read_fd)
    images = tmp_path / "images"
    refused = pyrun.call("checkpoint", "--image-path", str(images), name)
    assert refused.returncode == 1
    assert "tcp-established" in refused.stderr
    checkpoint(pyrun, name, images, "--tcp-established")
    again = restore(pyrun, bundle, images, "--tcp-established")
    script = "echo hello >/tmp/fifo; while [ ! -s /tmp/got ]; do sleep 0.1; done; cat /tmp/got"
    assert pyrun.call("exec", again, "sh", "-c", script).stdout == "hello\n"
