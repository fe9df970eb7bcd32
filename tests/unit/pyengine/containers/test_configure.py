"""What the options of run and create come to in a container's saved configuration."""

from __future__ import annotations

import re

import pytest

from pyengine.errors import PyengineError
from support.configured import configured


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--umask 99", "invalid umask string 99"),
        ("--tz Nowhere/Town", "no such file or directory"),
        ("--tz ../../etc/passwd", "not the name of a time zone"),
        ("--init --init-path /nosuch", "container-init binary not found on the host"),
        ("--group-add keep-groups,user", "is not allowed with any other --group-add"),
        ("--hostuser nosuch", "unknown user nosuch"),
        ("--systemd=maybe", 'must be one of "true, false, always"'),
        ("--chrootdirs jail", "must be an absolute path"),
        ("--env-merge NAME", "must be NAME=VALUE"),
        ("--passwd-entry a\nb", "must be one line"),
        ("--add-host bad", 'bad format for add-host: "bad"'),
        ("--add-host a:b", 'invalid IP address in add-host: "b"'),
        ("--no-hosts --add-host a:1.2.3.4", "cannot be set together"),
        ("--annotation a", "must be formatted KEY=VALUE"),
        ("--label-file /nosuch", "unable to process labels: open /nosuch"),
        ("--hosts-file /nosuch", "no such file"),
        ("--dns 1.1.1.1", "conflicting options: dns and the network mode: none"),
        ("--network host --dns foo", 'invalid IP address in --dns: "foo"'),
        ("--network host --ip 10.0.0.1", "--ip can only be set when the network mode is bridge"),
        ("--network nosuch", "no such network"),
        ("--expose 0", "--expose 0: a port must be a number from 1 to 65535"),
        ("--expose 80-", "a port must be a number"),
        ("--expose 81-80", "the range ends before it begins"),
        ("--expose 80/icmp", "must be tcp, udp or sctp"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_named(line: str, problem: str) -> None:
    with pytest.raises(PyengineError, match=re.escape(problem)):
        configured(line)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--pid bogus", "--pid: unrecognized namespace mode bogus"),
        ("--uts shareable", "--uts: unrecognized namespace mode shareable"),
        ("--ipc container:", "--ipc: unrecognized namespace mode container:"),
        ("--uts host --hostname x", "cannot set hostname when running in the host UTS namespace"),
        ("--pid host --init --init-path /bin/true", "cannot add init binary as PID 1"),
        ("--cgroups=disabled --cgroupns host", "--cgroupns cannot be set with"),
        ("--security-opt bogus", 'invalid --security-opt: "bogus"'),
        ("--security-opt mask=proc", "proc is no absolute path"),
        ("--security-opt label=type:x", "containers have no SELinux labels here"),
        ("--sysctl foo.bar=1", "sysctl 'foo.bar' is not allowed"),
        ("--sysctl net.ipv4.ip_forward", "must be NAME=VALUE"),
        ("--sysctl net.x=1 --network host", "can't be set since Network Namespace set to host"),
        ("--sysctl kernel.sem=1 --ipc host", "can't be set since IPC Namespace set to host"),
        ("--device /nosuch", "stat /nosuch: No such file or directory"),
        ("--device /etc/passwd", "is not a device node"),
        ("--device /dev/null:/a:/b", "must be SOURCE[:DESTINATION]"),
        ("--device /dev/null:x", "must be SOURCE[:DESTINATION]"),
        ("--device-cgroup-rule nonsense", "must be like c 1:3 rwm"),
        ("--personality BSD", "must be LINUX or LINUX32"),
        ("--network container:", "no such network"),
        ("--sdnotify systemd", 'invalid sdnotify value "systemd": must be conmon, container'),
        ("--sdnotify healthy", 'policy "healthy" requires a healthcheck to be set'),
    ],
)  # fmt: skip
def test_confinement_that_has_no_meaning_is_named(line: str, problem: str) -> None:
    with pytest.raises(PyengineError, match=re.escape(problem)):
        configured(line)


def test_exposed_ports_are_the_images_and_the_options() -> None:
    image: dict[str, object] = {"ExposedPorts": {"80/tcp": {}}}
    wanted = "--expose 80,53/udp --expose 8000-8002"
    assert configured(wanted, image)["exposed_ports"] == [
        "80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"
    ]  # fmt: skip
    assert configured("--rm", image)["exposed_ports"] == ["80/tcp"]
    assert "exposed_ports" not in configured("--rm")
