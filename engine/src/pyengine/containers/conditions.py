"""Waits for a container to be in some state, which may be any (``wait --condition``)."""

from __future__ import annotations

import time

from pyengine.containers import record, supervising
from pyengine.containers.filters import SHOWN_STATUS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pyengine.containers.host import Host


def wait_for(
    host: Host, ids: Sequence[str], conditions: Collection[str], interval_s: float
) -> tuple[str, bool]:
    """Look again and again until one holds for one container: its id, and whether it is its end.

    Nobody tells of most of these changes, so this is the one place that polls.

    Raises:
        NotFoundError: one was removed meanwhile, and that was not waited for.
    """
    wanted = {SHOWN_STATUS.get(word, word) for word in conditions}
    while True:
        for id_ in ids:
            container = record.by_id(host, id_)
            if container is None:
                if wanted & {"exited", "removing"}:
                    return id_, "exited" in wanted
                raise record.missing(id_)
            status = record.observe(host, container).status
            if status in wanted:
                return id_, status == "exited"
            health = supervising.health(host, container)
            if health and health["Status"] in wanted:
                return id_, False
        time.sleep(interval_s)
