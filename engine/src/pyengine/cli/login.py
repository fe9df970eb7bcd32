"""login and logout."""

from __future__ import annotations

import os
import sys

import click

from pyengine.cli.goflags import GoFlagsCommand
from pyengine.errors import ConfigError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyengine.engine import Engine
    from pyengine.registry.credentials import Login

    Function = Callable[..., Any]

_COMPATIBLE = click.option(
    "--compat-auth-file", metavar="FILE", help="Docker's config.json, instead of auth.json."
)


def _login_options(function: Function) -> Function:
    """What podman's and skopeo's login have in common."""
    for one in (
        click.option("-v", "--verbose", is_flag=True, help="Say where the login is kept."),
        click.option("-u", "--username", metavar="TEXT", help="User of the registry."),
        click.option("--tls-verify", type=bool, help="Require HTTPS and a valid certificate."),
        click.option("--password-stdin", is_flag=True, help="Read the password from stdin."),
        click.option("-p", "--password", metavar="TEXT", help="Password for the registry."),
        click.option("--get-login", is_flag=True, help="Print the user who is logged in."),
        click.option("--cert-dir", metavar="DIR", help="Where certificates and keys are."),
        _COMPATIBLE,
        click.option("--authfile", metavar="FILE", help="auth.json in another place."),
    ):
        function = one(function)
    return click.argument("registry", required=False)(function)


@click.command(cls=GoFlagsCommand)
@_login_options
@click.option("--secret", metavar="NAME", help="The password is in this secret.")
@click.pass_obj
def login(engine: Engine, /, secret: str | None, **given: Any) -> None:
    """Log into REGISTRY, or into a repository below it, and keep the login."""
    if secret is not None:
        if given["password"] is not None or given["password_stdin"]:
            raise click.UsageError("--secret cannot be used with --password or --password-stdin")
        found = engine.secrets.find(secret)
        given["username"] = given["username"] or found.name
        given["password"] = engine.secrets.data(found).decode()
    _log_in(**given)


@click.command("login", cls=GoFlagsCommand)
@_login_options
def skopeo_login(**given: Any) -> None:
    """Log into REGISTRY, or into a repository below it, and keep the login."""
    _log_in(**given)


def _log_in(
    registry: str | None,
    authfile: str | None,
    compat_auth_file: str | None,
    cert_dir: str | None,
    get_login: bool,
    password: str | None,
    password_stdin: bool,
    tls_verify: bool | None,
    username: str | None,
    verbose: bool,
) -> None:
    from pyengine.images.transports import remote
    from pyengine.registry import credentials, logins
    from pyengine.registry.settings import Access

    key = _key(registry)
    file = _file(authfile, compat_auth_file)
    given = file if file is None or os.path.exists(file) else None
    known = credentials.find(key, given) if file is None or given else None
    if get_login:
        if known is None:
            raise NotFoundError(f"not logged into {key}")
        click.echo(known.user)
        return
    kept = _docker_key(key) if compat_auth_file else key
    entered = _entered(known, username, password, password_stdin, key)
    access = Access(tls_verify=tls_verify, cert_dir=cert_dir, login=entered)
    remote.registry_of(key.partition("/")[0], access).session.check_login()
    logins.store(kept, entered, file)
    if verbose:
        click.echo(f"Used: {file or credentials.write_file()}")
    click.echo("Login Succeeded!")


def _file(authfile: str | None, compatible: str | None) -> str | None:
    if authfile and compatible:
        raise click.UsageError(
            "options for paths to the credential file and to the Docker-compatible credential file "
            "can not be set simultaneously"
        )
    return authfile or compatible


def _docker_key(key: str) -> str:
    """Docker keeps logins of whole registries only, and that of its own under an address."""
    from pyengine.registry import credentials

    if "/" in key:
        raise ConfigError(
            f"{key}: in a Docker-compatible file a login is for a whole registry, without a path"
        )
    return credentials.HUB_KEY if key == "docker.io" else key


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


def _logout_options(function: Function) -> Function:
    for one in (
        click.option("--authfile", metavar="FILE", help="auth.json in another place."),
        _COMPATIBLE,
        click.option("-a", "--all", "everything", is_flag=True, help="Every login of the file."),
    ):
        function = one(function)
    return click.argument("registry", required=False)(function)


@click.command()
@_logout_options
def logout(**given: Any) -> None:
    """Forget the login to REGISTRY."""
    _log_out(**given)


@click.command("logout")
@_logout_options
@click.option("--tls-verify", type=bool, help="For skopeo's sake: no registry is asked.")
def skopeo_logout(tls_verify: bool | None, **given: Any) -> None:
    """Forget the login to REGISTRY."""
    del tls_verify
    _log_out(**given)


def _log_out(
    registry: str | None, everything: bool, authfile: str | None, compat_auth_file: str | None
) -> None:
    from pyengine.registry import logins

    file = _file(authfile, compat_auth_file)
    if everything:
        if registry:
            raise click.UsageError("--all takes no registry")
        logins.remove_all(file)
        click.echo("Removed login credentials for all registries")
        return
    key = _key(registry)
    logins.remove(_docker_key(key) if compat_auth_file else key, file)
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
