"""features: what it says is what create does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.bundle import Bundle
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def features(pyrun: Runtime) -> dict[str, Any]:
    done = pyrun.call("features")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_has_no_members_but_those_of_the_specification(features: dict[str, Any]) -> None:
    top = "ociVersionMin ociVersionMax hooks mountOptions linux annotations"
    assert set(features) == {*top.split(), "potentiallyUnsafeConfigAnnotations"}
    linux = "namespaces capabilities cgroup seccomp apparmor selinux intelRdt mountExtensions"
    assert set(features["linux"]) <= {*linux.split(), "memoryPolicy", "netDevices"}
    assert set(features["linux"]["cgroup"]) == {"v1", "v2", "systemd", "systemdUser", "rdma"}
    assert set(features["linux"]["seccomp"]) == {
        "enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ociVersionMin", "ociVersionMax"])
def test_the_versions_are_accepted(
    pyrun: Runtime, bundle: Bundle, features: dict[str, Any], name: str
) -> None:
    bundle.config["ociVersion"] = features[name]
    assert pyrun.run(bundle).returncode == 0


def test_each_mount_option_is_known(
    pyrun: Runtime, bundle: Bundle, features: dict[str, Any]
) -> None:
    for option in ("rro", "tmpcopyup", "idmap", "copy-symlink", "nosymfollow"):
        assert option in features["mountOptions"]
    # A tmpfs refuses what it does not know; these few mean something only elsewhere.
    elsewhere = {"bind", "rbind", "remount", "idmap", "ridmap", "mand", "rmand", "iversion",
                 "copy-symlink", "src-nofollow", "dest-nofollow"}  # fmt: skip
    for number, option in enumerate(sorted(set(features["mountOptions"]) - elsewhere)):
        bundle.mount(f"/tmp/{number}", type="tmpfs", source="tmpfs", options=[option])
        (bundle.rootfs / f"tmp/{number}").mkdir()
    done = pyrun.run(bundle)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_kernel_takes_each_supported_seccomp_flag(
    pyrun: Runtime, bundle: Bundle, features: dict[str, Any]
) -> None:
    seccomp = features["linux"]["seccomp"]
    assert set(seccomp["supportedFlags"]) <= set(seccomp["knownFlags"])
    flags = set(seccomp["supportedFlags"])
    assert "SECCOMP_FILTER_FLAG_LOG" in flags
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "flags": sorted(flags)}
    assert pyrun.run(bundle).returncode == 0


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("intelRdt", {"closID": "no such group"}, "/linux/intelRdt"),
        ("netDevices", {"nosuch0": {}}, "the host has no such interface"),
    ],
)
def test_what_it_has_is_attempted(
    pyrun: Runtime,
    bundle: Bundle,
    features: dict[str, Any],
    name: str,
    setting: object,
    words: str,
) -> None:
    assert features["linux"][name]["enabled"]
    bundle.linux[name] = setting
    assert words in pyrun.run(bundle).stderr


@pytest.mark.needs("numa")
def test_each_memory_policy_is_known(
    pyrun: Runtime, bundle: Bundle, features: dict[str, Any]
) -> None:
    policies = features["linux"]["memoryPolicy"]
    assert {"MPOL_BIND", "MPOL_LOCAL"} <= set(policies["modes"])
    for mode in policies["modes"]:
        without = mode in ("MPOL_DEFAULT", "MPOL_LOCAL")
        bundle.linux["memoryPolicy"] = {"mode": mode, "nodes": "" if without else "0"}
        done = pyrun.run(bundle)
        if done.returncode:  # newer than this kernel
            assert mode in ("MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"), done.stderr
            assert f"set the memory policy {mode} 0: Invalid" in done.stderr
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": policies["flags"]}
    assert "set the memory policy MPOL_BIND 0: Invalid argument" in pyrun.run(bundle).stderr


def test_arguments_are_refused(pyrun: Runtime) -> None:
    assert pyrun.call("features", "extra").returncode == 1
