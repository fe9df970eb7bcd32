"""What the options of run and create come to in a container's saved configuration."""

from __future__ import annotations

import re

import pytest

from pyengine.containers.configuring import supervision
from pyengine.containers.options import ContainerOptions
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
        ("-p 80", "--publish 80: only a bridged network has ports to publish"),
        ("-P", "--publish-all: only a bridged network"),
        ("--network none -p 70000:80", "a port must be a number from 1 to 65535"),
        ("--network none -p 1-3:4-5", "ranges have different lengths: 3 vs 2"),
        ("--network none -p 80/icmp", "must be tcp, udp or sctp"),
        ("--network none -p 1.2.3:1:2", 'invalid IP address in --publish 1.2.3:1:2: "1.2.3"'),
        ("--network none -p [::1]", 'invalid IP address in --publish [::1]: "::1]"'),
        ("--network none -p 1:2:3:4", "the format is [[IP:]HOST-PORT:]PORT[/PROTOCOL]"),
        ("--pod web", "no pod with name or ID web found: no such pod: this version has no pods"),
        ("--pod-id-file f", "--pod-id-file f: this version has no pods"),
        ("--pod-id-file f --pod p", "cannot specify both --pod and --pod-id-file"),
        ("--init-ctr once", "must specify pod value with init-ctr"),
        ("--link-local-ip 169.254.0.9", "--link-local-ip can only be set when the network mode"),
        ("--seccomp-policy strict", 'valid policies are ["default" "image"]'),
        ("--retry-delay soon", "invalid duration 'soon'"),
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
        ("--security-opt label=typo:x", 'bad label option "typo:x"'),
        ("--security-opt label=type", 'bad label option "type"'),
        ("--sysctl foo.bar=1", "sysctl 'foo.bar' is not allowed"),
        ("--sysctl net.ipv4.ip_forward", "must be NAME=VALUE"),
        ("--sysctl net.x=1 --network host", "can't be set since Network Namespace set to host"),
        ("--sysctl kernel.sem=1 --ipc host", "can't be set since IPC Namespace set to host"),
        ("--device /nosuch", "stat /nosuch: No such file or directory"),
        ("--device /etc/passwd", "is not a device node"),
        ("--device /dev/null:/a:/b", "must be SOURCE[:DESTINATION]"),
        ("--device /dev/null:x", "must be SOURCE[:DESTINATION]"),
        ("--device-cgroup-rule nonsense", "must be like c 1:3 rwm"),
        ("--device /dev/null:rr", "must be SOURCE[:DESTINATION][:PERMISSIONS of rwm]"),
        ("--personality BSD", "must be LINUX or LINUX32"),
        ("--network container:", "no such network"),
        ("--sdnotify systemd", 'invalid sdnotify value "systemd": must be conmon, container'),
        ("--sdnotify healthy", 'policy "healthy" requires a healthcheck to be set'),
    ],
)  # fmt: skip
def test_confinement_that_has_no_meaning_is_named(line: str, problem: str) -> None:
    with pytest.raises(PyengineError, match=re.escape(problem)):
        configured(line)


@pytest.mark.parametrize(
    "port", ["80", "8080:80", ":80", "127.0.0.1::80/udp", "[::1]:1-2:3-4"]
)  # fmt: skip
def test_ports_are_discarded_with_a_warning_without_a_bridged_network(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configured(f"--network host -p {port}")
    assert "Port mappings have been discarded: with --network host" in capsys.readouterr().err


def test_the_policy_image_takes_the_profile_of_the_images_label() -> None:
    label = {"io.containers.seccomp.profile": '{"defaultAction": "SCMP_ACT_ALLOW"}'}
    image: dict[str, object] = {"Labels": label}
    found = configured("--seccomp-policy image", image)["security"]
    assert found["seccomp_profile"] == '{"defaultAction": "SCMP_ACT_ALLOW"}'
    assert "seccomp_profile" not in configured("--seccomp-policy default", image)["security"]
    unconfined = "--seccomp-policy image --security-opt seccomp=unconfined"
    assert "seccomp_profile" not in configured(unconfined, image)["security"]
    broken: dict[str, object] = {"Labels": {"io.containers.seccomp.profile": "{}"}}
    with pytest.raises(PyengineError, match="profile: not a seccomp profile"):
        configured("--seccomp-policy image", broken)


def test_exposed_ports_are_the_images_and_the_options() -> None:
    image: dict[str, object] = {"ExposedPorts": {"80/tcp": {}}}
    wanted = "--expose 80,53/udp --expose 8000-8002"
    assert configured(wanted, image)["exposed_ports"] == [
        "80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"
    ]  # fmt: skip
    assert configured("--rm", image)["exposed_ports"] == ["80/tcp"]
    assert "exposed_ports" not in configured("--rm")


def test_checks_come_back_from_their_options() -> None:
    line = (
        '--health-cmd ["CMD","a"] --health-interval 5s --health-retries 2 --health-timeout 3s'
        " --health-max-log-count 9 --health-on-failure kill --health-start-period 1m"
        " --health-startup-cmd up --health-startup-interval 2s --health-startup-success 4"
    )
    found = configured(line)["supervision"]
    again = configured("--rm")
    supervision.configure(again, ContainerOptions("", **supervision.as_options(found)), {})
    assert again["supervision"] == found
