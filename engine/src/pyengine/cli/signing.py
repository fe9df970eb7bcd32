"""The options that say who signs what is written, under podman's and skopeo's names."""

from __future__ import annotations

import os

import click

from pyengine.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.images.trust.signing import Signing

    Function = Callable[..., Any]

_KEYS = ("sign_by", "sign_by_sigstore", "sign_by_sigstore_private_key", "sign_passphrase_file")
_OPTIONS = (
    click.option("--sign-by", metavar="KEY", help="Sign with this key of gpg."),
    click.option("--sign-by-sigstore", metavar="FILE",
                 help="Sign as a file of sigstore parameters says."),
    click.option("--sign-by-sigstore-private-key", metavar="FILE",
                 help="Sign with this sigstore private key."),
    click.option("--sign-passphrase-file", metavar="FILE", help="Holds the key's passphrase."),
)  # fmt: skip


def options(function: Function) -> Function:
    """``--sign-by`` and its relatives."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


def make(values: dict[str, Any], name: str | None = None) -> Signing:
    """Take those options out of ``values``; ``name`` is that of ``--sign-identity``."""
    from pyengine.images.trust.signing import Signing

    key, parameters, private_key, passphrase_file = (values.pop(one) for one in _KEYS)
    return Signing(
        key=key,
        passphrase_file=passphrase_file,
        private_key=private_key,
        parameters=parameters,
        name=name,
        ask=ask_passphrase,
    )


def ask_passphrase(key: str) -> str:
    """A key's passphrase, from the terminal.

    Raises:
        ConfigError: there is none.
    """
    if not os.isatty(0):
        raise ConfigError(
            f"private key {key}: no terminal to ask for its passphrase on; use a passphrase file"
        )
    answer: str = click.prompt(
        f"Passphrase for key {key}", hide_input=True, default="", show_default=False, err=True
    )
    return answer
