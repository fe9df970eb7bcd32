"""Runs another process in a running container (an exec session)."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum (docs/adr/0008)
import os
import select

from pyengine import jsontext, log
from pyengine.containers.host import make_directory, start_time
from pyengine.errors import ConflictError, PyengineError
from pyengine.monitor import exits
from pyengine.monitor import start as monitor
from pyengine.monitor.attach import Attachment
from pyengine.monitor.exits import Watch, open_pidfd
from pyengine.specgen import process, users
from pyengine.storage import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyengine.containers.host import Host
    from pyengine.containers.record import Container

UNKNOWN_EXIT_CODE = 255
MONITOR_END_MS = 5000


class ExecOptions:
    """Options of exec as given, each under its long name."""

    __slots__ = (
        "command", "detach_keys", "env", "preserve_fds", "privileged", "stdin", "terminal",
        "unwanted_fds", "user", "workdir",
    )  # fmt: skip

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        detach_keys: bytes,
        terminal: bool = False,
        stdin: bool = False,
        env: tuple[str, ...] = (),
        user: str = "",
        workdir: str = "",
        privileged: bool = False,
        preserve_fds: int = 0,
        unwanted_fds: Sequence[int] = (),
    ) -> None:
        self.command, self.env, self.user, self.workdir = command, env, user, workdir
        self.terminal, self.stdin, self.detach_keys = terminal, stdin, detach_keys
        self.privileged = privileged
        self.preserve_fds, self.unwanted_fds = preserve_fds, unwanted_fds


class Session:
    """One exec session."""

    def __init__(self, host: Host, container: Container, options: ExecOptions) -> None:
        """Prepare it.

        Raises:
            ConflictError: the container does not run.
            ConfigError: the user is not in the container.
        """
        if container.status != "running":
            raise ConflictError(
                "can only create exec sessions on running containers: container state improper"
            )
        self.id = os.urandom(32).hex()
        self._host, self._container, self._options = host, container, options
        self._directory = f"{host.bundle(container.id)}/exec/{self.id}"
        self._exit_dir = f"{self._directory}/exits"
        self._attended_fd = -1
        make_directory(self._exit_dir)

    def detach(self) -> str:
        """Start the process and leave it alone; the answer is the session's id."""
        try:
            running = self._call(attach=False).spawn()
            try:
                running.go()
                running.wait_for_pid()
                self._host.tell(self._container, "exec", execID=self.id)
            finally:
                running.abandon()
        except BaseException:
            self._remove()
            raise
        return self.id

    def attend(self) -> int:
        """Start the process and stay with it; the answer is its exit code.

        Raises:
            monitor.attach.Detached: the user left; the process goes on.
        """
        try:
            return self._attend()
        except (PyengineError, OSError):
            self._remove()
            raise
        finally:
            if self._attended_fd >= 0:  # whoever detached leaves the clean-up to the exit command
                os.close(self._attended_fd)

    def _attend(self) -> int:
        options = self._options
        running = self._call(attach=True).spawn(attach=True)
        attachment = None
        try:
            running.go()
            running.wait_until_attachable()
            attachment = Attachment(
                self._directory, stdin=options.stdin, terminal=options.terminal,
                detach_keys=options.detach_keys,
            )  # fmt: skip
            attachment.prepare(proxy_signals=True)
            running.attached()
            pid = running.wait_for_pid()
            self._host.tell(self._container, "exec", execID=self.id)
            watch = Watch(
                f"{self._exit_dir}/{self._container.id}", self._directory, open_pidfd(pid),
                open_pidfd(self._monitor_pid()), self._container.name,
            )  # fmt: skip
            try:
                how = attachment.run(watch, lambda number: _send(pid, number))
            finally:
                watch.close()
        finally:
            if attachment is not None:
                attachment.close()
            running.abandon()
        self._remove()
        code = UNKNOWN_EXIT_CODE if how is None else how.code
        self._host.tell(self._container, "exec_died", exit_code=code, execID=self.id)
        return code

    def _call(self, *, attach: bool) -> monitor.Call:
        container, options = self._container, self._options
        files = monitor.Files(self._directory, self._exit_dir, "none")
        process_file = f"{self._directory}/process.json"
        with open(process_file, "w", encoding="utf-8") as file:
            file.write(jsontext.dumps(self._process()))
        runtime = self._host.runtime(container.config["runtime"])
        path = self._host.monitor_path(container.config["conmon"])
        call = monitor.Call(path, container.id, runtime, files)
        call.exec_session(self.id, process_file, attach=attach)
        call.stdio(stdin=options.stdin, terminal=options.terminal)
        call.exit_command(self._exit_command(attended=attach))
        if options.preserve_fds:
            call.preserve_fds(options.preserve_fds, options.unwanted_fds)
        if self._host.systemd:
            call.systemd_cgroup()
        return call

    def _exit_command(self, *, attended: bool) -> list[str]:
        """Called when nobody attends the session, as that of a container."""
        full = [*self._host.self_command, "container", "cleanup", "--exec", self.id]
        full.append(self._container.id)
        if not attended:
            return full
        from pyengine.containers.start import attended_command

        self._attended_fd, command = attended_command(f"{self._directory}/attended", full)
        return command

    def _process(self) -> dict[str, Any]:
        """The container's own ``process`` with what the options change."""
        container, options = self._container, self._options
        with open(f"{self._host.bundle(container.id)}/config.json", encoding="utf-8") as file:
            found: dict[str, Any] = jsontext.loads(file.read())["process"]
        found["args"] = list(options.command)
        found["terminal"] = options.terminal
        found["env"] = [*found["env"], *options.env]
        if options.privileged:
            from pyengine.specgen import capabilities

            every = capabilities.allowed([], [], [], privileged=True)
            sets = ("bounding", "effective", "inheritable", "permitted")
            found["capabilities"] = dict.fromkeys(sets, every)
            found.pop("apparmorProfile", None)
            found["noNewPrivileges"] = False
        if options.workdir:
            found["cwd"] = options.workdir
        if options.user:
            user = self._look_up_user()
            found["user"] = process.user_object(user, found["user"]["umask"])
            config = dict(container.config, user=options.user)
            bounding = found["capabilities"]["bounding"]
            if not options.privileged:
                found["capabilities"] = process.capability_sets(config, bounding)  # type: ignore[arg-type]  # still a ContainerConfig
            own = [entry for entry in found["env"] if not entry.startswith("HOME=")]
            found["env"] = [*own, f"HOME={user.home}"]
        entries = dict(entry.partition("=")[::2] for entry in found["env"])
        found["env"] = [f"{name}={value}" for name, value in entries.items()]
        return found

    def _look_up_user(self) -> users.User:
        """In the files that the container's own processes see."""
        pid = self._container.pid
        try:
            root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConflictError(f"container {self._container.name} has just ended") from error
        try:
            if pid is None or start_time(pid) != self._container.pid_start:
                raise ConflictError(f"container {self._container.name} has just ended")
            return users.look_up(root_fd, self._options.user)
        finally:
            os.close(root_fd)

    def _monitor_pid(self) -> int:
        try:
            with open(f"{self._directory}/conmon.pid", encoding="utf-8") as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return 0

    def _remove(self) -> None:
        pid = self._monitor_pid()
        monitor_fd = open_pidfd(pid) if pid else -1
        try:
            try:
                trees.remove_tree(self._directory)
            except (
                OSError
            ):  # the monitor, which is just ending, has made or removed a file meanwhile
                _wait_for_end(monitor_fd)
                trees.remove_tree(self._directory)
        except OSError as error:  # the container has ended too, and its clean-up removes it as well
            log.debug(f"remove {self._directory}: {error.strerror}")
        finally:
            if monitor_fd >= 0:
                os.close(monitor_fd)


def end_session(host: Host, container: Container, session: str) -> None:
    """What the monitor's exit command does for a session that nobody attends."""
    directory = f"{host.bundle(container.id)}/exec/{session}"
    how = exits.read(f"{directory}/exits/{container.id}", directory)
    try:
        trees.remove_tree(directory)
    except OSError as error:  # the container has ended too, and its clean-up removes it as well
        log.debug(f"remove {directory}: {error.strerror}")
    code = UNKNOWN_EXIT_CODE if how is None else how.code
    host.tell(container, "exec_died", exit_code=code, execID=session)


def _wait_for_end(pidfd: int) -> None:
    poller = select.poll()
    if pidfd >= 0:
        poller.register(pidfd, select.POLLIN)
        poller.poll(MONITOR_END_MS)


def _send(pid: int, number: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
