"""pyrun against the runtime specification, by the suite that anyone can run on any runtime."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.beside import Done

TOP = Path(__file__).resolve().parents[2]
PYRUN = Path(sys.executable).parent / "pyrun"


@pytest.mark.needs("root", "busybox")
@pytest.mark.timeout(6000)  # 350 containers: 40 s here, minutes on a machine that is busy
@pytest.mark.beside(sys.executable, TOP / "spec-conformance/run", "--runtime", PYRUN,
                    "--markdown", "table.md", "--json", "results.json")  # fmt: skip
def test_pyrun_meets_every_requirement_of_the_suite(done: Done) -> None:
    results = done.directory / "results.json"
    found = json.loads(results.read_text()) if results.exists() else {}
    assert found, done.output
    failed = {
        one["name"]: one["results"][str(PYRUN)]["reason"]
        for one in found["requirements"]
        if one["results"][str(PYRUN)]["result"] == "FAIL"
    }
    assert failed == {}
    assert done.status == 0
    passed = found["runtimes"][str(PYRUN)]["pass"]
    assert passed >= 260, f"only {passed} requirements could be decided on this machine"
