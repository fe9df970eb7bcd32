from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyengine.errors import CommandNotExecutableError, ConfigError
from pyengine.specgen import capabilities, process, seccomp, users


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """An image's root whose files say who is who."""
    etc = tmp_path / "root/etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text(
        "# comment\nroot:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:44::/srv:/bin/sh\n"
        "1234:x:7:7::/n:/bin/sh\nbad:x:x:y::/:\n"
    )
    (etc / "group").write_text("root:x:0:\nstaff:x:50:web,other\naudio:x:29:web\nnot\n")
    fd = os.open(tmp_path / "root", os.O_PATH)
    yield fd
    os.close(fd)


def found(user: users.User) -> tuple[int, int, str, list[int]]:
    return user.uid, user.gid, user.home, user.additional_gids


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", (0, 0, "/root", [])),
        ("web", (33, 44, "/srv", [29, 44, 50])),
        ("33", (33, 44, "/srv", [29, 44, 50])),
        ("web:staff", (33, 50, "/srv", [50])),
        ("web:77", (33, 77, "/srv", [77])),
        ("999", (999, 0, "/", [0])),
        ("1234", (7, 7, "/n", [7])),  # a name that looks like a number is a name
    ],
)
def test_users_and_groups(root: int, spec: str, expected: tuple[object, ...]) -> None:
    assert found(users.look_up(root, spec)) == expected


@pytest.mark.parametrize("spec", ["nobody", "bad", "web:nogroup"])
def test_an_unknown_name_is_told(root: int, spec: str) -> None:
    with pytest.raises(CommandNotExecutableError, match="unable to find"):
        users.look_up(root, spec)


@pytest.mark.parametrize("spec", ["2147483648", "0:2147483648", "9" * 5000, "0:" + "9" * 5000])
def test_an_id_past_the_kernels_is_refused(root: int, spec: str) -> None:
    with pytest.raises(ConfigError, match="must be below 2147483648"):
        users.look_up(root, spec)


def test_only_ascii_digits_are_a_number(root: int) -> None:
    with pytest.raises(CommandNotExecutableError, match="unable to find user"):
        users.look_up(root, "\u0663")


def test_ids_past_the_kernels_in_the_images_files_are_nobodys(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"big:x:{2**31}:0::/:\nhuge:x:{'9' * 5000}:0::/:\n")
    (tmp_path / "etc/group").write_text("far:x:99999999999:root\nnear:x:5:root\n")
    fd = os.open(tmp_path, os.O_PATH)
    try:
        for name in ("big", "huge"):
            with pytest.raises(CommandNotExecutableError, match="unable to find user"):
                users.look_up(fd, name)
    finally:
        os.close(fd)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_plain_file_names_no_users(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "etc").mkdir()
    make(tmp_path / "etc/passwd")
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert found(users.look_up(fd, "")) == (0, 0, "/", [])
        with pytest.raises(CommandNotExecutableError, match="unable to find user"):
            users.look_up(fd, "web")
    finally:
        os.close(fd)


def test_a_link_in_the_image_does_not_lead_to_the_hosts_users(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("evil:x:66:66::/:\n")
    root_path = tmp_path / "root"
    (root_path / "etc").mkdir(parents=True)
    (root_path / "etc/passwd").symlink_to(tmp_path / "outside")
    fd = os.open(root_path, os.O_PATH)
    try:
        with pytest.raises(CommandNotExecutableError):
            users.look_up(fd, "evil")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("image", "entrypoint", "command", "expected"),
    [
        ({"Cmd": ["a"]}, None, [], ([], ["a"])),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, None, [], (["e"], ["a"])),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, None, ["b"], (["e"], ["b"])),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, "x", [], (["x"], [])),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, '["x", "y"]', ["b"], (["x", "y"], ["b"])),
        ({"Cmd": "echo hi", "Entrypoint": None}, None, [], ([], ["/bin/sh", "-c", "echo hi"])),
        ({"Entrypoint": ["e"]}, "", ["b"], ([], ["b"])),
        ({}, "[", [], (["["], [])),
    ],
)
def test_entrypoint_and_command(
    image: dict[str, object], entrypoint: str | None, command: list[str], expected: object
) -> None:
    assert process.arguments(image, entrypoint, command) == expected


def test_nothing_to_run_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no command"):
        process.arguments({"Cmd": None}, None, [])


def test_a_later_variable_replaces_an_earlier_one() -> None:
    env = process.environment(["PATH=/x", "A=1", "A=2", "EMPTY="], "/home", "host")
    assert env == ["PATH=/x", "TERM=xterm", "container=podman", "A=2", "EMPTY=", "HOME=/home",
                   "HOSTNAME=host"]  # fmt: skip


def test_capabilities_added_and_dropped() -> None:
    default = capabilities.allowed([], [], [], privileged=False)
    assert default == sorted(f"CAP_{name}" for name in capabilities.DEFAULT)
    assert capabilities.allowed(["net_bind_service"], ["all"], [], privileged=False) == [
        "CAP_NET_BIND_SERVICE"
    ]
    assert "CAP_KILL" not in capabilities.allowed([], ["CAP_KILL"], [], privileged=False)
    with pytest.raises(ConfigError, match="removing all caps"):
        capabilities.allowed(["ALL"], ["ALL"], [], privileged=False)


def test_the_default_profile_depends_on_capabilities_alone() -> None:
    plain = seccomp.default(["CAP_CHOWN"])
    assert plain == seccomp.default(["CAP_CHOWN"])
    allowed = {name for rule in plain["syscalls"] if rule["action"] == seccomp.ALLOW
               and "args" not in rule for name in rule["names"]}  # fmt: skip
    refused = {name for rule in plain["syscalls"] if rule["action"] == seccomp.REFUSE
               for name in rule["names"]}  # fmt: skip
    assert {"read", "execve", "clone3"} <= allowed
    assert {"bpf", "kexec_load", "clock_settime"} <= refused
    assert not refused & allowed
    with_admin = seccomp.default(["CAP_SYS_ADMIN"])
    assert "bpf" in {name for rule in with_admin["syscalls"] for name in rule["names"]
                     if rule["action"] == seccomp.ALLOW}  # fmt: skip


def test_an_audit_socket_needs_its_capability() -> None:
    rules = [rule for rule in seccomp.default([])["syscalls"] if rule["names"] == ["socket"]]
    assert rules[0]["errnoRet"] == seccomp.EINVAL
    free = seccomp.default(["CAP_AUDIT_WRITE"])["syscalls"]
    assert [rule for rule in free if rule["names"] == ["socket"]] == [
        {"names": ["socket"], "action": seccomp.ALLOW}
    ]


def test_a_profile_in_dockers_format_is_reduced_to_the_container(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(
        '{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64",'
        ' "subArchitectures": ["SCMP_ARCH_X86"]}], "syscalls": ['
        '{"names": ["read"], "action": "SCMP_ACT_ALLOW"},'
        '{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},'
        '{"name": "old", "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}}]}'
    )
    found = seccomp.from_file(str(path), ["CAP_CHOWN"])
    assert [rule["names"] for rule in found["syscalls"]] == [["read"]]
    found = seccomp.from_file(str(path), ["CAP_SYS_ADMIN"])
    assert [rule["names"] for rule in found["syscalls"]] == [["read"], ["bpf"], ["old"]]
