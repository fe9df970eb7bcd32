"""config.md: version, root, process, hostname, hooks, annotations, extensibility."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from conformance.cases import NotApplicable, expect, expect_equal, requirement
from conformance.containers import Container, Machine
from conformance.runtime_md import hook, log_hook, logged

FILE = "config.md"


# --- Specification version


def register_version(words: str, version: Any) -> None:
    @requirement(
        FILE,
        "Specification version",
        f"ociVersion MUST be in SemVer v2.0.0 format (not {words})",
        f"oci_version_{words.replace(' ', '_')}_is_refused",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        container.config["ociVersion"] = version
        container.refused(f"ociVersion {version!r}")


register_version("a word", "one")
register_version("two numbers", "1.0")


# --- Root


@requirement(FILE, "Root", "root is REQUIRED")
def root_is_required(machine: Machine) -> None:
    container = machine.container()
    del container.config["root"]
    container.refused("a config.json without root")


@requirement(FILE, "Root", "A directory MUST exist at the path declared by root.path")
def root_path_must_exist(machine: Machine) -> None:
    container = machine.container()
    container.config["root"]["path"] = "missing"
    container.refused("a root filesystem that is missing")


@requirement(FILE, "Root", "root.path is absolute, or relative to the bundle")
def root_path_may_be_absolute(machine: Machine) -> None:
    container = machine.container()
    container.config["root"]["path"] = str(container.rootfs)
    expect_equal(container.run("echo here"), "here\n", "output")


@requirement(FILE, "Root", "If root.readonly is true the root filesystem MUST be read-only")
def root_is_readonly(machine: Machine) -> None:
    container = machine.container()
    container.config["root"]["readonly"] = True
    seen = container.run("touch /file 2>/dev/null && echo written || echo refused")
    expect_equal(seen, "refused\n", "a write")


@requirement(FILE, "Root", "root.readonly defaults to false")
def root_is_writable(machine: Machine) -> None:
    container = machine.container()
    del container.config["root"]["readonly"]
    expect_equal(container.run("touch /file && echo written"), "written\n", "a write")


# --- Process


@requirement(FILE, "Process", "cwd is the working directory of the program")
def cwd_is_set(machine: Machine) -> None:
    container = machine.container()
    container.process["cwd"] = "/tmp"
    expect_equal(container.run("pwd"), "/tmp\n", "working directory")


@requirement(FILE, "Process", "cwd MUST be an absolute path")
def cwd_must_be_absolute(machine: Machine) -> None:
    container = machine.container()
    container.process["cwd"] = "tmp"
    container.refused("a relative cwd")


@requirement(FILE, "Process", "env has the semantics of IEEE Std 1003.1's environ")
def env_is_set(machine: Machine) -> None:
    container = machine.container()
    container.process["env"] += ["KEY=value with spaces", "EMPTY="]
    seen = container.run("env").splitlines()
    expect({"KEY=value with spaces", "EMPTY="} <= set(seen), f"environment is {seen}")


@requirement(FILE, "Process", "args has the semantics of execvp's argv")
def args_are_passed(machine: Machine) -> None:
    container = machine.container()
    container.process["args"] = ["printf", "%s|", "one", "two words", ""]
    expect_equal(container.run(), "one|two words||", "output")


@requirement(FILE, "Process", "At least one entry in args is REQUIRED")
def args_must_not_be_empty(machine: Machine) -> None:
    container = machine.container()
    container.process["args"] = []
    if container.create().code == 0:
        expect(container.start().code != 0, "the container starts")


@requirement(FILE, "Process", "process is OPTIONAL; it is REQUIRED when start is called")
def process_is_optional(machine: Machine) -> None:
    container = machine.container()
    del container.config["process"]
    expect_equal(container.must_create().status(), "created", "status")


@requirement(FILE, "Process", "consoleSize MUST be ignored if terminal is false or unset")
def console_size_without_terminal_is_ignored(machine: Machine) -> None:
    container = machine.container()
    container.process["consoleSize"] = {"height": 10, "width": 20}
    expect_equal(container.run("echo fine"), "fine\n", "output")


@requirement(FILE, "POSIX process", "rlimits: rlim_cur and rlim_max MUST match the values")
def rlimits_match(machine: Machine) -> None:
    container = machine.container()
    container.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 256, "hard": 512},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 1024},
    ]
    seen = container.run("cat /proc/self/limits").splitlines()
    found = {line[:25].strip(): line[25:].split()[:2] for line in seen}
    expect_equal(found["Max open files"], ["256", "512"], "RLIMIT_NOFILE")
    expect_equal(found["Max core file size"], ["0", "1024"], "RLIMIT_CORE")


@requirement(FILE, "POSIX process", "rlimits: duplicated types MUST generate an error")
def duplicated_rlimits_are_an_error(machine: Machine) -> None:
    container = machine.container()
    container.process["rlimits"] *= 2
    container.refused("RLIMIT_NOFILE twice")


@requirement(FILE, "POSIX process", "rlimits: a value without a kernel interface MUST be an error")
def unknown_rlimit_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.process["rlimits"] = [{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}]
    container.refused("RLIMIT_TEST")


def status_field(container: Container, name: str) -> str:
    """A field of the program's /proc/self/status."""
    for line in container.run("cat /proc/self/status").splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    raise LookupError(name)


CAPABILITY_BITS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10}


def register_capability_set(key: str, field: str) -> None:
    @requirement(
        FILE,
        "Linux Process",
        f"capabilities.{key} is an array of {key} capabilities kept for the process",
        f"capabilities_{key}",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        names = ["CAP_KILL", "CAP_NET_BIND_SERVICE"]
        sets = dict.fromkeys(
            ("bounding", "permitted", "inheritable", "effective", "ambient"), names
        )
        container.process["capabilities"] = sets
        mask = sum(1 << CAPABILITY_BITS[name] for name in names)
        expect_equal(int(status_field(container, field), 16), mask, field)


for _key, _field in (
    ("bounding", "CapBnd"),
    ("effective", "CapEff"),
    ("permitted", "CapPrm"),
    ("inheritable", "CapInh"),
    ("ambient", "CapAmb"),
):
    register_capability_set(_key, _field)


@requirement(
    FILE, "Linux Process", "Runtimes SHOULD NOT fail for capabilities that cannot be granted"
)
def unknown_capability_is_no_error(machine: Machine) -> None:
    container = machine.container()
    container.process["capabilities"]["bounding"].append("CAP_TEST")
    expect_equal(container.run("echo fine"), "fine\n", "output")


@requirement(FILE, "Linux Process", "noNewPrivileges true prevents gaining privileges")
def no_new_privileges_is_set(machine: Machine) -> None:
    expect_equal(status_field(machine.container(), "NoNewPrivs"), "1", "NoNewPrivs")


@requirement(FILE, "Linux Process", "If oomScoreAdj is set, the runtime MUST set oom_score_adj")
def oom_score_adj_is_set(machine: Machine) -> None:
    container = machine.container()
    container.process["oomScoreAdj"] = 321
    expect_equal(container.run("cat /proc/self/oom_score_adj"), "321\n", "oom_score_adj")


@requirement(FILE, "Linux Process", "If oomScoreAdj is not set, it MUST NOT be changed")
def oom_score_adj_is_unchanged(machine: Machine) -> None:
    own = Path("/proc/self/oom_score_adj").read_text()
    seen = machine.container().run("cat /proc/self/oom_score_adj")
    expect_equal(seen, own, "oom_score_adj")


@requirement(FILE, "Linux Process", "execCPUAffinity.final: the CPUs that exec's process runs on")
def exec_cpu_affinity(machine: Machine) -> None:
    container = machine.container()
    container.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    container.must_start()
    seen = machine.command("exec", container.id, "cat", "/proc/self/status").out
    cpus = [line.split()[1] for line in seen.splitlines() if line.startswith("Cpus_allowed_list")]
    expect_equal(cpus, ["0"], "processors")


@requirement(FILE, "Linux Process", "execCPUAffinity is not applicable to the init process")
def exec_cpu_affinity_leaves_init(machine: Machine) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        raise NotApplicable("there is one processor only")
    container = machine.container()
    container.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    pid = container.must_start().state()["pid"]
    expect_equal(os.sched_getaffinity(pid), os.sched_getaffinity(0), "processors of init")


@requirement(FILE, "User", "uid and gid specify the IDs in the container namespace")
def user_and_group_are_set(machine: Machine) -> None:
    container = machine.container()
    container.process["user"] = {"uid": 1000, "gid": 1001}
    expect_equal(container.run("id -u; id -g"), "1000\n1001\n", "ids")


@requirement(FILE, "User", "additionalGids specifies additional group IDs")
def additional_groups_are_set(machine: Machine) -> None:
    container = machine.container()
    container.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}
    expect_equal(status_field(container, "Groups").split(), ["5", "6"], "groups")


@requirement(FILE, "User", "umask specifies the umask of the user")
def umask_is_set(machine: Machine) -> None:
    container = machine.container()
    container.process["user"]["umask"] = 0o027
    expect_equal(container.run("umask"), "0027\n", "umask")


@requirement(FILE, "User", "If umask is unspecified, it should be the calling process' umask")
def umask_is_inherited(machine: Machine) -> None:
    before = os.umask(0o027)
    try:
        seen = machine.container().run("umask")
    finally:
        os.umask(before)
    expect_equal(seen, "0027\n", "umask")


# --- Hostname, Domainname


@requirement(FILE, "Hostname", "hostname specifies the container's hostname")
def hostname_is_set(machine: Machine) -> None:
    expect_equal(machine.container().run("hostname"), "conformance\n", "hostname")


@requirement(FILE, "Domainname", "domainname specifies the container's domainname")
def domainname_is_set(machine: Machine) -> None:
    container = machine.container()
    container.config["domainname"] = "conformance.test"
    seen = container.run("cat /proc/sys/kernel/domainname")
    expect_equal(seen, "conformance.test\n", "domainname")


# --- POSIX-platform Hooks


@requirement(FILE, "POSIX-platform Hooks", "Hooks MUST be called in the listed order")
def hooks_are_in_order(machine: Machine) -> None:
    container = machine.container()
    hooks = [log_hook(container, word) for word in ("one", "two", "three")]
    container.config["hooks"] = {"createRuntime": hooks}
    container.must_create()
    expect_equal(logged(container), ["one", "two", "three"], "hooks")


@requirement(FILE, "POSIX-platform Hooks", "The state MUST be passed to hooks over stdin")
def hooks_get_the_state(machine: Machine) -> None:
    container = machine.container()
    file = container.bundle / "state-of-hook"
    container.config["hooks"] = {"createRuntime": [hook(container, f"cat > {file}")]}
    container.must_create()
    state = json.loads(file.read_text())
    expect_equal(state.get("id"), container.id, "id")
    expect(state.get("status") in ("creating", "created"), f"status is {state.get('status')!r}")
    expect_equal(state.get("pid"), container.state()["pid"], "pid")


def state_of_hook(machine: Machine, kind: str) -> tuple[Container, dict[str, Any]]:
    """What a hook read, of a container that is deleted by now."""
    container = machine.container()
    container.config["annotations"] = {"org.example.key": "value"}
    file = container.bundle / "state-of-hook"
    one = hook(container, f"{machine.busybox} cat > {file}")
    if kind == "startContainer":
        file = container.rootfs / "tmp/state"
        one = {"path": "/bin/sh", "args": ["sh", "-c", "/bin/cat > /tmp/state"]}
    container.config["hooks"] = {kind: [one]}
    container.must_start().end().delete()
    state: dict[str, Any] = json.loads(file.read_text())
    return container, state


def register_hook_state(kind: str, status: str) -> None:
    @requirement(
        FILE,
        "POSIX-platform Hooks",
        f"The state passed to {kind} hooks is that of the container ({status})",
        f"state_of_{kind}_hooks",
    )
    def test(machine: Machine) -> None:
        container, state = state_of_hook(machine, kind)
        expect_equal(state.get("status"), status, "status")
        expect_equal(state.get("bundle"), str(container.bundle), "bundle")
        annotations = state.get("annotations") or {}
        expect_equal(annotations.get("org.example.key"), "value", "annotation")


for _kind, _status in (
    ("createRuntime", "creating"), ("createContainer", "creating"), ("startContainer", "created"),
    ("poststart", "running"), ("poststop", "stopped"),
):  # fmt: skip
    register_hook_state(_kind, _status)


def register_inner_pid(kind: str) -> None:
    @requirement(
        "runtime.md",
        "State",
        f"pid for hooks in the container namespace is the one seen there ({kind})",
        f"pid_of_{kind}_hooks",
    )
    def test(machine: Machine) -> None:
        expect_equal(state_of_hook(machine, kind)[1].get("pid"), 1, "pid")


register_inner_pid("createContainer")
register_inner_pid("startContainer")


@requirement(FILE, "POSIX-platform Hooks", "args of a hook has the semantics of execv's argv")
def hooks_have_their_arguments(machine: Machine) -> None:
    container = machine.container()
    file = container.bundle / "arguments"
    script = f'{machine.busybox} printf "%s|" "$0" "$@" > {file}'
    one = {"path": str(machine.busybox), "args": ["sh", "-c", script, "zero", "one two", ""]}
    container.config["hooks"] = {"createRuntime": [one]}
    container.must_create()
    expect_equal(file.read_text(), "zero|one two||", "arguments")


@requirement(FILE, "CreateRuntime Hooks", "They MUST be called after the namespaces are created")
def create_runtime_hooks_find_the_namespaces(machine: Machine) -> None:
    container = machine.container()
    file = container.bundle / "namespace"
    tools = machine.busybox
    script = (
        f"pid=$({tools} sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' | {tools} tail -n 1);"
        f" {tools} readlink /proc/$pid/ns/net > {file}"
    )
    container.config["hooks"] = {"createRuntime": [hook(container, script)]}
    container.must_create()
    own = os.readlink(f"/proc/{container.state()['pid']}/ns/net")
    expect_equal(file.read_text().strip(), own, "network namespace of the pid in the state")


def register_before_pivot(kind: str) -> None:
    @requirement(
        FILE,
        "POSIX-platform Hooks",
        f"{kind} hooks MUST be called before pivot_root, and path resolve in the runtime namespace",
        f"{kind}_hooks_come_before_pivot_root",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        program = container.bundle / "hook"  # outside of the root filesystem
        program.write_text(f"#!{machine.busybox} sh\necho ran > {container.bundle}/ran\n")
        program.chmod(0o755)
        container.config["hooks"] = {kind: [{"path": str(program)}]}
        container.must_create()
        expect((container.bundle / "ran").exists(), "the hook did not run")


for _kind in ("prestart", "createRuntime", "createContainer"):
    register_before_pivot(_kind)


@requirement(FILE, "StartContainer Hooks", "path MUST resolve in the container namespace")
def start_container_hooks_are_the_containers_own(machine: Machine) -> None:
    container = machine.container()
    program = container.rootfs / "only-here"
    program.write_text("#!/bin/sh\necho ran > /tmp/ran\n")
    program.chmod(0o755)
    container.config["hooks"] = {"startContainer": [{"path": "/only-here"}]}
    container.must_start()
    expect((container.rootfs / "tmp/ran").exists(), "the hook did not run")


@requirement(FILE, "POSIX-platform Hooks", "env of a hook has the semantics of environ")
def hooks_have_their_environment(machine: Machine) -> None:
    container = machine.container()
    file = container.bundle / "env"
    busybox = container.machine.busybox
    one = hook(container, f"{busybox} env > {file}", env=["KEY=value"])
    container.config["hooks"] = {"createRuntime": [one]}
    container.must_create()
    own = ("PWD=", "SHLVL=", "PATH=")  # what busybox' shell sets itself
    seen = {line for line in file.read_text().split() if not line.startswith(own)}
    expect_equal(seen, {"KEY=value"}, "environment")


@requirement(FILE, "POSIX-platform Hooks", "path of a hook MUST be absolute")
def hook_path_must_be_absolute(machine: Machine) -> None:
    container = machine.container()
    container.config["hooks"] = {"createRuntime": [{"path": "bin/true"}]}
    container.refused("a relative hook path")


@requirement(FILE, "POSIX-platform Hooks", "If set, timeout MUST be greater than zero")
def hook_timeout_must_be_positive(machine: Machine) -> None:
    container = machine.container()
    container.config["hooks"] = {"createRuntime": [hook(container, "true", timeout=0)]}
    container.refused("a timeout of 0")


@requirement(FILE, "POSIX-platform Hooks", "timeout is the number of seconds before aborting")
def hook_timeout_ends_the_hook(machine: Machine) -> None:
    container = machine.container()
    sleep = hook(container, f"exec {machine.busybox} sleep 50", timeout=1)
    container.config["hooks"] = {"createRuntime": [sleep]}
    began = time.monotonic()
    container.refused("a hook that does not end in time")
    expect(time.monotonic() - began < 40, "the hook was waited for")


def register_hook_namespace(kind: str, *, inside: bool) -> None:
    where = "container" if inside else "runtime"

    @requirement(
        FILE,
        "POSIX-platform Hooks",
        f"{kind} hooks MUST be executed in the {where} namespace",
        f"{kind}_hooks_run_in_the_{where}_namespace",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        file = container.bundle / "namespace"
        look = f"{machine.busybox} readlink /proc/self/ns/mnt > {file}"
        one = hook(container, look)
        if kind == "startContainer":
            file = container.rootfs / "tmp/namespace"
            one = {
                "path": "/bin/sh",
                "args": ["sh", "-c", "readlink /proc/self/ns/mnt > /tmp/namespace"],
                "env": ["PATH=/bin"],
            }
        container.config["hooks"] = {kind: [one]}
        container.must_start()
        own = os.readlink(f"/proc/{container.state()['pid']}/ns/mnt")
        if kind == "poststop":
            container.end().delete()
        wanted = own if inside else os.readlink("/proc/self/ns/mnt")
        expect_equal(file.read_text().strip(), wanted, "mount namespace")


for _kind in ("prestart", "createRuntime", "poststart", "poststop"):
    register_hook_namespace(_kind, inside=False)
for _kind in ("createContainer", "startContainer"):
    register_hook_namespace(_kind, inside=True)


# --- Annotations, Extensibility, Valid values


@requirement(FILE, "Annotations", "Values MUST be strings")
def annotation_values_must_be_strings(machine: Machine) -> None:
    container = machine.container()
    container.config["annotations"] = {"key": 1}
    container.refused("an annotation that is a number")


@requirement(FILE, "Annotations", "Runtimes MUST handle unknown annotation keys as unknown ones")
def unknown_annotations_are_ignored(machine: Machine) -> None:
    container = machine.container()
    container.config["annotations"] = {"org.example.unknown": "", "x": "y"}
    expect_equal(container.run("echo fine"), "fine\n", "output")


@requirement(FILE, "Extensibility", "Unknown properties MUST otherwise be ignored")
def unknown_properties_are_ignored(machine: Machine) -> None:
    container = machine.container()
    container.config["unknown"] = {"any": ["thing"]}
    container.process["unknown"] = True
    container.linux["unknown"] = 1
    expect_equal(container.run("echo fine"), "fine\n", "output")


def register_invalid_value(words: str, path: tuple[str, ...], value: Any) -> None:
    @requirement(
        FILE,
        "Valid values",
        f"Invalid values MUST generate an error ({words})",
        f"invalid_{words.replace(' ', '_')}",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        at: Any = container.config
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value
        container.refused(words)


register_invalid_value("a number as cwd", ("process", "cwd"), 1)
register_invalid_value("a negative uid", ("process", "user", "uid"), -1)
register_invalid_value("a string as mounts", ("mounts",), "proc")
register_invalid_value("a word as readonly", ("root", "readonly"), "yes")
register_invalid_value("an oomScoreAdj of 1001", ("process", "oomScoreAdj"), 1001)
register_invalid_value(
    "an I/O priority of 8", ("process", "ioPriority"), {"class": "IOPRIO_CLASS_BE", "priority": 8}
)
register_invalid_value("a policy SCHED_TEST", ("process", "scheduler"), {"policy": "SCHED_TEST"})
register_invalid_value("a propagation of nothing known", ("linux", "rootfsPropagation"), "test")
register_invalid_value("a memory limit of -2", ("linux", "resources"), {"memory": {"limit": -2}})
register_invalid_value(
    "a device with access x",
    ("linux", "resources"),
    {"devices": [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "x"}]},
)
register_invalid_value("a number as hostname", ("hostname",), 5)
register_invalid_value("an array as annotations", ("annotations",), ["key"])


@requirement(FILE, "Configuration", "config.json MUST be JSON: a truncated one is an error")
def truncated_config_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.write()
    path = container.bundle / "config.json"
    path.write_text(path.read_text()[:100])
    with open(os.devnull, "w") as nothing:
        arguments = ["create", "--bundle", str(container.bundle), container.id]
        code = machine.call(arguments, nothing, nothing)
    expect(code != 0, "create succeeds")
    expect(not container.exists(), "the container is there")
