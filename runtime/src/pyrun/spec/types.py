"""The shapes of config.json and state.json, for the type checker only; never imported at run time.

The specification's objects have too many optional members for one class each to help: a
``JsonObject`` has been checked by ``validate``, and is read with the specification's names.
"""

from __future__ import annotations

from typing import Any, TypedDict  # noqa: TID253 - never imported at run time

JsonObject = dict[str, Any]


class State(TypedDict, total=False):
    """state.json below --root: what later commands must know."""

    ociVersion: str
    id: str
    stage: str  # creating, or created
    pid: int  # 0 while creating
    pid_start: int  # the start time of /proc/PID/stat: another process may get the number
    bundle: str
    rootfs: str
    created: str
    owner: str
    annotations: dict[str, str]
    cgroup: JsonObject | None  # cgroups.Manager.record()
    own_pid_namespace: bool
    program: bool  # whether config.json has a process, which start needs
    hooks: JsonObject  # poststart and poststop, for start and delete
    resctrl: JsonObject  # resctrl.Group.record()
    recorder: list[int]  # process id and start time of container/record.py's
    host_mounts: list[str] | None  # without a mount namespace: what was below the root before
