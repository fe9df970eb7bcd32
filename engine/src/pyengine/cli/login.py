"""login and logout."""

from __future__ import annotations

import os
import sys

import click

from pyengine.cli.goflags import GoFlagsCommand
from pyengine.errors import ConfigError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyengine.registry.credentials import Login


@click.command(cls=GoFlagsCommand)
@click.option("--authfile", metavar="FILE", help="auth.json in another place.")
@click.option("--cert-dir", metavar="DIR", help="Where certificates and keys are.")
@click.option("--get-login", is_flag=True, help="Print the user who is logged in.")
@click.option("-p", "--password", metavar="TEXT", help="Password for the registry.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--tls-verify", type=bool, help="Require HTTPS and a valid certificate.")
@click.option("-u", "--username", metavar="TEXT", help="User of the registry.")
@click.option("-v", "--verbose", is_flag=True, help="Say where the login is kept.")
@click.argument("registry", required=False)
def login(
    registry: str | None,
    authfile: str | None,
    cert_dir: str | None,
    get_login: bool,
    password: str | None,
    password_stdin: bool,
    tls_verify: bool | None,
    username: str | None,
    verbose: bool,
) -> None:
    """Log into REGISTRY, or into a repository below it, and keep the login."""
    from pyengine.images.transports import remote
    from pyengine.registry import credentials, logins
    from pyengine.registry.settings import Access

    key = _key(registry)
    given = authfile if authfile is None or os.path.exists(authfile) else None
    known = credentials.find(key, given) if authfile is None or given else None
    if get_login:
        if known is None:
            raise NotFoundError(f"not logged into {key}")
        click.echo(known.user)
        return
    entered = _entered(known, username, password, password_stdin, key)
    access = Access(tls_verify=tls_verify, cert_dir=cert_dir, login=entered)
    remote.registry_of(key.partition("/")[0], access).session.check_login()
    logins.store(key, entered, authfile)
    if verbose:
        click.echo(f"Used: {authfile or credentials.write_file()}")
    click.echo("Login Succeeded!")


def _entered(
    known: Login | None, username: str | None, password: str | None, from_stdin: bool, key: str
) -> Login:
    """The login from options, standard input, a terminal, or what is known already."""
    from pyengine.registry.credentials import Login

    if from_stdin:
        if password is not None:
            raise click.UsageError("Can't specify both --password-stdin and --password")
        if not username:
            raise click.UsageError("Must provide --username with --password-stdin")
        return Login(username, sys.stdin.read().rstrip("\r\n"))
    if known is not None and username is None and password is None and not known.token:
        click.echo(f"Authenticating with existing credentials for {key}")
        return known
    if not os.isatty(0) and (username is None or password is None):
        raise ConfigError(
            f"login {key}: no terminal to ask on: give --username, and --password or "
            "--password-stdin"
        )
    username = username if username is not None else click.prompt("Username")
    if password is None:
        password = click.prompt("Password", hide_input=True)
    return Login(username, password)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Every login of the file.")
@click.option("--authfile", metavar="FILE", help="auth.json in another place.")
@click.argument("registry", required=False)
def logout(registry: str | None, everything: bool, authfile: str | None) -> None:
    """Forget the login to REGISTRY."""
    from pyengine.registry import logins

    if everything:
        if registry:
            raise click.UsageError("--all takes no registry")
        logins.remove_all(authfile)
        click.echo("Removed login credentials for all registries")
        return
    key = _key(registry)
    logins.remove(key, authfile)
    click.echo(f"Removed login credentials for {key}")


def _key(registry: str | None) -> str:
    """What was named, without a scheme; or the first registry that is searched."""
    from pyengine.registry import registries_conf

    if registry:
        if registry.startswith(("https://", "http://")):
            return registry.partition("//")[2].partition("/")[0]
        return registry.rstrip("/")
    search = registries_conf.load().search
    if not search:
        raise click.UsageError("please provide a registry to log into")
    return search[0]
