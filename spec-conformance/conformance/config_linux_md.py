"""config-linux.md: namespaces, devices, control groups, sysctl, seccomp, paths, personality."""

from __future__ import annotations

import errno
import os
import platform
import stat
import subprocess
from pathlib import Path
from typing import Any

from conformance.cases import Failure, NotApplicable, expect, expect_equal, requirement
from conformance.containers import Container, Machine, cgroup_file, cgroups_left

FILE = "config-linux.md"

# --- Default Filesystems, Default Devices


def register_filesystem(path: str, fstype: str) -> None:
    @requirement(
        FILE, "Default Filesystems", f"{path} SHOULD be made available as {fstype}", f"mount_{path}"
    )
    def test(machine: Machine) -> None:
        seen = machine.container().run("cat /proc/self/mounts")
        found = {line.split()[1]: line.split()[2] for line in seen.splitlines()}
        expect_equal(found.get(path), fstype, f"file system of {path}")


for _path, _fstype in (
    ("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs"),
):  # fmt: skip
    register_filesystem(_path, _fstype)

DEFAULT_DEVICES = {
    "null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0",
}  # fmt: skip


def register_default_device(name: str, numbers: str) -> None:
    @requirement(
        FILE,
        "Default Devices",
        f"The runtime MUST also supply /dev/{name}",
        f"default_device_{name}",
    )
    def test(machine: Machine) -> None:
        seen = machine.container().run(f"stat -c %F:%t:%T /dev/{name}").strip()
        expect_equal(seen, f"character special file:{numbers}", f"/dev/{name}")


for _name, _numbers in DEFAULT_DEVICES.items():
    register_default_device(_name, _numbers)


@requirement(FILE, "Default Devices", "/dev/ptmx is a bind mount or symlink of /dev/pts/ptmx")
def ptmx_is_that_of_the_container(machine: Machine) -> None:
    seen = machine.container().run("stat -L -c %t:%T /dev/ptmx; stat -L -c %t:%T /dev/pts/ptmx")
    expect_equal(seen.split(), ["5:2", "5:2"], "device numbers of ptmx")


def register_link(link: str, target: str) -> None:
    @requirement(
        "runtime-linux.md",
        "Dev symbolic links",
        f"{link} MUST be a symlink to {target} while creating the container",
        f"link_{link}",
    )
    def test(machine: Machine) -> None:
        expect_equal(machine.container().run(f"readlink {link}"), f"{target}\n", link)


for _link, _target in (
    ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"), ("/dev/stderr", "/proc/self/fd/2"),
):  # fmt: skip
    register_link(_link, _target)


@requirement("runtime-linux.md", "File descriptors", "Only stdin, stdout and stderr are kept open")
def only_three_descriptors_are_open(machine: Machine) -> None:
    # With a command behind it, ls is not the shell's own process, whose descriptors are asked for.
    seen = machine.container().run("ls /proc/1/fd; true").split()
    expect_equal(seen, ["0", "1", "2"], "open descriptors")


# --- Namespaces

NAMESPACE_FILES = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup",
}  # fmt: skip


def namespace_of(container: Container, kind: str) -> str:
    pid = container.must_create().state()["pid"]
    return os.readlink(f"/proc/{pid}/ns/{NAMESPACE_FILES[kind]}")


def own_namespace(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{NAMESPACE_FILES[kind]}")


def without_namespace(container: Container, kind: str) -> None:
    """Drop the namespace, and what needs it."""
    entries = container.linux["namespaces"]
    container.linux["namespaces"] = [entry for entry in entries if entry["type"] != kind]
    if kind == "uts":
        del container.config["hostname"]


def register_new_namespace(kind: str) -> None:
    @requirement(
        FILE,
        "Namespaces",
        f"Without path the runtime MUST create a new {kind} namespace",
        f"namespace_{kind}_is_new",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        without_namespace(container, kind)
        container.linux["namespaces"].append({"type": kind})
        expect(namespace_of(container, kind) != own_namespace(kind), "it is the runtime's")


for _kind in NAMESPACE_FILES:
    register_new_namespace(_kind)


def register_inherited_namespace(kind: str) -> None:
    @requirement(
        FILE,
        "Namespaces",
        f"A type not specified MUST be inherited from the runtime ({kind})",
        f"namespace_{kind}_is_inherited",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        without_namespace(container, kind)
        if kind == "network":  # sysfs belongs to the network namespace's owner
            mounts = container.config["mounts"]
            container.config["mounts"] = [one for one in mounts if one["type"] != "sysfs"]
        expect_equal(namespace_of(container, kind), own_namespace(kind), "namespace")


for _kind in ("network", "ipc", "uts", "cgroup"):
    register_inherited_namespace(_kind)


def register_joined_namespace(kind: str) -> None:
    @requirement(
        FILE,
        "Namespaces",
        f"The process MUST be placed in the {kind} namespace of path",
        f"namespace_{kind}_is_joined",
    )
    def test(machine: Machine) -> None:
        flag = {"network": "--net"}.get(kind, f"--{kind}")
        holder = subprocess.Popen(
            ["unshare", flag, "sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            path = f"/proc/{holder.pid}/ns/{NAMESPACE_FILES[kind]}"
            container = machine.container()
            without_namespace(container, kind)
            container.linux["namespaces"].append({"type": kind, "path": path})
            expect_equal(namespace_of(container, kind), os.readlink(path), "namespace")
        finally:
            holder.kill()
            holder.communicate()


for _kind in ("network", "ipc", "uts"):
    register_joined_namespace(_kind)


@requirement(FILE, "Namespaces", "path MUST be an absolute path")
def namespace_path_must_be_absolute(machine: Machine) -> None:
    container = machine.container()
    without_namespace(container, "network")
    container.linux["namespaces"].append({"type": "network", "path": "proc/self/ns/net"})
    container.refused("a relative path of a namespace")


@requirement(FILE, "Namespaces", "A path that is no namespace of that type MUST be an error")
def namespace_of_another_type_is_an_error(machine: Machine) -> None:
    container = machine.container()
    without_namespace(container, "network")
    container.linux["namespaces"].append({"type": "network", "path": "/proc/self/ns/uts"})
    container.refused("the path of a uts namespace as network namespace")


@requirement(FILE, "Namespaces", "Duplicated namespaces with the same type MUST be an error")
def duplicated_namespaces_are_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"].append({"type": "ipc"})
    container.refused("two ipc namespaces")


@requirement(FILE, "Namespaces", "An unknown type of namespace is an invalid value")
def unknown_namespace_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"].append({"type": "colour"})
    container.refused("a namespace of type colour")


@requirement(FILE, "User namespace mappings", "uidMappings and gidMappings map ids to the host")
def user_namespace_is_mapped(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    container.linux["uidMappings"] = container.linux["gidMappings"] = mapping
    for path in [container.rootfs, *container.rootfs.iterdir()]:
        os.chown(path, 100000, 100000)
    container.bundle.chmod(0o755)
    seen = container.run("cat /proc/self/uid_map /proc/self/gid_map").split()
    expect_equal(seen, ["0", "100000", "65536"] * 2, "maps")


# --- Devices


@requirement(FILE, "Devices", "devices lists devices that MUST be available in the container")
def devices_are_made(machine: Machine) -> None:
    container = machine.container()
    container.linux["devices"] = [
        {"type": "c", "path": "/dev/test", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7,
         "gid": 8},
        {"type": "b", "path": "/dev/sub/block", "major": 8, "minor": 0, "fileMode": 0o600},
        {"type": "p", "path": "/dev/pipe", "fileMode": 0o600},
    ]  # fmt: skip
    seen = container.run(
        "stat -c %F:%t:%T:%a:%u:%g /dev/test; stat -c %F:%t:%T /dev/sub/block; stat -c %F /dev/pipe"
    )
    wanted = ["character special file:a:e5:640:7:8", "block special file:8:0", "fifo"]
    expect_equal(seen.splitlines(), wanted, "devices")


@requirement(FILE, "Devices", "A file at path that is not the requested device MUST be an error")
def another_file_in_the_place_of_a_device_is_an_error(machine: Machine) -> None:
    container = machine.container()
    (container.rootfs / "taken").write_text("")
    container.linux["devices"] = [{"type": "c", "path": "/taken", "major": 10, "minor": 229}]
    container.refused("a regular file where the device belongs")


@requirement(FILE, "Devices", "major and minor are REQUIRED unless type is p")
def devices_need_numbers(machine: Machine) -> None:
    container = machine.container()
    container.linux["devices"] = [{"type": "x", "path": "/dev/test"}]
    container.refused("a device of type x without numbers")


# --- Control groups


def cgroup_paths(container: Container) -> list[str]:
    pid = container.must_create().state()["pid"]
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return [line.split(":", 2)[2] for line in lines if line.split(":", 2)[1] != ""]


@requirement(FILE, "Cgroups Path", "An absolute path MUST be relative to the cgroups mount point")
def absolute_cgroups_path(machine: Machine) -> None:
    container = machine.container()
    path = f"/{container.id}/inner"
    container.linux["cgroupsPath"] = path
    try:
        lines = Path(f"/proc/{container.must_create().state()['pid']}/cgroup").read_text()
        paths = {line.split(":", 2)[2] for line in lines.splitlines()}
        expect(path in paths, f"its cgroups are {sorted(paths)}")
    finally:
        container.delete("--force")
        for left in cgroups_left(container.id):
            os.rmdir(left)  # the runtime may leave what is above its own


@requirement(FILE, "Cgroups Path", "The same cgroupsPath MUST consistently give the same place")
def cgroups_path_is_consistent(machine: Machine) -> None:
    container = machine.container()
    container.linux["cgroupsPath"] = container.id
    first = cgroup_paths(container)
    container.kill("KILL")
    container.wait_for_status("stopped")
    container.delete()
    expect_equal(cgroup_paths(container), first, "cgroups of the second container")


def limited(machine: Machine, resources: dict[str, Any], files: list[tuple[str, str]]) -> str:
    """The first of ``files`` (controller and name, v1 and v2) that the container's cgroup has."""
    container = machine.container()
    container.linux["resources"] = resources
    done = container.create()
    pid = container.state()["pid"] if done.code == 0 else os.getpid()
    for controller, name in files:
        try:
            seen = cgroup_file(pid, controller, name)
        except NotApplicable:
            continue
        if done.code != 0:
            raise Failure(f"create failed: {done.words}")
        return seen
    # Neither hierarchy can do it here; then creating the container must have been refused.
    if done.code == 0:
        raise Failure("this machine has no such controller, and create succeeds")
    raise NotApplicable(f"this machine has none of {', '.join(name for _, name in files)}")


def register_limit(
    section: str, words: str, resources: dict[str, Any], files: list[tuple[str, str]], *wanted: str
) -> None:
    ((controller, value),) = resources.items()
    name = f"limit_{controller}_{next(iter(value)) if isinstance(value, dict) else 'list'}"

    @requirement(FILE, section, words, name)
    def test(machine: Machine) -> None:
        seen = limited(machine, resources, files)
        expect(seen in wanted, f"the cgroup has {seen!r}, not {wanted[0]!r}")


register_limit(
    "Memory",
    "limit sets the limit of memory usage",
    {"memory": {"limit": 67108864}},
    [("memory", "memory.limit_in_bytes"), ("", "memory.max")],
    "67108864",
)
register_limit(
    "Memory",
    "reservation sets the soft limit of memory usage",
    {"memory": {"reservation": 33554432}},
    [("memory", "memory.soft_limit_in_bytes"), ("", "memory.low")],
    "33554432",
)
register_limit(
    "CPU",
    "shares sets the relative share of CPU time",
    {"cpu": {"shares": 512}},
    [("cpu", "cpu.shares"), ("", "cpu.weight")],
    "512",
    "20",
    "59",
)
register_limit(
    "CPU",
    "quota sets the CPU time in a period",
    {"cpu": {"quota": 50000}},
    [("cpu", "cpu.cfs_quota_us"), ("", "cpu.max")],
    "50000",
    "50000 100000",
)
register_limit(
    "CPU",
    "period sets the period of a quota",
    {"cpu": {"period": 50000}},
    [("cpu", "cpu.cfs_period_us"), ("", "cpu.max")],
    "50000",
    "max 50000",
)
register_limit(
    "CPU",
    "cpus is the list of CPUs the container runs on",
    {"cpu": {"cpus": "0"}},
    [("cpuset", "cpuset.cpus"), ("", "cpuset.cpus")],
    "0",
)
register_limit(
    "PIDs",
    "limit sets the maximum number of tasks",
    {"pids": {"limit": 42}},
    [("pids", "pids.max"), ("", "pids.max")],
    "42",
)
register_limit(
    "Huge page limits",
    "limit sets the limit in bytes of huge pages",
    {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
    [("hugetlb", "hugetlb.2MB.limit_in_bytes"), ("", "hugetlb.2MB.max")],
    "4194304",
)
register_limit(
    "Network",
    "classID is the class identifier of packets",
    {"network": {"classID": 1048577}},
    [("net_cls", "net_cls.classid")],
    "1048577",
)


def register_device_rules(words: str, rules: list[dict[str, Any]], script: str, seen: str) -> None:
    @requirement(FILE, "Allowed Device list", words, words.replace(" ", "_"))
    def test(machine: Machine) -> None:
        container = machine.container()
        container.linux["resources"] = {"devices": rules}
        for names in container.process["capabilities"].values():
            names += ["CAP_MKNOD", "CAP_SYSLOG"]  # to make /dev/kmsg, and to read it
        expect_equal(container.run(script).strip(), seen, "outcome")


DENY_ALL = {"allow": False, "access": "rwm"}
KMSG = "mknod /dev/kmsg c 1 11; dd if=/dev/kmsg of=/dev/null bs=8192 count=1 2>/dev/null"
register_device_rules(
    "a device that is denied cannot be read", [DENY_ALL], f"{KMSG} && echo yes || echo no", "no"
)
register_device_rules(
    "entries MUST be applied in the listed order",
    [DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}],
    f"{KMSG} && echo yes || echo no",
    "yes",
)
register_device_rules(
    "default devices work under a rule that denies all",
    [DENY_ALL],
    "echo x > /dev/null && head -c 1 /dev/zero | od -An -tx1",
    "00",
)


# --- Sysctl, Rootfs propagation, masked and readonly paths


@requirement(FILE, "Sysctl", "sysctl allows kernel parameters to be modified for the container")
def sysctl_is_set(machine: Machine) -> None:
    container = machine.container()
    container.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}
    seen = container.run("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")
    expect_equal(seen.split(), ["1", "4096"], "values")


def register_rootfs_propagation(word: str, tag: str) -> None:
    @requirement(
        FILE,
        "Rootfs Mount Propagation",
        f"rootfsPropagation {word} sets the rootfs's mount propagation",
        f"rootfs_propagation_{word}",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        container.linux["rootfsPropagation"] = word
        seen = container.run("cat /proc/self/mountinfo")
        (line,) = [line for line in seen.splitlines() if line.split()[4] == "/"]
        fields = line.partition(" - ")[0].split()[6:]
        tags = {field.partition(":")[0] for field in fields}
        expect(tag in tags if tag else "shared" not in tags, f"propagation tags are {tags}")


for _word, _tag in (
    ("private", ""),
    ("slave", ""),
    ("shared", "shared"),
    ("unbindable", "unbindable"),
):
    register_rootfs_propagation(_word, _tag)


@requirement(FILE, "Masked Paths", "maskedPaths masks over paths so that they cannot be read")
def masked_paths_are_unreadable(machine: Machine) -> None:
    container = machine.container()
    (container.rootfs / "file").write_text("secret")
    (container.rootfs / "folder").mkdir()
    (container.rootfs / "folder/inner").write_text("secret")
    container.linux["maskedPaths"] = ["/file", "/folder", "/proc/kcore", "/missing"]
    expect_equal(container.run("cat /file; ls /folder; echo end"), "end\n", "what can be read")


@requirement(FILE, "Readonly Paths", "readonlyPaths sets paths as readonly inside the container")
def readonly_paths_are_readonly(machine: Machine) -> None:
    container = machine.container()
    (container.rootfs / "folder").mkdir()
    container.linux["readonlyPaths"] = ["/folder", "/missing"]
    seen = container.run("touch /folder/file 2>/dev/null && echo written || echo refused")
    expect_equal(seen, "refused\n", "a write")


def register_absolute_paths(key: str, section: str) -> None:
    @requirement(FILE, section, "The values MUST be absolute paths", f"{key}_must_be_absolute")
    def test(machine: Machine) -> None:
        container = machine.container()
        container.linux[key] = ["proc/kcore"]
        container.refused(f"a relative path in {key}")


register_absolute_paths("maskedPaths", "Masked Paths")
register_absolute_paths("readonlyPaths", "Readonly Paths")


# --- Seccomp


def profile(container: Container, rule: dict[str, Any], default: str = "SCMP_ACT_ALLOW") -> None:
    container.linux["seccomp"] = {"defaultAction": default, "syscalls": [rule]}


def mkdir_rule(**more: Any) -> dict[str, Any]:
    return {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", **more}


@requirement(FILE, "Seccomp", "SCMP_ACT_ERRNO refuses a system call with EPERM by default")
def seccomp_errno_is_eperm(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule())
    container.shell("mkdir /made 2>&1; exit 0")
    expect("Operation not permitted" in container.run(), "mkdir is not refused with EPERM")


@requirement(FILE, "Seccomp", "errnoRet is the errno return code to use")
def seccomp_errno_ret(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule(errnoRet=errno.EXDEV))
    container.shell("mkdir /made 2>&1; exit 0")
    seen = container.run()
    expect(os.strerror(errno.EXDEV) in seen, f"mkdir says {seen!r}")


@requirement(FILE, "Seccomp", "args: a rule applies only where its comparison holds")
def seccomp_args_are_compared(machine: Machine) -> None:
    if platform.machine() != "x86_64":
        raise NotApplicable("the arguments of kill are compared on x86_64")
    container = machine.container()
    argument = {"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}
    profile(container, {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument]})
    seen = container.run(
        "kill -0 $$ && echo zero; trap : USR1; kill -USR1 $$ 2>/dev/null || echo usr1 refused"
    )
    expect_equal(seen.splitlines(), ["zero", "usr1 refused"], "kills")


@requirement(FILE, "Seccomp", "SCMP_ACT_KILL_PROCESS kills the process with SIGSYS")
def seccomp_kills(machine: Machine) -> None:
    container = machine.container()
    profile(container, {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"})
    seen = container.run("mkdir /made; echo $?")
    expect_equal(seen.strip(), "159", "exit status of mkdir")


@requirement(FILE, "Seccomp", "architectures is the list of architectures used for system calls")
def seccomp_architectures(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule())
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    container.linux["seccomp"]["architectures"] = architectures
    expect_equal(container.run("echo fine"), "fine\n", "output")


@requirement(FILE, "Seccomp", "names: a system call that is not known does not stop the container")
def seccomp_unknown_names(machine: Machine) -> None:
    container = machine.container()
    profile(container, mkdir_rule(names=["no_such_call", "mkdir", "mkdirat"]))
    expect_equal(container.run("mkdir /made 2>/dev/null || echo refused"), "refused\n", "output")


def register_invalid_profile(words: str, change: dict[str, Any], top: dict[str, Any]) -> None:
    @requirement(FILE, "Seccomp", words, "seccomp_" + words.replace(" ", "_"))
    def test(machine: Machine) -> None:
        container = machine.container()
        profile(container, mkdir_rule(**change))
        container.linux["seccomp"].update(top)
        container.refused("the profile")


register_invalid_profile("names MUST contain at least one entry", {"names": []}, {})
register_invalid_profile("an unknown action is an invalid value", {"action": "SCMP_ACT_TEST"}, {})
register_invalid_profile(
    "errnoRet with an action that does not support it MUST fail",
    {"action": "SCMP_ACT_KILL", "errnoRet": 1},
    {},
)
register_invalid_profile(
    "an unknown operator is an invalid value",
    {"args": [{"index": 0, "value": 1, "op": "SCMP_CMP_TEST"}]},
    {},
)
register_invalid_profile(
    "listenerMetadata MUST NOT be set if listenerPath is not set", {}, {"listenerMetadata": "x"}
)


# --- Personality


@requirement(FILE, "Personality", "domain LINUX32 makes uname show a 32 bit CPU type")
def personality_is_set(machine: Machine) -> None:
    if platform.machine() != "x86_64":
        raise NotApplicable("the name of the CPU type is x86_64's")
    container = machine.container()
    container.linux["personality"] = {"domain": "LINUX32"}
    expect_equal(container.run("uname -m"), "i686\n", "uname -m")


@requirement(FILE, "Personality", "an unknown domain is an invalid value")
def unknown_personality_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["personality"] = {"domain": "TEST"}
    container.refused("the domain TEST")


@requirement(FILE, "Default Devices", "Default devices are devices, not links to the host's files")
def default_devices_have_own_nodes(machine: Machine) -> None:
    container = machine.container().must_start()
    path = f"/proc/{container.state()['pid']}/root/dev/null"
    expect(stat.S_ISCHR(os.lstat(path).st_mode), "/dev/null is not a character device")
