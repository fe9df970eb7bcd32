"""The seccomp profile of a container, as config.json's ``linux.seccomp``."""

from __future__ import annotations

import os

from pyengine import jsontext
from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROFILE = os.path.join(os.path.dirname(__file__), "seccomp.json")
ALLOW, REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM, EINVAL, ENOSYS = 1, 22, 38
AF_NETLINK, NETLINK_AUDIT = 16, 9


def default(capabilities: list[str]) -> dict[str, Any]:
    """The profile of seccomp.json for a container that holds ``capabilities``.

    The same capabilities always give the same bytes, so a runtime may cache what it compiles.
    """
    with open(PROFILE, encoding="utf-8") as file:
        facts = jsontext.loads(file.read())
    machine = os.uname().machine
    if machine not in facts["architectures"]:
        raise ConfigError(
            f"no default seccomp profile for {machine}: give --security-opt seccomp=FILE"
            " or seccomp=unconfined"
        )
    held = set(capabilities)
    names, refused = list(facts["allow"]), list(facts["eperm"])
    names += facts["allow_arch"].get(machine, [])
    for capability, calls in facts["with_capability"].items():
        (names if capability in held else refused).extend(calls)
    allowed = set(names)
    rules = [
        {"names": [name for name in refused if name not in allowed], "action": REFUSE,
         "errnoRet": EPERM},
        {"names": names, "action": ALLOW},
        *(
            {"names": ["personality"], "action": ALLOW, "args": [_argument(0, value)]}
            for value in facts["personality"]
        ),
        *_socket(audit="CAP_AUDIT_WRITE" in held),
    ]  # fmt: skip
    return {
        "defaultAction": REFUSE,
        "defaultErrnoRet": ENOSYS,
        "architectures": facts["architectures"][machine],
        "syscalls": rules,
    }


def _socket(*, audit: bool) -> list[dict[str, Any]]:
    """socket(2): all of it, or all but the kernel's audit interface."""
    if audit:
        return [{"names": ["socket"], "action": ALLOW}]
    netlink, family = _argument(0, AF_NETLINK), _argument(2, NETLINK_AUDIT)
    return [
        {"names": ["socket"], "action": REFUSE, "errnoRet": EINVAL, "args": [netlink, family]},
        {"names": ["socket"], "action": ALLOW, "args": [family | {"op": "SCMP_CMP_NE"}]},
        {"names": ["socket"], "action": ALLOW, "args": [netlink | {"op": "SCMP_CMP_NE"}]},
    ]


def _argument(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def from_file(path: str, capabilities: list[str]) -> dict[str, Any]:
    """A profile in docker's and podman's file format, reduced to this container.

    Raises:
        ConfigError: the file cannot be read or is not such a profile.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"--security-opt seccomp={path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--security-opt seccomp={path}: not JSON: {error}") from error
    return from_text(text, f"--security-opt seccomp={path}", capabilities)


def from_text(text: str, where: str, capabilities: list[str]) -> dict[str, Any]:
    """As ``from_file``; ``where`` the text is from goes into the error."""
    try:
        profile = jsontext.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where}: not JSON: {error}") from error
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise ConfigError(f"{where}: not a seccomp profile: no defaultAction")
    result = {key: profile[key] for key in ("defaultAction", "defaultErrnoRet") if key in profile}
    result["architectures"] = profile.get("architectures") or _architectures(profile)
    held = set(capabilities)
    result["syscalls"] = [
        _plain_rule(rule) for rule in profile.get("syscalls", []) if _applies(rule, held)
    ]
    return result


def _architectures(profile: dict[str, Any]) -> list[str]:
    machine = os.uname().machine.upper()
    for entry in profile.get("archMap", []):
        if entry["architecture"] == f"SCMP_ARCH_{machine}":
            return [entry["architecture"], *entry.get("subArchitectures", [])]
    return []


def _applies(rule: dict[str, Any], held: set[str]) -> bool:
    """Whether the rule's includes and excludes fit this machine and these capabilities."""
    goarch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("caps") and not held.issuperset(includes["caps"]):
        return False
    if includes.get("arches") and goarch not in includes["arches"]:
        return False
    return not held.intersection(excludes.get("caps") or []) and goarch not in (
        excludes.get("arches") or []
    )


def _plain_rule(rule: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "names": rule["names"] if "names" in rule else [rule["name"]],
        "action": rule["action"],
    }
    if "errnoRet" in rule:
        plain["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        plain["args"] = rule["args"]
    return plain
