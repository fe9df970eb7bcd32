"""completion: scripts for shells, and the candidates that these ask for at each key.

The scripts call ``pyengine __complete WORD...``, where the last word is the one being typed. It
prints a candidate a line, with a tab and a description, and at last ``:`` and a number: 4 where
file names make no sense. This is what podman's program does, so scripts made for one fit the other.
"""

from __future__ import annotations

import importlib

import click

from pyengine.cli import declare, root, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyengine.cli.declare import Parameter
    from pyengine.engine import Engine

FILES, NO_FILES = 0, 4
RUNNING = ("attach", "exec", "kill", "pause", "port", "stats", "stop", "top")
IDLE = ("init", "start")

BASH = r"""
# bash completion for pyengine: source <(pyengine completion bash)
__pyengine_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" reply directive=0 prefix
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current="${words[-1]}"
    prefix="${current%"${current##*[:=]}"}"  # bash completes what follows these as a word
    COMPREPLY=()
    while IFS= read -r reply; do
        case "$reply" in
            :*) directive="${reply#:}" ;;
            *) reply="${reply%%$'\t'*}"; COMPREPLY+=("${reply#"$prefix"}") ;;
        esac
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 0 && $directive -eq 0 ]]; then
        compopt -o default 2>/dev/null
    fi
}
complete -F __pyengine_complete pyengine
"""
ZSH = r"""
#compdef pyengine
# zsh completion for pyengine: source <(pyengine completion zsh)
_pyengine() {
    local line directive=0
    local -a replies
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :* ]]; then
            directive=${line#:}
        elif [[ $line == *$'\t'* ]]; then
            replies+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        elif [[ -n $line ]]; then
            replies+=("${line//:/\\:}")
        fi
    done
    if (( ${#replies} )); then
        _describe 'pyengine' replies
    elif [[ $directive == 0 ]]; then
        _files
    fi
}
compdef _pyengine pyengine
"""
FISH = r"""
# fish completion for pyengine: pyengine completion fish | source
function __pyengine_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete $words[2..-1] 2>/dev/null | string match -v -r '^:'
end
complete -c pyengine -a '(__pyengine_complete)'
"""
SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}


@click.command()
@click.option("-f", "--file", "path", metavar="FILE", help="Write to FILE instead of stdout.")
@click.option("--no-desc", is_flag=True, help="Leave out the descriptions of candidates.")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion(shell: str, path: str | None, no_desc: bool) -> None:
    """Generate a shell's completion script for pyengine."""
    script = SCRIPTS[shell].lstrip()
    if no_desc:
        script = script.replace(" __complete ", " __completeNoDesc ")
    if path is None:
        click.echo(script, nl=False)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(script)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def complete(engine: Engine, /, words: tuple[str, ...]) -> None:
    """Print the candidates for the last of WORDS."""
    _print(engine, words, described=True)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def complete_bare(engine: Engine, /, words: tuple[str, ...]) -> None:
    """Print the candidates for the last of WORDS without descriptions."""
    _print(engine, words, described=False)


def _print(engine: Engine, words: tuple[str, ...], *, described: bool) -> None:
    found, directive = candidates(engine, words)
    for word, description in found:
        print(f"{word}\t{description}" if described and description else word)
    print(f":{directive}")


def candidates(engine: Engine, words: tuple[str, ...]) -> tuple[list[tuple[str, str]], int]:
    """What the last word may become, with descriptions; and whether it may be a file."""
    *before, current = words or ("",)
    place = _Place(before)
    if place.unknown:
        return [], NO_FILES
    if place.wants_value is not None:
        found, directive = _values(engine, place.wants_value)
    elif current.startswith("-") and not place.ended:
        found, directive = list(_options(place.parameters)), NO_FILES
    elif place.command is None:
        rows = place.rows.items()
        found = [(name, row[1]) for name, row in rows if not name.startswith("_")]
        directive = NO_FILES
    else:
        found, directive = _arguments(engine, place)
    return [one for one in found if one[0].startswith(current)], directive


class _Place:
    """Where in a command line the next word stands."""

    def __init__(self, words: Iterable[str]) -> None:
        self.rows = table.COMMANDS
        self.name = ""
        self.command: click.Command | None = None
        self.parameters: list[click.Option] = _as_options(root.PARAMETERS)
        self.others: list[str] = []
        self.wants_value: click.Option | None = None
        self.ended = False  # no option may follow
        self.unknown = False  # there is no such command
        for word in words:
            self._pass(word)

    def _pass(self, word: str) -> None:
        if self.wants_value is not None:
            self.wants_value = None
        elif word == "--":
            self.ended = True
        elif word.startswith("-") and not self.ended:
            one = _option_named(self.parameters, word)
            if one is not None and not one.is_flag:
                self.wants_value = one
        elif self.command is None and word in self.rows:
            self._enter(word)
        elif self.command is None:
            self.unknown = True
        else:
            self.others.append(word)
            self.ended = self.ended or not self.command.allow_interspersed_args

    def _enter(self, word: str) -> None:
        place, _ = self.rows[word]
        self.name = word
        if not place:
            self.rows = table.GROUPS[word]
            self.parameters = []
            return
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        self.command = command.to_click() if isinstance(command, declare.Command) else command
        self.parameters = [one for one in self.command.params if isinstance(one, click.Option)]


def _as_options(parameters: Iterable[Parameter]) -> list[click.Option]:
    holder = click.Command("pyengine", callback=None)
    function = declare.decorate(parameters, lambda **_: None)
    holder.params = list(getattr(function, "__click_params__", []))
    return [one for one in holder.params if isinstance(one, click.Option)]


def _option_named(options: Iterable[click.Option], word: str) -> click.Option | None:
    """The option whose value comes next; none where it is in the word already."""
    for one in options:
        if word in one.opts:
            return one
        letter = word[:2] == f"-{word[-1]}"[:2] or word[:2] != "--"
        if letter and f"-{word[-1]}" in one.opts and not word.startswith("--"):
            return one  # the last letter of -it...
    return None


def _options(options: Iterable[click.Option]) -> Iterable[tuple[str, str]]:
    for one in options:
        if not one.hidden:
            for name in (*one.opts, *one.secondary_opts):
                yield name, one.help or ""
    yield "--help", "Show this message and exit."


def _values(engine: Engine, option: click.Option) -> tuple[list[tuple[str, str]], int]:
    if isinstance(option.type, click.Choice):
        return [(str(word), "") for word in option.type.choices], NO_FILES
    metavar = option.metavar or ""
    if "CONTAINER" in metavar:
        return _containers(engine, ""), NO_FILES
    if any(word in metavar for word in ("FILE", "DIR", "PATH", "SRC")):
        return [], FILES
    return [], NO_FILES


def _arguments(engine: Engine, place: _Place) -> tuple[list[tuple[str, str]], int]:
    """By the names that the usage line has for them."""
    assert place.command is not None
    arguments = [one for one in place.command.params if isinstance(one, click.Argument)]
    if not arguments:
        return [], NO_FILES
    usage = " ".join(one.make_metavar(click.Context(place.command)) for one in arguments).split()
    here = usage[min(len(place.others), len(usage) - 1)].upper()
    found: list[tuple[str, str]] = []
    if "CONTAINER" in here:
        found += _containers(engine, place.name)
    if "IMAGE" in here:
        found += _images(engine)
    if "VOLUME" in here:
        found += _rows(engine, "SELECT name FROM volumes ORDER BY name")
    if "SECRET" in here:
        found += _rows(engine, "SELECT name FROM secrets ORDER BY name")
    named = ("CONTAINER", "IMAGE", "VOLUME", "SECRET")
    files = any(word in here for word in ("FILE", "DIR", "PATH", "SRC", "DEST", "ARG", "COMMAND"))
    return found, FILES if files or not any(word in here for word in named) else NO_FILES


def _containers(engine: Engine, command: str) -> list[tuple[str, str]]:
    found = []
    for one in engine.containers.every():
        wanted = one.running if command in RUNNING else not one.running
        if wanted or command not in (*RUNNING, *IDLE):
            found.append((one.name, f"{one.id[:12]} {one.status}"))
    return found


def _images(engine: Engine) -> list[tuple[str, str]]:
    return [(name, image.id[:12]) for image in engine.images.list_images() for name in image.names]


def _rows(engine: Engine, query: str) -> list[tuple[str, str]]:
    with engine.database.read() as connection:
        return [(row[0], "") for row in connection.execute(query).fetchall()]
