"""Telling how far a blob has come to whoever shows it."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Report = Callable[[str], None]


class BlobReport(ABC):
    """A taker of progress lines that also shows single blobs; threads call it at any time."""

    @abstractmethod
    def __call__(self, line: str) -> None:
        """Take one of podman's lines; ``Copying blob DIGEST`` begins a blob."""

    @abstractmethod
    def advance(self, digest: str, position: int, total: int) -> None:
        """So many bytes of a blob have come."""

    @abstractmethod
    def finish(self, digest: str) -> None:
        """It is complete and where it belongs."""


def counted(
    report: Report, digest: str, total: int, chunks: Iterable[bytes], position: int = 0
) -> Iterator[bytes]:
    """The same chunks, reported while they pass."""
    for chunk in chunks:
        position += len(chunk)
        if isinstance(report, BlobReport):
            report.advance(digest, position, total)
        yield chunk


def finished(report: Report, digest: str) -> None:
    """Report a blob as complete; a taker of plain lines is told nothing more."""
    if isinstance(report, BlobReport):
        report.finish(digest)
