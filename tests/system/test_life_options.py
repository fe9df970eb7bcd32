"""How run's options choose the image, what is attached, and what is removed afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.containers import IMAGE, ContainerRoot
from support.images import busybox_image
from support.registry import small_registry
from support.waiting import wait_for

pytestmark = pytest.mark.needs("root", "busybox")


def test_only_the_streams_that_are_named_are_attached(box: ContainerRoot) -> None:
    script = ("sh", "-c", "echo out; echo err >&2; cat")
    done = box.call("run", "--rm", "-a", "stderr", IMAGE, *script)
    assert (done.stdout, done.stderr) == ("", "err\n")
    done = box.call("run", "--rm", "-i", "-a", "stdin,STDOUT", IMAGE, *script, stdin=b"in")
    assert (done.stdout, done.stderr) == ("out\nin", "")
    assert 'invalid stream "x" for --attach' in box.fails("run", "-a", "x", IMAGE, "true")
    error = box.fails("run", "-d", "-a", "stdin", IMAGE, "true")
    assert "--attach and --detach cannot be set together" in error


def test_images_are_pulled_as_the_options_say(box: ContainerRoot, tmp_path: Path) -> None:
    with small_registry() as registry:
        registry.add("1", busybox_image(Labels={"of": "life"}))
        name = f"{registry.host}/life:1"
        (tmp_path / "auth.json").write_text("not JSON")
        error = box.fails("run", "--rm", "--authfile", tmp_path / "auth.json", name, "true")
        assert str(tmp_path / "auth.json") in error
        assert "https" in box.fails("run", "--rm", "--tls-verify", name, "true").lower()
        done = box.call("run", "--rm", "-q", "--tls-verify=false", name, "echo", "pulled")
        assert (done.stdout, done.stderr) == ("pulled\n", "")
        asked = len(registry.faults.requests)
        box.ok("run", "--rm", "-q", "--pull", "newer", name, "true")
        assert len(registry.faults.requests) > asked
        error = box.fails("run", "--pull", "never", "--arch", "s390x", name, "true")
        assert "image not known for linux/s390x" in error
        error = box.fails("run", "--platform", "linux/s390x", "--arch", "arm64", name, "true")
        assert "can not be specified with --arch or --os" in error
        # The image stays for as long as somebody needs it.
        keeper = box.ok("create", name, "true").strip()
        box.ok("run", "--rmi", name, "true")
        box.ok("image", "exists", name)
        box.ok("rm", keeper)
        box.ok("run", "--rmi", name, "true")
        assert box.call("image", "exists", name).returncode == 1
        box.ok("run", "-d", "--rmi", "-q", name, "true")
        wait_for(lambda: box.call("image", "exists", name).returncode == 1, "its removal")
    assert json.loads(box.ok("ps", "-a", "--format", "json")) == []
