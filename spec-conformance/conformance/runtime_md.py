"""runtime.md: state, lifecycle, errors, operations."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from conformance.cases import NotApplicable, expect, expect_equal, requirement
from conformance.containers import Container, Machine, cgroups_left

FILE = "runtime.md"

# --- State


@requirement(FILE, "State", "ociVersion (string, REQUIRED) is the version of the specification")
def state_has_oci_version(machine: Machine) -> None:
    version = machine.container().must_create().state().get("ociVersion")
    expect(re.match(r"\d+\.\d+\.\d+", str(version)), f"ociVersion is {version!r}")


@requirement(FILE, "State", "id (string, REQUIRED) is the container's ID")
def state_has_id(machine: Machine) -> None:
    container = machine.container().must_create()
    expect_equal(container.state().get("id"), container.id, "id")


@requirement(FILE, "State", "status is created when create has finished and start was not called")
def state_is_created(machine: Machine) -> None:
    expect_equal(machine.container().must_create().status(), "created", "status")


@requirement(FILE, "State", "status is running while the user-specified program runs")
def state_is_running(machine: Machine) -> None:
    expect_equal(machine.container().must_start().status(), "running", "status")


@requirement(FILE, "State", "status is stopped when the container process has exited")
def state_is_stopped(machine: Machine) -> None:
    container = machine.container()
    container.shell("exit 3")
    expect_equal(container.must_stop().status(), "stopped", "status")


@requirement(FILE, "State", "pid (REQUIRED when created or running) is the container process's ID")
def state_has_pid(machine: Machine) -> None:
    container = machine.container().must_create()
    created = container.state().get("pid")
    expect(isinstance(created, int) and os.path.exists(f"/proc/{created}"), f"pid is {created!r}")
    container.start()
    running = container.state().get("pid")
    expect_equal(running, created, "pid after start")
    command = Path(f"/proc/{running}/cmdline").read_bytes().split(b"\0")
    expect_equal(command[:2], [b"sleep", b"1000"], "program of the pid")


@requirement(FILE, "State", "bundle (REQUIRED) is the absolute path to the bundle directory")
def state_has_bundle(machine: Machine) -> None:
    container = machine.container()
    container.write()
    relative = os.path.relpath(container.bundle)
    with open(os.devnull, "w") as nothing:
        code = machine.call(["create", "--bundle", relative, container.id], nothing, nothing)
    expect_equal(code, 0, "exit status of create with a relative bundle")
    expect_equal(container.state().get("bundle"), str(container.bundle), "bundle")


@requirement(FILE, "State", "annotations contains the annotations associated with the container")
def state_has_annotations(machine: Machine) -> None:
    container = machine.container()
    container.config["annotations"] = {"org.example.key": "value"}
    annotations = container.must_create().state().get("annotations") or {}
    expect_equal(annotations.get("org.example.key"), "value", "annotation")


# --- Lifecycle


@requirement(FILE, "Lifecycle", "create: the user-specified program MUST NOT be run at this time")
def create_does_not_run_the_program(machine: Machine) -> None:
    container = machine.container()
    container.shell("touch /ran; sleep 1000")
    container.must_create()
    expect(not (container.rootfs / "ran").exists(), "the program ran before start")


@requirement(FILE, "Lifecycle", "Updates to config.json after create MUST NOT affect the container")
def config_is_read_once(machine: Machine) -> None:
    container = machine.container()
    container.shell("echo first")
    container.must_create()
    (container.bundle / "config.json").write_text("{}")
    container.start()
    container.wait_for_status("stopped")
    expect_equal(container.output.read_text(), "first\n", "output")


def hook(container: Container, script: str, **more: Any) -> dict[str, Any]:
    """A hook in the runtime's namespaces: the busybox of the bundle runs a script."""
    busybox = str(container.machine.busybox)
    return {"path": busybox, "args": ["sh", "-c", script], **more}


def log_hook(container: Container, word: str) -> dict[str, Any]:
    # It reads its input first: a runtime may die of writing to a hook that has ended.
    script = f"{container.machine.busybox} cat > /dev/null; echo {word} >> {container.bundle}/log"
    return hook(container, script)


def logged(container: Container) -> list[str]:
    log = container.bundle / "log"
    return log.read_text().split() if log.exists() else []


CREATE_HOOKS = ("prestart", "createRuntime", "createContainer")


@requirement(
    FILE, "Lifecycle", "prestart, createRuntime, createContainer hooks are invoked by create"
)
def create_invokes_its_hooks_in_order(machine: Machine) -> None:
    container = machine.container()
    kinds = ("createContainer", "createRuntime", "prestart")
    container.config["hooks"] = {kind: [log_hook(container, kind)] for kind in kinds}
    container.must_create()
    expect_equal(logged(container), list(CREATE_HOOKS), "hooks")


@requirement(FILE, "Lifecycle", "startContainer hooks MUST be invoked by start, before the program")
def start_invokes_start_container_hooks(machine: Machine) -> None:
    container = machine.container()
    inside = {"path": "/bin/sh", "args": ["sh", "-c", "echo hook >> /tmp/log"]}
    container.config["hooks"] = {"startContainer": [inside]}
    container.shell("echo program >> /tmp/log")
    log = container.rootfs / "tmp/log"
    container.must_create()
    expect(not log.exists(), "the hook ran before start")
    container.start()
    container.wait_for_status("stopped")
    expect_equal(log.read_text().split(), ["hook", "program"], "order")


@requirement(FILE, "Lifecycle", "poststart hooks MUST be invoked by start, after the program runs")
def start_invokes_poststart_hooks(machine: Machine) -> None:
    container = machine.container()
    container.config["hooks"] = {"poststart": [log_hook(container, "poststart")]}
    container.must_create()
    expect_equal(logged(container), [], "hooks before start")
    expect_equal(container.start().code, 0, "exit status of start")
    expect_equal(logged(container), ["poststart"], "hooks after start")


@requirement(FILE, "Lifecycle", "poststop hooks MUST be invoked by delete, after its end")
def delete_invokes_poststop_hooks(machine: Machine) -> None:
    container = machine.container()
    container.config["hooks"] = {"poststop": [log_hook(container, "poststop")]}
    container.must_start().end()
    expect_equal(logged(container), [], "hooks before delete")
    expect_equal(container.delete().code, 0, "exit status of delete")
    expect_equal(logged(container), ["poststop"], "hooks after delete")


def register_failing_create_hook(kind: str) -> None:
    @requirement(
        FILE,
        "Lifecycle",
        f"If any {kind} hook fails, the runtime MUST generate an error and stop the container",
        f"failing_{kind}_hook_fails_create",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        container.config["hooks"] = {kind: [hook(container, "exit 7")]}
        container.refused(f"a failing {kind} hook")


for _kind in CREATE_HOOKS:
    register_failing_create_hook(_kind)


def register_end_of_lifecycle(kind: str, what: str, seen: str) -> None:
    """Two requirements that follow on a failing hook of every kind."""

    @requirement(
        FILE,
        "Lifecycle",
        f"If any {kind} hook fails, {what}",
        f"failing_{kind}_hook_continues_with_{seen}",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        wrong = hook(container, "exit 7")
        if kind == "startContainer":
            wrong = {"path": "/bin/false", "args": ["false"]}
        container.config["hooks"] = {kind: [wrong], "poststop": [log_hook(container, "poststop")]}
        failed = container.create().code != 0 or container.start().code != 0
        expect(failed, "neither create nor start fails")
        if seen == "step_12":
            expect(not container.exists(), "the container is not destroyed")
        else:
            expect_equal(logged(container), ["poststop"], "poststop hooks")


for _kind in (*CREATE_HOOKS, "startContainer", "poststart"):
    register_end_of_lifecycle(
        _kind, "continue at step 12: the container MUST be destroyed", "step_12"
    )
    register_end_of_lifecycle(
        _kind, "continue with step 13: the poststop hooks MUST be invoked", "step_13"
    )


@requirement(FILE, "Lifecycle", "If any startContainer hook fails, start MUST generate an error")
def failing_start_container_hook_fails_start(machine: Machine) -> None:
    container = machine.container()
    container.config["hooks"] = {"startContainer": [{"path": "/bin/false", "args": ["false"]}]}
    container.shell("touch /ran; sleep 1000")
    container.must_create()
    expect(container.start().code != 0, "start succeeds")
    expect(not (container.rootfs / "ran").exists(), "the program ran")


@requirement(
    FILE,
    "Lifecycle",
    "If any poststart hook fails, the runtime MUST generate an error and stop the container",
)
def failing_poststart_hook_fails_start(machine: Machine) -> None:
    container = machine.container()
    container.config["hooks"] = {"poststart": [hook(container, "exit 7")]}
    container.must_create()
    expect(container.start().code != 0, "start succeeds")
    if container.exists():
        container.wait_for_status("stopped")


@requirement(
    FILE, "Lifecycle", "If any poststop hook fails, the remaining hooks and lifecycle continue"
)
def failing_poststop_hook_is_a_warning(machine: Machine) -> None:
    container = machine.container()
    hooks = [hook(container, "exit 7"), log_hook(container, "second")]
    container.config["hooks"] = {"poststop": hooks}
    container.must_start().end()
    expect_equal(container.delete().code, 0, "exit status of delete")
    expect_equal(logged(container), ["second"], "remaining hooks")
    expect(not container.exists(), "the container is still there")


# --- Errors


@requirement(
    FILE, "Errors", "An error MUST leave the environment as if the operation were never attempted"
)
def failed_create_leaves_nothing(machine: Machine) -> None:
    container = machine.container()
    container.process["cwd"] = "/nowhere/at/all"
    container.config["mounts"].append(
        {"destination": "/mnt", "type": "no-such-filesystem", "source": "none"}
    )
    container.refused("a mount of an unknown file system")
    expect_equal(cgroups_left(container.id), [], "cgroups left")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    expect_equal([line for line in mounts if container.id in line], [], "mounts left")


@requirement(
    FILE, "Errors", "A failed start without process leaves the container as it was, created"
)
def failed_start_changes_nothing(machine: Machine) -> None:
    container = machine.container()
    del container.config["process"]
    if container.create().code != 0:
        raise NotApplicable("the runtime creates no container without process")
    expect(container.start().code != 0, "start succeeds")
    expect_equal(container.status(), "created", "status after the failed start")


@requirement(
    "bundle.md", "Container Format", "config.json MUST reside in the root of the bundle directory"
)
def bundle_needs_a_config(machine: Machine) -> None:
    container = machine.container()
    (container.bundle / "sub").mkdir()
    (container.bundle / "sub/config.json").write_text(json.dumps(container.config))
    done = machine.command("create", "--bundle", str(container.bundle), container.id)
    expect(done.code != 0, "create succeeds without config.json")
    expect(not container.exists(), "the container is there")


# --- Operations


def register_operation_without_id(operation: str) -> None:
    @requirement(
        FILE,
        operation.capitalize(),
        f"{operation} MUST generate an error if it is not provided the ID of a container",
        f"{operation}_needs_an_id",
    )
    def test(machine: Machine) -> None:
        expect(machine.command(operation).code != 0, "it succeeds")


for _operation in ("state", "start", "kill", "delete"):
    register_operation_without_id(_operation)


def register_operation_on_nothing(operation: str, *more: str) -> None:
    @requirement(
        FILE,
        operation.capitalize(),
        f"{operation} of a container that does not exist MUST generate an error",
        f"{operation}_of_nothing_is_an_error",
    )
    def test(machine: Machine) -> None:
        done = machine.command(operation, "conformance-no-such-container", *more)
        expect(done.code != 0, "it succeeds")


register_operation_on_nothing("state")
register_operation_on_nothing("start")
register_operation_on_nothing("kill", "KILL")
register_operation_on_nothing("delete")


@requirement(FILE, "Create", "create MUST generate an error without the container ID")
def create_needs_an_id(machine: Machine) -> None:
    container = machine.container()
    container.write()
    done = machine.command("create", "--bundle", str(container.bundle))
    expect(done.code != 0, "it succeeds")


@requirement(FILE, "Create", "create MUST generate an error without a bundle at its path")
def create_needs_a_bundle(machine: Machine) -> None:
    container = machine.container()
    done = machine.command("create", "--bundle", str(container.bundle / "missing"), container.id)
    expect(done.code != 0, "it succeeds")
    expect(not container.exists(), "the container is there")


@requirement(
    FILE, "Create", "If the ID is not unique, create MUST generate an error and make no container"
)
def id_must_be_unique(machine: Machine) -> None:
    first = machine.container().must_create()
    pid = first.state()["pid"]
    second = machine.container()
    second.id = first.id
    expect(second.create().code != 0, "create succeeds")
    expect_equal(first.status(), "created", "status of the first container")
    expect_equal(first.state()["pid"], pid, "pid of the first container")


def register_invalid_id(words: str, name: str) -> None:
    @requirement(
        FILE,
        "Create",
        f"An ID that is not valid ({words}) MUST generate an error",
        f"id_{words.replace(' ', '_')}_is_refused",
    )
    def test(machine: Machine) -> None:
        container = machine.container()
        container.id = name
        container.write()
        with open(os.devnull, "w") as nothing:
            arguments = ["create", "--bundle", str(container.bundle), name]
            code = machine.call(arguments, nothing, nothing)
        expect(code != 0, "create succeeds")
        expect(not (machine.directory / "escaped").exists(), "it made a directory elsewhere")


register_invalid_id("with a slash", "a/b")
register_invalid_id("with dots", "../escaped")
register_invalid_id("empty", "")


@requirement(
    FILE, "Create", "A property that cannot be applied MUST generate an error and no container"
)
def inapplicable_property_is_an_error(machine: Machine) -> None:
    container = machine.container()
    container.linux["namespaces"][1] = {"type": "network", "path": "/no/such/namespace"}
    container.refused("a namespace that does not exist")


@requirement(FILE, "Create", "All properties except process MUST be applied by create")
def create_applies_all_but_process(machine: Machine) -> None:
    container = machine.container()
    container.config["mounts"].append(
        {"destination": "/mnt", "type": "tmpfs", "source": "applied-by-create"}
    )
    pid = container.must_create().state()["pid"]
    mounts = Path(f"/proc/{pid}/mountinfo").read_text()
    expect(" - tmpfs applied-by-create " in mounts, "the mount is not there after create")


@requirement(FILE, "Start", "start MUST run the user-specified program")
def start_runs_the_program(machine: Machine) -> None:
    expect_equal(machine.container().run("echo it runs"), "it runs\n", "output")


@requirement(
    FILE, "Start", "start of a container that is not created MUST have no effect and be an error"
)
def start_of_a_running_container_is_an_error(machine: Machine) -> None:
    container = machine.container().must_start()
    pid = container.state()["pid"]
    expect(container.start().code != 0, "a second start succeeds")
    expect_equal(container.status(), "running", "status")
    expect_equal(container.state()["pid"], pid, "pid")


@requirement(FILE, "Start", "start of a stopped container MUST have no effect and be an error")
def start_of_a_stopped_container_is_an_error(machine: Machine) -> None:
    container = machine.container().must_start().end()
    expect(container.start().code != 0, "start succeeds")
    expect_equal(container.status(), "stopped", "status")


@requirement(FILE, "Start", "start MUST generate an error if process was not set")
def start_needs_a_process(machine: Machine) -> None:
    container = machine.container()
    del container.config["process"]
    if container.create().code == 0:
        expect(container.start().code != 0, "start succeeds")


@requirement(FILE, "Kill", "kill MUST send the specified signal to the container process")
def kill_sends_the_signal(machine: Machine) -> None:
    container = machine.container()
    container.shell(
        "trap 'echo got it; exit 5' USR1; echo ready > /tmp/ready; while :; do sleep 0.05; done"
    )
    container.must_start()
    ready = container.rootfs / "tmp/ready"
    wait_for_file(container, ready)
    expect_equal(container.kill("USR1").code, 0, "exit status of kill")
    container.wait_for_status("stopped")
    expect_equal(container.output.read_text(), "got it\n", "output")


def wait_for_file(container: Container, path: Path) -> None:
    """The program makes it when it is ready; an end of the program ends the waiting."""
    while not path.exists():
        expect_equal(container.status(), "running", "status")


@requirement(FILE, "Kill", "kill MUST be possible in the status created")
def kill_of_a_created_container(machine: Machine) -> None:
    container = machine.container().must_create()
    expect_equal(container.kill("KILL").code, 0, "exit status of kill")
    container.wait_for_status("stopped")


@requirement(
    FILE, "Kill", "A signal to a container neither created nor running MUST generate an error"
)
def kill_of_a_stopped_container_is_an_error(machine: Machine) -> None:
    container = machine.container().must_start().end()
    expect(container.kill("TERM").code != 0, "kill succeeds")
    expect_equal(container.status(), "stopped", "status")


@requirement(
    FILE, "Delete", "delete of a container that is not stopped MUST have no effect and be an error"
)
def delete_of_a_running_container_is_an_error(machine: Machine) -> None:
    container = machine.container().must_start()
    expect(container.delete().code != 0, "delete succeeds")
    expect_equal(container.status(), "running", "status")


@requirement(FILE, "Delete", "delete of a container in status created MUST be an error")
def delete_of_a_created_container_is_an_error(machine: Machine) -> None:
    container = machine.container().must_create()
    expect(container.delete().code != 0, "delete succeeds")
    expect_equal(container.status(), "created", "status")


@requirement(
    FILE, "Delete", "delete MUST delete the resources that were created during the create step"
)
def delete_removes_what_create_made(machine: Machine) -> None:
    container = machine.container().must_start()
    mounts = Path("/proc/self/mountinfo").read_text()
    container.end()
    expect_equal(container.delete().code, 0, "exit status of delete")
    expect_equal(cgroups_left(container.id), [], "cgroups left")
    expect(container.id not in mounts, "mounts of the container on the host")
    expect(not (machine.directory / "state" / container.id).exists(), "its state is still there")


@requirement(FILE, "Delete", "Once a container is deleted its ID MAY be used again")
def id_can_be_used_again(machine: Machine) -> None:
    container = machine.container().must_start().end()
    expect_equal(container.delete().code, 0, "exit status of delete")
    expect_equal(container.must_create().status(), "created", "status of the second container")


@requirement(FILE, "Delete", "Resources not created by this container MUST NOT be deleted")
def delete_leaves_other_resources(machine: Machine) -> None:
    container = machine.container()
    outside = container.bundle / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    container.config["mounts"].append(
        {"destination": "/mnt", "source": str(outside), "options": ["bind"]}
    )
    container.must_start().end()
    expect_equal(container.delete().code, 0, "exit status of delete")
    expect_equal((outside / "file").read_text(), "kept", "a file behind a bind mount")
    expect(container.rootfs.is_dir(), "the root filesystem is gone")


@requirement(FILE, "Query State", "state MUST return the state in JSON")
def state_is_json(machine: Machine) -> None:
    container = machine.container().must_create()
    state = json.loads(container.command("state", container.id).out)
    missing = {"ociVersion", "id", "status", "pid", "bundle"} - set(state)
    expect_equal(missing, set(), "missing keys")
    for key in ("ociVersion", "id", "status", "bundle"):
        expect(isinstance(state[key], str), f"{key} is {state[key]!r}, not a string")
    expect(isinstance(state["pid"], int) and state["pid"] >= 0, f"pid is {state['pid']!r}")
    annotations = state.get("annotations") or {}
    expect(
        all(isinstance(text, str) for text in annotations.values()),
        f"annotations are {annotations!r}",
    )
