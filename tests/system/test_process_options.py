"""What run's options make of the process and of the names around it, as seen from inside."""

from __future__ import annotations

import pwd
import socket
import subprocess
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def test_the_process_is_what_its_options_say(
    box: ContainerRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSED_ONE", "1")
    monkeypatch.setenv("PASSED_TWO", "2")
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    script = (
        "umask; busybox id -u; busybox id -G; busybox grep container /etc/passwd;"
        " busybox tail -n 1 /etc/group; echo $HOME $PASSED_ONE$PASSED_TWO $http_proxy;"
        " echo $PATH $TERM.; busybox cmp /etc/localtime /zone && echo zoned;"
        " busybox tr '\\0' ' ' </proc/1/cmdline"
    )
    zone = "/usr/share/zoneinfo/Europe/Berlin"
    output = box.sh(
        script, "--umask", "0077", "-u", "2000:3000", "--group-add", "55,user", "-w", "/tmp",
        "-e", "PASSED*", "--env-merge", "PATH=${PATH}:/extra", "--unsetenv", "TERM", "--init",
        "--tz", "Europe/Berlin", "-v", f"{zone}:/zone:ro",
    )  # fmt: skip
    assert output.splitlines() == [
        "0077", "2000", "3000 55 1000", "2000:*:2000:3000:container user:/tmp:/bin/sh",
        "3000:x:3000:2000", "/tmp 12 http://proxy:1", "/bin:/extra .", "zoned",
        "/run/podman-init -- sh -c " + script + " ",
    ]  # fmt: skip


def test_variables_can_all_be_taken_away_or_all_be_given(
    box: ContainerRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_HOST", "yes")
    bare = box.ok("run", "--rm", "--unsetenv-all", "--http-proxy=false", "-e", "A=1", IMAGE,
                  "/bin/busybox", "env")  # fmt: skip
    assert {line.partition("=")[0] for line in bare.splitlines()} == {"A", "HOME", "HOSTNAME"}
    assert "OF_THE_HOST=yes\n" in box.ok("run", "--rm", "--env-host", IMAGE, "/bin/busybox", "env")


def test_accounts_of_the_host_and_of_our_own(box: ContainerRoot) -> None:
    host = pwd.getpwnam("nobody")
    output = box.sh(
        "busybox id -u; busybox grep -E '^(nobody|extra|grp)' /etc/passwd /etc/group",
        "--hostuser", "nobody", "-u", "nobody", "--read-only",
        "--passwd-entry", "extra:x:$UID:7::/h:/bin/sh", "--group-entry", "grp:x:77:$USERNAME",
    )  # fmt: skip
    assert output.splitlines() == [
        str(host.pw_uid),
        f"/etc/passwd:nobody:*:{host.pw_uid}:{host.pw_gid}:{host.pw_gecos}:/:/bin/sh",
        f"/etc/passwd:extra:x:{host.pw_uid}:7::/h:/bin/sh",
        "/etc/group:grp:x:77:nobody",
    ]
    mounted = ("-v", f"/tmp:{host.pw_dir}", "-w", "/bin", "--hostuser")
    lines = box.sh("busybox tail -n 2 /etc/passwd", *mounted, "nobody", "--hostuser", "1")
    assert [line.split(":")[5] for line in lines.splitlines()] == [host.pw_dir, "/bin"]
    assert box.sh("busybox grep -c 2000 /etc/passwd || true", "-u", "2000", "--passwd=false"
                  ) == "0\n"  # fmt: skip


def test_a_line_is_added_once_however_often_a_container_starts(box: ContainerRoot) -> None:
    box.ok("create", "--name", "again", "-u", "2000", IMAGE, "busybox", "grep", "-c", "2000",
           "/etc/passwd")  # fmt: skip
    assert [box.ok("start", "-a", "again") for _ in range(2)] == ["1\n", "1\n"]


def test_descriptors_are_passed_on_and_missing_ones_named(box: ContainerRoot) -> None:
    script = "cat <&3; ls /proc/self/fd"
    argv = box.argv("run", "--rm", "--preserve-fds", "1", IMAGE, "sh", "-c", script)
    done = subprocess.run(
        ["sh", "-c", 'exec 3<&0 </dev/null; exec "$@"', "sh", *argv],
        input=b"through\n", capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout.decode().split()[:5] == ["through", "0", "1", "2", "3"], done.stderr
    # Descriptor 4 is ours too, but not wanted.
    argv = box.argv("run", "--rm", "--preserve-fd", "5", IMAGE, "sh", "-c", "cat <&4; cat <&5")
    done = subprocess.run(
        ["sh", "-c", 'exec 5<&0 4</etc/passwd </dev/null; exec "$@"', "sh", *argv],
        input=b"chosen\n", capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == b"chosen\n", done.stderr
    assert "not the number" in box.fails("run", "--preserve-fd", "2", IMAGE, "true")
    assert "file descriptor 9 is not" in box.fails("run", "--preserve-fd", "9", IMAGE, "true")
    error = box.fails("run", "--preserve-fds", "7", IMAGE, "true")
    assert "is not available" in error
    assert "--detach" in box.fails("run", "-d", "--preserve-fds", "1", IMAGE, "true")


def test_systemd_mode_has_its_file_systems_signal_and_variables(box: ContainerRoot) -> None:
    script = "busybox grep -c -E ' (/run|/run/lock|/tmp|/var/log/journal) tmpfs' /proc/mounts; env"
    id_ = box.ok("create", "--systemd=always", IMAGE, "sh", "-c", script).strip()
    output = box.ok("start", "-a", id_).splitlines()
    assert output[0] == "4"
    assert {"container=podman", f"container_uuid={id_[:32]}"} <= set(output)
    assert box.ok("inspect", "--format", "{{.Config.StopSignal}}", id_) == "37\n"
    plain = box.ok("create", "--systemd=false", IMAGE, "/sbin/init").strip()
    assert box.ok("inspect", "--format", "{{.Config.StopSignal}}", plain) == "15\n"


def test_a_timeout_ends_the_container(box: ContainerRoot) -> None:
    assert box.call("run", "--rm", "--timeout", "1", IMAGE, "sleep", "100").returncode != 0


def test_names_reach_the_containers_files(box: ContainerRoot, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("# comment\nfrom=file\nboth=file\n")
    (tmp_path / "hosts").write_text("10.9.8.7\tbase")
    pidfile, monitor_pidfile = tmp_path / "pid", tmp_path / "monitor"
    script = "cat /etc/hosts /etc/hostname /jail/etc/hosts"
    box.ok(
        "run", "--name", "named", "--hostname", "in.side", "--add-host", "a;b:10.0.0.1",
        "--add-host", "six:::1", "--hosts-file", tmp_path / "hosts", "--chrootdirs", "/jail",
        "--label-file", tmp_path / "labels", "--label", "both=option", "--annotation", "k=v=w",
        "--pidfile", pidfile, "--conmon-pidfile", monitor_pidfile, IMAGE, "sh", "-c", script,
    )  # fmt: skip
    hosts = ["10.0.0.1\ta b", "::1\tsix", "10.9.8.7\tbase", "127.0.0.1\tin.side named"]
    lines = box.ok("logs", "named").splitlines()
    lines = [line for line in lines if "host.containers.internal" not in line]
    assert lines == [*hosts, "in.side", *hosts]
    shown = box.ok("inspect", "--format", "{{.Config.Labels}} {{.Config.Annotations.k}}", "named")
    assert "from:file" in shown
    assert "both:option" in shown
    assert shown.endswith("v=w\n")
    assert pidfile.read_text().isdecimal()
    assert monitor_pidfile.read_text().isdecimal()


def test_resolver_options_replace_the_hosts_lines(box: ContainerRoot) -> None:
    script = "cat /etc/resolv.conf; busybox cat /etc/hosts"
    output = box.sh(
        script, "--network", "host", "--dns", "10.0.0.53", "--dns-search", "a.b",
        "--dns-option", "ndots:2", "--add-host", "gate:host-gateway",
    )  # fmt: skip
    lines = output.splitlines()
    assert lines[:3] == ["search a.b", "nameserver 10.0.0.53", "options ndots:2"]
    address, _, name = lines[3].partition("\t")
    assert name == "gate"
    socket.inet_aton(address)
    bare = "ls /etc/hosts /etc/hostname /etc/resolv.conf 2>/dev/null || true"
    options = ("--network", "host", "--no-hosts", "--no-hostname", "--dns", "none")
    assert box.sh(bare, *options) == ""


def test_replace_takes_the_name_of_another(box: ContainerRoot) -> None:
    stopped = ("run", "-d", "--stop-timeout", "0", "--name", "one", IMAGE, "sleep", "1000")
    old = box.ok(*stopped).strip()
    new = box.ok("run", "-d", "--replace", "--name", "one", IMAGE, "sleep", "1000").strip()
    assert box.ok("ps", "-aq", "--no-trunc") == f"{new}\n"
    wait_for(lambda: box.cgroups(old) == [], "the old one's cgroups")


def test_a_group_that_the_image_does_not_have_ends_the_start(box: ContainerRoot) -> None:
    error = box.fails("run", "--rm", "--group-add", "nosuch", IMAGE, "true", status=126)
    assert "unable to find group nosuch: no matching entries in group file" in error


def test_containers_conf_gives_what_no_option_gives(
    box: ContainerRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, override = tmp_path / "base.conf", tmp_path / "override.conf"
    base.write_text(
        '[containers]\numask = "0077"\nenv = ["FROM=conf"]\ntz = "Europe/Berlin"\n'
        'default_capabilities = ["CHOWN"]\ndefault_ulimits = ["nofile=111:222"]\nno_hosts = true\n'
    )
    override.write_text('[containers]\numask = "0027"\nenv = ["MORE=yes", {append = true}]\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(base))
    monkeypatch.setenv("CONTAINERS_CONF_OVERRIDE", str(override))
    script = (
        "umask; echo $FROM $MORE; ulimit -n; busybox grep CapBnd /proc/self/status;"
        " busybox grep -c /etc/localtime /proc/mounts;"
        " ls /etc/hosts 2>&1 >/dev/null | busybox wc -l"
    )
    assert box.sh(script).split() == [
        "0027", "conf", "yes", "111", "CapBnd:", "0000000000000001", "1", "1",
    ]  # fmt: skip
    assert box.sh("umask; ls /etc/hosts", "--umask", "0", "--no-hosts=false").split() == [
        "0000", "/etc/hosts",
    ]  # fmt: skip
    override.write_text(
        '[containers]\nno_hosts = false\nhost_containers_internal_ip = "10.9.8.7"\n'
    )
    line = "10.9.8.7\thost.containers.internal host.docker.internal\n"
    show = "cat /etc/hosts"
    assert line in box.sh(show)
    assert line in box.sh(show, "--network", "host")
    gate = box.sh(show, "--add-host", "host.containers.internal:10.1.1.1", "--add-host",
                  "gate:host-gateway")  # fmt: skip
    assert gate.startswith("10.1.1.1\thost.containers.internal\n10.9.8.7\tgate\n")
    assert line not in gate
    override.write_text('[containers]\nno_hosts = false\nhost_containers_internal_ip = "none"\n')
    assert "internal" not in box.sh(show)
    override.write_text("[containers]\numask = 22\n")
    assert "containers.umask: 22 is no value for it" in box.fails("create", IMAGE, "true")
