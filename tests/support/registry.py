"""Registries on loopback: a small one that misbehaves on request, and Debian's docker-registry."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.images import Image, digest

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)\Z")


class Faults:
    """What the small registry does wrong, and what it saw."""

    def __init__(self) -> None:
        self.credentials: tuple[str, str] | None = None
        self.bearer = False
        self.status: dict[str, int] = {}  # digest or tag -> answer with this status
        self.replace: dict[str, bytes] = {}  # digest -> other bytes
        self.cut_after: dict[str, int] = {}  # digest -> close the connection after so many bytes
        self.accept_ranges = True
        self.before_blob: Callable[[str], None] = lambda _: None
        self.requests: list[str] = []
        self.authorizations: list[str] = []  # of manifests and blobs that were sent
        self.agents: set[str] = set()
        self.token = "let-me-in"
        self.tags: list[str] = []
        self.search: list[dict[str, object]] = []
        self.busy: dict[str, int] = {}  # digest or tag -> refuse so many requests for it
        self.busy_status, self.retry_after = 429, "1"
        self.redirect: dict[str, str] = {}  # digest or tag -> another address, or "itself"
        self.trickle: dict[str, int] = {}  # digest -> bytes sent at once
        self.gone = False  # closes every connection without an answer


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    contents: dict[str, tuple[bytes, str]]
    faults: Faults

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass

    def do_GET(self) -> None:
        if self.faults.gone:
            self.close_connection = True
            return
        path = urlsplit(self.path).path
        self.faults.agents.add(self.headers.get("User-Agent", ""))
        self.faults.requests.append(f"{path} {self.headers.get('Range', '')}".strip())
        if path == "/token":
            self._answer(200, json.dumps({"token": self.faults.token}).encode(), "application/json")
        elif not self._authorized():
            self._refuse()
        elif path == "/v2/":
            self._answer(200, b"{}", "application/json")
        elif path == "/v1/search":
            body = json.dumps({"results": self.faults.search}).encode()
            self._answer(200, body, "application/json")
        elif path.endswith("/tags/list"):
            body = json.dumps({"name": "x", "tags": self.faults.tags}).encode()
            self._answer(200, body, "application/json")
        elif match := _PATH.match(path):
            self._serve(match["reference"])
        else:
            self._answer(404, b"", "text/plain")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _authorized(self) -> bool:
        given = self.headers.get("Authorization", "")
        if self.faults.bearer:
            return given == "Bearer let-me-in"
        if self.faults.credentials:
            pair = ":".join(self.faults.credentials).encode()
            return given == f"Basic {base64.b64encode(pair).decode()}"
        return True

    def _refuse(self) -> None:
        host = self.headers["Host"]
        challenge = f'Bearer realm="http://{host}/token",service="test"'
        if not self.faults.bearer:
            challenge = 'Basic realm="test"'
        self._answer(401, b"", "text/plain", {"WWW-Authenticate": challenge})

    def _serve(self, reference: str) -> None:
        self.faults.authorizations.append(self.headers.get("Authorization", ""))
        if self.faults.busy.get(reference):
            self.faults.busy[reference] -= 1
            headers = {"Retry-After": self.faults.retry_after}
            self._answer(self.faults.busy_status, b"", "text/plain", headers)
            return
        if reference in self.faults.redirect:
            target = self.faults.redirect[reference].replace("itself", self.path)
            self._answer(307, b"", "text/plain", {"Location": target})
            return
        if reference in self.faults.status:
            self._answer(self.faults.status[reference], b"", "text/plain")
            return
        if reference not in self.contents:
            body = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            self._answer(404, json.dumps(body).encode(), "application/json")
            return
        data, media_type = self.contents[reference]
        self.faults.before_blob(reference)
        data = self.faults.replace.get(reference, data)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.faults.accept_ranges:
            self._answer(206, data[int(wanted[1]) :], media_type)
        else:
            cut, pieces = self.faults.cut_after.get(reference), self.faults.trickle.get(reference)
            self._answer(200, data, media_type, cut=cut, pieces=pieces or 0)

    def _answer(
        self,
        status: int,
        data: bytes,
        media_type: str,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
        pieces: int = 0,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):  # the client may be killed meanwhile
            for start in range(0, len(data), pieces or max(1, len(data))):
                self.wfile.write(data[:cut][start : start + (pieces or len(data))])
        if cut is not None:
            self.close_connection = True


class SmallRegistry:
    """Serves images by tag and by digest, whatever the repository."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.contents: dict[str, tuple[bytes, str]] = {}
        handler = type("Handler", (_Handler,), {"contents": self.contents, "faults": self.faults})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, tag: str, image: Image) -> None:
        media_type = json.loads(image.manifest)["mediaType"]
        self.contents[tag] = (image.manifest, media_type)
        for key, data in image.blobs.items():
            self.contents[key] = (data, "application/octet-stream")
        self.contents[digest(image.manifest)] = (image.manifest, media_type)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def small_registry() -> Iterator[SmallRegistry]:
    registry = SmallRegistry()
    try:
        yield registry
    finally:
        registry.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# bcrypt of "secret" for the user "me", as htpasswd -B writes it.
_HTPASSWD = "me:$2b$04$x3WsMZyqHgQhTLDJWHOhq.CKvPXZGM1OCMC1TxaOM.u7vqCrjjute\n"


class Certificates:
    """A certificate authority of a test's own, and a server certificate for 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        self.authority, self.key, self.certificate = (
            directory / name for name in ("ca.crt", "server.key", "server.crt")
        )
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]  # fmt: skip
        authority = ["-subj", "/CN=tests", "-keyout", str(directory / "ca.key"), "-out"]
        _run(*request, *authority, str(self.authority))
        server = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        signed = ["-CA", str(self.authority), "-CAkey", str(directory / "ca.key")]
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        _run(*request, *server, *signed, *files, "-addext", "basicConstraints=critical,CA:FALSE")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def debian_registry(
    directory: Path,
    *,
    certificates: Certificates | None = None,
    basic: bool = False,
    token_server: str = "",
) -> Iterator[str]:
    """Debian's docker-registry on a free port; yields its host.

    ``basic`` wants the user "me" with "secret"; ``token_server`` is the address of one that
    signs with the certificates' server key.
    """
    port = free_port()
    config = directory / f"registry-{port}.yml"
    tls = auth = ""
    if certificates is not None:
        tls = f", tls: {{certificate: {certificates.certificate}, key: {certificates.key}}}"
    if basic:
        (directory / "htpasswd").write_text(_HTPASSWD)
        auth = f"auth: {{htpasswd: {{realm: tests, path: {directory}/htpasswd}}}}\n"
    if token_server:
        assert certificates is not None
        auth = (
            f"auth: {{token: {{realm: '{token_server}', service: tests, issuer: tests, "
            f"rootcertbundle: {certificates.certificate}}}}}\n"
        )
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/registry-{port}}}, "
        "delete: {enabled: true}}\n"
        f"{auth}"
        f"http: {{addr: '127.0.0.1:{port}'{tls}}}\n"
        "compatibility: {schema1: {enabled: true}}\n"
    )
    log = (directory / f"registry-{port}.log").open("wb")
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=log
    )
    try:
        _wait_until_listening(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        log.close()


class _TokenHandler(http.server.BaseHTTPRequestHandler):
    """Gives the user "me" with "secret" whatever is asked for, others nothing."""

    certificates: Certificates
    scopes: list[list[str]]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        scopes = query.get("scope", [])
        self.scopes.append(scopes)
        expected = f"Basic {base64.b64encode(b'me:secret').decode()}"
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps({"token": self._token(scopes)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        der = ssl.PEM_cert_to_DER_cert(self.certificates.certificate.read_text())
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {"iss": "tests", "sub": "me", "aud": "tests", "exp": now + 300, "nbf": now - 300,
                  "iat": now, "jti": "1", "access": access}  # fmt: skip
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self.certificates.key)]
        done = subprocess.run(command, input=signed.encode(), check=True, capture_output=True)
        return f"{signed}.{_base64url(_raw_signature(done.stdout))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _raw_signature(der: bytes) -> bytes:
    """The two numbers of an ECDSA signature, out of their DER."""
    first = der[4 : 4 + der[3]]
    rest = der[4 + der[3] :]
    return b"".join(part.lstrip(b"\0").rjust(32, b"\0") for part in (first, rest[2:]))


@contextlib.contextmanager
def token_server(certificates: Certificates) -> Iterator[tuple[str, list[list[str]]]]:
    """A server of tokens; yields its address, and the scopes it was asked for."""
    scopes: list[list[str]] = []
    handler = type("Handler", (_TokenHandler,), {"certificates": certificates, "scopes": scopes})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/token", scopes
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    pause = threading.Event()
    for _ in range(600):
        assert process.poll() is None, "docker-registry ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        pause.wait(0.02)
    raise AssertionError(f"docker-registry does not listen on {port}")
