"""Docker's daemon: images out of it and into it, over its API (save and load)."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import urllib.parse

from pyengine.errors import ConfigError, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

DEFAULT_HOST = "unix:///var/run/docker.sock"
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 600
_MAX_MESSAGE_BYTES = 1 << 16


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """As in the base class."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


class Daemon:
    """One daemon.

    Attributes:
        host: its address, for messages.
    """

    def __init__(self, host: str | None, cert_dir: str | None) -> None:
        """Understand the address.

        Args:
            host: ``unix:///path``, ``http://host:port``, or ``https://`` and ``tcp://``, which is
                the same; None for ``DOCKER_HOST``, where tcp is plain unless
                ``DOCKER_TLS_VERIFY`` is set, or for the usual socket.
            cert_dir: with ca.pem, cert.pem and key.pem, for https.

        Raises:
            ConfigError: it is no address.
        """
        plain = "" if os.environ.get("DOCKER_TLS_VERIFY") else "tcp://"
        told = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        if plain and told.startswith(plain):
            told = f"http://{told.removeprefix(plain)}"
        self.host = host or told
        self._cert_dir = cert_dir
        self._url = urllib.parse.urlsplit(self.host)
        if self._url.scheme not in ("unix", "tcp", "http", "https"):
            raise ConfigError(
                f"docker daemon {self.host}: an address begins with unix://, tcp://, http:// or "
                "https://"
            )

    def save(self, name: str, file: IO[bytes]) -> None:
        """Write the archive of an image into a file.

        Raises:
            RegistryError: the daemon does not answer, or has no such image.
        """
        what = f"reading image {name} from docker daemon {self.host}"
        for chunk in self._call("GET", f"/images/{urllib.parse.quote(name)}/get", what, None, 0):
            file.write(chunk)

    def load(self, file: IO[bytes]) -> None:
        """Give the daemon an archive.

        Raises:
            RegistryError: the daemon does not answer, or does not take it.
        """
        what = f"loading an image into docker daemon {self.host}"
        size = os.fstat(file.fileno()).st_size
        said = b"".join(self._call("POST", "/images/load?quiet=1", what, file, size))
        for line in said.splitlines():
            try:
                message = json.loads(line)
            except ValueError as error:
                raise RegistryError(f"{what}: it answers {line[:200]!r}") from error
            if isinstance(message, dict) and message.get("error"):
                raise RegistryError(f"{what}: {message['error']}")

    def _call(
        self, method: str, path: str, what: str, body: IO[bytes] | None, size: int
    ) -> Iterator[bytes]:
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)} if body else {}
        connection = self._connection()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            if response.status != 200:
                raise RegistryError(f"{what}: {_refusal(response)}")
            while chunk := response.read(_CHUNK_BYTES):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or error
            raise RegistryError(f"{what}: {reason}", transient=True) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._url.scheme == "unix":
            return _UnixConnection(self._url.path)
        address = self._url.netloc
        if self._url.scheme in ("https", "tcp"):
            return http.client.HTTPSConnection(
                address, timeout=_TIMEOUT_S, context=_context(self._cert_dir)
            )
        return http.client.HTTPConnection(address, timeout=_TIMEOUT_S)


def _context(directory: str | None) -> ssl.SSLContext:
    """Docker's names for certificates."""
    context = ssl.create_default_context()
    if directory is None:
        return context
    try:
        context.load_verify_locations(f"{directory}/ca.pem")
        if os.path.exists(f"{directory}/cert.pem"):
            context.load_cert_chain(f"{directory}/cert.pem", f"{directory}/key.pem")
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise ConfigError(f"use certificates in {directory}: {reason}") from error
    return context


def _refusal(response: http.client.HTTPResponse) -> str:
    data = response.read(_MAX_MESSAGE_BYTES)
    try:
        return f"{json.loads(data)['message']} (HTTP status {response.status})"
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {response.status}"
