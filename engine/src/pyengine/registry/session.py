"""HTTP with one registry: where it is, tokens, retries. The only module that imports urllib3."""

from __future__ import annotations

import email.utils
import ipaddress
import re
import threading
import time

import urllib3

from pyengine import log
from pyengine.errors import RegistryError
from pyengine.registry.settings import Access, tls_context
from pyengine.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pyengine.registry.credentials import Login

    Body = bytes | Iterable[bytes] | None

_AGENT = f"pyengine/{VERSION}"
MAX_BODY_BYTES = 4 << 20
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 15.0, 60.0
_HUB_HOST = "registry-1.docker.io"
_CHALLENGE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

_BUSY = (429, 500, 502, 503, 504)
_ATTEMPTS = 4
_MAX_PAUSE_S = 60.0
_FIRST_PAUSE_S = 0.2
_REDIRECTS = 5


class Session:
    """One registry; any number of threads may use it at once."""

    def __init__(self, host: str, access: Access, login: Login | None = None) -> None:
        """Prepare; nothing is sent yet.

        Args:
            host: as in an image's name, with the port if there is one.
            access: ``tls_verify`` None means True, except that plain HTTP is fine on this
                machine's own addresses.
            login: credentials, sent only when asked for.

        Raises:
            ConfigError: a certificate cannot be used.
        """
        self.host = host
        self._address = _HUB_HOST if host == "docker.io" else host
        self._plain_allowed = access.tls_verify is False or (
            access.tls_verify is None and _is_loopback(host)
        )
        self._login = login
        self._bearer = access.bearer
        self._agent = " ".join(filter(None, (access.agent, _AGENT)))
        self._tokens: dict[str, dict[str, str]] = {}
        self._base: str | None = None
        self._lock, self._token_lock = threading.Lock(), threading.Lock()
        self._pool = _pool(host, access)

    def request(
        self,
        method: str,
        url: str,
        what: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        accept: tuple[int, ...] = (),
    ) -> urllib3.BaseHTTPResponse:
        """An answer with a status below 300 or in ``accept``, whose body is not read yet.

        Args:
            method: of HTTP.
            url: below the registry's base address, or a whole one of an upload.
            what: begins the messages, such as ``reading manifest``.
            scope: what a token must allow, such as ``repository:a/b:pull``, words separated.
            headers: beside those of authorization.
            body: to send; one that is not bytes can be sent once only.
            accept: further statuses that are answers.

        Raises:
            RegistryError: anything else.
        """
        if not url.startswith(("http://", "https://")):
            url = f"{self.base()}{url}"
        again = body is None or isinstance(body, bytes)
        tried_to_authorize = False
        for attempt in range(_ATTEMPTS):
            authorization = self._authorization(url, scope)
            sent = {**(headers or {}), **authorization}
            response = self._send(method, url, what, sent, body)
            if response.status == 401 and not tried_to_authorize and again:
                challenge = response.headers.get("WWW-Authenticate", "")
                discard(response)
                with self._token_lock:
                    if self._authorization(url, scope) in ({}, authorization):  # nobody else did
                        self._authorize(challenge, what, scope)
                tried_to_authorize = True
                sent = {**(headers or {}), **self._authorization(url, scope)}
                response = self._send(method, url, what, sent, body)
            if response.status < 300 or response.status in accept:
                return response
            if response.status not in _BUSY or attempt == _ATTEMPTS - 1 or not again:
                break
            pause_s = _pause_s(response, attempt)
            discard(response)
            log.debug(f"{what}: HTTP status {response.status}, again in {pause_s:.1f} s")
            time.sleep(pause_s)
        data = response.read(1 << 16)
        response.release_conn()
        raise RegistryError(
            f"{what}: {refusal(response.status, data)}",
            transient=response.status == 429 or response.status >= 500,
        )

    def small_body(self, response: urllib3.BaseHTTPResponse, what: str) -> bytes:
        """A whole answer of limited length."""
        try:
            data = b""
            while len(data) <= MAX_BODY_BYTES and (
                piece := response.read(MAX_BODY_BYTES + 1 - len(data))
            ):
                data += piece
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"{what}: {cause(error)}", transient=True) from error
        finally:
            response.release_conn()
        if len(data) > MAX_BODY_BYTES:
            raise RegistryError(f"{what}: longer than {MAX_BODY_BYTES} bytes")
        return data

    def stream(self, response: urllib3.BaseHTTPResponse, chunk_bytes: int) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            RegistryError: the transfer breaks off; its message is the cause alone.
        """
        try:
            yield from response.stream(chunk_bytes, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(cause(error), transient=True) from error
        finally:
            response.release_conn()

    def check_login(self) -> None:
        """Whether the registry takes the credentials.

        Raises:
            RegistryError: it does not.
        """
        what = f"logging into {self.host!r}".replace("'", '"')
        discard(self.request("GET", "/v2/", what, ""))

    def base(self) -> str:
        """The base address: https, or http where that is allowed and https does not answer."""
        with self._lock:
            if self._base is None:
                self._base = self._find_base()
            return self._base

    def _send(
        self, method: str, url: str, what: str, headers: dict[str, str], body: Body
    ) -> urllib3.BaseHTTPResponse:
        # Without a body a request is repeated when a kept connection turns out to be closed.
        again = 1 if body is None or isinstance(body, bytes) else 0
        retries = urllib3.Retry(
            total=None, connect=0, read=again, other=0, status=0, redirect=_REDIRECTS,
            allowed_methods=None,
        )  # fmt: skip
        try:
            return self._pool.request(
                method, url, headers={"User-Agent": self._agent, **headers}, body=body,
                preload_content=False, retries=retries,
                redirect=body is None,
            )  # fmt: skip
        except urllib3.exceptions.MaxRetryError as error:
            if isinstance(error.reason, urllib3.exceptions.ResponseError):
                raise RegistryError(f"{what}: redirected more than {_REDIRECTS} times") from error
            raise RegistryError(f"{what}: {cause(error)}", transient=True) from error
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"{what}: {cause(error)}", transient=True) from error

    def _find_base(self) -> str:
        schemes = ["https", "http"] if self._plain_allowed else ["https"]
        causes = []
        for scheme in schemes:
            url = f"{scheme}://{self._address}"
            try:
                response = self._pool.request(
                    "GET", f"{url}/v2/", headers={"User-Agent": self._agent},
                    preload_content=False, retries=False, redirect=False,
                )  # fmt: skip
            except urllib3.exceptions.HTTPError as error:
                causes.append(f"{scheme}: {cause(error)}")
                if "CERTIFICATE_VERIFY_FAILED" in causes[-1]:
                    break  # it does speak TLS
                continue
            discard(response)
            return url
        raise RegistryError(
            f"pinging container registry {self.host}: {'; '.join(dict.fromkeys(causes))}",
            transient=True,
        )

    def _authorization(self, url: str, scope: str) -> dict[str, str]:
        """What was found for this scope, and never for another host, such as a storage's."""
        if not url.startswith(f"{self._base}/"):
            return {}
        if self._bearer:
            return {"Authorization": f"Bearer {self._bearer}"}
        return self._tokens.get("") or self._tokens.get(scope) or {}

    def _authorize(self, challenge: str, what: str, scope: str) -> None:
        """Answer a 401: with a token from where the registry says, or with the credentials."""
        scheme, _, rest = challenge.partition(" ")
        login = self._login
        if scheme.lower() == "basic" and login is not None and not login.token:
            self._tokens[""] = _basic(login)
        elif scheme.lower() == "bearer" and not self._bearer:
            fields = dict(_CHALLENGE.findall(rest))
            self._tokens[scope] = self._fetch_token(fields, what, scope)
        else:
            raise RegistryError(f"{what}: unauthorized: authentication required")

    def _fetch_token(self, challenge: dict[str, str], what: str, scope: str) -> dict[str, str]:
        """Distribution's token protocol: GET with basic authentication, or OAuth 2 by POST."""
        import json
        from urllib.parse import urlencode

        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://" if self._plain_allowed else "https://")):
            raise RegistryError(f"{what}: the registry names no usable token server: {realm!r}")
        scopes = scope.split() or challenge.get("scope", "").split()
        query = [("scope", one) for one in scopes]
        if challenge.get("service"):
            query.insert(0, ("service", challenge["service"]))
        login = self._login
        if login is not None and login.token:
            query += [("grant_type", "refresh_token"), ("refresh_token", login.token),
                      ("client_id", "pyengine")]  # fmt: skip
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._send("POST", realm, what, form, urlencode(query).encode())
        else:
            headers = _basic(login) if login is not None else {}
            mark = "&" if "?" in realm else "?"
            response = self._send("GET", f"{realm}{mark}{urlencode(query)}", what, headers, None)
        data = self.small_body(response, what)
        if response.status != 200:
            raise RegistryError(f"{what}: token: {refusal(response.status, data)}")
        try:
            answer = json.loads(data)
            token = answer.get("token") or answer["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise RegistryError(f"{what}: {realm} sent no token") from error
        return {"Authorization": f"Bearer {token}"}


def _pool(host: str, access: Access) -> urllib3.PoolManager:
    from urllib.request import getproxies, proxy_bypass

    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
    context = tls_context(host, access)
    headers = {"User-Agent": _AGENT}
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("http")
    if proxy and not proxy_bypass(host):
        return urllib3.ProxyManager(
            proxy, maxsize=8, timeout=timeout, ssl_context=context, headers=headers
        )
    return urllib3.PoolManager(maxsize=8, timeout=timeout, ssl_context=context, headers=headers)


def fetch(url: str, what: str, limit_bytes: int) -> bytes | None:
    """A small file from any web server; None where it has none of this name.

    Raises:
        RegistryError: it does not answer, or refuses.
    """
    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
    try:
        response = urllib3.PoolManager(timeout=timeout).request("GET", url, preload_content=False)
        data = response.read(limit_bytes + 1)
    except urllib3.exceptions.HTTPError as error:
        raise RegistryError(f"{what}: {cause(error)}", transient=True) from error
    if response.status in (403, 404):
        return None
    if response.status != 200 or len(data) > limit_bytes:
        raise RegistryError(f"{what}: HTTP status {response.status}, {len(data)} bytes")
    return data


def post_json(url: str, body: bytes, what: str, limit_bytes: int) -> bytes:
    """The answer of any web server to a JSON document.

    Raises:
        RegistryError: it does not answer, or refuses.
    """
    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        response = urllib3.PoolManager(timeout=timeout).request(
            "POST", url, headers=headers, body=body, preload_content=False
        )
        data = response.read(limit_bytes + 1)
    except urllib3.exceptions.HTTPError as error:
        raise RegistryError(f"{what}: {cause(error)}", transient=True) from error
    if response.status not in (200, 201) or len(data) > limit_bytes:
        raise RegistryError(f"{what}: HTTP status {response.status}, {len(data)} bytes")
    return data


def download(url: str, what: str) -> Iterator[bytes]:
    """A file of any size from any web server.

    Raises:
        RegistryError: it does not answer, refuses, or breaks off.
    """
    timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
    try:
        response = urllib3.PoolManager(timeout=timeout).request("GET", url, preload_content=False)
        if response.status != 200:
            raise RegistryError(f"{what}: HTTP status {response.status}")
        yield from response.stream(1 << 18, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise RegistryError(f"{what}: {cause(error)}", transient=True) from error


def discard(response: urllib3.BaseHTTPResponse) -> None:
    """Read nothing more; the connection is kept if little was left."""
    response.drain_conn()
    response.release_conn()


def _pause_s(response: urllib3.BaseHTTPResponse, attempt: int) -> float:
    """What the registry asks for in Retry-After, or longer each time."""
    wanted = response.headers.get("Retry-After", "")
    if wanted.isdigit():
        return min(float(wanted), _MAX_PAUSE_S)
    try:
        at = email.utils.parsedate_to_datetime(wanted).timestamp()
    except ValueError:
        return float(_FIRST_PAUSE_S * 2**attempt)
    return max(0.0, min(at - time.time(), _MAX_PAUSE_S))


def _basic(login: Login) -> dict[str, str]:
    headers = urllib3.make_headers(basic_auth=f"{login.user}:{login.password}")
    return {"Authorization": headers["authorization"]}


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def refusal(status: int, body: bytes) -> str:
    """The registry's own words (distribution-spec, "Error codes"), or the status'."""
    import json

    words = {
        401: "unauthorized: authentication required",
        403: "denied: requested access to the resource is denied",
        404: "manifest unknown",
        429: "too many requests",
    }
    try:
        first = json.loads(body)["errors"][0]
        text = f"{str(first['code']).lower().replace('_', ' ')}: {first.get('message', '')}"
    except (ValueError, KeyError, IndexError, TypeError):
        text = words.get(status, "the registry failed")
    return f"{text.rstrip(': ')} (HTTP status {status})"


def cause(error: BaseException) -> str:
    """The innermost reason of urllib3's nested errors, without its objects' addresses."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return cause(reason)
    inner = error.__cause__ or error.__context__
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(error) or type(error).__name__
