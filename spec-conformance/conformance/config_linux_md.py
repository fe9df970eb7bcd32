"""config-linux.md: file systems, devices, sysctl, propagation, paths, personality."""

from __future__ import annotations

import os
import platform
import stat
import subprocess

from conformance.cases import NotApplicable, expect, expect_equal, requirement
from conformance.containers import Machine

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


@requirement(FILE, "Default Devices", "Default devices are devices, not links to the host's files")
def default_devices_have_own_nodes(machine: Machine) -> None:
    container = machine.container().must_start()
    path = f"/proc/{container.state()['pid']}/root/dev/null"
    expect(stat.S_ISCHR(os.lstat(path).st_mode), "/dev/null is not a character device")


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
    container.linux["devices"] = [{"type": "c", "path": "/dev/test"}]
    container.refused("a character device without numbers")


@requirement(FILE, "Devices", "type is one of c, b, u and p")
def devices_have_a_known_type(machine: Machine) -> None:
    container = machine.container()
    container.linux["devices"] = [{"type": "x", "path": "/dev/test", "major": 1, "minor": 3}]
    container.refused("a device of type x")


@requirement(FILE, "Devices", "fileMode is the file mode for the device (0 is one, too)")
def devices_may_be_closed_to_all(machine: Machine) -> None:
    container = machine.container()
    container.linux["devices"] = [
        {"type": "c", "path": "/dev/test", "major": 1, "minor": 3, "fileMode": 0}
    ]
    expect_equal(container.run("stat -c %a /dev/test"), "0\n", "mode")


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


# --- Personality


@requirement(FILE, "Personality", "domain LINUX32 makes uname show a 32 bit CPU type")
def personality_is_set(machine: Machine) -> None:
    if platform.machine() != "x86_64":
        raise NotApplicable("the name of the CPU type is x86_64's")
    done = subprocess.run(["setarch", "linux32", "uname", "-m"], stdout=subprocess.PIPE, check=True)
    if done.stdout != b"i686\n":
        raise NotApplicable("this kernel has one CPU type for all (user-mode Linux)")
    container = machine.container()
    container.linux["personality"] = {"domain": "LINUX32"}
    expect_equal(container.run("uname -m"), "i686\n", "uname -m")


@requirement(FILE, "Personality", "an unknown domain is an invalid value")
def unknown_personality_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["personality"] = {"domain": "TEST"}
    container.refused("the domain TEST")
