"""The types and allowed words of config.json's properties, as tables (runtime-spec 1.3, schema/).

A rule is one of

- a word: ``string``, ``bool``, ``any``, or an integer's type such as ``uint32``;
- a frozenset of the allowed strings;
- a list with one rule: an array of such values;
- a ``Map``: an object with any keys;
- an ``Object``: named properties; unknown ones are ignored, as the specification wants.

JSON's null counts as an absent property, as in the peers.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Rule = str | frozenset[str] | list[Any] | "Object" | "Map"

INTEGERS = {
    "id": (0, 2**32 - 2),  # 2**32 - 1 tells setresuid(2) to change nothing
    "int": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


class Finding:
    """One breach of the specification.

    Attributes:
        pointer: its place in config.json (RFC 6901).
        problem: what is wrong, to be read after the pointer.
        section: the specification's file and heading.
    """

    __slots__ = ("path", "problem", "section")

    def __init__(self, path: list[str], problem: str, section: str) -> None:
        self.path = path
        self.problem = problem
        self.section = section

    @property
    def pointer(self) -> str:
        """``path`` as a JSON pointer."""
        escaped = [part.replace("~", "~0").replace("/", "~1") for part in self.path]
        return "".join(f"/{part}" for part in escaped)

    def __repr__(self) -> str:
        return f"{self.pointer}: {self.problem} ({self.section})"


class Object:
    """A JSON object with named properties, described in ``section``."""

    __slots__ = ("properties", "required", "section")

    def __init__(self, section: str, required: tuple[str, ...], properties: dict[str, Any]) -> None:
        self.section = section
        self.required = required
        self.properties = properties


class Map:
    """A JSON object whose keys are data."""

    __slots__ = ("rule",)

    def __init__(self, rule: Any) -> None:
        self.rule = rule


def walk(value: Any, rule: Any, section: str, out: list[Finding]) -> None:
    """Append to ``out`` what is wrong with ``value``; the paths start at ``value``."""
    kind = type(rule)
    if kind is str:
        problem = _scalar(value, rule)
        if problem:
            out.append(Finding([], problem, section))
    elif kind is frozenset:
        if type(value) is not str:
            out.append(Finding([], "must be a string", section))
        elif value not in rule:
            words = ", ".join(filter(None, sorted(rule))) or "none that there are"
            out.append(Finding([], f"{value!r} is not one of {words}", section))
    elif kind is Object:
        _object(value, rule, out)
    elif kind is Map:
        if type(value) is not dict:
            out.append(Finding([], "must be an object", section))
            return
        for key, entry in value.items():
            problem = _string_problem(key)
            if problem:
                out.append(Finding([key], f"the name {problem}", section))
            _inside(key, entry, rule.rule, section, out)
    elif type(value) is not list:
        out.append(Finding([], "must be an array", section))
    else:
        for index, entry in enumerate(value):
            _inside(index, entry, rule[0], section, out)


def _object(value: Any, rule: Object, out: list[Finding]) -> None:
    if type(value) is not dict:
        out.append(Finding([], "must be an object", rule.section))
        return
    for key, entry in value.items():
        sub_rule = rule.properties.get(key)
        if sub_rule is not None and entry is not None:
            _inside(key, entry, sub_rule, rule.section, out)
    missing = [key for key in rule.required if value.get(key) is None]
    out += [Finding([key], "is missing", rule.section) for key in missing]


def _inside(key: str | int, value: Any, rule: Any, section: str, out: list[Finding]) -> None:
    """Paths are put together only when something was found."""
    if rule == "string" and type(value) is str and value.isascii() and "\0" not in value:
        return
    before = len(out)
    walk(value, rule, section, out)
    for finding in out[before:]:
        finding.path.insert(0, str(key))


def _scalar(value: Any, rule: str) -> str:
    if rule == "any":
        return ""
    if rule == "string":
        if type(value) is not str:
            return "must be a string"
        return _string_problem(value)
    if rule == "bool":
        return "" if type(value) is bool else "must be true or false"
    low, high = INTEGERS[rule]
    if type(value) is not int:
        return "must be an integer"
    return "" if low <= value <= high else f"{value} is not between {low} and {high}"


def _string_problem(text: str) -> str:
    """Why the kernel cannot be given ``text``; empty when it can."""
    if "\0" in text:
        return "has a NUL character"
    try:
        text.encode("utf-8", "surrogateescape")  # arguments of exec may be any bytes
    except UnicodeEncodeError:
        return "has half of a surrogate pair, which is no character"
    return ""


def words(text: str, prefix: str = "") -> frozenset[str]:
    """The set of the words of ``text``, each with ``prefix``."""
    return frozenset(prefix + word for word in text.split())


NAMESPACES = words("pid network mount ipc uts user cgroup time")
RLIMITS = words(
    "AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING"
    " STACK",
    "RLIMIT_",
)
SECCOMP_ACTIONS = words(
    "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY", "SCMP_ACT_"
)
SECCOMP_OPERATORS = words("NE LT LE EQ GE GT MASKED_EQ", "SCMP_CMP_")
SECCOMP_FLAGS = words("TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_")
SECCOMP_ARCHITECTURES = words(
    "NATIVE X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64"
    " MIPSEL64N32 PARISC PARISC64 PPC PPC64 PPC64LE RISCV64 S390 S390X SH SHEB",
    "SCMP_ARCH_",
)
# The specification's four, and the recursive ones that the peers take as well.
PROPAGATIONS = words("shared slave private unbindable rshared rslave rprivate runbindable")

_MAPPING = Object(
    "config-linux.md, User namespace mappings",
    ("containerID", "hostID", "size"),
    {"containerID": "uint32", "hostID": "uint32", "size": "uint32"},
)

PROCESS = Object(
    "config.md, Process",
    ("cwd", "args"),
    {
        "terminal": "bool",
        "consoleSize": Object(
            "config.md, Process", ("height", "width"), {"height": "uint16", "width": "uint16"}
        ),
        "cwd": "string",
        "env": ["string"],
        "args": ["string"],
        "user": Object(
            "config.md, User",
            ("uid", "gid"),
            {"uid": "id", "gid": "id", "umask": "uint32", "additionalGids": ["id"]},
        ),
        "rlimits": [
            Object(
                "config.md, POSIX process",
                ("type", "soft", "hard"),
                {"type": RLIMITS, "soft": "uint64", "hard": "uint64"},
            )
        ],
        "capabilities": Object(
            "config.md, Linux Process",
            (),
            {
                name: ["string"]
                for name in ("effective", "bounding", "inheritable", "permitted", "ambient")
            },
        ),
        "apparmorProfile": "string",
        "selinuxLabel": "string",
        "noNewPrivileges": "bool",
        "oomScoreAdj": "int",
        "ioPriority": Object(
            "config.md, Linux Process",
            ("class", "priority"),
            {"class": words("RT BE IDLE", "IOPRIO_CLASS_"), "priority": "int"},
        ),
        "scheduler": Object(
            "config.md, Linux Process",
            ("policy",),
            {
                "policy": words("OTHER FIFO RR BATCH ISO IDLE DEADLINE", "SCHED_"),
                "nice": "int32",
                "priority": "int32",
                "flags": [
                    words(
                        "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN"
                        " UTIL_CLAMP_MAX",
                        "SCHED_FLAG_",
                    )
                ],
                "runtime": "uint64",
                "deadline": "uint64",
                "period": "uint64",
            },
        ),
        "execCPUAffinity": Object(
            "config.md, Linux Process", (), {"initial": "string", "final": "string"}
        ),
    },
)

HOOK_KINDS = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
_HOOKS = [
    Object(
        "config.md, POSIX-platform Hooks",
        ("path",),
        {"path": "string", "args": ["string"], "env": ["string"], "timeout": "int"},
    )
]

_CONTROL_GROUPS = "config-linux.md, Control groups"
_RATES = [
    Object(
        "config-linux.md, Block IO",
        ("major", "minor", "rate"),
        {"major": "int64", "minor": "int64", "rate": "uint64"},
    )
]

RESOURCES = Object(
    _CONTROL_GROUPS,
    (),
    {
        "devices": [
            Object(
                "config-linux.md, Allowed Device list",
                ("allow",),
                {
                    "allow": "bool",
                    "type": words("a b c u") | {""},
                    "major": "int64",
                    "minor": "int64",
                    "access": "string",
                },
            )
        ],
        "memory": Object(
            "config-linux.md, Memory",
            (),
            {
                "limit": "int64",
                "reservation": "int64",
                "swap": "int64",
                "kernel": "int64",
                "kernelTCP": "int64",
                "swappiness": "uint64",
                "disableOOMKiller": "bool",
                "useHierarchy": "bool",
                "checkBeforeUpdate": "bool",
            },
        ),
        "cpu": Object(
            "config-linux.md, CPU",
            (),
            {
                "shares": "uint64",
                "quota": "int64",
                "burst": "uint64",
                "period": "uint64",
                "realtimeRuntime": "int64",
                "realtimePeriod": "uint64",
                "cpus": "string",
                "mems": "string",
                "idle": "int64",
            },
        ),
        "pids": Object("config-linux.md, PIDs", (), {"limit": "int64"}),
        "blockIO": Object(
            "config-linux.md, Block IO",
            (),
            {
                "weight": "uint16",
                "leafWeight": "uint16",
                "weightDevice": [
                    Object(
                        "config-linux.md, Block IO",
                        ("major", "minor"),
                        {
                            "major": "int64",
                            "minor": "int64",
                            "weight": "uint16",
                            "leafWeight": "uint16",
                        },
                    )
                ],
                "throttleReadBpsDevice": _RATES,
                "throttleWriteBpsDevice": _RATES,
                "throttleReadIOPSDevice": _RATES,
                "throttleWriteIOPSDevice": _RATES,
            },
        ),
        "hugepageLimits": [
            Object(
                "config-linux.md, Huge page limits",
                ("pageSize", "limit"),
                {"pageSize": "string", "limit": "uint64"},
            )
        ],
        "network": Object(
            "config-linux.md, Network",
            (),
            {
                "classID": "uint32",
                "priorities": [
                    Object(
                        "config-linux.md, Network",
                        ("name", "priority"),
                        {"name": "string", "priority": "uint32"},
                    )
                ],
            },
        ),
        "rdma": Map(
            Object("config-linux.md, RDMA", (), {"hcaHandles": "uint32", "hcaObjects": "uint32"})
        ),
        "unified": Map("string"),
    },
)

SECCOMP = Object(
    "config-linux.md, Seccomp",
    ("defaultAction",),
    {
        "defaultAction": SECCOMP_ACTIONS,
        "defaultErrnoRet": "uint32",
        "architectures": [SECCOMP_ARCHITECTURES],
        "flags": [SECCOMP_FLAGS],
        "listenerPath": "string",
        "listenerMetadata": "string",
        "syscalls": [
            Object(
                "config-linux.md, Seccomp",
                ("names", "action"),
                {
                    "names": ["string"],
                    "action": SECCOMP_ACTIONS,
                    "errnoRet": "uint32",
                    "args": [
                        Object(
                            "config-linux.md, Seccomp",
                            ("index", "value", "op"),
                            {
                                "index": "uint32",
                                "value": "uint64",
                                "valueTwo": "uint64",
                                "op": SECCOMP_OPERATORS,
                            },
                        )
                    ],
                },
            )
        ],
    },
)

LINUX = Object(
    "config-linux.md",
    (),
    {
        "namespaces": [
            Object("config-linux.md, Namespaces", ("type",), {"type": NAMESPACES, "path": "string"})
        ],
        "uidMappings": [_MAPPING],
        "gidMappings": [_MAPPING],
        "timeOffsets": Map(
            Object(
                "config-linux.md, Offset for Time Namespace",
                (),
                {"secs": "int64", "nanosecs": "uint32"},
            )
        ),
        "devices": [
            Object(
                "config-linux.md, Devices",
                ("type", "path"),
                {
                    "type": words("c b u p"),
                    "path": "string",
                    "major": "int64",
                    "minor": "int64",
                    "fileMode": "uint32",
                    "uid": "uint32",
                    "gid": "uint32",
                },
            )
        ],
        "netDevices": Map(Object("config-linux.md, Network Devices", (), {"name": "string"})),
        "cgroupsPath": "string",
        "resources": RESOURCES,
        "rootfsPropagation": PROPAGATIONS | {""},
        "seccomp": SECCOMP,
        "sysctl": Map("string"),
        "maskedPaths": ["string"],
        "readonlyPaths": ["string"],
        "mountLabel": "string",
        "intelRdt": Object(
            "config-linux.md, IntelRdt",
            (),
            {
                "closID": "string",
                "schemata": ["string"],
                "l3CacheSchema": "string",
                "memBwSchema": "string",
                "enableMonitoring": "bool",
            },
        ),
        "memoryPolicy": Object(
            "config-linux.md, Memory policy",
            ("mode",),
            {
                "mode": words(
                    "DEFAULT BIND INTERLEAVE WEIGHTED_INTERLEAVE PREFERRED PREFERRED_MANY LOCAL",
                    "MPOL_",
                ),
                "nodes": "string",
                "flags": [words("NUMA_BALANCING RELATIVE_NODES STATIC_NODES", "MPOL_F_")],
            },
        ),
        "personality": Object(
            "config-linux.md, Personality",
            ("domain",),
            {"domain": words("LINUX LINUX32"), "flags": [frozenset()]},
        ),
    },
)

CONFIG = Object(
    "config.md",
    ("ociVersion", "root"),
    {
        "ociVersion": "string",
        "root": Object("config.md, Root", ("path",), {"path": "string", "readonly": "bool"}),
        "mounts": [
            Object(
                "config.md, Mounts",
                ("destination",),
                {
                    "destination": "string",
                    "source": "string",
                    "type": "string",
                    "options": ["string"],
                    "uidMappings": [_MAPPING],
                    "gidMappings": [_MAPPING],
                },
            )
        ],
        "process": PROCESS,
        "hostname": "string",
        "domainname": "string",
        "hooks": Object(
            "config.md, POSIX-platform Hooks",
            (),
            dict.fromkeys(HOOK_KINDS, _HOOKS),
        ),
        "annotations": Map("string"),
        "linux": LINUX,
    },
)
