"""config.md: Mounts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from conformance.cases import expect, expect_equal, requirement
from conformance.containers import Container, Machine

FILE = "config.md"


def bind(container: Container, *options: str) -> Path:
    """A directory of the host on /mnt, with mount options."""
    source = container.bundle / "source"
    source.mkdir()
    entry = {"destination": "/mnt", "type": "bind", "source": str(source), "options": list(options)}
    container.config["mounts"].append(entry)
    return source


@requirement(FILE, "Mounts", "The runtime MUST mount entries in the listed order")
def mounts_are_in_order(machine: Machine) -> None:
    container = machine.container()
    for name in ("first", "second"):
        entry = {"destination": "/mnt", "type": "tmpfs", "source": name}
        container.config["mounts"].append(entry)
    seen = container.run("cat /proc/self/mounts")
    order = [line.split()[0] for line in seen.splitlines() if line.split()[1] == "/mnt"]
    expect_equal(order, ["first", "second"], "mounts on /mnt")


@requirement(FILE, "Mounts", 'A relative destination MUST be interpreted as relative to "/"')
def relative_destination(machine: Machine) -> None:
    container = machine.container()
    entry = {"destination": "mnt", "type": "tmpfs", "source": "relative"}
    container.config["mounts"].append(entry)
    expect("relative /mnt tmpfs" in container.run("cat /proc/self/mounts"), "it is not on /mnt")


@requirement(FILE, "Mounts", "Sources of bind mounts are absolute or relative to the bundle")
def relative_source(machine: Machine) -> None:
    container = machine.container()
    (bind(container, "bind") / "file").write_text("content")
    container.config["mounts"][-1].update(source="source", type="none")
    expect_equal(container.run("cat /mnt/file"), "content", "the file's content")


@requirement(FILE, "Mounts", "destination is REQUIRED")
def destination_is_required(machine: Machine) -> None:
    container = machine.container()
    container.config["mounts"].append({"type": "tmpfs", "source": "nowhere"})
    container.refused("a mount without destination")


@requirement(FILE, "Mounts", "bind MUST be implemented: a bind mount")
def option_bind(machine: Machine) -> None:
    container = machine.container()
    (bind(container, "bind") / "file").write_text("content")
    expect_equal(container.run("cat /mnt/file"), "content", "the file's content")


@requirement(FILE, "Mounts", "rbind MUST be implemented: a recursive bind mount")
def option_rbind(machine: Machine) -> None:
    container = machine.container()
    inner = bind(container, "rbind") / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "conformance-inner", str(inner)], check=True)
    try:
        seen = container.run("cat /proc/self/mounts")
    finally:
        subprocess.run(["umount", "-l", str(inner)], check=True)
    expect("conformance-inner /mnt/inner" in seen, "the inner mount is not there")


MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def owner_of_idmapped(machine: Machine, options: list[str], **mappings: Any) -> str:
    """The owner of a file of root in an idmapped directory, as a container sees it."""
    container = machine.container()
    (bind(container, *options) / "file").touch()
    container.config["mounts"][-1].update(mappings)
    return container.run("stat -c %u:%g /mnt/file").strip()


@requirement(FILE, "Mounts", "idmap: the mount MUST have an idmapping, that of the mount if given")
def option_idmap(machine: Machine) -> None:
    seen = owner_of_idmapped(machine, ["bind", "idmap"], uidMappings=MAPPING, gidMappings=MAPPING)
    expect_equal(seen, "100000:100000", "owner")


def owners_of_idmapped_tree(machine: Machine, option: str) -> list[str]:
    """The owner of a file of root in an idmapped directory, and of one in a mount inside it."""
    container = machine.container()
    inner = bind(container, "rbind", option) / "inner"
    container.config["mounts"][-1].update(uidMappings=MAPPING, gidMappings=MAPPING)
    inner.mkdir()
    (inner.parent / "file").touch()
    subprocess.run(["mount", "-t", "tmpfs", "conformance-inner", str(inner)], check=True)
    try:
        (inner / "file").touch()
        return container.run("stat -c %u /mnt/file /mnt/inner/file").split()
    finally:
        subprocess.run(["umount", "-l", str(inner)], check=True)


@requirement(FILE, "Mounts", "ridmap: the mapping is applied recursively")
def option_ridmap(machine: Machine) -> None:
    seen = owners_of_idmapped_tree(machine, "ridmap")
    expect_equal(seen, ["100000", "100000"], "owners")


@requirement(FILE, "Mounts", "idmap with rbind: the mapping is not applied recursively")
def option_idmap_is_of_one_mount(machine: Machine) -> None:
    expect_equal(owners_of_idmapped_tree(machine, "idmap"), ["100000", "0"], "owners")


@requirement(FILE, "Mounts", "idmap without mappings and user namespace: an error MUST be returned")
def option_idmap_needs_mappings(machine: Machine) -> None:
    container = machine.container()
    bind(container, "bind", "idmap")
    container.refused("idmap without any mapping")


@requirement(FILE, "Mounts", "uidMappings MUST be specified along with gidMappings")
def mount_mappings_come_in_pairs(machine: Machine) -> None:
    container = machine.container()
    bind(container, "bind", "idmap")
    container.config["mounts"][-1]["uidMappings"] = MAPPING
    container.refused("uidMappings without gidMappings")


def mount_options(container: Container, options: list[str]) -> set[str]:
    """The per-mount options that a tmpfs mounted with ``options`` has."""
    entry = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options}
    container.config["mounts"].append(entry)
    seen = container.run("cat /proc/self/mountinfo")
    (line,) = [line for line in seen.splitlines() if line.split()[4] == "/mnt"]
    both = f"{line.split()[5]},{line.split()[-1]}"
    return set(both.split(","))


def register_option(option: str, shown: str, *, before: str = "", absent: bool = False) -> None:
    """An option word and what mountinfo shows of it."""

    @requirement(FILE, "Mounts", f"{option} MUST be implemented", f"option_{option}")
    def test(machine: Machine) -> None:
        options = [before, option] if before else [option]
        seen = mount_options(machine.container(), options)
        if absent:
            expect(shown not in seen, f"mountinfo shows {shown} in {sorted(seen)}")
        else:
            expect(shown in seen, f"mountinfo does not show {shown} in {sorted(seen)}")


for _word in (
    "ro",
    "nosuid",
    "nodev",
    "noexec",
    "noatime",
    "nodiratime",
    "relatime",
    "sync",
    "dirsync",
    "lazytime",
):
    register_option(_word, _word)
register_option("rw", "rw", before="ro")
for _word, _opposite in (
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("diratime", "nodiratime"),
    ("async", "sync"),
):
    register_option(_word, _opposite, before=_opposite, absent=True)
register_option("strictatime", "relatime", absent=True)
register_option("defaults", "rw")


@requirement(FILE, "Mounts", "remount MUST be implemented", "option_remount")
def option_remount(machine: Machine) -> None:
    container = machine.container()
    entry = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}
    container.config["mounts"] += [entry, {**entry, "options": ["remount", "noexec"]}]
    seen = container.run("grep ' /mnt ' /proc/self/mountinfo").splitlines()
    expect_equal(len(seen), 1, "mounts on /mnt")
    expect("noexec" in seen[0].split()[5].split(","), f"its options are {seen[0]}")


def register_propagation(option: str, tag: str) -> None:
    @requirement(FILE, "Mounts", f"{option} MUST be implemented: propagation", f"option_{option}")
    def test(machine: Machine) -> None:
        container = machine.container()
        source = str(bind(container, "bind", option))
        subprocess.run(["mount", "--bind", source, source], check=True)
        try:
            # a slave has a master only where the host's mount propagates
            subprocess.run(["mount", "--make-shared", source], check=True)
            seen = container.run("cat /proc/self/mountinfo")
        finally:
            subprocess.run(["umount", "-l", source], check=True)
        (line,) = [line for line in seen.splitlines() if line.split()[4] == "/mnt"]
        fields = line.partition(" - ")[0].split()[6:]
        tags = {field.partition(":")[0] for field in fields} - {"propagate_from"}
        if tag == "shared":  # it may be a slave of the host's besides
            tags -= {"master"}
        expect_equal(tags, {tag} if tag else set(), "propagation tags")


for _word, _tag in (
    ("private", ""),
    ("rprivate", ""),
    ("shared", "shared"),
    ("rshared", "shared"),
    ("slave", "master"),
    ("rslave", "master"),
    ("unbindable", "unbindable"),
    ("runbindable", "unbindable"),
):
    register_propagation(_word, _tag)


@requirement(FILE, "Mounts", "Unknown options SHOULD be treated as filesystem-specific ones")
def unknown_options_go_to_the_filesystem(machine: Machine) -> None:
    seen = mount_options(machine.container(), ["size=1024k"])
    expect("size=1024k" in seen, f"the file system shows {sorted(seen)}")
