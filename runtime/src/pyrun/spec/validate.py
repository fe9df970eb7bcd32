"""What must hold in config.json beyond types, and all of it at once (runtime-spec 1.3)."""

from __future__ import annotations

from pyrun import names
from pyrun.errors import ConfigError
from pyrun.spec import shapes
from pyrun.spec.shapes import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NEWEST_MINOR = 3
MESSAGES_AT_ONCE = 20
GROUPS_LIMIT = 65536  # NGROUPS_MAX

# Which namespace makes a sysctl the container's own (namespaces(7), sysctl(8)); what is in none of
# them belongs to the host.
IPC_SYSCTLS = shapes.words(
    "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced auto_msgmni msg_next_id"
    " sem_next_id shm_next_id",
    "kernel.",
)
UTS_SYSCTLS = frozenset(("kernel.hostname", "kernel.domainname"))


def require(config: Any, bundle: str = "") -> None:
    """Refuse a config.json that breaks the specification, naming every breach.

    Raises:
        ConfigError: with the place of the first one.
    """
    findings = check(config, bundle)
    if findings:
        raise error_of(findings)


def error_of(findings: list[Finding]) -> ConfigError:
    """All findings in one error, under the pointer of the first."""
    first, *others = findings
    problem = f"{first.problem} ({first.section})"
    for finding in others[: MESSAGES_AT_ONCE - 1]:
        problem += f"; {finding.pointer}: {finding.problem} ({finding.section})"
    if len(findings) > MESSAGES_AT_ONCE:
        problem += f"; and {len(findings) - MESSAGES_AT_ONCE} more"
    return ConfigError(first.pointer, problem)


def check(config: Any, bundle: str = "") -> list[Finding]:
    """Every breach of a MUST that can be seen before kernel work.

    Args:
        config: the parsed config.json.
        bundle: its directory, to look for the root filesystem; empty to leave that out.
    """
    found: list[Finding] = []
    shapes.walk(config, shapes.CONFIG, "config.md", found)
    if type(config) is not dict:
        return found
    process = config.get("process")
    if type(process) is dict and not process.get("terminal"):
        # consoleSize must be ignored then, whatever it is
        found = [one for one in found if one.path[:2] != ["process", "consoleSize"]]
    return found + _beyond_types(config, bundle, found)


def _beyond_types(config: Any, bundle: str, found: list[Finding]) -> list[Finding]:
    """What the rules find, where nothing is wrong with the types already."""
    broken = [one.path for one in found]
    config = _mended(config, shapes.CONFIG, broken)
    unknown = any(path[0] == "linux" and path[1:2] in ([], ["namespaces"]) for path in broken)
    rules = [rule for rule in _RULES if not (unknown and rule in _ABOUT_NAMESPACES)]
    return _elsewhere([one for rule in rules for one in rule(config, bundle)], broken)


def _elsewhere(findings: list[Finding], broken: list[list[str]]) -> list[Finding]:
    """Those that are not about what is known to be wrong."""
    if not broken:
        return findings
    known = set(map(tuple, broken))
    return [
        one
        for one in findings
        if not any(tuple(one.path[:end]) in known for end in range(len(one.path) + 1))
    ]


def check_process(process: Any) -> list[Finding]:
    """The same for a ``process`` alone (``exec --process``); pointers start at it."""
    found: list[Finding] = []
    shapes.walk(process, shapes.PROCESS, "config.md, Process", found)
    broken = [one.path for one in found]
    more: list[Finding] = []
    for rule in (_process, _affinity):
        more += rule({"process": _mended(process, shapes.PROCESS, broken)}, "")
    for finding in more:
        del finding.path[0]
    return found + _elsewhere(more, broken)


def check_mounts(mounts: Any, config: dict[str, Any]) -> list[Finding]:
    """The same for ``mounts`` alone; pointers start at the root of config.json."""
    found: list[Finding] = []
    rule = shapes.CONFIG.properties["mounts"]
    shapes.walk(mounts, rule, "config.md, Mounts", found)
    for finding in found:
        finding.path.insert(0, "mounts")
    if [one.path for one in found] == [["mounts"]]:
        return found
    whole = {**config, "mounts": _mended(mounts, rule, [one.path for one in found])}
    more = [*_mounts(whole, ""), *_idmaps(whole, "")]
    return found + _elsewhere(more, [one.path for one in found])


def _mended(value: Any, rule: Any, broken: list[list[str]]) -> Any:
    if not broken:
        return value
    from pyrun.spec import mending

    return mending.mend(value, rule)


def _version(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    version = config["ociVersion"]
    pieces = version.partition("+")[0].partition("-")[0].split(".")
    place, section = ["ociVersion"], "config.md, Specification version"
    if len(pieces) != 3 or not all(map(_is_number, pieces)) or not _has_proper_ends(version):
        yield Finding(place, f"{version!r} is not a version such as 1.3.0", section)
    elif int(pieces[0]) != 1 or int(pieces[1]) > NEWEST_MINOR:
        problem = f"{version} is not supported, 1.0.0 to 1.{NEWEST_MINOR}.x are"
        yield Finding(place, problem, section)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def _has_proper_ends(version: str) -> bool:
    """Whether what follows ``-`` and ``+`` is as SemVer 2.0.0 has it: words of [0-9A-Za-z-]."""
    rest, plus, build = version.partition("+")
    _, dash, before = rest.partition("-")
    return _has_words(before, dash, zeros=False) and _has_words(build, plus, zeros=True)


def _has_words(text: str, mark: str, *, zeros: bool) -> bool:
    if not mark:
        return True
    return all(
        word.replace("-", "0").isalnum()
        and word.isascii()
        and (zeros or not word.isdigit() or _is_number(word))
        for word in text.split(".")
    )


def _root(config: dict[str, Any], bundle: str) -> Iterator[Finding]:
    path = config["root"]["path"]
    if not path:
        yield Finding(["root", "path"], "is empty", "config.md, Root")
    elif bundle and not names.is_dir(names.join(bundle, path)):
        yield Finding(["root", "path"], f"there is no directory {path}", "config.md, Root")


def _process(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    process = config.get("process")
    if process is None:  # needed by start only
        return
    section = "config.md, Process"
    if not process["cwd"].startswith("/"):
        yield Finding(["process", "cwd"], "must be an absolute path", section)
    if not process["args"]:
        yield Finding(["process", "args"], "must have at least one entry", section)
    yield from _environment(process, ["process"], section)
    seen = set()
    for index, limit in enumerate(process.get("rlimits") or []):
        place, section = ["process", "rlimits", str(index)], "config.md, POSIX process"
        if limit["type"] in seen:
            yield Finding(place, f"{limit['type']} is there twice", section)
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            yield Finding([*place, "soft"], "is above the hard limit", section)
    if len((process.get("user") or {}).get("additionalGids") or []) > GROUPS_LIMIT:
        place = ["process", "user", "additionalGids"]
        yield Finding(place, f"has more than {GROUPS_LIMIT} groups", "config.md, User")
    section = "config.md, Linux Process"
    if not -1000 <= (process.get("oomScoreAdj") or 0) <= 1000:
        yield Finding(["process", "oomScoreAdj"], "is not between -1000 and 1000", section)
    nice = (process.get("scheduler") or {}).get("nice") or 0
    if not -20 <= nice <= 19:
        yield Finding(["process", "scheduler", "nice"], "is not between -20 and 19", section)
    priority = process.get("ioPriority")
    if priority and not 0 <= priority["priority"] <= 7:
        yield Finding(["process", "ioPriority", "priority"], "is not between 0 and 7", section)


def _environment(owner: dict[str, Any], place: list[str], section: str) -> Iterator[Finding]:
    for index, entry in enumerate(owner.get("env") or []):
        if entry.find("=") < 1:
            yield Finding([*place, "env", str(index)], "must be NAME=VALUE", section)


def _mounts(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    for index, entry in enumerate(config.get("mounts") or []):
        place, section = ["mounts", str(index)], "config.md, Mounts"
        if not entry["destination"]:
            yield Finding([*place, "destination"], "is empty", section)
        users, groups = entry.get("uidMappings"), entry.get("gidMappings")
        if users and not groups:
            yield Finding([*place, "gidMappings"], "is needed beside uidMappings", section)
        if groups and not users:
            yield Finding([*place, "uidMappings"], "is needed beside gidMappings", section)


def _idmaps(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    for index, entry in enumerate(config.get("mounts") or []):
        options = entry.get("options") or []
        if not ("idmap" in options or "ridmap" in options) or "user" in _namespaces(config):
            continue
        if not entry.get("uidMappings") and not entry.get("gidMappings"):
            problem = "idmap needs uidMappings and gidMappings, or a user namespace"
            yield Finding(["mounts", str(index), "options"], problem, "config.md, Mounts")


def _hooks(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    section = "config.md, POSIX-platform Hooks"
    for kind, hooks in (config.get("hooks") or {}).items():
        if kind not in shapes.HOOK_KINDS or hooks is None:
            continue
        for index, hook in enumerate(hooks):
            place = ["hooks", kind, str(index)]
            if not hook["path"].startswith("/"):
                yield Finding([*place, "path"], "must be an absolute path", section)
            if (hook.get("timeout") if hook.get("timeout") is not None else 1) <= 0:
                yield Finding([*place, "timeout"], "must be greater than zero", section)
            yield from _environment(hook, place, section)


def _annotations(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    if "" in (config.get("annotations") or {}):
        yield Finding(["annotations", ""], "a key must not be empty", "config.md, Annotations")


def _namespaces(config: dict[str, Any]) -> set[str]:
    return {entry["type"] for entry in (config.get("linux") or {}).get("namespaces") or []}


def _namespace_rules(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    """What needs a namespace of the container's own would otherwise change the host."""
    linux = config.get("linux") or {}
    seen = set()
    for index, entry in enumerate(linux.get("namespaces") or []):
        place, section = ["linux", "namespaces", str(index)], "config-linux.md, Namespaces"
        if entry["type"] in seen:
            yield Finding(place, f"{entry['type']} is there twice", section)
        seen.add(entry["type"])
        if entry.get("path") and not entry["path"].startswith("/"):
            yield Finding([*place, "path"], "must be an absolute path", section)
    needs: list[tuple[list[str], Any, str, str]] = [
        (["hostname"], config.get("hostname"), "uts", "config.md, Hostname"),
        (["domainname"], config.get("domainname"), "uts", "config.md, Domainname"),
        *(
            (["linux", name], linux.get(name), needed, f"config-linux.md, {title}")
            for name, needed, title in (
                ("uidMappings", "user", "User namespace mappings"),
                ("gidMappings", "user", "User namespace mappings"),
                ("timeOffsets", "time", "Offset for Time Namespace"),
                ("netDevices", "network", "Network Devices"),
                ("maskedPaths", "mount", "Masked Paths"),
                ("readonlyPaths", "mount", "Readonly Paths"),
            )
        ),
    ]
    for where, value, needed, section in needs:
        if value and needed not in seen:
            yield Finding(where, f"needs a {needed} namespace in /linux/namespaces", section)
    own = {entry["type"] for entry in linux.get("namespaces") or [] if not entry.get("path")}
    for where, value, needed, section in (
        (
            ["linux", "rootfsPropagation"],
            linux.get("rootfsPropagation"),
            "mount",
            "config-linux.md, Rootfs Mount Propagation",
        ),
        (
            ["root", "readonly"],
            (config.get("root") or {}).get("readonly"),
            "mount",
            "config.md, Root",
        ),
    ):
        if value and needed not in own:
            problem = f"needs a {needed} namespace in /linux/namespaces that is made, without path"
            yield Finding(where, problem, section)


def _time_offsets(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    linux = config.get("linux") or {}
    section = "config-linux.md, Offset for Time Namespace"
    offsets = linux.get("timeOffsets") or {}
    for clock, offset in offsets.items():
        place = ["linux", "timeOffsets", clock]
        if clock not in ("monotonic", "boottime"):
            yield Finding(place, f"{clock!r} is none of monotonic, boottime", section)
        if (offset.get("nanosecs") or 0) >= 10**9:
            yield Finding([*place, "nanosecs"], "is a second or more", section)
    for entry in linux.get("namespaces") or []:
        if offsets and entry["type"] == "time" and entry.get("path"):
            problem = f"the namespace {entry['path']} has its offsets already"
            yield Finding(["linux", "timeOffsets"], problem, section)


def _paths(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    linux = config.get("linux") or {}
    for name, title in (("maskedPaths", "Masked Paths"), ("readonlyPaths", "Readonly Paths")):
        for index, path in enumerate(linux.get(name) or []):
            if not path.startswith("/"):
                place = ["linux", name, str(index)]
                yield Finding(place, "must be an absolute path", f"config-linux.md, {title}")


def _devices(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    section = "config-linux.md, Devices"
    for index, device in enumerate((config.get("linux") or {}).get("devices") or []):
        place = ["linux", "devices", str(index)]
        if not device["path"].startswith("/"):
            yield Finding([*place, "path"], "must be an absolute path", section)
        for name in ("major", "minor") if device["type"] != "p" else ():
            if device.get(name) is None:
                yield Finding([*place, name], "is missing", section)
        for name, problem in _device_number_problems(device, 0):
            yield Finding([*place, name], problem, section)


def _device_number_problems(entry: dict[str, Any], least: int) -> Iterator[tuple[str, str]]:
    """Numbers that no device of Linux can have (12 and 20 bits, makedev(3))."""
    for name, most in (("major", (1 << 12) - 1), ("minor", (1 << 20) - 1)):
        if not least <= (entry.get(name) or 0) <= most:
            yield name, f"is not between {least} and {most}"


def _sysctl(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    section = "config-linux.md, Sysctl"
    own = _namespaces(config)
    for key, value in ((config.get("linux") or {}).get("sysctl") or {}).items():
        name = key.replace("/", ".")
        if name in IPC_SYSCTLS or name.startswith("fs.mqueue."):
            needed = "ipc"
        elif name.startswith("net."):
            needed = "network"
        elif name in UTS_SYSCTLS:
            needed = "uts"
        elif name.startswith("user."):
            needed = "user"
        else:
            problem = "is not a namespaced setting, it would change the host"
            yield Finding(["linux", "sysctl", key], problem, section)
            continue
        if needed not in own:
            problem = f"needs a {needed} namespace in /linux/namespaces"
            yield Finding(["linux", "sysctl", key], problem, section)
        if name == "kernel.hostname":  # as with runc and crun
            problem = "is what /hostname is for"
            yield Finding(["linux", "sysctl", key], problem, section)
        elif name == "kernel.domainname" and config.get("domainname") not in (None, "", value):
            yield Finding(["linux", "sysctl", key], "is not the same as /domainname", section)


def _resources(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    resources = (config.get("linux") or {}).get("resources") or {}
    for path, problem, title in _resource_problems(resources):
        yield Finding(["linux", "resources", *path], problem, f"config-linux.md, {title}")


def check_resources(resources: Any) -> list[Finding]:
    """The same for ``linux.resources`` alone (``update``); pointers start at it."""
    found: list[Finding] = []
    shapes.walk(resources, shapes.RESOURCES, "config-linux.md, Control groups", found)
    broken = [one.path for one in found]
    more = [
        Finding(path, problem, f"config-linux.md, {title}")
        for path, problem, title in _resource_problems(_mended(resources, shapes.RESOURCES, broken))
    ]
    return found + _elsewhere(more, broken)


def _resource_problems(resources: dict[str, Any]) -> Iterator[tuple[list[str], str, str]]:
    for index, rule in enumerate(resources.get("devices") or []):
        if not set(rule.get("access") or "") <= set("rwm"):
            place = ["devices", str(index), "access"]
            yield place, "has a letter other than r, w and m", "Allowed Device list"
        for name, problem in _device_number_problems(rule, -1):  # -1 is any
            yield ["devices", str(index), name], problem, "Allowed Device list"
    memory = resources.get("memory") or {}
    for name in ("limit", "reservation", "swap", "kernel", "kernelTCP"):
        if (memory.get(name) or 0) < -1:
            yield ["memory", name], "is less than -1, which is unlimited", "Memory"
    if ((resources.get("pids") or {}).get("limit") or 0) < -1:
        yield ["pids", "limit"], "is less than -1, which is no limit", "PIDs"
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if 0 < swap < limit:
        yield ["memory", "swap"], "counts memory and swap, so it is at least limit", "Memory"
    if (memory.get("swappiness") or 0) > 100:
        yield ["memory", "swappiness"], "is not between 0 and 100", "Memory"
    cpu = resources.get("cpu") or {}
    quota, burst = cpu.get("quota") or 0, cpu.get("burst") or 0
    if quota > 0 and burst > quota:
        yield ["cpu", "burst"], "is above quota", "CPU"
    if (cpu.get("idle") or 0) not in (0, 1):
        yield ["cpu", "idle"], "is neither 0 nor 1", "CPU"
    yield from _block_io_problems(resources.get("blockIO") or {})
    for index, entry in enumerate(resources.get("hugepageLimits") or []):
        size = entry["pageSize"]
        if size[-2:] not in ("KB", "MB", "GB") or not _is_number(size[:-2]) or size[0] == "0":
            place = ["hugepageLimits", str(index), "pageSize"]
            yield place, f"{size!r} is not a size such as 2MB", "Huge page limits"
    for device, entry in (resources.get("rdma") or {}).items():
        if entry.get("hcaHandles") is None and entry.get("hcaObjects") is None:
            yield ["rdma", device], "needs hcaHandles or hcaObjects", "RDMA"


def _block_io_problems(block: dict[str, Any]) -> Iterator[tuple[list[str], str, str]]:
    devices = [(["blockIO"], block)]
    for index, entry in enumerate(block.get("weightDevice") or []):
        place = ["blockIO", "weightDevice", str(index)]
        devices.append((place, entry))
        if entry.get("weight") is None and entry.get("leafWeight") is None:
            yield place, "needs weight or leafWeight", "Block IO"
    for place, entry in devices:
        for name in ("weight", "leafWeight"):
            if entry.get(name) and not 10 <= entry[name] <= 1000:
                yield [*place, name], "is not between 10 and 1000", "Block IO"


def _has_receiver(config: dict[str, Any]) -> bool:
    """Crun's ways to name the listener outside of the profile (``container/extensions``)."""
    annotations = config.get("annotations")
    named = type(annotations) is dict and annotations.get("run.oci.seccomp.receiver")
    return bool(named or names.environment("RUN_OCI_SECCOMP_RECEIVER"))


def _seccomp(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    profile = (config.get("linux") or {}).get("seccomp")
    if not profile:
        return
    top, section = ["linux", "seccomp"], "config-linux.md, Seccomp"
    if problem := _errno_problem(profile["defaultAction"], profile.get("defaultErrnoRet")):
        yield Finding([*top, "defaultErrnoRet"], problem, section)
    notifies = profile["defaultAction"] == "SCMP_ACT_NOTIFY"
    for index, rule in enumerate(profile.get("syscalls") or []):
        place = [*top, "syscalls", str(index)]
        if not rule["names"]:
            yield Finding([*place, "names"], "must have at least one entry", section)
        if problem := _errno_problem(rule["action"], rule.get("errnoRet")):
            yield Finding([*place, "errnoRet"], problem, section)
        notifies = notifies or rule["action"] == "SCMP_ACT_NOTIFY"
        for number, argument in enumerate(rule.get("args") or []):
            if argument["index"] > 5:
                where = [*place, "args", str(number), "index"]
                yield Finding(where, "a system call has arguments 0 to 5", section)
    if notifies and not profile.get("listenerPath") and not _has_receiver(config):
        yield Finding([*top, "listenerPath"], "is needed for SCMP_ACT_NOTIFY", section)
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        yield Finding([*top, "listenerMetadata"], "must not be there without listenerPath", section)


def _list_problem(text: str) -> str:
    """Why ``text`` is no list of numbers; empty when it is one, or empty itself."""
    from pyrun import lists

    try:
        if text:
            lists.parse(text)
    except ValueError as error:
        return str(error)
    return ""


def _affinity(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    affinity = (config.get("process") or {}).get("execCPUAffinity") or {}
    for when in ("initial", "final"):
        problem = _list_problem(affinity.get(when) or "")
        if problem:
            place = ["process", "execCPUAffinity", when]
            yield Finding(place, problem, "config.md, Linux Process")


def _memory_policy(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    policy = (config.get("linux") or {}).get("memoryPolicy")
    if not policy:
        return
    nodes, mode = policy.get("nodes") or "", policy["mode"]
    problem = _list_problem(nodes)
    if not problem and nodes and mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        problem = f"{mode} takes none"
    if not nodes and mode not in ("", "MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"):
        problem = f"{mode} needs at least one"
    if problem:
        yield Finding(["linux", "memoryPolicy", "nodes"], problem, "config-linux.md, Memory policy")


def _net_devices(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    section = "config-linux.md, Network Devices"
    for name, device in ((config.get("linux") or {}).get("netDevices") or {}).items():
        place = ["linux", "netDevices", name]
        if not _is_interface(name):
            yield Finding(place, f"{name!r} is no name of an interface", section)
        new = (device or {}).get("name")
        if new and not _is_interface(new.replace("%d", "0", 1)):
            yield Finding([*place, "name"], f"{new!r} is no name of an interface", section)


def _is_interface(name: str) -> bool:
    """What the kernel takes: short, and neither a path nor a pattern (IFNAMSIZ, netdevice(7))."""
    bad = set("/:%").union(" \t\n\v\f\r")
    return (
        0 < len(name.encode(errors="surrogateescape")) < 16
        and name not in (".", "..")
        and not (bad & set(name))
    )


def _errno_problem(action: str, value: int | None) -> str:
    """What is wrong with the number that an action returns; seccomp(2) cuts off what is above."""
    most = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}.get(action)
    if value is None or not action:
        return ""
    if most is None:
        return f"does not fit {action}"
    return f"is above {most}" if value > most else ""


def _intel_rdt(config: dict[str, Any], _bundle: str) -> Iterator[Finding]:
    rdt = (config.get("linux") or {}).get("intelRdt") or {}
    section = "config-linux.md, IntelRdt"
    bandwidth = "MB:" if rdt.get("memBwSchema") is None else rdt["memBwSchema"]
    if not bandwidth.startswith("MB:"):
        yield Finding(["linux", "intelRdt", "memBwSchema"], "must start with MB:", section)
    if "\n" in bandwidth:
        yield Finding(["linux", "intelRdt", "memBwSchema"], "has a newline", section)
    for index, line in enumerate(rdt.get("schemata") or []):
        if "\n" in line:
            yield Finding(["linux", "intelRdt", "schemata", str(index)], "has a newline", section)


_ABOUT_NAMESPACES = (_idmaps, _namespace_rules, _time_offsets, _sysctl)
_RULES = (
    _version, _root, _process, _affinity, _mounts, _idmaps, _hooks, _annotations, _namespace_rules,
    _time_offsets, _paths, _devices, _sysctl, _resources, _seccomp, _intel_rdt, _memory_policy,
    _net_devices,
)  # fmt: skip
