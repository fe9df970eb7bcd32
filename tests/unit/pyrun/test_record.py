"""The recorder of system calls where it cannot work."""

from __future__ import annotations

import sys

import pytest

from pyrun.container import record
from pyrun.errors import ContainerError


def test_a_missing_python_ptrace_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pyrun.linux.tracer", raising=False)
    monkeypatch.setitem(sys.modules, "ptrace.binding", None)
    config = {"annotations": {"io.containers.trace-syscall": "of:/tmp/never-written"}}
    with pytest.raises(
        ContainerError, match=r"package ptrace\.binding is missing: .*pyrun\[record"
    ):
        record.begin(config, {}, 1, first=True)
