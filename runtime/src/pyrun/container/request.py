"""What ``create`` and ``run`` are asked for."""

from __future__ import annotations

from pyrun import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.container import notify


class Request:
    """What ``create`` and ``run`` are asked for.

    Attributes:
        bundle: its path.
        cgroup_driver: ``cgroupfs``, ``systemd`` or ``disabled``.
        config_name: of config.json in the bundle.
        console_socket: its path, or an empty string.
        console_fd: a connected console socket, instead of its path; or -1.
        container_id: of the new container.
        no_new_keyring: keeps the caller's session keyring.
        notify: the container's socket for sd_notify(3), once it is there.
        notes: for the debug log, of a profile that was compiled.
        no_pivot: uses MS_MOVE and chroot(2).
        pid_file: gets init's process id, or an empty string.
        pidfd_socket: gets init's pidfd, or an empty string.
        preserve_fds: how many descriptors from 3 on the container inherits, besides those of
            LISTEN_FDS.
        root: of ``--root``.
        rootless: the caller has no privileges.
        warnings: what the container asked for and does not have, as the specification allows.
    """

    __slots__ = (
        "bundle", "cgroup_driver", "config_name", "console_fd", "console_socket", "container_id",
        "no_new_keyring", "no_pivot", "notes", "notify", "pid_file", "pidfd_socket", "preserve_fds",
        "root", "rootless", "warnings",
    )  # fmt: skip

    def __init__(self, root: str, container_id: str) -> None:
        self.root = root
        self.container_id = container_id
        self.bundle = "."
        self.cgroup_driver = "cgroupfs"
        self.config_name = "config.json"
        self.console_fd = -1
        self.console_socket = ""
        self.no_new_keyring = False
        self.no_pivot = False
        self.notes: list[str] = []
        self.notify: notify.Listener | None = None
        self.pid_file = ""
        self.pidfd_socket = ""
        self.preserve_fds = 0
        self.rootless = False
        self.warnings: list[str] = []


def inherited(preserve_fds: int) -> int:
    """How many descriptors from 3 on the process gets; those of LISTEN_FDS come first.

    Some may be closed: podman leaves gaps with ``--preserve-fd``, and crun takes them, too. What
    this process opens in a gap is close-on-exec like everything of its own.
    """
    return preserve_fds + _listened()


def listen_environment() -> list[str]:
    """The variables of sd_listen_fds(3) for the process, where this one got descriptors so."""
    count = _listened()
    return [f"LISTEN_FDS={count}", "LISTEN_PID=1"] if count else []


def _listened() -> int:
    word = names.environment("LISTEN_FDS")
    return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else 0
