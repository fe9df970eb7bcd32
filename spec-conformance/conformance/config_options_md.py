"""config.md: recursive mount options, those without a trace in mountinfo, and tmpcopyup."""

from __future__ import annotations

import subprocess

from conformance.cases import expect, expect_equal, requirement
from conformance.config_mounts_md import bind
from conformance.containers import Machine

FILE = "config.md"

# word, what mountinfo shows of it, and what the mounts are before
RECURSIVE = (
    ("rro", "ro", "rw"), ("rnosuid", "nosuid", "suid"), ("rnodev", "nodev", "dev"),
    ("rnoexec", "noexec", "exec"), ("rnoatime", "noatime", "relatime"),
    ("rnodiratime", "nodiratime", "diratime"), ("rnosymfollow", "nosymfollow", "symfollow"),
    ("rrelatime", "relatime", "noatime"),
)  # fmt: skip
OPPOSITES = (
    ("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec"),
    ("ratime", "noatime"), ("rdiratime", "nodiratime"), ("rsymfollow", "nosymfollow"),
    ("rstrictatime", "noatime"), ("rnostrictatime", "strictatime"), ("rnorelatime", "relatime"),
)  # fmt: skip
INVISIBLE = (
    ("atime", "MUST"), ("norelatime", "MUST"), ("nostrictatime", "MUST"), ("nolazytime", "MUST"),
    ("loud", "MUST"), ("silent", "MUST"), ("iversion", "MUST"), ("noiversion", "MUST"),
    ("symfollow", "SHOULD"),
)  # fmt: skip


def options_of_both(machine: Machine, option: str, before: str) -> list[set[str]]:
    """The options of a bind mount and of the one inside it; both have ``before`` on the host."""
    container = machine.container()
    outer = bind(container, "rbind", option)
    subprocess.run(["mount", "--bind", str(outer), str(outer)], check=True)
    inner = outer / "inner"
    inner.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "conformance-inner", str(inner)], check=True)
        for path in (outer, inner):
            subprocess.run(["mount", "-o", f"remount,bind,{before}", str(path)], check=True)
        seen = container.run("cat /proc/self/mountinfo")
    finally:
        subprocess.run(["umount", "-R", str(outer)], check=True)
    rows = [line.split() for line in seen.splitlines()]
    return [set(row[5].split(",")) for row in rows if row[4] in ("/mnt", "/mnt/inner")]


def register_recursive(option: str, shown: str, before: str) -> None:
    @requirement(FILE, "Mounts", f"{option} SHOULD be implemented, recursively", f"option_{option}")
    def test(machine: Machine) -> None:
        found = options_of_both(machine, option, before)
        expect_equal([shown in one for one in found], [True, True], f"{shown} in {found}")


def register_opposite(option: str, gone: str) -> None:
    @requirement(FILE, "Mounts", f"{option} SHOULD be implemented, recursively", f"option_{option}")
    def test(machine: Machine) -> None:
        wanted = option in ("rnorelatime", "rnostrictatime")  # what is left is up to the kernel
        found = options_of_both(machine, option, gone)
        expect_equal(len(found), 2, "mounts")
        if not wanted:
            expect_equal([gone in one for one in found], [False, False], f"{gone} in {found}")


def register_invisible(option: str, level: str) -> None:
    @requirement(FILE, "Mounts", f"{option} {level} be implemented", f"option_{option}")
    def test(machine: Machine) -> None:
        container = machine.container()
        entry = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": [option]}
        container.config["mounts"].append(entry)
        expect_equal(container.run("grep -c ' /mnt ' /proc/self/mounts").strip(), "1", "mounts")


for _one in RECURSIVE:
    register_recursive(*_one)
for _two in OPPOSITES:
    register_opposite(*_two)
for _three in INVISIBLE:
    register_invisible(*_three)


@requirement(FILE, "Mounts", "nosymfollow SHOULD be implemented", "option_nosymfollow")
def links_are_not_followed(machine: Machine) -> None:
    container = machine.container()
    entry = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["nosymfollow"]}
    container.config["mounts"].append(entry)
    seen = container.run("ln -s /etc /mnt/link && ls /mnt/link/ 2>&1; true")
    expect("symbolic links" in seen, f"the link is followed: {seen!r}")


@requirement(FILE, "Mounts", "tmpcopyup: the contents of the directory are copied up to a tmpfs")
def option_tmpcopyup(machine: Machine) -> None:
    container = machine.container()
    folder = container.rootfs / "full"
    folder.mkdir()
    (folder / "file").write_text("copied\n")
    entry = {"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    container.config["mounts"].append(entry)
    expect_equal(container.run("cat /full/file"), "copied\n", "the file")
