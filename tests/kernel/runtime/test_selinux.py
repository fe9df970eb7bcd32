"""SELinux labels where the kernel has SELinux (the guest of tools/vm) and the tests' own policy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.bundle import Bundle
from support.runtime import Runtime
from support.selinux_policy import CLOSED, FILES, PROCESS

pytestmark = pytest.mark.needs("root", "busybox", "selinux")

SHOW = "cat /proc/self/attr/current; echo x >/own/mine && echo wrote; echo x >/host/any && echo bad"
# keyctl(2): KEYCTL_GET_SECURITY of the session keyring
KEYRING_LABEL = """
import ctypes
text = ctypes.create_string_buffer(200)
if ctypes.CDLL(None, use_errno=True).syscall(250, 17, -3, text, 200) < 0:
    raise OSError(ctypes.get_errno(), "keyctl")
print(text.value.decode())
"""


def level(label: str, categories: str) -> str:
    return f"{label}:{categories}"


def label_of(path: str) -> str:
    return os.getxattr(path, "security.selinux").rstrip(b"\0").decode()


@pytest.fixture
def confined(bundle: Bundle, tmp_path: Path) -> Bundle:
    """A container with both labels, files of its own in /own and of the host in /host."""
    bundle.process["selinuxLabel"] = level(PROCESS, "c1,c2")
    bundle.linux["mountLabel"] = level(FILES, "c1,c2")
    bundle.mount("/own", type="tmpfs", source="tmpfs")
    for folder in (bundle.rootfs / "own", bundle.rootfs / "host", tmp_path / "host"):
        folder.mkdir()
    bundle.mount("/host", type="bind", source=str(tmp_path / "host"), options=["bind", "rw"])
    return bundle


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_program_is_confined_by_its_label(
    pyrun: Runtime, confined: Bundle, no_new_privileges: bool
) -> None:
    confined.process["noNewPrivileges"] = no_new_privileges
    confined.shell(f"{SHOW}; true")
    done = pyrun.run(confined)
    assert done.stdout.replace("\0", "\n").split() == [level(PROCESS, "c1,c2"), "wrote"], done
    assert "can't create /host/any: Permission denied" in done.stderr


def test_categories_keep_a_container_from_the_files_of_another(
    pyrun: Runtime, confined: Bundle
) -> None:
    confined.linux["mountLabel"] = level(FILES, "c1,c3")
    confined.shell(SHOW)
    done = pyrun.run(confined)
    assert "wrote" not in done.stdout
    assert "can't create /own/mine: Permission denied" in done.stderr


def test_exec_has_the_label_of_the_container_or_its_own(pyrun: Runtime, confined: Bundle) -> None:
    confined.process["args"] = ["sleep", "1000"]
    name = pyrun.start(confined)
    words = ("cat", "/proc/self/attr/current")
    shown = pyrun.call("exec", name, *words).stdout
    assert shown.rstrip("\0\n") == level(PROCESS, "c1,c2")
    other = level(PROCESS, "c7,c8")
    shown = pyrun.call("exec", "--process-label", other, name, *words).stdout
    assert shown.rstrip("\0\n") == other
    done = pyrun.call("exec", "--process-label", "nonsense", name, *words)
    assert (done.returncode, done.stdout) == (255, "")
    assert "set the SELinux label nonsense" in done.stderr


def test_every_file_system_of_the_container_has_the_mount_label(
    pyrun: Runtime, confined: Bundle
) -> None:
    confined.linux["maskedPaths"] = ["/proc/irq"]
    confined.process["args"] = ["sleep", "1000"]
    pid = pyrun.state(pyrun.start(confined))["pid"]
    for path in ("dev", "dev/shm", "dev/pts", "dev/mqueue", "own", "proc/irq"):
        assert (path, label_of(f"/proc/{pid}/root/{path}")) == (path, level(FILES, "c1,c2"))
    for path in ("host", "bin"):  # what was there before keeps its label
        assert label_of(f"/proc/{pid}/root/{path}") != level(FILES, "c1,c2")


def test_an_annotation_of_crun_says_which_context_the_label_is(
    pyrun: Runtime, confined: Bundle
) -> None:
    confined.config["annotations"] = {"run.oci.mount_context_type": "rootcontext"}
    confined.shell("grep -o 'rootcontext=.*' /proc/self/mountinfo | grep -c container_file_t")
    assert int(pyrun.output(confined)) > 2


def test_the_session_keyring_belongs_to_the_label(pyrun: Runtime, confined: Bundle) -> None:
    confined.host_python()
    confined.process["args"] = ["/usr/bin/python3", "-c", KEYRING_LABEL]
    assert pyrun.output(confined) == level(PROCESS, "c1,c2")


def test_a_user_namespace_goes_with_labels(pyrun: Runtime, confined: Bundle) -> None:
    confined.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        confined.linux[kind] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    os.chmod(confined.path.parent, 0o755)
    confined.shell(f"{SHOW}; true")
    done = pyrun.run(confined)
    assert done.stdout.replace("\0", "\n").split() == [level(PROCESS, "c1,c2"), "wrote"], done


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: one.process.update(selinuxLabel="nonsense"), "set the SELinux label nonsense"),
        (lambda one: one.process.update(selinuxLabel=CLOSED), "permission denied"),
        (lambda one: one.linux.update(mountLabel="nonsense"), "mount tmpfs on /dev"),
    ],
    ids=["unknown to the policy", "not allowed by the policy", "unknown mount label"],
)
def test_a_label_that_cannot_be_set_is_an_error(
    pyrun: Runtime, confined: Bundle, change: Callable[[Bundle], None], words: str
) -> None:
    change(confined)
    confined.shell("echo ran")
    done = pyrun.run(confined)
    assert done.returncode != 0
    assert done.stdout == ""
    assert words in done.stderr
    assert pyrun.left(pyrun.ids[-1]) == []
