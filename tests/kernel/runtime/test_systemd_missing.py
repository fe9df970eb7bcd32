"""``--systemd-cgroup`` where no systemd answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.needs("root")
@pytest.mark.skipif(os.path.exists("/run/systemd/private"), reason="systemd runs here")
def test_a_missing_systemd_is_told_with_its_socket_and_what_to_do(
    pyrun_path: str, tmp_path: Path
) -> None:
    (tmp_path / "rootfs").mkdir()
    subprocess.run([pyrun_path, "spec"], cwd=tmp_path, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"]["terminal"] = False
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = tmp_path / "state"
    done = subprocess.run(
        [pyrun_path, "--root", str(state), "--systemd-cgroup", "create", "no-systemd"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "/run/systemd/private: No such file or directory" in done.stderr
    assert "use --cgroup-manager cgroupfs" in done.stderr
    assert list(state.iterdir()) == []
