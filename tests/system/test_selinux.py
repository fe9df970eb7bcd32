"""Labels of pyengine's containers where the kernel has SELinux (the guest of tools/vm)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.selinux_policy import FILES, PROCESS

pytestmark = pytest.mark.needs("root", "busybox", "selinux")

SHOW = "cat /proc/self/attr/current"


def label_of(path: Path) -> str:
    return os.getxattr(path, "security.selinux").rstrip(b"\0").decode()


def test_a_container_writes_to_its_own_files_and_to_what_is_relabelled(
    box: ContainerRoot, tmp_path: Path
) -> None:
    for name in ("own", "all", "host"):
        (tmp_path / name).mkdir()
    options = ("-v", f"{tmp_path}/own:/own:Z", "-v", f"{tmp_path}/all:/all:z",
               "-v", f"{tmp_path}/host:/host", "-v", "named:/named")  # fmt: skip
    id_ = box.ok("run", "-d", *options, IMAGE, "sleep", "1000").strip()
    label = box.ok("exec", id_, "sh", "-c", SHOW).rstrip("\0\n")
    type_, level = label[: len(PROCESS)], label[len(PROCESS) :]
    assert (type_, level.count("c")) == (PROCESS, 2)
    found = json.loads(box.ok("inspect", id_))[0]
    assert (found["ProcessLabel"], found["MountLabel"]) == (label, FILES + level)
    for place in ("/file", "/own/file", "/all/file", "/named/file", "/dev/shm/file"):
        box.ok("exec", id_, "sh", "-c", f"echo x >{place}")
    denied = box.call("exec", id_, "sh", "-c", "echo x >/host/file")
    assert "Permission denied" in denied.stderr
    assert (label_of(tmp_path / "own"), label_of(tmp_path / "all")) == (FILES + level, FILES)
    other = box.ok("run", "--rm", "-v", f"{tmp_path}/all:/all", IMAGE, "sh", "-c",
                   f"{SHOW}; echo y >/all/other")  # fmt: skip
    assert other.startswith(PROCESS)
    assert other.rstrip("\0\n") != label
    denied = box.call("run", "--rm", "-v", f"{tmp_path}/own:/own", IMAGE, "sh", "-c",
                      "echo y >>/own/file")  # fmt: skip
    assert "Permission denied" in denied.stderr
    assert (tmp_path / "own/file").read_text() == "x\n"


def test_labels_can_be_chosen_and_left_out(box: ContainerRoot) -> None:
    level = ("--security-opt", "label=level:s0:c5,c6")
    assert box.sh(SHOW, *level).rstrip("\0\n") == f"{PROCESS}:c5,c6"
    assert not box.sh(SHOW, "--security-opt", "label=disable").startswith(PROCESS)
    wrong = ("--security-opt", "label=type:unheard_of_t")
    assert "set the SELinux label" in box.fails("run", "--rm", *wrong, IMAGE, "true")
