"""Starts the confined child of ``unpack.py`` and speaks with it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys

from pyengine.errors import ArchiveError, StorageError
from pyengine.storage import overlay, user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PIPE_BYTES = 1 << 20


class Unpacked:
    """What the child read: the sha256 of the uncompressed tar, and its size in bytes."""

    __slots__ = ("diff_id", "size", "skipped_attributes")

    def __init__(self, diff_id: str, size: int, skipped_attributes: int) -> None:
        self.diff_id = diff_id
        self.size = size
        self.skipped_attributes = skipped_attributes


class Extract:
    """How ``extracting.py`` adds files.

    Attributes:
        owner: user and group of everything, or None for the archive's own.
        id_maps: of the container whose ids the archive and ``owner`` have.
        overwrite: whether a directory and something else may replace one another.
    """

    __slots__ = ("id_maps", "overwrite", "owner")

    def __init__(
        self,
        owner: tuple[int, int] | None = None,
        *,
        overwrite: bool = False,
        id_maps: overlay.IdMaps | None = None,
    ) -> None:
        self.owner, self.overwrite, self.id_maps = owner, overwrite, id_maps


class Unpacking:
    """One layer on its way from compressed bytes to a directory. Ends in finish or abort."""

    def __init__(self, directory: str, label: str, extract: Extract | None = None) -> None:
        """Start the child.

        Args:
            directory: exists, is empty, and becomes the layer.
            label: names the layer in messages.
            extract: not to make a layer of the directory, but to add files to it.
        """
        self._label = label
        call = f"{overlay.in_user_namespace()!r}, {user_namespace.is_single()!r}"
        module = "unpack" if extract is None else "extracting"
        if extract is not None:
            call += f", {extract.owner!r}, {extract.overwrite!r}, {extract.id_maps!r}"
        packages = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        paths = [packages, *(path for path in sys.path if path.endswith("-packages"))]
        script = (
            f"import sys; sys.path += {paths!r}; from pyengine.storage import {module}; "
            f"{module}.main({call})"
        )
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=directory,
            env={},
            start_new_session=True,  # a terminal's ^C is for pyengine, which ends the child
        )
        assert self._child.stdin is not None
        self._input_fd = self._child.stdin.fileno()
        try:
            fcntl.fcntl(self._input_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError:
            return  # an ordinary user's pipes may be limited: smaller ones work as well

    def feed(self, data: bytes) -> None:
        """Give the next compressed bytes; a child that already failed says so in ``finish``."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._input_fd, view) :]
        except BrokenPipeError:
            return

    def take(self, chunks: Iterable[bytes]) -> Unpacked:
        """Feed it everything and finish; what interrupts that ends the child.

        Raises:
            ArchiveError: the layer is broken or not allowed.
            StorageError: it could not be written; or what ``chunks`` raises.
        """
        try:
            for chunk in chunks:
                self.feed(chunk)
        except BaseException:
            self.abort()
            raise
        return self.finish()

    def finish(self) -> Unpacked:
        """Wait for the child to end.

        Raises:
            ArchiveError: the layer is broken or not allowed.
            StorageError: it could not be written.
        """
        with self._child:
            answer, _ = self._child.communicate()
        if not answer:
            raise StorageError(
                f"unpack {self._label}: the unpacking process ended with {self._child.returncode}"
            )
        result = json.loads(answer)
        if "broken" in result:
            raise ArchiveError(f"unpack {self._label}: {result['broken']}")
        if "failed" in result:
            raise StorageError(f"unpack {self._label}: {result['failed']}")
        return Unpacked(result["diff_id"], result["size"], result["skipped_attributes"])

    def kill(self) -> None:
        """Kill the child from another thread, which is not waited for."""
        self._child.kill()

    def abort(self) -> None:
        """Kill the child and wait for its end; what it wrote stays in the staging directory."""
        self._child.kill()
        if self._child.stdin is not None:
            self._child.stdin.close()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._child.wait()
