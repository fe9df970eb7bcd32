"""Moves interfaces of the host into the container's network namespace, by rtnetlink(7).

(runtime-spec config-linux.md, "Network Devices".)
"""

from __future__ import annotations

import posix
import struct
from _socket import AF_INET, AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket

from pyrun import syscalls
from pyrun.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Attributes = dict[int, bytes]

_NETLINK_ROUTE = 0
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 18, 19
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_REQUEST, _ACK, _DUMP, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, mask of flags
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_LABEL, _IFA_CACHEINFO, _IFA_FLAGS = 3, 6, 8
_IFA_F_PERMANENT = 0x80
_IFA_F_KEPT = 0x2 | 0x200 | 0x400  # no duplicate detection, no prefix route, multicast join
_SCOPE_UNIVERSE = 0
_IFF_UP = 0x1
_ALIGN = 4
_BUFFER_BYTES = 1 << 16


class _Route:
    """A netlink socket; of the network namespace that it was made in."""

    __slots__ = ("_socket",)

    def __init__(self, namespace_fd: int = -1) -> None:
        """See the class; ``namespace_fd`` is another namespace than this process's."""
        own_fd = -1
        if namespace_fd >= 0:
            own_fd = posix.open("/proc/self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
            syscalls.setns(namespace_fd, syscalls.CLONE_NEWNET)
        try:
            self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETLINK_ROUTE)
        finally:
            if own_fd >= 0:
                syscalls.setns(own_fd, syscalls.CLONE_NEWNET)
                posix.close(own_fd)

    def close(self) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Send a request; yields type and body of each answer.

        Raises:
            OSError: the kernel refused.
        """
        self._socket.send(
            _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body
        )
        while True:
            data = self._socket.recv(_BUFFER_BYTES)
            while data:
                size, kind, _, _, _ = _HEADER.unpack_from(data)
                answer, data = data[_HEADER.size : size], data[_padded(size) :]
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    number = -int(struct.unpack_from("=i", answer)[0])
                    if number:
                        raise OSError(number, posix.strerror(number))
                    return
                yield kind, answer

    def tell(self, kind: int, flags: int, body: bytes) -> None:
        """Send a request and wait for its acknowledgement.

        Raises:
            OSError: the kernel refused.
        """
        for _ in self.ask(kind, flags | _ACK, body):
            pass

    def links(self) -> dict[str, int]:
        """Every interface by its name: its index."""
        found = {}
        for kind, body in self.ask(_RTM_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0)):
            if kind == _RTM_NEWLINK:
                name = _attributes(body[_LINK.size :])[_IFLA_IFNAME].rstrip(b"\0")
                found[name.decode(errors="surrogateescape")] = int(_LINK.unpack_from(body)[2])
        return found

    def is_up(self, index: int) -> bool:
        """Whether an interface is up."""
        flags = 0
        for kind, body in self.ask(_RTM_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0)):
            if kind == _RTM_NEWLINK and _LINK.unpack_from(body)[2] == index:
                flags = _LINK.unpack_from(body)[3]  # the rest has to be read as well
        return bool(flags & _IFF_UP)

    def dress(self, index: int, addresses: list[bytes], *, up: bool) -> None:
        """Give an interface addresses, and set it up if it is to be.

        Raises:
            OSError: the kernel refused.
        """
        for address in addresses:
            body = address[:4] + struct.pack("=I", index) + address[4:]
            self.tell(_RTM_NEWADDR, _CREATE | _EXCLUSIVE, body)
        if up:
            self.tell(_RTM_SETLINK, 0, _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP))

    def addresses(self, index: int, *, every: bool = False) -> list[bytes]:
        """The permanent addresses of global scope, each as a request without the index.

        With ``every`` those of other scopes as well, but for IPv6's, which the kernel makes anew.
        """
        found = []
        for kind, body in self.ask(_RTM_GETADDR, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0)):
            if kind != _RTM_NEWADDR:
                continue
            family, length, flags, scope, owner = _ADDRESS.unpack_from(body)
            attributes = _attributes(body[_ADDRESS.size :])
            if _IFA_FLAGS in attributes:
                flags = struct.unpack("=I", attributes[_IFA_FLAGS])[0]
            if owner != index or not flags & _IFA_F_PERMANENT:
                continue
            if scope != _SCOPE_UNIVERSE and not (every and family == AF_INET):
                continue
            for name in (_IFA_LABEL, _IFA_CACHEINFO):  # the label has the old name
                attributes.pop(name, None)
            attributes[_IFA_FLAGS] = struct.pack("=I", flags & _IFA_F_KEPT)
            found.append(bytes((family, length, 0, scope)) + _packed(attributes))
        return found


def _padded(size: int) -> int:
    return (size + _ALIGN - 1) & ~(_ALIGN - 1)


def _attributes(data: bytes) -> Attributes:
    found = {}
    while len(data) >= _ALIGN:
        size, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[_ALIGN:size]
        data = data[_padded(size) :]
    return found


def _packed(attributes: Attributes) -> bytes:
    words = []
    for kind, value in attributes.items():
        size = _ALIGN + len(value)
        words.append(struct.pack("=HH", size, kind) + value + b"\0" * (_padded(size) - size))
    return b"".join(words)


class Moved:
    """What a container was given, for as long as making it may fail."""

    __slots__ = ("_devices", "_namespace_fd")

    def __init__(self, namespace_fd: int) -> None:
        """See the class; ``namespace_fd`` is closed by ``close``."""
        self._namespace_fd = namespace_fd
        # index in the container, name on the host, whether it was up, its addresses
        self._devices: list[tuple[int, str, bool, list[bytes]]] = []

    def move(self, devices: dict[str, dict[str, Any]]) -> None:
        """Move every one of ``linux.netDevices``; nothing is moved before all of it is checked.

        Args:
            devices: already validated.

        Raises:
            ConfigError: an interface is not there, or its new name is taken.
            KernelError: the kernel refused; moving needs CAP_NET_ADMIN on both sides.
        """
        with _Routes(self._namespace_fd) as (host, container):
            present = host.links()
            _check(devices, present, set(container.links()))
            for name, device in devices.items():
                index = present[name]
                new = device.get("name") or name
                before = name, host.is_up(index), host.addresses(index, every=True)
                addresses = host.addresses(index)
                known = container.links()
                try:
                    moved = _move_one(host, container, index, new, self._namespace_fd)
                except KernelError:
                    # where only the new name was refused, the kernel has moved it
                    left = [one for key, one in container.links().items() if key not in known]
                    self._devices += [(one, *before) for one in left]
                    raise
                self._devices.append((moved, *before))
                container.dress(moved, addresses, up=True)

    def give_back(self) -> list[str]:
        """Undo ``move``, as an error must leave things as they were; returns what went wrong."""
        own_fd = posix.open("/proc/self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
        problems = []
        for index, name, up, addresses in self._devices:
            try:
                with _Routes(self._namespace_fd) as (host, container):
                    host.dress(_move_one(container, host, index, name, own_fd), addresses, up=up)
            except KernelError as error:
                problems.append(f"give the network device {name} back: {error}")
        posix.close(own_fd)
        return problems

    def close(self) -> None:
        """Let go of the namespace, which may be the last that holds it."""
        posix.close(self._namespace_fd)


class _Routes:
    """A socket in the host's network namespace and one in the container's."""

    __slots__ = ("_namespace_fd", "_routes")

    def __init__(self, namespace_fd: int) -> None:
        self._namespace_fd = namespace_fd
        self._routes: list[_Route] = []

    def __enter__(self) -> list[_Route]:
        try:
            self._routes.append(_Route())
            self._routes.append(_Route(self._namespace_fd))
        except OSError as error:
            self._close()
            raise KernelError("reach the network namespaces", error) from error
        return self._routes

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._close()
        if isinstance(error, OSError):
            raise KernelError("move network devices into the container", error) from error

    def _close(self) -> None:
        for route in self._routes:
            route.close()


def _check(devices: dict[str, dict[str, Any]], present: dict[str, int], taken: set[str]) -> None:
    for name, device in devices.items():
        pointer = "/linux/netDevices/" + name.replace("~", "~0")
        if name not in present:
            raise ConfigError(pointer, "the host has no such interface")
        new = device.get("name") or name
        if new in taken:
            problem = f"the container's network namespace has an interface {new} already"
            raise ConfigError(f"{pointer}/name" if device.get("name") else pointer, problem)
        if "%" not in new:
            taken.add(new)


def _move_one(source: _Route, target: _Route, index: int, new: str, namespace_fd: int) -> int:
    """Move and rename in one step, so that no other name is seen on the way; returns its index."""
    before = set(target.links().values())
    wanted = {
        _IFLA_IFNAME: new.encode() + b"\0",
        _IFLA_NET_NS_FD: struct.pack("=I", namespace_fd),
    }
    try:
        source.tell(_RTM_SETLINK, 0, _LINK.pack(0, 0, index, 0, 0) + _packed(wanted))
    except OSError as error:
        raise KernelError(f"move the network device {new} into the container", error) from error
    after = target.links()
    if new in after:
        return after[new]
    (moved,) = set(after.values()) - before  # a template: the kernel chose the name
    return moved
