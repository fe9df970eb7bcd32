"""Containers of an ordinary user."""

from __future__ import annotations

import pwd
from collections.abc import Iterator

import pytest

from support.containers import IMAGE
from support.rootless import FIRST_ID, USER, OrdinaryRoot, ordinary_home, require_open

pytestmark = pytest.mark.needs("root", "userns", "newuidmap", "busybox")


@pytest.fixture(scope="module")
def module_user(pyengine_path: str) -> Iterator[OrdinaryRoot]:
    """A root for the containers of this module, with the busybox image."""
    require_open(pyengine_path)
    with ordinary_home() as home:
        root = OrdinaryRoot(pyengine_path, home, 65_536)
        root.load_image()
        yield root


@pytest.fixture
def box(module_user: OrdinaryRoot) -> Iterator[OrdinaryRoot]:
    """The module's root, without containers at the end of each test."""
    yield module_user
    module_user.remove_everything()
    assert module_user.settled() == []


def test_a_container_of_a_user_is_root_of_his_ids(box: OrdinaryRoot) -> None:
    lines = box.sh("id -u; cat /proc/self/uid_map; stat -c %u /etc/passwd /dev/null").split()
    own = str(pwd.getpwnam(USER).pw_uid)
    assert lines == ["0", "0", own, "1", "1", str(FIRST_ID), "65536", "0", "65534"]
    assert box.call("run", "--rm", IMAGE, "sh", "-c", "exit 7").returncode == 7
    message = box.fails("run", "--rm", IMAGE, "/nosuch", status=127)
    assert "/nosuch" in message
