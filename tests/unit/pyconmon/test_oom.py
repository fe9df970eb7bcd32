from __future__ import annotations

import os
from pathlib import Path

from pyconmon import loop, oom


def test_a_cgroup_that_has_gone_is_no_longer_watched(tmp_path: Path) -> None:
    """The resident program would try to watch what is closed."""
    the_loop = loop.Loop()
    read_fd, write_fd = os.pipe()  # like such a file, it cannot be read at an offset
    watch = oom.WatchV2(the_loop, str(tmp_path), lambda: None, read_fd)
    assert watch.state() == (read_fd, str(tmp_path), 0)
    watch.check()
    assert watch.state() is None
    assert not the_loop.watches(read_fd)
    watch.check()
    os.close(write_fd)
