from __future__ import annotations

from pyrun.commands.options import FLAG, LIST, VALUE, Options, Syntax, is_number
from pyrun.commands.usage import UsageError
from pyrun.container import checkpoint, store
from pyrun.linux import criu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commands.settings import Settings

# of restore, too
OPTIONS = {
    "--image-path": (VALUE, "directory of the images (./checkpoint)"),
    "--work-path": (VALUE, "directory of CRIU's log and statistics (that of the images)"),
    "--tcp-established": (FLAG, "take open TCP connections along"),
    "--ext-unix-sk": (FLAG, "take connections of unix sockets to the outside along"),
    "--shell-job": (FLAG, "it was started from a terminal and still uses that"),
    "--file-locks": (FLAG, "take file locks along"),
    "--manage-cgroups-mode": (VALUE, "soft, full, strict or ignore (soft)"),
    "--network-lock": (VALUE, "iptables, nftables or skip: how the network is held meanwhile"),
    "--empty-ns": (LIST, "network: do without its interfaces (they are never taken along)"),
    "--auto-dedup": (FLAG, "drop pages of a parent image that a later one replaces"),
    "--lazy-pages": (FLAG, "leave memory where it is until it is used (userfaultfd)"),
}
_SWITCHES = (
    "tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages",
    "tcp-skip-in-flight", "link-remap", "tcp-close",
)  # fmt: skip
SYNTAX = Syntax(
    "checkpoint [options] CONTAINER-ID",
    {
        **OPTIONS,
        "--leave-running": (FLAG, "let the container go on afterwards"),
        "--pre-dump": (FLAG, "only its memory, while it runs; a checkpoint follows"),
        "--parent-path": (VALUE, "the image before this one, relative to --image-path"),
        "--tcp-skip-in-flight": (FLAG, "drop TCP connections that are not established yet"),
        "--link-remap": (FLAG, "link files that were unlinked while open"),
        "--page-server": (VALUE, "ADDRESS:PORT to send memory to; with --lazy-pages, to serve at"),
        "--status-fd": (VALUE, "descriptor that gets a zero byte when --lazy-pages can serve"),
    },
    (1, 1),
)


def images(options: Options, settings: Settings) -> checkpoint.Images:
    """Where the images are, and what CRIU is told.

    Raises:
        UsageError: a value has no meaning.
    """
    made = checkpoint.Images(options.text("image-path", "checkpoint"), options.text("work-path"))
    made.criu = settings.criu
    for name in _SWITCHES:
        if options.flag(name):
            made.options[name.replace("-", "_")] = True
    for name, words in (
        ("manage-cgroups-mode", criu.CGROUP_MODES),
        ("network-lock", criu.NETWORK_LOCKS),
    ):
        word = options.text(name)
        if word and word not in words:
            raise UsageError(f"--{name} is one of {', '.join(words)}, not {word!r}")
        if word:
            made.options[name.replace("-", "_")] = words[word]
    for word in options.all("empty-ns"):
        if word != "network":
            raise UsageError(f"--empty-ns knows only network, not {word!r}")
    return made


def main(words: list[str], settings: Settings) -> int:
    """``pyrun checkpoint``."""
    options = SYNTAX.parse(words)
    request = checkpoint.Request(images(options, settings))
    request.leave_running = options.flag("leave-running")
    request.pre_dump = options.flag("pre-dump")
    request.parent_path = options.text("parent-path")
    if options.text("status-fd") not in ("", "-1"):
        request.status_fd = options.number("status-fd")
        if not options.flag("lazy-pages"):
            raise UsageError("--status-fd tells of --lazy-pages, which is not asked for")
    if options.text("page-server"):
        request.images.options["ps"] = _page_server(options.text("page-server"))
    entry = store.find(settings.root, options.arguments[0], lock=True)
    for warning in checkpoint.checkpoint(entry, request):
        settings.write("warning", warning)
    return 0


def _page_server(word: str) -> dict[str, object]:
    address, _, port = word.rpartition(":")
    if not address or not is_number(port) or not 0 < int(port) < 1 << 16:
        raise UsageError(f"--page-server is ADDRESS:PORT, not {word!r}")
    return {"address": address.strip("[]"), "port": int(port)}
