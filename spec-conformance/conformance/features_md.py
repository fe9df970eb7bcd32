"""features.md and features-linux.md: what a runtime says that it can, and whether it can."""

from __future__ import annotations

import json
import os
from typing import Any

from conformance.cases import NotApplicable, expect, expect_equal, requirement
from conformance.containers import Machine

FILE, LINUX_FILE = "features.md", "features-linux.md"
TOP_LEVEL = {
    "ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations",
    "potentiallyUnsafeConfigAnnotations",
}  # fmt: skip
LINUX = {
    "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "memoryPolicy",
    "intelRdt", "mountExtensions", "netDevices",
}  # fmt: skip
# What only has a meaning with something else, so that a tmpfs cannot show it.
NEEDS_MORE = {
    "bind", "rbind", "remount", "idmap", "ridmap", "copy-symlink", "dest-nofollow", "src-nofollow",
}  # fmt: skip
UNUSED_CALL = "lookup_dcookie"


def features(machine: Machine) -> dict[str, Any]:
    """The Features structure."""
    done = machine.command("features")
    if done.code != 0:
        raise NotApplicable(f"the runtime has no command features: {done.words}")
    found: dict[str, Any] = json.loads(done.out)
    return found


def part(machine: Machine, *names: str) -> Any:
    """A property below ``linux``, or one of the top; a test of what is not there is no test."""
    found: Any = features(machine)
    for name in names:
        found = (found or {}).get(name)
    if found is None:
        raise NotApplicable(f"features has no {'.'.join(names)}")
    return found


def number(version: str) -> tuple[int, ...]:
    """A version to compare; what comes after a dash or plus does not count."""
    return tuple(int(piece) for piece in version.split("-")[0].split("+")[0].split("."))


# --- Specification version


@requirement(FILE, "Specification version", "ociVersionMin is REQUIRED")
def features_has_the_oldest_version(machine: Machine) -> None:
    expect(features(machine).get("ociVersionMin"), "there is no ociVersionMin")


@requirement(FILE, "Specification version", "ociVersionMax is REQUIRED")
def features_has_the_newest_version(machine: Machine) -> None:
    expect(features(machine).get("ociVersionMax"), "there is no ociVersionMax")


def register_version(name: str) -> None:
    @requirement(
        FILE,
        "Specification version",
        f"The runtime MUST accept {name} as the ociVersion property of config.json",
        f"features_{name}_is_accepted",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        container.config["ociVersion"] = part(machine, name)
        expect_equal(container.run("echo ran"), "ran\n", "output")


register_version("ociVersionMin")
register_version("ociVersionMax")


@requirement(
    FILE, "Specification version", "ociVersionMax MUST NOT be less than the value of ociVersionMin"
)
def newest_version_is_not_older_than_the_oldest(machine: Machine) -> None:
    found = features(machine)
    least, most = number(found["ociVersionMin"]), number(found["ociVersionMax"])
    expect(least <= most, f"{found['ociVersionMin']} to {found['ociVersionMax']}")


@requirement(
    FILE,
    "Specification version",
    "The Features structure MUST NOT contain properties that are not defined in this version",
)
def features_has_no_other_properties(machine: Machine) -> None:
    found = features(machine)
    expect_equal(set(found) - TOP_LEVEL, set(), "other properties")
    expect_equal(set(found.get("linux") or {}) - LINUX, set(), "other properties of linux")


@requirement(FILE, "Features Structure", "The content SHOULD be determined on the compilation time")
def features_are_the_same_each_time(machine: Machine) -> None:
    expect_equal(features(machine), features(machine), "features")


@requirement(FILE, "Annotations", "Annotations MUST be a key-value map of strings")
def features_annotations_are_strings(machine: Machine) -> None:
    for key, value in part(machine, "annotations").items():
        expect(key and isinstance(value, str), f"{key!r}: {value!r}")


# --- what is listed is supported


@requirement(FILE, "Hooks", "The runtime MUST support the elements in this array as hooks")
def listed_hooks_are_run(machine: Machine) -> None:
    container = machine.container()
    kinds = part(machine, "hooks")
    seen = container.bundle / "hooks"
    seen.touch()
    for kind in kinds:
        place = "/hook-ran" if kind == "startContainer" else str(seen)
        script = ["sh", "-c", f"echo {kind} >> {place}"]
        container.config.setdefault("hooks", {})[kind] = [{"path": "/bin/sh", "args": script}]
    container.shell("cat /hook-ran")
    container.must_stop()
    expect_equal(container.output.read_text().split() == ["startContainer"],
                 "startContainer" in kinds, "the startContainer hook ran")  # fmt: skip
    container.delete()
    ran = {*seen.read_text().split(), *container.output.read_text().split()}
    expect_equal(sorted(set(kinds) - ran), [], "hooks that did not run")


@requirement(FILE, "Mount Options", "The runtime MUST recognize the elements as options of mounts")
def listed_mount_options_are_recognized(machine: Machine) -> None:
    container = machine.container()
    options = [one for one in part(machine, "mountOptions") if one not in NEEDS_MORE]
    for index, option in enumerate(options):
        mount = {"destination": f"/mnt/{index}", "type": "tmpfs", "source": "tmpfs"}
        container.config["mounts"].append({**mount, "options": [option]})
    seen = container.run("grep -c ' /mnt/' /proc/self/mounts").strip()
    expect_equal(seen, str(len(options)), "mounts")


@requirement(
    FILE, "Mount Options", "This array SHOULD NOT contain filesystem-specific mount options"
)
def listed_mount_options_are_of_all_filesystems(machine: Machine) -> None:
    special = {"size", "mode", "uid", "gid", "nr_inodes", "lowerdir", "upperdir", "workdir"}
    names = {option.split("=")[0] for option in part(machine, "mountOptions")}
    expect_equal(names & special, set(), "options of single filesystems")


@requirement(LINUX_FILE, "Namespaces", "The runtime MUST recognize the elements as namespace types")
def listed_namespaces_are_made(machine: Machine) -> None:
    names = part(machine, "linux", "namespaces")
    files = {"mount": "mnt", "network": "net"}
    missing = [
        name for name in names if not os.path.exists(f"/proc/self/ns/{files.get(name, name)}")
    ]
    if missing:
        raise NotApplicable(f"this kernel has no namespaces of type {', '.join(missing)}")
    container = machine.container()
    container.linux["namespaces"] = [{"type": name} for name in names]
    if "user" in names:
        container.linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        container.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    words = " ".join(files.get(name, name) for name in names)
    seen = container.run(f"for n in {words}; do readlink /proc/self/ns/$n; done").split()
    own = {os.readlink(f"/proc/self/ns/{name}") for name in words.split()}
    expect_equal(set(seen) & own, set(), "namespaces shared with the runtime")
    expect_equal(len(seen), len(names), "namespaces")


@requirement(
    LINUX_FILE, "Capabilities", "The runtime MUST recognize the elements in process.capabilities"
)
def listed_capabilities_are_recognized(machine: Machine) -> None:
    container = machine.container()
    names = part(machine, "linux", "capabilities")
    container.process["capabilities"] = {"bounding": names}
    done = container.must_create()
    said = (done.bundle / "errors").read_text()
    expect("unknown" not in said.lower(), said)


def register_seccomp(name: str, words: str, profile_of: Any) -> None:
    @requirement(LINUX_FILE, "Seccomp", words, f"listed_seccomp_{name}_are_recognized")
    def test(machine: Machine) -> None:
        values = part(machine, "linux", "seccomp", name)
        for value in values:
            profile = profile_of(value)
            if profile is not None:
                container = machine.container()
                container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", **profile}
                done = container.create()
                # one of another byte order, or of a newer libseccomp, may be refused by its name
                refused = name == "archs" and "unknown" not in done.words.lower()
                expect(done.code == 0 or refused, f"{value}: {done.words}")
                machine.clean_up()


def rule(**fields: Any) -> dict[str, Any]:
    """A profile with one rule for a call that nobody makes."""
    return {"syscalls": [{"names": [UNUSED_CALL], "action": "SCMP_ACT_ERRNO", **fields}]}


MUST = "The runtime MUST recognize the elements in"
register_seccomp(
    "actions", f"{MUST} syscalls[].action",
    # a notification needs somebody who listens
    lambda value: None if value == "SCMP_ACT_NOTIFY" else rule(action=value),
)  # fmt: skip
register_seccomp(
    "operators", f"{MUST} syscalls[].args[].op",
    lambda value: rule(args=[{"index": 0, "value": 1, "valueTwo": 1, "op": value}]),
)  # fmt: skip
register_seccomp(
    "archs", f"{MUST} architectures", lambda value: {**rule(), "architectures": [value]}
)
register_seccomp(
    "supportedFlags", "The runtime MUST recognize and support the elements in flags",
    lambda value: None if "WAIT_KILLABLE" in value else {**rule(), "flags": [value]},
)  # fmt: skip


@requirement(LINUX_FILE, "Seccomp", "supportedFlags may be a subset of knownFlags")
def supported_seccomp_flags_are_known(machine: Machine) -> None:
    known = set(part(machine, "linux", "seccomp", "knownFlags"))
    expect_equal(set(part(machine, "linux", "seccomp", "supportedFlags")) - known, set(), "others")


@requirement(
    LINUX_FILE, "MemoryPolicy", "The runtime MUST recognize the elements as mode of memoryPolicy"
)
def listed_memory_policies_are_recognized(machine: Machine) -> None:
    for mode in part(machine, "linux", "memoryPolicy", "modes"):
        container = machine.container()
        container.linux["memoryPolicy"] = {"mode": mode}
        if mode not in ("MPOL_DEFAULT", "MPOL_LOCAL"):
            container.linux["memoryPolicy"]["nodes"] = "0"
        done = container.create()
        unsupported = "Invalid argument" in done.words or "not implemented" in done.words
        expect(done.code == 0 or unsupported, f"{mode}: {done.words}")
        machine.clean_up()


@requirement(
    LINUX_FILE, "MemoryPolicy", "The runtime MUST recognize the elements in flags of memoryPolicy"
)
def listed_memory_policy_flags_are_recognized(machine: Machine) -> None:
    for flag in part(machine, "linux", "memoryPolicy", "flags"):
        container = machine.container()
        container.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}
        done = container.create()
        unsupported = "Invalid argument" in done.words or "not implemented" in done.words
        expect(done.code == 0 or unsupported, f"{flag}: {done.words}")
        machine.clean_up()


@requirement(
    LINUX_FILE,
    "MountExtensions",
    "runtimes MUST set idmap.enabled to true if they recognise uidMappings and gidMappings",
)
def idmap_is_told_and_done(machine: Machine) -> None:
    enabled = part(machine, "linux", "mountExtensions", "idmap", "enabled")
    container = machine.container()
    source = container.bundle / "source"
    source.mkdir()
    source.chmod(0o755)
    container.config["mounts"].append({
        "destination": "/mnt", "type": "bind", "source": str(source), "options": ["bind"],
        "uidMappings": [{"containerID": 0, "hostID": 5000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 5000, "size": 10}],
    })  # fmt: skip
    done = container.create()
    if done.code != 0:
        if enabled and "idmap" not in done.words.lower() and "mapped" not in done.words.lower():
            expect(False, done.words)
        raise NotApplicable(f"this file system cannot be mapped: {done.words}")
    expect_equal(enabled, True, "idmap.enabled")
