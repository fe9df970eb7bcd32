"""Every command: where it is and its line of help, so that ``--help`` imports none of them."""

from __future__ import annotations

# name: ("module:attribute", one line of help)
Table = dict[str, tuple[str, str]]

COMMANDS: Table = {
    "version": ("pyengine.cli.system:version", "Display the pyengine version information"),
}

# The commands below a noun; the noun itself has a line without a module above.
GROUPS: dict[str, Table] = {}
