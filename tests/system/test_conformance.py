"""pyrun against the runtime specification, by the suite that anyone can run on any runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


@pytest.mark.needs("root", "busybox")
@pytest.mark.timeout(900)  # 350 containers: 40 s here, minutes on a machine that is busy
def test_pyrun_meets_every_requirement_of_the_suite(pyrun_path: str, tmp_path: Path) -> None:
    table, results = tmp_path / "table.md", tmp_path / "results.json"
    command = [sys.executable, str(TOP / "spec-conformance/run"), "--runtime", pyrun_path]
    done = subprocess.run(
        [*command, "--markdown", str(table), "--json", str(results)],
        check=False,
        capture_output=True,
        text=True,
    )
    found = json.loads(results.read_text()) if results.exists() else {}
    assert found, done.stderr
    failed = {
        one["name"]: one["results"][pyrun_path]["reason"]
        for one in found["requirements"]
        if one["results"][pyrun_path]["result"] == "FAIL"
    }
    assert failed == {}
    assert done.returncode == 0
    passed = found["runtimes"][pyrun_path]["pass"]
    assert passed >= 260, f"only {passed} requirements could be decided on this machine"
