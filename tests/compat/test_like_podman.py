"""The same commands through Debian's podman and through pyengine: exit codes, output, messages.

One life of images and containers, step by step. A step that is meant to differ says why.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import side_by_side
from support.containers import IMAGE
from support.side_by_side import NONE, run, step

pytestmark = pytest.mark.needs("root", "busybox", "podman", "runc", "conmon")

SH = (IMAGE, "sh", "-c")
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 1000 & wait; done"
OBEDIENT = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done"
EARLY = "a value that can never work is refused when the container is made, not by the runtime"
EACH = "what can be done is done: an unknown name keeps the other containers from nothing"

STEPS = [
    step("load", "-q", "-i", "{archive}"),
    step("load", "-q", "-i", "/no/such/file"),
    step("load", "-q", "-i", "/etc/passwd", differs="message",
         why="one sentence instead of an error for each kind of archive"),
    step("images", "--noheading", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"),
    step("images", "-q"),
    step("images", "-q", "nosuch"),
    step("image", "exists", IMAGE),
    step("image", "exists", "nosuch"),
    step("tag", IMAGE, "other:2"),
    step("tag", "nosuch", "other:3"),
    step("tag", IMAGE, "UPPER"),
    step("image", "inspect", "--format", "{{.Os}} {{.Config.Cmd}} {{.RepoTags}}", IMAGE),
    step("image", "inspect", "nosuch"),
    step("inspect", "--format", "{{.Id}}", IMAGE),
    step("history", "--format", "json", "nosuch"),
    step("rmi", "other:2"),
    step("rmi", "nosuch"),
    step("rmi", "-i", "nosuch"),
    step("rmi"),
    run("--rm", *SH, "echo out; echo err >&2; exit 3"),
    run("--rm", "-i", IMAGE, "cat", stdin="through\n"),
    run("--rm", IMAGE, "cat", stdin="lost\n"),
    run("--rm", "-e", "A=b", "-e", "B", "-e", "C=", *SH, "echo $A$B$C; env | busybox sort"),
    run("--rm", "-w", "/tmp", "-u", "1000:1000", *SH, "pwd; id"),
    run("--rm", "-u", "user", *SH, "id; echo $HOME"),
    run("--rm", "-u", "nosuch", IMAGE, "id"),
    run("--rm", "-u", "0:nosuch", IMAGE, "id"),
    run("--rm", "-w", "/nosuch", IMAGE, "true"),
    run("--rm", "-w", "relative", IMAGE, "true", differs="status", why=EARLY),
    run("--rm", "--hostname", "inside", *SH, "cat /etc/hostname", differs="stdout",
        why="a line of a text file ends with a newline"),
    run("--rm", "--entrypoint", "echo", IMAGE, "a", "b"),
    run("--rm", "--entrypoint", '["echo","x"]', IMAGE, "y"),
    run("--rm", "--entrypoint", "", IMAGE, "echo", "z"),
    run("--rm", "--read-only", *SH, "busybox touch /x /tmp/x; echo $?"),
    run("--rm", "--tmpfs", "/t:size=64k", *SH, "busybox grep ' /t ' /proc/mounts"),
    run("--rm", "-v", "{shared}:/s:ro", *SH, "cat /s/file; echo x >/s/file"),
    run("--rm", "-v", "{shared}:/s", "-w", "/s", *SH, "ls"),
    run("--rm", "-v", "/no/such:/s", IMAGE, "true"),
    run("--rm", "-v", "/tmp:relative", IMAGE, "true"),
    run("--rm", "-v", "/tmp:/x:bogus", IMAGE, "true"),
    run("--rm", "-v", "/a:/b:/c:/d", IMAGE, "true"),
    run("--rm", "--cap-drop", "ALL", *SH, "busybox grep Cap /proc/self/status"),
    run("--rm", "--cap-add", "NET_ADMIN", *SH, "busybox grep Cap /proc/self/status",
        differs="stdout", why="Debian's podman adds three capabilities to upstream's default"),
    run("--rm", "--cap-add", "NOSUCH", IMAGE, "true"),
    run("--rm", "--memory", "1k", IMAGE, "true", differs="status", why=EARLY),
    run("--rm", "--memory", "lots", IMAGE, "true"),
    run("--rm", "--security-opt", "no-new-privileges", *SH, "busybox grep NoNew /proc/self/status"),
    run("--rm", "--env-file", "{shared}/env", *SH, "echo $FROM_FILE $QUOTED"),
    run("--rm", "--env-file", "/no/such", IMAGE, "true"),
    run("--rm", "--stop-signal", "NOSUCH", IMAGE, "true"),
    run("--rm", "--no-such-option", IMAGE, "true"),
    run("--rm", IMAGE, "nosuch"),
    run("--rm", IMAGE, "/etc/passwd"),
    run("--rm", IMAGE, "/etc"),
    run("--rm", "--pull", "never", "nosuch", "true"),
    run("--rm", "--name", "bad/name", IMAGE, "true"),
    run("--rm", "--rootfs", "/no/such", "true"),
    run(),
    step("create", *NONE, "--name", "made", "--label", "k=v", IMAGE, "echo", "made"),
    step("create", *NONE, "--name", "made", IMAGE, "true"),
    step("ps", "-q"),
    step("ps", "-a", "--noheading", "--format", "{{.Names}} {{.Image}} {{.Command}} {{.Status}}"),
    step("ps", "-a", "--filter", "label=k=v", "--format", "{{.Names}}"),
    step("ps", "-a", "--filter", "name=nosuch", "--format", "{{.Names}}"),
    step("ps", "-a", "--filter", "bogus=1"),
    step("ps", "-a", "--filter", "status=bogus"),
    step("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.Config.Cmd}}", "made"),
    step("inspect", "--format", "{{json .Config.Labels}} {{.Name}}", "made"),
    step("inspect", "nosuch"),
    step("inspect", "--format", "{{.NoSuch}}", "made"),
    step("exec", "made", "true"),
    step("kill", "made"),
    step("stop", "made"),
    step("logs", "made"),
    step("start", "-a", "made"),
    step("logs", "made"),
    step("start", "made", "nosuch", differs="stdout", why=EACH),
    step("wait", "made"),
    step("ps", "-a", "--format", "{{.Names}} {{.State}} {{.ExitCode}}"),
    step("rm", "made"),
    step("rm", "made"),
    step("rm", "-f", "made"),
    step("rm", "-i", "made"),
    step("rm"),
    run("-d", "--name", "obedient", *SH, OBEDIENT),
    run("-d", "--name", "stubborn", *SH, STUBBORN),
    step("ps", "--format", "{{.Names}} {{.State}}", differs="stdout",
         why="podman 5: Up 2 seconds, without ago"),
    step("exec", "obedient", "sh", "-c", "echo o; echo e >&2; exit 7"),
    step("exec", "-i", "-e", "X=y", "-w", "/tmp", "-u", "user", "obedient",
         "sh", "-c", "cat; echo $X; pwd; id -u", stdin="in\n"),
    step("exec", "obedient", "nosuch"),
    step("exec", "obedient", differs="status",
         why="podman's manual: 125 where podman itself is at fault"),
    step("exec", "-w", "/nosuch", "obedient", "true"),
    step("exec", "nosuch", "true"),
    step("rm", "obedient"),
    step("start", "obedient"),
    step("rmi", IMAGE),
    step("kill", "-s", "NOSUCH", "obedient"),
    step("kill", "-s", "CONT", "obedient"),
    step("kill", "nosuch"),
    step("stop", "obedient"),
    step("stop", "obedient", "nosuch", differs="stdout", why=EACH),
    step("stop", "-t", "0", "stubborn"),
    step("wait", "obedient", "stubborn"),
    step("wait", "nosuch"),
    step("logs", "--tail", "1", "obedient"),
    step("logs", "nosuch"),
    step("logs"),
    step("logs", "--since", "1h", "--until", "1h", "obedient"),
    step("logs", "--until", "2020-01-01", "obedient"),
    step("logs", "--since", "bogus", "obedient"),
    step("logs", "--latest", "obedient"),
    step("attach", "obedient"),
    step("attach", "nosuch"),
    step("top", "obedient"),
    step("port", "obedient"),
    step("port", "nosuch"),
    step("commit", "-q", "-m", "x", "obedient", "no:1"),
    step("commit", "-q", "nosuch"),
    step("commit", "-q", "-f", "bogus", "obedient", "no:1"),
    step("unmount", "nosuch"),
    step("exec", "obedient", "true"),
    step("start", "stubborn"),
    step("kill", "stubborn"),
    step("wait", "stubborn"),
    step("rm", "-f", "nosuch"),
    step("rm", "-f", "obedient"),
    step("rm", "-f", "stubborn"),
    step("rm", "-a"),
    step("ps", "-a", "--noheading", "--format", "{{.Names}}"),
    step("rmi", "-f", IMAGE),
    step("images", "-q"),
    step("nosuchcommand"),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers(
    pyengine_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[side_by_side.Answers]:
    """Podman's and our answer to each step."""
    yield from side_by_side.answers(STEPS, pyengine_path, tmp_path_factory)


@side_by_side.parameters(STEPS)
def test_the_answer_is_podmans(answers: side_by_side.Answers, index: int) -> None:
    side_by_side.compare(STEPS, answers, index)
