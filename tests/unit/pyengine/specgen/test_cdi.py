from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pyengine.errors import ConfigError
from pyengine.specgen import cdi

KIND = "vendor.com/class"


def write(path: Path, *devices: dict[str, Any], kind: str = KIND, **fields: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": devices, **fields}))


def device(name: str, **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits}


def applied(directory: Path, *names: str, **process: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "process": {"env": ["A=old", "B=old"], "user": {"uid": 0, "gid": 0}, **process},
        "mounts": [{"destination": "/there", "type": "tmpfs", "source": "x", "options": []}],
        "linux": {"resources": {"devices": []}, "devices": [{"path": "/dev/one", "major": 9}]},
    }
    cdi.apply(spec, [f"{KIND}={name}" for name in names], [str(directory)])
    return spec


def test_edits_replace_what_is_there(tmp_path: Path) -> None:
    nodes = [{"path": "/dev/one", "hostPath": "/dev/null", "permissions": "r", "fileMode": 0o640},
             {"path": "/dev/two", "type": "c", "major": 7, "minor": 8, "uid": 3},
             {"path": "/dev/fifo", "type": "p"}]  # fmt: skip
    mounts = [
        {"hostPath": "/lib", "containerPath": "/there", "options": ["rbind", "ro"]},
        {"hostPath": "/etc/hosts", "containerPath": "/one/two"},
        {"hostPath": "tmpfs", "containerPath": "/one", "type": "tmpfs", "options": ["size=1m"]},
    ]
    hooks = [{"hookName": "poststop", "path": "/bin/true", "timeout": 3, "args": ["true"]}]
    write(
        tmp_path / "a.json",
        device("x", env=["A=new"], deviceNodes=nodes, mounts=mounts, hooks=hooks),
        device("y", additionalGids=[0, 5, 5], intelRdt={"closID": "z"},
               netDevices=[{"hostInterfaceName": "eth7", "name": "eth0"}]),
        containerEdits={"env": ["ALL=1"]},
    )  # fmt: skip
    spec = applied(tmp_path, "x", "y")
    assert spec["process"]["env"] == ["B=old", "ALL=1", "A=new"]
    assert spec["linux"]["devices"] == [
        {"path": "/dev/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640},
        {"path": "/dev/two", "type": "c", "major": 7, "minor": 8, "uid": 3},
        {"path": "/dev/fifo", "type": "p", "major": 0, "minor": 0},
    ]
    assert spec["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
        {"allow": True, "type": "c", "major": 7, "minor": 8, "access": "rwm"},
    ]
    assert [(one["destination"], one["type"], one["options"]) for one in spec["mounts"]] == [
        ("/there", "bind", ["rbind", "ro"]), ("/one", "tmpfs", ["size=1m"]),
        ("/one/two", "bind", ["ro", "nosuid", "nodev", "bind"]),
    ]  # fmt: skip
    assert spec["hooks"] == {"poststop": [{"path": "/bin/true", "args": ["true"], "timeout": 3}]}
    assert spec["process"]["user"]["additionalGids"] == [5]
    assert spec["linux"]["intelRdt"] == {"closID": "z"}
    assert spec["linux"]["netDevices"] == {"eth7": {"name": "eth0"}}


def test_a_node_belongs_to_the_process_unless_it_says_whose_it_is(tmp_path: Path) -> None:
    nodes = [{"path": "/dev/null"}, {"path": "/dev/zero", "gid": 1}]
    write(tmp_path / "a.json", device("x", deviceNodes=nodes))
    spec = applied(tmp_path, "x", user={"uid": 7, "gid": 8})
    assert [(one["uid"], one["gid"]) for one in spec["linux"]["devices"][1:]] == [(7, 8), (7, 1)]


def test_a_later_directory_counts_more_and_files_of_others_do_not_matter(tmp_path: Path) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    write(early / "a.json", device("x", env=["OF=early"]), device("y", env=["OF=early"]))
    write(late / "b.json", device("x", env=["OF=late"]))
    (late / "broken.json").write_text("{")
    (late / "list.yaml").write_text("- a\n")
    (late / "other.txt").write_text("{")
    places = [str(early), str(late), str(tmp_path / "nosuch")]
    edits = cdi.find([f"{KIND}=x", f"{KIND}=y"], places)
    assert [one["env"] for one in edits if one] == [["OF=late"], ["OF=early"]]
    with pytest.raises(ConfigError) as raised:
        cdi.find([f"{KIND}=z", "other.com/c=1"], places)
    text = str(raised.value)
    assert f"unresolvable CDI devices {KIND}=z, other.com/c=1: no specification in" in text
    assert "broken.json: Expecting property name" in text
    assert "list.yaml: not an object with a list of devices" in text


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ({"hooks": [{"hookName": "later", "path": "/x"}]}, "unknown hook later"),
        ({"deviceNodes": [{"path": "/dev/nosuch"}]}, "/dev/nosuch: No such file"),
        ({"deviceNodes": [{"path": "/etc/passwd"}]}, "/etc/passwd is not a device node"),
        ({"deviceNodes": [{"path": "/dev/null", "type": "b"}]}, "is no device of type b"),
        ({"mounts": [{"hostPath": "/x"}]}, "bad containerEdits: KeyError('containerPath')"),
        ({"bogus": [1]}, "bad containerEdits: KeyError('bogus')"),
    ],
)
def test_what_a_specification_must_not_say_is_named(
    tmp_path: Path, edits: dict[str, Any], problem: str
) -> None:
    write(tmp_path / "a.json", device("x", **edits))
    with pytest.raises(ConfigError, match=re.escape(problem)):
        applied(tmp_path, "x")


def test_two_specifications_of_one_device_are_a_conflict(tmp_path: Path) -> None:
    write(tmp_path / "a.json", device("x"))
    write(tmp_path / "b.json", device("x"))
    with pytest.raises(ConfigError, match=r"conflicting: it is in .*a\.json and .*b\.json"):
        applied(tmp_path, "x")
