"""Starts a created or exited container, attached or not, and takes a failed start back.

The order is what makes a start quick and safe: the monitor is spawned first and waits, while the
root file system is mounted and config.json written; a client attaches before the container's
program is let go, so that no output is lost. An intent row covers everything up to the moment
when the row says ``running``; from then on the monitor, its exit file and its exit command do.
"""

from __future__ import annotations

import os
import time

from pyengine import log
from pyengine.containers import record, runfiles
from pyengine.containers.host import make_directory, start_time
from pyengine.errors import ConflictError, PyengineError
from pyengine.monitor import start as monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyengine.containers.host import Host
    from pyengine.containers.notifying import Notifier
    from pyengine.database.intents import Intent
    from pyengine.monitor.attach import Attachment
    from pyengine.ocirun.call import Runtime
    from pyengine.specgen.generate import Place


# The exit command of a container that a foreground pyengine attends; its arguments are a lock file
# and the full clean-up. That pyengine holds the lock while it lives, and cleans up itself, which
# removes the file. Only if it is still there once the lock is free (pyengine was killed, or
# detached) is the clean-up called. Without flock(1) it is called at once, which is right as well,
# only twice the work. A shell, because another Python would take 10 ms from the clean-up.
ATTENDED = """
[ -e "$0" ] && exec 9<"$0" || exit 0
flock 9
[ -e "$0" ] || exit 0
exec 9<&-
exec "$@"
"""


class Started:
    """A container that runs, and how this process is connected to it."""

    __slots__ = ("_attended_fd", "attachment", "container", "notifier", "runtime")

    def __init__(
        self,
        container: record.Container,
        runtime: Runtime,
        attachment: Attachment | None,
        attended_fd: int,
    ) -> None:
        self.container, self.runtime, self.attachment = container, runtime, attachment
        self._attended_fd = attended_fd
        self.notifier: Notifier | None = None

    def notify(self, host: Host) -> Started:
        """Tell the service manager the rest; call it without the container's lock."""
        if self.notifier is not None:
            self.notifier.complete(host, self.container, attended=self.attachment is not None)
        return self

    def leave(self) -> None:
        """Let the exit command know that nobody attends the container any more."""
        if self._attended_fd >= 0:
            os.close(self._attended_fd)
            self._attended_fd = -1


def begin(host: Host, container: record.Container, *, only_create: bool = False) -> Intent:
    """Write the intent; the caller holds the container's lock.

    Raises:
        ConflictError: it cannot be started in the state it is in.
    """
    if only_create and container.live:
        raise ConflictError(
            f"container {container.id} has already been created in runtime: container state"
            " improper"
        )
    if container.status == "paused":
        raise ConflictError(
            f"unable to start container {container.id}: it is paused: unpause it: container state"
            " improper"
        )
    if container.running:
        raise ConflictError(
            f"container {container.id} is already running: container state improper"
        )
    if container.status == "removing":
        raise ConflictError(f"container {container.id} is being removed: container state improper")
    return host.database.intents.begin(record.START_INTENT, container.id, {})


def launch(
    host: Host,
    container: record.Container,
    intent: Intent,
    *,
    attach: bool,
    stdin: bool = False,
    proxy_signals: bool = True,
    detach_keys: bytes = b"",
    restarted: bool = False,
    only_create: bool = False,
    needed: bool = False,
    restore: Sequence[str] = (),
) -> Started:
    """Start it under the caller's lock and intent, also what ``only_create`` has prepared.

    ``restarted`` says by its restart policy, ``needed`` because another container needs it,
    ``restore`` from a checkpoint in a directory, with options for the runtime.

    Raises:
        PyengineError: some step failed; everything was taken back and the intent is finished.
    """
    start = _Start(host, container, restarted=restarted)
    start.detach_keys = detach_keys
    start.restore = restore
    if host.notify_socket and not needed:
        start.notify()
    try:
        if container.status == "initialized":
            return start.go_on(intent, attach=attach, stdin=stdin, proxy_signals=proxy_signals)
        pid = start.create(attended=attach)
        if only_create:
            return start.wait(intent, pid)
        return start.run(intent, pid, attach=attach, stdin=stdin, proxy_signals=proxy_signals)
    except BaseException as error:
        reason = str(error) if isinstance(error, PyengineError) else type(error).__name__
        try:
            start.undo()
            take_back(host, container, reason, intent)
        except (PyengineError, OSError) as second:
            log.warning(f"take back the start of {container.id[:12]}: {second}")
        raise


class _Start:
    """One start and what it has made so far."""

    def __init__(self, host: Host, container: record.Container, *, restarted: bool) -> None:
        self.host, self.container, self.restarted = host, container, restarted
        self.bundle = host.bundle(container.id)
        self.monitor: monitor.Monitor | None = None
        self.attachment: Attachment | None = None
        self.attended_fd = -1
        self.detach_keys = b""
        self.restore: Sequence[str] = ()
        self.layers: list[str] | None = None
        self.notifier: Notifier | None = None

    def notify(self) -> None:
        """Tell the service manager that waits for it, unless ``--sdnotify ignore``."""
        mode = self.container.config.get("sdnotify", "container")
        if mode != "ignore":
            from pyengine.containers.notifying import Notifier

            self.notifier = Notifier(mode, self.host.notify_socket)

    def create(self, *, attended: bool) -> int:
        """Mount, and let the monitor create the container; the answer is its first pid."""
        files = self._make_directories()
        call, cgroup = self._call(files, attended=attended)
        self.monitor = call.spawn()
        self._write_spec(cgroup)
        self.monitor.go()
        if attended:
            from pyengine.monitor import attach as _  # noqa: F401 - while the runtime creates
        pid = self.monitor.wait_for_pid()
        if self.container.config["names"]:
            runfiles.write_pids(self.container.config["names"], pid, _read_pid(files.monitor_pid))
        return pid

    def _call(self, files: monitor.Files, *, attended: bool) -> tuple[monitor.Call, str]:
        """How the monitor is called, and the container's cgroup where it is not the usual one."""
        host, container, config = self.host, self.container, self.container.config
        runtime = host.runtime(config["runtime"])
        monitor_path = host.monitor_path(config["conmon"])
        call = monitor.Call(monitor_path, container.id, runtime, files)
        call.stdio(stdin=config["stdin"], terminal=config["terminal"])
        is_pyconmon = os.path.basename(os.path.realpath(monitor_path)) == "pyconmon"
        if config["log"]:
            call.log(config["log"], container.name, is_pyconmon)
        if host.systemd:
            call.systemd_cgroup()
        life = ""
        if config["supervision"] or config["may_restart"]:
            from pyengine.containers import supervising

            life = supervising.prepare(host, container, call, restarted=self.restarted)
        elif is_pyconmon and not config["auto_remove"]:  # nobody could ask for its exit record
            call.arguments.append(f"--persist-dir={self.bundle}")
        call.exit_command(self._exit_command(life, attended=attended))
        cgroup = ""
        if "cgroups" in config["resources"]:
            from pyengine.containers import placement

            cgroup = placement.prepare(config["resources"]["cgroups"], call, runtime)
        settings = config["process"]
        if settings.get("timeout_s"):
            call.timeout(settings["timeout_s"])
        if self.restore:
            call.restore(*self.restore)
        elif config["no_keyring"]:
            call.keep_keyring()
        if settings.get("preserve_fds") and not self.restore:
            call.preserve_fds(settings["preserve_fds"], settings["unwanted_fds"])
        if self.notifier is not None:
            self.notifier.prepare(call)
        return call, cgroup

    def _write_spec(self, cgroup: str) -> None:
        """Write config.json, once everything that it names is there."""
        place = self._place(cgroup)
        from pyengine.specgen import generate

        spec = generate.build(self.container.config, place)
        if self.restore and os.path.exists(f"{self.restore[0]}/spec.dump"):
            from pyengine.containers import importing

            importing.take_mounts(spec, self.restore[0], self.bundle)
        generate.write(spec, self.bundle)

    def _place(self, cgroup: str) -> Place:
        """Mount the root file system, and lay out what this start alone has."""
        host, container, config = self.host, self.container, self.container.config
        rootfs = self._rootfs() if config["rootfs"] else self._mount()
        sources = host.volume_paths(config)
        if config["volumes"]:
            from pyengine.containers import mount_sources

            sources.update(mount_sources.take(host, container, rootfs))
        from pyengine.specgen.generate import Place  # loaded while the monitor starts

        place = Place(
            container.id, container.name, self.bundle, rootfs,
            systemd=host.systemd, volume_paths=sources, cgroup=cgroup, rootless=host.rootless,
        )  # fmt: skip
        if config["mounts"]:
            from pyengine.containers import secret_use

            secret_use.lay_out(host, container, place)
        if config["dependencies"]:
            from pyengine.containers import joining

            joining.prepare(host, config, place)
        if config["namespaces"].get("user", "").startswith("ns:"):
            from pyengine.containers import user_namespaces

            user_namespaces.check_joined(config)
        if self.notifier is not None:
            self.notifier.lay_out(place)
        return place

    def run(
        self, intent: Intent, pid: int, *, attach: bool, stdin: bool, proxy_signals: bool
    ) -> Started:
        """Attach, and let the created container execute its program."""
        monitor_pid = _read_pid(f"{self.bundle}/conmon.pid")
        if attach:
            self._attach(stdin=stdin, proxy_signals=proxy_signals)
        started_at = time.time()
        runtime = self.host.runtime(self.container.config["runtime"])
        if not self.restore:  # what is restored runs already
            runtime.start(self.container.id)
        if self.container.config["supervision"]:
            from pyengine.containers import supervising

            supervising.begin_checks(self.host, self.container)
        self._record(intent, pid, monitor_pid, "running", started_at)
        if self.notifier is not None:
            self.notifier.started(monitor_pid)
        created = [] if self.monitor is None else ["init"]
        if self.restore:
            self.host.tell(self.container, "restore")
        else:
            self.host.tell(self.container, *created, "start", *(["attach"] if attach else []))
        started = Started(self.container, runtime, self.attachment, self.attended_fd)
        started.notifier = self.notifier
        return started

    def go_on(self, intent: Intent, *, attach: bool, stdin: bool, proxy_signals: bool) -> Started:
        """Start what ``init`` has created."""
        pid = self.container.pid or 0
        return self.run(intent, pid, attach=attach, stdin=stdin, proxy_signals=proxy_signals)

    def wait(self, intent: Intent, pid: int) -> Started:
        """Leave the created container as it is."""
        monitor_pid = _read_pid(f"{self.bundle}/conmon.pid")
        self._record(intent, pid, monitor_pid, "initialized", self.container.started_at)
        self.host.tell(self.container, "init")
        runtime = self.host.runtime(self.container.config["runtime"])
        return Started(self.container, runtime, None, -1)

    def _record(
        self, intent: Intent, pid: int, monitor_pid: int, status: str, started_at: float | None
    ) -> None:
        with self.host.database.write() as connection:
            record.update(
                connection, self.container, status=status, boot_id=self.host.boot_id, pid=pid,
                pid_start=start_time(pid) or 0, monitor_pid=monitor_pid, started_at=started_at,
                finished_at=None, exit_code=None, oom_killed=0, error="",
            )  # fmt: skip
            intent.finish(connection)
        if self.monitor is not None:
            self.monitor.close()

    def _make_directories(self) -> monitor.Files:
        host, id_ = self.host, self.container.id
        runfiles.clear(host, id_)
        log_path = host.log_path(self.container)
        for directory in (self.bundle, host.exit_dir, os.path.dirname(log_path)):
            make_directory(directory)
        return monitor.Files(self.bundle, host.exit_dir, f"k8s-file:{log_path}")

    def _rootfs(self) -> str:
        if not self.container.config["mounts"]:
            return self.container.config["rootfs"]
        from pyengine.containers import mount_sources

        return mount_sources.take_rootfs(self.host, self.container)

    def _mount(self) -> str:
        """The root file system, made when the container starts for the first time."""
        storage, container = self.host.storage, self.container
        if container.started_at is None:
            storage.create_container(container.id, self._layers(), record.id_maps(container))
        volatile = container.config["auto_remove"]
        label = record.mount_label(container)
        root = storage.mount(container.id, self._layers(), volatile=volatile, label=label)
        if label and container.started_at is None and not os.path.ismount(root):
            from pyengine.specgen import selinux

            selinux.relabel(root, label)
        return root

    def _layers(self) -> list[str]:
        if self.layers is None:
            self.layers = self.host.storage.container_layers(self.container.id)
        return self.layers

    def _exit_command(self, life: str, *, attended: bool) -> list[str]:
        full = [*self.host.self_command, "container", "cleanup"]
        if life:
            full += ["--life", life]
        full.append(self.container.id)
        # Who attends a container does not start it again.
        if not attended or self.container.config["may_restart"]:
            return full
        self.attended_fd, command = attended_command(f"{self.bundle}/attended", full)
        return command

    def _attach(self, *, stdin: bool, proxy_signals: bool) -> None:
        from pyengine.monitor.attach import Attachment

        config = self.container.config
        streams = config["attach"]
        self.attachment = Attachment(
            self.bundle, stdin=stdin and config["stdin"] and "stdin" in (streams or ["stdin"]),
            terminal=config["terminal"], streams=streams,
            detach_keys=self.detach_keys,
            passed_through=config["log"].get("driver") == "passthrough",
        )  # fmt: skip
        self.attachment.prepare(proxy_signals=proxy_signals)

    def undo(self) -> None:
        """End what this process still holds."""
        if self.attachment is not None:
            self.attachment.close()
        if self.monitor is not None:
            self.monitor.abandon()
        if self.attended_fd >= 0:
            os.close(self.attended_fd)


def attended_command(path: str, full: list[str]) -> tuple[int, list[str]]:
    """The lock that we hold while we attend, and an exit command that is ``full`` without us."""
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd, ["/bin/sh", "-c", ATTENDED, path, *full]


def take_back(host: Host, container: record.Container, reason: str, intent: Intent | None) -> None:
    """Leave nothing of a start that failed, or whose pyengine was killed; can be repeated."""
    from pyengine.containers import ends, remains

    remains.end_monitor(host, container.id)
    if container.config["supervision"]:
        from pyengine.containers import supervising

        supervising.end_checks(host, container)
    try:
        host.runtime(container.config["runtime"]).delete(container.id)
    except PyengineError as error:
        log.debug(f"delete {container.id[:12]} after a failed start: {error}")
    remains.end_processes(host, container)
    if container.config["volumes"] or container.config["mounts"]:
        from pyengine.containers import mount_sources

        mount_sources.give_back(host, container)
    if container.started_at is None and not host.storage.is_kept(container.id):
        host.storage.remove(container.id)  # perhaps half made; the next start makes it anew
    else:
        host.storage.unmount(container.id)
    runfiles.clear(host, container.id)
    with host.database.write() as connection:
        text = reason.encode("utf-8", "backslashreplace").decode()  # a name that is not UTF-8
        status = container.status
        if status == "initialized":
            status = "created" if container.started_at is None else "exited"
        record.update(connection, container, status=status, error=text, pid=None, monitor_pid=None)
        ends.keep(connection, container.id, ends.failed_start(text))
        if intent is not None:
            intent.finish(connection)
    if not container.config["auto_remove"]:  # its removal follows
        host.tell(container, "cleanup")


def _read_pid(path: str) -> int:
    """The pid in a file, or 0 where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return 0
