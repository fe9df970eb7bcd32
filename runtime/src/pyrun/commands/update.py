from __future__ import annotations

from pyrun.commands.options import VALUE, Options, Syntax
from pyrun.commands.usage import UsageError
from pyrun.container import store, updating
from pyrun.spec import load, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings
    from pyrun.spec.types import JsonObject

# option: section and member of linux.resources
_BYTES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "kernel-memory": ("memory", "kernel"),
    "kernel-memory-tcp": ("memory", "kernelTCP"),
}
_NUMBERS = {
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-idle": ("cpu", "idle"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "pids-limit": ("pids", "limit"),
    "blkio-weight": ("blockIO", "weight"),
}
_TEXTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
_SCHEMATA = ("l3-cache-schema", "mem-bw-schema")
SYNTAX = Syntax(
    "update [options] CONTAINER-ID",
    {
        "--resources/-r": (VALUE, "file with linux.resources, or - ; other limits are not for it"),
        "--memory": (VALUE, "bytes, with k, m or g; -1 is no limit"),
        "--memory-reservation": (VALUE, "bytes that are kept for it"),
        "--memory-swap": (VALUE, "bytes of memory and swap together; -1 is no limit"),
        "--kernel-memory": (VALUE, "bytes of the kernel; no kernel of today has such a limit"),
        "--kernel-memory-tcp": (VALUE, "bytes of TCP buffers, cgroup v1 only"),
        "--cpu-period": (VALUE, "microseconds"),
        "--cpu-quota": (VALUE, "microseconds of CPU in each period; -1 is no limit"),
        "--cpu-burst": (VALUE, "microseconds that may be saved for later periods"),
        "--cpu-share": (VALUE, "weight beside other containers"),
        "--cpu-idle": (VALUE, "1 runs it only when nothing else does"),
        "--cpu-rt-period": (VALUE, "microseconds for realtime scheduling, cgroup v1 only"),
        "--cpu-rt-runtime": (VALUE, "microseconds in each such period, cgroup v1 only"),
        "--cpuset-cpus": (VALUE, "CPUs, such as 0-2,8"),
        "--cpuset-mems": (VALUE, "memory nodes"),
        "--pids-limit": (VALUE, "number of processes; -1 is no limit"),
        "--blkio-weight": (VALUE, "10 to 1000"),
        "--l3-cache-schema": (VALUE, "Intel RDT: the L3 cache"),
        "--mem-bw-schema": (VALUE, "Intel RDT: the memory bandwidth"),
    },
    (1, 1),
)
_SUFFIXES = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def main(words: list[str], settings: Settings) -> int:
    """``pyrun update``."""
    options = SYNTAX.parse(words)
    resources = _resources(options)
    findings = validate.check_resources(resources)
    if findings:
        raise validate.error_of(findings)
    entry = store.find(settings.root, options.arguments[0], lock=True)
    schemata = {f"--{name}": options.text(name) for name in _SCHEMATA if options.text(name)}
    for warning in updating.update(entry, resources, schemata):
        settings.write("warning", warning)
    return 0


def _resources(options: Options) -> JsonObject:
    """``linux.resources`` with the limits that were asked for.

    Raises:
        UsageError: a value has no meaning.
        ContainerError: the file cannot be read.
        ConfigError: it does not hold an object.
    """
    path = options.text("resources")
    if path:
        return load.read_object(path, "resources", standard_input=path == "-")[0]
    found: JsonObject = {}
    for table, read in ((_BYTES, _bytes), (_NUMBERS, _number), (_TEXTS, _text)):
        for option, (section, name) in table.items():
            word = options.text(option)
            if word:
                found.setdefault(section, {})[name] = read(word, option)
    return found


def _text(word: str, _option: str) -> str:
    return word


def _number(word: str, option: str) -> int:
    digits = word.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise UsageError(f"option --{option} needs a number, not {word!r}")
    return int(word)


def _bytes(word: str, option: str) -> int:
    """``1073741824``, ``64m``, ``1.5GiB``, or -1."""
    if word == "-1":
        return -1
    number = word.lower().removesuffix("b").removesuffix("i").strip()
    unit = number[-1:] if number[-1:] in _SUFFIXES else ""
    number = number.removesuffix(unit).strip()
    whole, _, part = number.partition(".")
    if not (whole + part).isascii() or not whole.isdigit() or not (part or "0").isdigit():
        raise UsageError(f"option --{option} needs a number of bytes such as 64m, not {word!r}")
    if len(whole) > 19:
        raise UsageError(f"option --{option}: {word} is more than the kernel can count")
    size = int(float(number) * (1 << _SUFFIXES[unit])) if part else int(whole) << _SUFFIXES[unit]
    if size >= 1 << 63:
        raise UsageError(f"option --{option}: {word} is more than the kernel can count")
    return size
