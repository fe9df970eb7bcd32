"""The configuration that a command line comes to, without a container."""

from __future__ import annotations

from pyengine.cli import quick, run
from pyengine.containers.configure import configure
from pyengine.specgen.types import ContainerConfig


def configured(line: str, image: dict[str, object] | None = None) -> ContainerConfig:
    """The configuration of ``create LINE image true``."""
    values = quick.Call(["create", *line.split(" "), "image", "true"]).values
    return configure(run.make_options({}, **values), "0123", "image", image or {})
