"""The same commands through Debian's podman and through pyengine, step by step, to be compared."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from support import images
from support.containers import IMAGE, ContainerRoot

Answers = list[tuple[dict[str, object], dict[str, object]]]

# No more than this process may set: podman asks for what only CAP_SYS_RESOURCE allows.
LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:4096","nproc=1024:4096"]\n'
NONE = ("--network", "none")
NEEDS = pytest.mark.needs("root", "busybox", "podman", "runc", "conmon")


@dataclass(frozen=True)
class Step:
    """One invocation; ``differs`` names what of the answer is ours alone, and ``why``."""

    words: tuple[str, ...]
    stdin: str = ""
    differs: frozenset[str] = frozenset()
    why: str = ""

    @property
    def name(self) -> str:
        return " ".join(self.words).replace("\n", " ")[:60]


def step(*words: str, stdin: str = "", differs: str = "", why: str = "") -> Step:
    return Step(words, stdin, frozenset(differs.split()), why)


def run(*words: str, stdin: str = "", differs: str = "", why: str = "") -> Step:
    return step("run", *NONE, *words, stdin=stdin, differs=differs, why=why)


class Player:
    """An engine, and how its answers are made comparable."""

    def __init__(self, argv: list[str], environment: dict[str, str], facts: dict[str, str]) -> None:
        self.argv, self.facts = argv, facts
        self.environment = {**os.environ, **environment}

    def play(self, one: Step) -> dict[str, object]:
        words = [self._filled(word) for word in one.words]
        done = subprocess.run(
            [*self.argv, *words], input=one.stdin.encode(), capture_output=True, check=False,
            env=self.environment, timeout=60,
        )  # fmt: skip
        return {
            "status": done.returncode,
            "stdout": self._plain(done.stdout.decode()),
            "message": self._shape(self._plain(done.stderr.decode())),
        }

    def _filled(self, word: str) -> str:
        for name, value in self.facts.items():
            word = word.replace(f"{{{name}}}", value)
        return word

    def _plain(self, text: str) -> str:
        text = re.sub(r"\b[0-9a-f]{64}\b", "<id>", text)
        text = re.sub(r"\b([0-9a-f]{12}|[0-9a-f]{25})\b", "<short id>", text)
        return re.sub(r"(\d+|Less than a|About a) (seconds?|minutes?)", "<time>", text)

    def _shape(self, text: str) -> list[str]:
        """A container's own words as they are; of an error only that it is one."""
        kinds = []
        for line in text.splitlines():
            if line.startswith(("Error: ", "Error running ")):
                kinds.append("Error: ...")
            elif not line.startswith(("See '", "Try '", 'time="')):  # hints, podman's own log
                kinds.append(line)
        return kinds


class Engines:
    """Debian's podman and pyengine, each on a root of its own, to be played on."""

    def __init__(self, pyengine: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.directory = directory = tmp_path_factory.mktemp("like-podman")
        short_path = tmp_path_factory.mktemp("q")  # podman's runroot may have 50 characters
        (directory / "containers.conf").write_text(LIMITS)
        box = {IMAGE: images.busybox_image()}
        facts = {"archive": str(images.oci_archive(directory / "box.tar", box))}
        shared = directory / "shared"
        shared.mkdir()
        (shared / "file").write_text("shared\n")
        (shared / "env").write_text("# comment\n\nFROM_FILE=f\nQUOTED='q'\n")
        facts["shared"] = str(shared)
        podman = [
            "podman", "--root", str(directory / "podman"), "--runroot", str(short_path),
            "--tmpdir", str(directory / "tmp"), "--cgroup-manager", "cgroupfs",
            "--runtime", "runc", "--conmon", "/usr/bin/conmon", "--events-backend", "file",
        ]  # fmt: skip
        self.root = ContainerRoot(pyengine, directory)
        environment = {"CONTAINERS_CONF": str(directory / "containers.conf")}
        self.podman = Player(podman, environment, facts)
        self.pyengine = Player(self.root.argv(), environment, facts)

    def play(self, steps: Sequence[Step]) -> Answers:
        """Podman's and our answer to each step; the two play at the same time."""
        with ThreadPoolExecutor(1) as beside:
            playing = beside.submit(lambda: [self.pyengine.play(one) for one in steps])
            theirs = [self.podman.play(one) for one in steps]
            return list(zip(theirs, playing.result(), strict=True))

    def close(self) -> None:
        """Remove all containers; what is left of ours then is an error."""
        subprocess.run([*self.podman.argv, "rm", "-fa", "-t", "0"], check=False,
                       capture_output=True, env=self.podman.environment)  # fmt: skip
        subprocess.run(["umount", "-l", self.directory / "podman/overlay"], check=False,
                       capture_output=True)  # fmt: skip
        self.root.remove_everything()
        assert self.root.settled() == []


def fixture(steps: Sequence[Step]) -> Callable[..., Iterator[Answers]]:
    """A fixture with podman's and our answer to each step."""

    @pytest.fixture(scope="module")
    def answers(pyengine_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
        with contextlib.closing(Engines(pyengine_path, tmp_path_factory)) as engines:
            yield engines.play(steps)

    return answers


def parameters(steps: Sequence[Step]) -> pytest.MarkDecorator:
    """A test for each step, by its ``index``."""
    return pytest.mark.parametrize(
        "index", [pytest.param(index, id=f"{index}-{one.name}") for index, one in enumerate(steps)]
    )


def compare(steps: Sequence[Step], found: Answers, index: int) -> None:
    """Fail where an answer differs in something else than the step says."""
    theirs, ours = found[index]
    different = {part for part in theirs if theirs[part] != ours[part]}
    assert different == steps[index].differs, (theirs, ours)
