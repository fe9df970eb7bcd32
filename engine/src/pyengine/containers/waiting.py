"""The exit code of a container whose end is waited for, whoever recorded it."""

from __future__ import annotations

from pyengine.containers import record, stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.containers.host import Host


def answer(host: Host, id_: str, ended: bool) -> int:
    """The exit code of the container that ``wait_for`` answered with; -1 where it has not ended."""
    if not ended:
        return -1
    container = record.by_id(host, id_)
    return code_of_end(host, container) if container else _kept_exit_code(host, id_)


def code_of_end(host: Host, container: record.Container) -> int:
    """Wait until a container has ended; the answer is its exit code."""
    if not container.live:
        return container.exit_code or 0
    ended, how = stopping.wait(host, container, None)
    assert ended
    if how is not None:
        if how.from_kernel:  # nobody else has seen it
            from pyengine.containers import ending

            ending.finish(host, container.id, how)
        return how.code
    return _kept_exit_code(host, container.id)


def _kept_exit_code(host: Host, id_: str) -> int:
    kept = record.by_id(host, id_)
    if kept:
        code = kept.exit_code
    else:
        from pyengine.containers import ending

        code = ending.recent_exit_code(host, id_)
    return record.UNKNOWN_EXIT_CODE if code is None else code
