"""The capabilities of a container's process (capabilities(7))."""

from __future__ import annotations

from pyengine.errors import ConfigError

# Bit by bit, as linux/capability.h numbers them.
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES = _NAMES.split()

# podman's default set.
_DEFAULT = (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT"
)
DEFAULT = _DEFAULT.split()


def bounding_set() -> list[str]:
    """The capabilities this process may hand on, without their ``CAP_`` prefix."""
    with open("/proc/self/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                bits = int(line.split()[1], 16)
                return [name for number, name in enumerate(NAMES) if bits >> number & 1]
    raise ConfigError("/proc/self/status has no CapBnd line: is /proc mounted?")


def allowed(
    cap_add: list[str], cap_drop: list[str], default: list[str], *, privileged: bool
) -> list[str]:
    """The container's bounding set in config.json's spelling, sorted.

    ``default`` are names without ``CAP_`` in place of podman's.

    Raises:
        ConfigError: a name is unknown, added and dropped, or not this process's to give.
    """
    added, dropped = _names("--cap-add", cap_add), _names("--cap-drop", cap_drop)
    both = sorted(added & dropped - {"ALL"})
    if both:
        raise ConfigError(f"capability CAP_{both[0]} cannot be dropped and added")
    if {"ALL"} <= added & dropped:
        raise ConfigError("adding all caps and removing all caps not allowed")
    ours = set(bounding_set())
    if "ALL" in added or (privileged and "ALL" not in dropped):
        chosen = ours - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(default or DEFAULT) & ours) - dropped | added
    refused = sorted(chosen - ours)
    if refused:
        raise ConfigError(
            f"--cap-add {refused[0]}: this process does not hold CAP_{refused[0]} itself, so it"
            " cannot give it to a container"
        )
    return sorted(f"CAP_{name}" for name in chosen)


def added_only(cap_add: list[str], bounding: list[str]) -> list[str]:
    """What a process that is not root gets: the capabilities that were asked for by name."""
    added = _names("--cap-add", cap_add)
    if "ALL" in added:
        return bounding
    return [name for name in bounding if name[len("CAP_") :] in added]


def _names(option: str, values: list[str]) -> set[str]:
    found = set()
    for value in values:
        name = value.strip().upper().removeprefix("CAP_")
        if name != "ALL" and name not in NAMES:
            raise ConfigError(f'{option} {value}: unknown capability "CAP_{name}"')
        found.add(name)
    return found
