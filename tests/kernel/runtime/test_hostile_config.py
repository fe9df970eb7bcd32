"""Hostile config.json through the installed pyrun: a clear error or a correct container.

Each container is made in mount, UTS, IPC and network namespaces of the test's own, so that a fault
of pyrun would not reach the machine; what names other cgroups, roots or namespaces is not changed
at random.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from support.bundle import Bundle
from support.hostile import CORPUS, OUTSIDE, Place, at, full_config, mutate
from support.runtime import Runtime

pytestmark = pytest.mark.needs("root", "busybox")

AT_RANDOM = 60
APART = ["unshare", "--mount", "--uts", "--ipc", "--net", "--propagation", "private"]
# what is mounted below the test's directory when pyrun has ended
THEN_MOUNTS = '"$@"; s=$?; grep -F "$MARK" /proc/self/mountinfo >&2 && exit 99; exit $s'


class Victim:
    """One bundle whose config.json is replaced again and again."""

    def __init__(self, runtime: Runtime, bundle: Bundle) -> None:
        self.runtime = runtime
        self.bundle = bundle

    def fate(self, config: Any) -> str:
        """Empty when all is well; otherwise what is wrong with the end of ``run``."""
        name = self.runtime.new_id()
        if at(config, ("linux", "cgroupsPath")) == "/hostile":
            config["linux"]["cgroupsPath"] = f"/{name}"
        (self.bundle.path / "config.json").write_text(json.dumps(config))
        words = self.runtime.command("run", "-b", str(self.bundle.path), name)
        try:
            done = subprocess.run(
                [*APART, "sh", "-c", THEN_MOUNTS, "sh", *words],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                env={**os.environ, "MARK": str(self.bundle.path)},
            )
        except subprocess.TimeoutExpired:
            return "it hangs"
        finally:
            left = self.runtime.left(name)
            self.runtime.call("delete", "--force", name)
        said = done.stderr.decode(errors="replace")
        if "Traceback" in said or "a fault of pyrun" in said or "set up the container" in said:
            return f"no clear error: {said}"
        if done.returncode == 99:
            return f"a mount is left: {said}"
        ended = done.returncode > 128  # its program was killed by a signal
        if done.returncode and not ended and not said.strip() and done.stdout.strip() != b"ran":
            return f"no word with status {done.returncode}"
        return f"left: {left}" if left else ""


@pytest.fixture
def victim(pyrun: Runtime, bundle: Bundle) -> Victim:
    return Victim(pyrun, bundle)


def test_the_config_that_is_broken_is_a_good_one(victim: Victim) -> None:
    assert victim.fate(full_config(["echo", "ran"])) == ""
    assert victim.runtime.output(victim.bundle) == ""


@pytest.mark.timeout(900)  # a guest on a loaded machine is slow
def test_a_broken_config_ends_in_a_clear_error_or_a_container(victim: Victim) -> None:
    """HOSTILE_SEED repeats a run; the message has the seed and the changed places."""
    seed = int(os.environ.get("HOSTILE_SEED") or uuid.uuid4().int % 1_000_000)
    dice = random.Random(seed)
    bad = []
    for number in range(AT_RANDOM):
        config = full_config(["echo", "ran"])
        changed = mutate(config, dice, OUTSIDE)
        values = {place: _value(config, place) for place in changed}
        if problem := victim.fate(config):
            bad.append(f"HOSTILE_SEED={seed}, number {number}, {values}: {problem}")
    assert not bad, "\n".join(bad)


def _value(config: Any, place: Place) -> str:
    try:
        return repr(at(config, place))[:100]
    except (LookupError, TypeError):
        return "gone"


@pytest.mark.timeout(900)  # a guest on a loaded machine is slow
def test_each_of_the_corpus_ends_in_a_clear_error_or_a_container(victim: Victim) -> None:
    bad = []
    for place, value in CORPUS:
        config = full_config(["echo", "ran"])
        at(config, place[:-1])[place[-1]] = copy.deepcopy(value)
        if problem := victim.fate(config):
            bad.append(f"{place} {repr(value)[:80]}: {problem}")
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("root", "path"), ""),
        (("root", "path"), "rootfs/bin/busybox"),
        (("root", "path"), "loop"),
        (("root", "path"), "/proc/self/fd/0"),
        (("root", "path"), "x" * 5000),
        (("linux", "cgroupsPath"), "/../../.."),
        (("linux", "cgroupsPath"), "a\nb"),
        (("linux", "cgroupsPath"), "/" + "x" * 300),
        (("linux", "namespaces"), []),
        (("linux", "namespaces"), [{"type": "mount"}]),
        (("linux", "namespaces"), [{"type": "mount", "path": "/proc/self/ns/net"}]),
        (("linux", "namespaces"), [{"type": "pid", "path": "/dev/null"}, {"type": "mount"}]),
        (("linux", "namespaces"), [{"type": "user"}, {"type": "mount"}]),
    ],
)
def test_what_names_other_places_is_refused_or_stays_inside(
    victim: Victim, tmp_path: Path, place: Place, value: object
) -> None:
    (victim.bundle.path / "loop").symlink_to("loop")
    config = full_config(["echo", "ran"])
    at(config, place[:-1])[place[-1]] = value
    assert victim.fate(config) == ""
    assert not (tmp_path.parent / "hostile").exists()
