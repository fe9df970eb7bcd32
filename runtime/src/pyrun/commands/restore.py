from __future__ import annotations

from pyrun import syscalls
from pyrun.commands import checkpoint
from pyrun.commands.options import FLAG, VALUE, Syntax
from pyrun.commands.usage import UsageError
from pyrun.container import foreground, restore
from pyrun.container.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

_MODULES = ("apparmor", "selinux")
SYNTAX = Syntax(
    "restore [options] CONTAINER-ID",
    {
        **checkpoint.OPTIONS,
        "--bundle/-b": (VALUE, "directory with config.json (the current one)"),
        "--detach/-d": (FLAG, "do not wait for the container"),
        "--pid-file": (VALUE, "file for the process id of init"),
        "--console-socket": (VALUE, "socket that gets the terminal"),
        "--no-pivot": (FLAG, "for a host whose root is a ramfs"),
        "--no-subreaper": (FLAG, "do not take in processes whose parents have ended"),
        "--tcp-close": (FLAG, "close TCP connections that were open"),
        "--lsm-profile": (VALUE, "apparmor:NAME or selinux:LABEL instead of the one it had"),
        "--lsm-mount-context": (VALUE, "SELinux label for mounts instead of the one they had"),
    },
    (1, 1),
)


def main(words: list[str], settings: Settings) -> int:
    """``pyrun restore``: the exit status is the container's."""
    options = SYNTAX.parse(words)
    images = checkpoint.images(options, settings)
    profile = options.text("lsm-profile")
    if profile:
        if profile.partition(":")[0] not in _MODULES or not profile.partition(":")[2]:
            known = " or ".join(f"{name}:NAME" for name in _MODULES)
            raise UsageError(f"--lsm-profile is {known}, not {profile!r}")
        images.options["lsm_profile"] = profile
    if options.text("lsm-mount-context"):
        images.options["lsm_mount_context"] = options.text("lsm-mount-context")
    request = Request(settings.root, options.arguments[0])
    request.bundle = options.text("bundle", ".")
    request.console_socket = options.text("console-socket")
    request.pid_file = options.text("pid-file")
    request.no_pivot = options.flag("no-pivot")
    request.cgroup_driver = settings.cgroup_driver
    request.rootless = settings.rootless
    if options.flag("detach"):
        restore.restore(request, images)
        return 0
    if not options.flag("no-subreaper"):
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    status, warnings = foreground.restore(request, images)
    for warning in warnings:
        settings.write("warning", warning)
    return status
