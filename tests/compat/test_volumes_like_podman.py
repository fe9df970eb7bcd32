"""Volumes, mounts, secrets and cp: exit codes, output and messages are podman's."""

from __future__ import annotations

from support import side_by_side
from support.containers import IMAGE
from support.side_by_side import run, step

pytestmark = side_by_side.NEEDS

SH = (IMAGE, "sh", "-c")
EARLY = "what can never work is refused when the container is made, not by its start"

STEPS = [
    step("load", "-q", "-i", "{archive}"),
    # volumes
    step("volume", "create", "-l", "a=b", "one"),
    step("volume", "create", "one"),
    step("volume", "create", "--driver", "nosuch", "two"),
    step("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "small"),
    step("volume", "ls"),
    step("volume", "ls", "--noheading", "--filter", "label=a=b"),
    step("volume", "ls", "--filter", "label=nosuch"),
    step("volume", "ls", "--filter", "bogus=1"),
    step("volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}} {{.Scope}} {{.Options}}"),
    step("volume", "inspect", "--format", "{{.Name}} {{.Labels}} {{.MountCount}}", "one", "small"),
    step("volume", "inspect", "nosuch"),
    step("volume", "exists", "nosuch"),
    run("--rm", "-v", "one:/v", *SH, "echo kept >/v/file; busybox grep ' /v ' /proc/mounts"),
    run("--rm", "-v", "one:/v:ro,noexec", *SH, "cat /v/file; echo x >/v/file"),
    run("--rm", "-v", "small:/v", *SH, "busybox grep -o '^tmpfs /v tmpfs rw' /proc/mounts"),
    run("--rm", "-v", "/anonymous", "-v", "one:/v", "-v", "one:/v", *SH, "ls -d /anonymous /v"),
    run("--rm", "-v", "one:/v", "--tmpfs", "/v", IMAGE, "true"),
    run("--rm", "-v", "one:/v:O", *SH, "echo changed >/v/file; cat /v/file"),
    run("--rm", "-v", "one:/v:U", "-u", "user", *SH, "busybox stat -c %u /v /v/file"),
    # --mount
    run("--rm", "--mount", "type=volume,src=one,dst=/v,ro", IMAGE, "cat", "/v/file"),
    run("--rm", "--mount", "type=bind,src={shared},dst=/v,ro=true", *SH, "echo x >/v/file"),
    run("--rm", "--mount", "type=bind,src={shared},dst=/v,bogus", IMAGE, "true"),
    run("--rm", "--mount", "type=bind,src=/no/such,dst=/v", IMAGE, "true"),
    run("--rm", "--mount", "type=tmpfs,dst=/v,tmpfs-size=1m,tmpfs-mode=700", *SH,
        "busybox grep ' /v ' /proc/mounts; busybox stat -c %a /v"),
    run("--rm", "--mount", f"type=image,src={IMAGE},dst=/v", *SH, "ls /v; echo x >/v/y"),
    run("--rm", "--mount", f"type=image,src={IMAGE},dst=/v,rw=true", *SH, "echo x >/v/y; cat /v/y"),
    run("--rm", "--mount", "type=image,src=nosuch,dst=/v", IMAGE, "true", differs="status",
        why=EARLY),
    run("--rm", "--mount", "type=devpts,dst=/v,mode=0620,max=9", *SH,
        "busybox grep ' /v ' /proc/mounts"),
    # --volumes-from, and what inspect says
    step("create", "--network", "none", "--name", "giver", "-v", "one:/v", "-v",
         "{shared}:/s:ro,z", IMAGE, "true"),
    step("inspect", "--format",
         "{{range .Mounts}}{{.Type}} {{.Destination}} {{.Mode}} {{.RW}} {{.Propagation}};{{end}}",
         "giver"),
    run("--rm", "--volumes-from", "giver:ro", *SH, "cat /v/file; echo x >/v/file"),
    run("--rm", "--volumes-from", "nosuch", IMAGE, "true"),
    step("volume", "rm", "one"),
    step("volume", "rm", "nosuch"),
    step("volume", "rm", "-f", "nosuch"),
    step("rm", "-v", "giver"),
    step("volume", "ls", "-q", "--filter", "dangling=true"),
    step("volume", "import", "one", "/etc/passwd"),
    step("volume", "prune"),
    step("volume", "prune", "-f"),
    step("volume", "ls"),
    # secrets
    step("secret", "create", "one", "{shared}/file"),
    step("secret", "create", "one", "{shared}/file"),
    step("secret", "create", "--env", "two", "NO_SUCH_VARIABLE"),
    step("secret", "ls", "--format", "{{.Name}} {{.Driver}}"),
    step("secret", "inspect", "--format", "{{.Spec.Name}} {{.Spec.Driver.Name}}", "one"),
    step("secret", "inspect", "nosuch"),
    run("--rm", "--secret", "one,target=/etc/key,uid=1000,mode=0400", *SH,
        "ls -ln /etc/key | busybox cut -c1-30"),
    run("--rm", "--secret", "one", IMAGE, "cat", "/run/secrets/one"),
    run("--rm", "--secret", "one,type=env,target=ONE", *SH, "echo $ONE"),
    run("--rm", "--secret", "one,type=bogus", IMAGE, "true"),
    step("secret", "rm", "one", "nosuch"),
    # cp
    run("-d", "--name", "to", "-u", "user", "-v", "copied:/v", IMAGE, "sleep", "1000"),
    step("create", "--network", "none", "--name", "rest", IMAGE, "stat", "-c",
         "%a %u:%g %n", "/tmp/new", "/tmp/new/file", "/tmp/new/shared/file"),
    step("cp", "{shared}/file", "to:/tmp"),
    step("cp", "-a=false", "{shared}/file", "to:/tmp/kept"),
    step("cp", "{shared}", "to:/tmp/new"),
    step("cp", "{shared}", "to:/tmp/new"),
    step("cp", "{shared}/.", "to:/v"),
    step("cp", "{shared}", "to:/tmp/file"),
    step("cp", "{shared}/file", "to:/no/such/x"),
    step("cp", "{shared}/file", "{shared}/other"),
    step("cp", "-", "to:/tmp", stdin="no tar " * 200),
    step("exec", "-u", "root", "to", "sh", "-c",
         "ls -lnR /tmp /v | busybox grep -v -e total -e env | busybox cut -c1-32"),
    step("cp", "to:/tmp/new", "rest:/tmp/"),
    step("start", "-a", "rest"),
    step("rm", "-f", "-t", "0", "rest"),
    step("rm", "-f", "-t", "0", "to"),
    step("volume", "rm", "-a"),
]  # fmt: skip


answers = side_by_side.fixture(STEPS)


@side_by_side.parameters(STEPS)
def test_the_answer_is_podmans(answers: side_by_side.Answers, index: int) -> None:
    side_by_side.compare(STEPS, answers, index)
