from __future__ import annotations

from pyrun.commands.options import FLAG, LIST, VALUE, Options, Syntax, is_number
from pyrun.commands.usage import UsageError
from pyrun.container import foreground, interpreter, join
from pyrun.spec import load, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings
    from pyrun.spec.types import JsonObject

SYNTAX = Syntax(
    "exec [options] CONTAINER-ID COMMAND [ARGUMENT...] | exec -p FILE CONTAINER-ID",
    {
        "--process/-p": (VALUE, "file with the process object; other options are not for it"),
        "--tty/-t": (FLAG, "give it a terminal"),
        "--user/-u": (VALUE, "UID[:GID]"),
        "--cwd": (VALUE, "working directory"),
        "--env/-e": (LIST, "NAME=VALUE, one more variable"),
        "--cap/-c": (LIST, "one more capability; inherited only where the container's are"),
        "--additional-gids/-g": (LIST, "one more group"),
        "--no-new-privs": (FLAG, "forbid it to gain privileges"),
        "--process-label": (VALUE, "SELinux label"),
        "--apparmor": (VALUE, "AppArmor profile"),
        "--cgroup": (LIST, "[CONTROLLER,...:]PATH, a cgroup below the container's"),
        "--ignore-paused": (FLAG, "enter a paused container, too, and wait until it is resumed"),
        "--console-socket": (VALUE, "socket that gets the terminal"),
        "--pid-file": (VALUE, "file for the process id"),
        "--pidfd-socket": (VALUE, "socket that gets a pidfd of it"),
        "--preserve-fds": (VALUE, "how many descriptors from 3 on it gets"),
        "--detach/-d": (FLAG, "do not wait for it"),
    },
    (1, None),
    ordered=True,
)
_SETS = ("bounding", "effective", "permitted")


def main(words: list[str], settings: Settings) -> int:
    """``pyrun exec``: the exit status is the process's."""
    options = SYNTAX.parse(words)
    interpreter.protect()
    paused = options.flag("ignore-paused")
    entry = join.find_running(settings.root, options.arguments[0], paused=paused)
    request = join.Request(settings.root, entry.id, _process(options, entry.config()))
    _set_cgroups(request, options.all("cgroup"))
    request.console_socket = options.text("console-socket")
    request.pid_file = options.text("pid-file")
    request.pidfd_socket = options.text("pidfd-socket")
    request.preserve_fds = options.number("preserve-fds")
    if options.flag("detach"):
        join.execute(request, entry)
        return 0
    return foreground.execute(request, entry)


def _set_cgroups(request: join.Request, words: list[str]) -> None:
    """``PATH`` is for every hierarchy, ``CONTROLLER,...:PATH`` for some of v1's.

    Raises:
        UsageError: two of them are for the same one.
    """
    for word in words:
        controllers, colon, path = word.rpartition(":")
        if not colon and len(words) > 1:
            raise UsageError("--cgroup without a controller cannot stand beside another --cgroup")
        if not colon:
            request.cgroup = path
            continue
        for controller in controllers.split(","):
            if controller in request.cgroups:
                raise UsageError(f"--cgroup is there twice for the controller {controller}")
            request.cgroups[controller] = path


def _process(options: Options, config: JsonObject) -> JsonObject:
    """The process to run: from the file, or the container's own with changes.

    Raises:
        UsageError: an option has no meaning.
        ConfigError: the file does not hold a process.
    """
    path = options.text("process")
    if path:
        process = load.read_object(path, "process")[0]
        # Nobody but exec reads this file, and runc and crun take it without them.
        process["user"] = {"uid": 0, "gid": 0, **(process.get("user") or {})}
        findings = validate.check_process(process)
        if findings:
            raise validate.error_of(findings)
        if options.flag("tty"):
            process["terminal"] = True
        return process
    if len(options.arguments) < 2:
        raise UsageError(f"wrong number of arguments: usage: pyrun {SYNTAX.usage}")
    process = dict(config.get("process") or {})
    process["args"] = options.arguments[1:]
    process["terminal"] = options.flag("tty")
    process["cwd"] = options.text("cwd", process.get("cwd") or "/")
    process["env"] = [*(process.get("env") or ()), *options.all("env")]
    process["user"] = _user(options, process.get("user") or {"uid": 0, "gid": 0})
    if options.text("no-new-privs"):
        process["noNewPrivileges"] = options.flag("no-new-privs")
    for option, name in (("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        if options.text(option):
            process[name] = options.text(option)
    extra = [name.upper() for name in options.all("cap")]
    extra = [name if name.startswith("CAP_") else f"CAP_{name}" for name in extra]
    if extra:
        process["capabilities"] = _with(process.get("capabilities") or {}, extra)
    findings = validate.check_process(process)
    if findings:
        raise validate.error_of(findings)
    return process


def _with(sets: JsonObject, extra: list[str]) -> JsonObject:
    """The sets with more of them; ambient ones, which need inheritable ones, only beside such."""
    named = [*_SETS, "ambient"] if sets.get("inheritable") else _SETS
    return {**sets, **{name: [*(sets.get(name) or ()), *extra] for name in named}}


def _user(options: Options, before: JsonObject) -> JsonObject:
    user = dict(before)
    word = options.text("user")
    if word:
        uid, _, gid = word.partition(":")
        if not is_number(uid) or not is_number(gid or "0"):
            raise UsageError(f"--user is UID[:GID] in numbers, not {word!r}")
        user["uid"] = int(uid)
        if gid:
            user["gid"] = int(gid)
    groups = options.all("additional-gids")
    if not all(map(is_number, groups)):
        raise UsageError(f"--additional-gids is a number, not {groups!r}")
    if groups:
        user["additionalGids"] = [*(user.get("additionalGids") or ()), *map(int, groups)]
    return user
