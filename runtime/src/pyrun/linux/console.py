"""The container's terminal (runtime-spec config.md, ``terminal``; pts(4))."""

from __future__ import annotations

import _stat
import fcntl
import posix
import struct
import termios
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

from pyrun import syscalls
from pyrun.errors import ContainerError, KernelError
from pyrun.linux import paths

_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430
_TIOCGPTPEER = 0x5441
_DEVPTS_SUPER_MAGIC = 0x1CD1


def connect(path: str) -> int:
    """Connect to the --console-socket; returns the descriptor.

    Raises:
        ContainerError: nobody listens there.
    """
    made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
    try:
        made.connect(path)
    except OSError as error:
        made.close()
        raise ContainerError(f"connect to the console socket {path}: {error.strerror}") from error
    return made.detach()


def make(root_fd: int, size: dict[str, int] | None) -> tuple[int, int]:
    """Make a pseudoterminal in the container's own devpts.

    Args:
        root_fd: the container's root directory.
        size: ``process.consoleSize``.

    Returns:
        The descriptors of master and slave.

    Raises:
        KernelError: the root has no devpts on /dev/pts, or the kernel refused.
    """
    try:
        flags = posix.O_RDWR | posix.O_NOCTTY
        master_fd = paths.open_inside(root_fd, "/dev/pts/ptmx", flags)
        if syscalls.fstatfs_type(master_fd) != _DEVPTS_SUPER_MAGIC:
            raise KernelError("make a terminal", "/dev/pts of the container is no devpts")
        fcntl.ioctl(master_fd, _TIOCSPTLCK, struct.pack("i", 0))
        # The slave by descriptor, never by the name that the image could have prepared.
        slave_fd = fcntl.ioctl(master_fd, _TIOCGPTPEER, flags | posix.O_CLOEXEC)
        settings = termios.tcgetattr(slave_fd)
        settings[1] &= ~termios.ONLCR  # whoever shows the output adds carriage returns
        termios.tcsetattr(slave_fd, termios.TCSANOW, settings)
        if size:
            resize(master_fd, size["height"], size["width"])
    except (OSError, termios.error) as error:
        reason = error if isinstance(error, OSError) else OSError(*error.args)
        raise KernelError("make a terminal", reason) from error
    return master_fd, slave_fd


def resize(fd: int, height: int, width: int) -> None:
    """Set the size of a terminal in characters."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def bind_console(root_fd: int, slave_fd: int) -> None:
    """Mount the terminal on the container's /dev/console.

    Raises:
        KernelError: it is a link, or on procfs, or the kernel refused.
    """
    try:
        target_fd = _console_file(root_fd)
        try:
            # A link could lead the mount to a file of procfs before that is protected.
            if _stat.S_ISLNK(posix.fstat(target_fd).st_mode):
                raise KernelError("mount the terminal on /dev/console", "it is a link")
            if syscalls.fstatfs_type(target_fd) == syscalls.PROC_SUPER_MAGIC:
                raise KernelError("mount the terminal on /dev/console", "it is on procfs")
            source, target = paths.proc_path(slave_fd), paths.proc_path(target_fd)
            syscalls.mount(source, target, None, syscalls.MS_BIND, None)
        finally:
            posix.close(target_fd)
    except OSError as error:
        raise KernelError("mount the terminal on /dev/console", error) from error


def _console_file(root_fd: int) -> int:
    """A descriptor of /dev/console, made where it is missing; of the link itself if it is one."""
    dev_fd = paths.make_inside(root_fd, "/dev", directory=True)
    try:
        flags = posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_WRONLY
        try:
            posix.close(posix.open("console", flags, 0o620, dir_fd=dev_fd))
        except FileExistsError:
            pass
        flags = posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC
        return posix.open("console", flags, dir_fd=dev_fd)
    finally:
        posix.close(dev_fd)


def send(console_fd: int, master_fd: int) -> None:
    """Give the master to whoever listens on the console socket.

    Raises:
        KernelError: the other side is gone.
    """
    number = struct.unpack("i", fcntl.ioctl(master_fd, _TIOCGPTN, struct.pack("i", 0)))[0]
    made = socket(fileno=posix.dup(console_fd))
    try:
        rights = [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", master_fd))]
        made.sendmsg([f"/dev/pts/{number}".encode()], rights)
    except OSError as error:
        raise KernelError("send the terminal to the console socket", error) from error
    finally:
        made.close()


def receive(console_fd: int) -> int:
    """The master that ``send`` sent.

    Raises:
        ContainerError: none came.
    """
    made = socket(fileno=posix.dup(console_fd))
    try:
        _, ancillary, _, _ = made.recvmsg(4096, 64, 0x40000000)  # MSG_CMSG_CLOEXEC
    finally:
        made.close()
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
            return int(struct.unpack("i", data[:4])[0])
    raise ContainerError("receive the terminal: the container process sent none")


def attach(slave_fd: int) -> None:
    """Make it standard input, output and error, and the session's controlling terminal.

    Raises:
        KernelError: the kernel refused.
    """
    try:
        for fd in range(3):
            posix.dup2(slave_fd, fd, inheritable=True)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    except OSError as error:
        raise KernelError("attach to the terminal", error) from error
