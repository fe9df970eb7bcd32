"""The engine's everyday commands, one after the other, 32 at once, and beside other containers."""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import BIN, Sample, call, interleave, machine, make_rootfs, report

IMAGE = "localhost/bench:latest"
PLAIN = ("--network", "none", IMAGE)
SLEEPER = (*PLAIN, "sleep", "6000")
AT_ONCE = 32
OTHERS_S = 30
SIZES = (1, 50, 100, 200)

Times = dict[str, float]


def read_sizes(text: str) -> tuple[int, ...]:
    """The sizes of a crowd, smallest first."""
    try:
        return tuple(sorted(int(word) for word in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"not numbers: {text}") from None


class Program:
    """An engine on a root of its own."""

    def __init__(self, name: str, base: list[str]) -> None:
        self.name, self.base = name, base

    def call(self, times: Times, operation: str, *words: str) -> None:
        """Run one command and note its milliseconds, waiting and of processor time."""
        before = used_cpu_ms()
        times[operation] = call([*self.base, *words])
        times[f"{operation}, cpu"] = used_cpu_ms() - before

    def everyday(self) -> Times:
        """Each frequent command once."""
        times: Times = {}
        self.call(times, "run --rm", "run", "--rm", *PLAIN, "true")
        self.call(times, "run -d", "run", "-d", "--name", "bench", *SLEEPER)
        self.call(times, "exec true", "exec", "bench", "true")
        self.call(times, "ps", "ps")
        self.call(times, "inspect", "inspect", "bench")
        self.call(times, "stop -t 0", "stop", "-t", "0", "bench")
        self.call(times, "rm", "rm", "bench")
        call([*self.base, "run", "-d", "--name", "bench", *SLEEPER])
        self.call(times, "rm -f", "rm", "-f", "-t", "0", "bench")
        return times

    def run_many(self) -> Times:
        """``AT_ONCE`` runs, detached ones and others, until the last command has ended."""
        kinds = {"run --rm": ["run", "--rm", *PLAIN, "true"], "run -d": ["run", "-d", *SLEEPER]}
        times: Times = {}
        for kind, words in kinds.items():
            with tempfile.TemporaryFile() as output:
                before, start = used_cpu_ms(), time.perf_counter()
                runs = [
                    subprocess.Popen(
                        [*self.base, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output
                    )
                    for _ in range(AT_ONCE)
                ]
                statuses = [run.wait() for run in runs]
                times[f"{AT_ONCE} {kind} at once"] = (time.perf_counter() - start) * 1000
                times[f"{AT_ONCE} {kind} at once, cpu"] = used_cpu_ms() - before
                if any(statuses):
                    output.seek(0)
                    words_said = output.read().decode(errors="replace").strip()
                    sys.exit(f"bench: {self.name}: {AT_ONCE} {kind}: {statuses}: {words_said}")
        call([*self.base, "rm", "-f", "-t", "0", "-a"])
        return times

    def count(self) -> int:
        """How many containers there are."""
        shown = subprocess.run([*self.base, "ps", "-aq"], check=True, stdout=subprocess.PIPE)
        return shown.stdout.count(b"\n")


def used_cpu_ms() -> float:
    """User and system time of all children that were waited for, theirs included.

    Monitors become daemons and nobody waits for them: what they use is not in it.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


@contextmanager
def engines(work: Path) -> Iterator[dict[str, Program]]:
    """pyengine (with pyrun and pyconmon) and podman (crun and conmon), with an image each."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
    make_rootfs(work / "rootfs")
    tarball, archive, conf = work / "tree.tar", work / "image.tar", work / "containers.conf"
    subprocess.run(["tar", "-C", str(work / "rootfs"), "-cf", str(tarball), "."], check=True)
    conf.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    os.environ["CONTAINERS_CONF"] = str(conf)
    podman = ["podman", "--root", f"{work}/p", "--runroot", f"{work}/pr", "--runtime", "crun"]
    pyengine = [str(BIN / "pyengine"), "--root", f"{work}/e", "--runroot", f"{work}/er"]
    try:
        call([*podman, "import", "-q", str(tarball), IMAGE])
        call([*podman, "save", "-q", "--format", "oci-archive", "-o", str(archive), IMAGE])
        call([*pyengine, "load", "-q", "-i", str(archive)])
        yield {"pyengine": Program("pyengine", pyengine), "podman": Program("podman", podman)}
    finally:
        for words in (["rm", "-af", "-t", "0"], ["rmi", "-af"]):
            for base in (pyengine, podman):
                subprocess.run([*base, *words], check=False, capture_output=True)
            wait_for_others(work)
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{work}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)


def wait_for_others(work: Path) -> None:
    """Wait for monitors and clean-ups, which would mount and write once more; not for ever."""
    deadline = time.monotonic() + OTHERS_S
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, pidfd = path.read_bytes(), os.pidfd_open(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if os.fsencode(work) in words:
            select.select([pidfd], [], [], max(deadline - time.monotonic(), 0))
        os.close(pidfd)


def facts(programs: dict[str, Program]) -> dict[str, object]:
    """What the figures depend on."""
    return machine({name: one.base[0] for name, one in programs.items()} | {"crun": "crun"})


def run(rounds: int, work: Path) -> None:
    """The everyday commands, with no other container beside them."""
    with engines(work) as programs:
        result = interleave({name: one.everyday for name, one in programs.items()}, rounds)
        report("engine", facts(programs), result, ["podman"])


def run_crowd(sizes: tuple[int, ...], rounds: int, work: Path) -> None:
    """Runs at once, in a third of the rounds, and every command beside so many containers."""
    with engines(work) as programs:
        at_once = {name: one.run_many for name, one in programs.items()}
        result = interleave(at_once, max(rounds // 3, 1))
        for size in sizes:
            for program in programs.values():
                for _ in range(program.count(), size):
                    call([*program.base, "run", "-d", *SLEEPER])
            beside = {name: beside_others(one, size) for name, one in programs.items()}
            result.update(interleave(beside, rounds))
        report("crowd", facts(programs), result, ["podman"])
        report_growth(result, sizes)


def beside_others(program: Program, size: int) -> Callable[[], Times]:
    """The everyday commands with the number of the other containers in their names."""

    def once() -> Times:
        return {f"{name} beside {size}": value for name, value in program.everyday().items()}

    return once


def report_growth(result: dict[str, Sample], sizes: tuple[int, ...]) -> None:
    """Print how much longer each command takes beside most containers than beside fewest."""
    first, last = f" beside {sizes[0]}", f" beside {sizes[-1]}"
    print(f"| minimum{last} to{first} | " + " | ".join(result[f"ps{first}"]) + " |")
    for operation, sample in result.items():
        if operation.endswith(last):
            few = result[operation.removesuffix(last) + first]
            ratios = [f"{min(values) / min(few[name]):.2f}" for name, values in sample.items()]
            print(f"| {operation.removesuffix(last)} | " + " | ".join(ratios) + " |")
