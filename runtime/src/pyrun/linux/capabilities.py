"""The five sets of capabilities (runtime-spec config.md, "Linux Process"; capabilities(7))."""

from __future__ import annotations

import posix

from pyrun import syscalls
from pyrun.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# By number, as in linux/capability.h.
NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
_BITS = {name: 1 << number for number, name in enumerate(NAMES)}


class Sets:
    """Five bit masks, and warnings of what cannot be given."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted", "warnings")

    def __init__(self, sets: dict[str, list[str]]) -> None:
        """See the class.

        Args:
            sets: ``process.capabilities``.
        """
        unknown: dict[str, None] = {}  # in their order, each once
        self.bounding = _mask(sets.get("bounding") or (), unknown)
        self.effective = _mask(sets.get("effective") or (), unknown)
        self.permitted = _mask(sets.get("permitted") or (), unknown)
        self.inheritable = _mask(sets.get("inheritable") or (), unknown)
        self.ambient = _mask(sets.get("ambient") or (), unknown)
        lost = self.ambient & ~(self.permitted & self.inheritable)
        reason = "is not ambient: it would have to be permitted and inheritable as well"
        self.warnings = [f"capability {name} is unknown and left out" for name in unknown]
        self.warnings += [f"capability {_name(number)} {reason}" for number in _numbers(lost)]

    def beyond(self, known: int) -> list[str]:
        """Warnings of capabilities that are not in the bounding set ``known`` of the caller."""
        wanted = self.permitted | self.effective | self.inheritable | self.ambient | self.bounding
        lost = wanted & ~known
        return [
            f"capability {_name(number)} is not in the caller's bounding set and left out"
            for number in _numbers(lost)
        ]


def _numbers(bits: int) -> list[int]:
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def _mask(names: Iterable[str], unknown: dict[str, None]) -> int:
    bits = 0
    for name in names:
        bits |= _BITS.get(name, 0)
        if name not in _BITS:
            unknown[name] = None
    return bits


def own_bounding_set() -> int:
    """What this process, and so the container, can have at most."""
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith("CapBnd:"):
                return int(line.split()[1], 16)
    return 0


def drop_bounding(sets: Sets, known: int) -> None:
    """Take everything from the bounding set that the container may not have.

    Args:
        sets: what the container has.
        known: the bounding set of this process.

    Raises:
        KernelError: the kernel refused.
    """
    for number in range(known.bit_length()):
        bit = 1 << number
        if known & bit and not sets.bounding & bit:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
            except OSError as error:
                raise KernelError(f"drop {_name(number)} from the bounding set", error) from error


def _name(number: int) -> str:
    return NAMES[number] if number < len(NAMES) else f"capability {number}"


def change_user(uid: int, gid: int, groups: list[int], *, set_groups: bool) -> None:
    """Become the container's user and keep the permitted set until ``apply``.

    Args:
        uid: of the process.
        gid: of the process.
        groups: additional ones.
        set_groups: whether the user namespace allows setgroups(2).

    Raises:
        KernelError: the kernel refused; an id without a mapping, mostly.
    """
    try:
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        if set_groups:
            posix.setgroups(groups)
        posix.setresgid(gid, gid, gid)
        posix.setresuid(uid, uid, uid)
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)
    except OSError as error:
        raise KernelError(f"become user {uid}:{gid} with groups {groups}", error) from error


def apply(sets: Sets, known: int) -> None:
    """Set everything but the bounding set.

    Args:
        sets: what the container has.
        known: the bounding set this process had; nothing beyond it can be given.

    Raises:
        KernelError: the kernel refused.
    """
    permitted = sets.permitted & known
    try:
        syscalls.capset(sets.effective & permitted, permitted, sets.inheritable & known)
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        raise KernelError("set the capabilities", error) from error
    ambient = sets.ambient & permitted & sets.inheritable
    for number in _numbers(ambient):
        try:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)
        except OSError as error:
            raise KernelError(f"raise {_name(number)} to ambient", error) from error
