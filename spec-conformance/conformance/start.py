"""What the two scripts beside this package do first; nothing here runs when tests import it."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parents[2] / ".venv"


def with_click() -> None:
    """Start the script again with the checkout's Python when this one lacks click."""
    if importlib.util.find_spec("click"):
        return
    python = VENV / "bin" / "python3"
    if Path(sys.prefix).resolve() != VENV.resolve() and os.access(python, os.X_OK):
        os.execv(python, [str(python), *sys.argv])
    sys.exit(f"{sys.argv[0]}: needs the Python package click: run tools/setup, or install it")


def end_with_reader() -> None:
    """End like any other command when what reads our output goes away (``run … | head``)."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
