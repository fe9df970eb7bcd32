"""Options of run: exit codes, output and messages are podman's."""

from __future__ import annotations

from support import side_by_side
from support.containers import IMAGE
from support.side_by_side import run, step

pytestmark = side_by_side.NEEDS

SH = (IMAGE, "sh", "-c")

STEPS = [
    step("load", "-q", "-i", "{archive}"),
    run("--rm", "--umask", "077", "-u", "2000:3000", "--group-add", "55,user", "-w", "/tmp",
        *SH, "umask; id; busybox tail -n 1 /etc/passwd; busybox tail -n 1 /etc/group"),
    run("--rm", "--env-merge", "PATH=${PATH}:/x", "--unsetenv", "TERM", *SH, "echo $PATH $TERM"),
    run("--rm", "--unsetenv-all", IMAGE, "/bin/busybox", "sh", "-c", "env | busybox wc -l"),
    run("--rm", "--systemd=always", *SH,
        "busybox grep -c -E ' /(run|run/lock|tmp|var/log/journal) tmpfs rw' /proc/mounts"),
    run("--rm", "--add-host", "a:1.2.3.4", *SH, "busybox head -n 2 /etc/hosts"),
    run("--rm", "--no-hosts", *SH, "ls /etc/hosts"),
    run("--rm", "--pid", "host", "--ipc", "host", "--uts", "host", *SH,
        "busybox hostname; [ $$ -gt 1 ]; echo $?"),
    run("--rm", "--security-opt", "unmask=ALL", *SH, "busybox grep -c ' /proc/' /proc/mounts"),
    run("--rm", "--sysctl", "kernel.msgmax=100", *SH, "cat /proc/sys/kernel/msgmax"),
    run("--rm", "--device", "/dev/null:/dev/zed:r", *SH, "ls -l /dev/zed | busybox cut -c 1-10"),
    run("--rm", "--uidmap", "0:300000:65536", "-u", "user", *SH,
        "cat /proc/self/uid_map; id; stat -c %u:%g /bin /etc/hosts /proc; echo x >/tmp/y;"
        " stat -c %u:%g /tmp/y"),
    run("--rm", "--uidmap", "0:300000:9", "--gidmap", "0:400000:9", *SH, "cat /proc/self/gid_map"),
    run("--rm", "--hostuser", "nobody", *SH, "busybox tail -n 1 /etc/passwd"),
    run("--rm", "--passwd-entry", "x:x:$UID:7::/h:/bin/sh", "-u", "77", *SH,
        "busybox tail -n 1 /etc/passwd; id"),
    run("--rm", "--security-opt", "label=type:spc_t", IMAGE, "true"),
    run("--userns", "nomap", IMAGE, "true"),
    run("--userns", "container:nosuch", IMAGE, "true"),
    run("--uidmap", "0:1:1", "--userns", "host", IMAGE, "true"),
    run("--device", "/dev/null:rr", IMAGE, "true"),
    run("--umask", "99", IMAGE, "true"),
    run("--group-add", "keep-groups,user", IMAGE, "true"),
    run("--add-host", "bad", IMAGE, "true"),
    run("--add-host", "a:b", IMAGE, "true"),
    run("--no-hosts", "--add-host", "a:1.2.3.4", IMAGE, "true"),
    run("--dns", "1.1.1.1", IMAGE, "true"),
    run("--memory-swap", "64m", IMAGE, "true"),
    run("--cpus", "1", "--cpu-period", "1000", IMAGE, "true"),
    run("--ulimit", "foo=1", IMAGE, "true"),
    run("--pid", "container:nosuch", IMAGE, "true"),
    run("--sysctl", "foo.bar=1", IMAGE, "true"),
    run("--replace", IMAGE, "true"),
    run("--rm", "-p", "8080:80", "--disable-content-trust", "--seccomp-policy", "default", *SH,
        "echo runs", differs="message", why="the warning names the mode of the network"),
    run("-p", "80a:80", IMAGE, "true"),
    run("-p", "1-3:4-5", IMAGE, "true"),
    run("-p", "1.2.3:1:2", IMAGE, "true"),
    run("--pod", "nosuch", IMAGE, "true"),
    run("--seccomp-policy", "bogus", IMAGE, "true"),
    step("create", "--network", "none", "--init-ctr", "once", IMAGE, "true"),
    step("rm", "-f", "-a"),
]  # fmt: skip


answers = side_by_side.fixture(STEPS)


@side_by_side.parameters(STEPS)
def test_the_answer_is_podmans(answers: side_by_side.Answers, index: int) -> None:
    side_by_side.compare(STEPS, answers, index)
