"""Imports modules of a copy of a program's package by the program's own loader."""

from __future__ import annotations

import py_compile
import shutil
import subprocess
import sys
from pathlib import Path


class PackageCopy:
    """A package of which only some modules are compiled."""

    def __init__(self, package: Path, directory: Path, loader: str, *compiled: str) -> None:
        """Copy ``package`` into ``directory``; ``loader`` is the name of its module to install."""
        self.path = directory / package.name
        self._loader = loader
        shutil.copytree(package, self.path, ignore=shutil.ignore_patterns("__pycache__"))
        for name in compiled:
            py_compile.compile(str(self.path / name), doraise=True)

    def add(self, name: str, text: str) -> None:
        """A further module, with its code."""
        (self.path / f"{name}.py").write_text(text)
        py_compile.compile(str(self.path / f"{name}.py"), doraise=True)

    def code(self, name: str) -> Path:
        """The compiled code of a module, such as ``linux/mounts``."""
        path = self.path / name
        [found] = (path.parent / "__pycache__").glob(f"{path.name}.*.pyc")
        return found

    def run(self, *lines: str, before: str = "pass", options: tuple[str, ...] = ()) -> str:
        """What a Python prints that has the loader, and does ``before`` without it."""
        start = (
            "import sys",
            "sys.dont_write_bytecode = True",
            f"sys.path[:0] = [{str(self.path.parent)!r}]",
            f"from {self.path.name} import {self._loader} as loader",
            before,
            "loader.install()",
        )
        command = [sys.executable, "-I", "-S", *options, "-c", "\n".join((*start, *lines))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def loaders(self, *names: str, before: str = "pass") -> list[str]:
        """Which loader each module comes from: ``ours``, or one of importlib's."""
        return self.run(
            f"for name in {names!r}:",
            "    found = __import__(name, fromlist=['x']).__spec__.loader",
            "    ours = found is None or getattr(found, '__module__', '') == loader.__name__",
            "    print('ours' if ours else type(found).__name__)",
            before=before,
        ).split()
