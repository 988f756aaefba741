"""What the `http_client` input and output have in common: whom to ask, and how.

Fields as documented for Benthos. `Peer` asks one service: an attempt has `timeout` in all, from connecting to the last byte of the answer,
so that neither a peer that hangs nor one that sends a byte a second holds it longer. An attempt that failed is repeated `retries` times,
after `retry_period`; after the answers in `backoff_on` that doubles each time, up to `max_retry_backoff`. What a `Retry-After` says is kept
to, up to the same bound, also by the first attempt of the next request.

Redirects are followed within the same scheme, host and port, where method and body stay what they are: credentials go nowhere else, and a
POST does not become a GET that nobody notices. Answers come as they are: none is asked to be compressed, so that none unfolds in memory.

What is told of a fault names host and port, never the path or the query, and nothing of the credentials.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from setpoint.data.resources.http import retry_after
from setpoint.flows.component import Context, Duration, Fields
from setpoint.flows.http_token import OAuth2, Tokens
from setpoint.flows.tls import Tls, context
from setpoint.secrets import names_a_secret, without_secrets

if TYPE_CHECKING:
    import httpx

UNAUTHORIZED: Final = 401
REDIRECTS: Final = 5
SHOWN: Final = 300
"""Bytes of an answer that are read to say what is wrong."""
SPARE: Final = 65_536
"""Bytes of an answer nobody asked for that are read, so that the connection can be used again."""
_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
"""Names of methods and headers (RFC 9110, 5.6.2)."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*\Z")
"""Values of headers (RFC 9110, 5.5), of those letters that mean the same to all."""


def header_fault(name: str, value: str) -> str:
    """What is wrong with a header, or nothing. The value, which may be secret, is not repeated."""
    if not _TOKEN.match(name):
        return f"{name[:60]!r} is no name of a header"
    return "" if _VALUE.match(value) else f"the value of header {name} has a character in it other than printable ASCII"


def url_fault(text: str) -> str:
    """What is wrong with a URL, or nothing. What may be secret in it is not repeated."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return "the URL cannot be read: its host or port is none"
    if url.username or url.password:
        return "a user does not stand in a URL; use basic_auth"
    if url.scheme not in _PORTS or not url.hostname or port == 0:
        return "a URL is of the form http://host:port/path or https://host/path"
    return ""


def where(url: SplitResult) -> tuple[str, int]:
    """Host and port."""
    return str(url.hostname), url.port or _PORTS[url.scheme]


def _verb(text: object) -> object:
    if isinstance(text, str) and not _TOKEN.match(text):
        raise ValueError("a verb is a word such as GET, POST, PUT or PATCH")
    return text.upper() if isinstance(text, str) else text


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    """The headers of a field. Raises `ValueError`."""
    for name, value in headers.items():
        if fault := header_fault(name, value):
            raise ValueError(fault)
    return headers


Status = Annotated[int, Field(ge=200, le=599)]
Verb = Annotated[str, BeforeValidator(_verb)]


class BasicAuth(Fields):
    """A user with a password (RFC 7617)."""

    enabled: bool = False
    username: str = ""
    password: str = Field(default="", repr=False)


class HttpFields(Fields):
    """A service and how to ask it."""

    url: str
    headers: Annotated[dict[str, str], AfterValidator(checked_headers)] = {}
    timeout: Duration = Field(default=5.0, gt=0, le=3600)
    retries: int = Field(default=3, ge=0, le=1000)
    retry_period: Duration = Field(default=1.0, gt=0, le=3600)
    max_retry_backoff: Duration = Field(default=300.0, gt=0, le=86_400)
    backoff_on: tuple[Status, ...] = (429,)
    drop_on: tuple[Status, ...] = ()
    successful_on: tuple[Status, ...] = ()
    follow_redirects: bool = True
    proxy_url: str = Field(default="", repr=False)
    basic_auth: BasicAuth = BasicAuth()
    oauth2: OAuth2 = OAuth2()
    tls: Tls = Tls()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Checked together, so that no fault repeats what may be secret in a URL."""
        if fault := url_fault(self.url):
            raise ValueError(f"url: {fault}")
        if self.proxy_url and urlsplit(self.proxy_url).scheme not in _PORTS:
            raise ValueError("proxy_url: is of the form http://host:port")
        says = [
            self.basic_auth.enabled,
            self.oauth2.enabled,
            any(name.lower() == "authorization" for name in self.headers),
        ]
        if sum(says) > 1:
            raise ValueError("say who we are in one way: basic_auth, oauth2 or a header Authorization")
        if self.tls.enabled and self.url.startswith("http:"):
            raise ValueError("tls is enabled, and the url begins with http://; write https://")
        return self

    def secrets(self) -> frozenset[str]:
        """What must not be told to anybody."""
        named = {value for name, value in self.headers.items() if names_a_secret(name)}
        named |= {value.partition(" ")[2] for value in named}
        return frozenset({*named, self.basic_auth.password, self.oauth2.client_secret} - {""})


class HttpFault(Exception):
    """There was no answer (`status` is 0), or one that is an error: says who and why."""

    def __init__(self, reason: str, status: int = 0) -> None:
        self.status = status
        super().__init__(reason)


class NoConnection(HttpFault):
    """The service cannot be reached, or the connection to it broke."""


class Ask(NamedTuple):
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Answer(NamedTuple):
    """An answer that is none of the errors."""

    status: int
    headers: httpx.Headers
    body: bytes


class Peer:
    """Asks one service. `final` are the answers after which a request is not repeated; `told` hears why one is."""

    def __init__(
        self, fields: HttpFields, context: Context, *, final: frozenset[int], told: Callable[[str], None]
    ) -> None:
        import httpx

        self._fields, self._now, self._answered = fields, context.now, context.answered
        self._final, self._told = final, told
        self._host, self._port = where(urlsplit(fields.url))
        self._secrets = fields.secrets()
        self._not_before = 0.0
        self._good = frozenset({*range(200, 300), *fields.successful_on} - final)
        basic = fields.basic_auth
        self._client = httpx.AsyncClient(
            auth=(basic.username, basic.password) if basic.enabled else None,
            headers={"User-Agent": "setpoint", "Accept-Encoding": "identity"},
            verify=_trust(fields),
            proxy=fields.proxy_url or None,
            trust_env=not _is_loopback(self._host),
            timeout=None,  # each attempt has a timeout in all
        )
        self._tokens = Tokens(fields.oauth2, self._form, context.now) if fields.oauth2.enabled else None

    async def ask(self, request: Ask, *, limit: int | None) -> Answer:
        """The answer, whose body must not have more than `limit` bytes; with None it is of no interest.

        Raises `HttpFault`, after as many attempts as there may be.
        """
        for attempt in range(self._fields.retries + 1):
            await asyncio.sleep(max(0.0, self._not_before - self._now()))
            try:
                async with asyncio.timeout(self._fields.timeout):
                    return await self._once(request, limit)
            except TimeoutError:
                fault = HttpFault(f"{self.name} did not answer in full within {self._fields.timeout:g} s")
            except HttpFault as found:
                fault = found
            if fault.status in self._final or attempt == self._fields.retries:
                raise fault
            self._told(str(fault))
            await asyncio.sleep(self._pause(fault.status, attempt))
        raise AssertionError("the last attempt returns or raises")

    async def open(self, request: Ask) -> httpx.Response:
        """An answer that is still to be read, by one who closes it. Raises `HttpFault`."""
        try:
            async with asyncio.timeout(self._fields.timeout):
                response = await self._sent(await self._built(request))
                if response.status_code not in self._good:
                    raise await self._error(response)
                self._check_plain(response)
                return response
        except TimeoutError:
            raise HttpFault(f"{self.name} did not answer within {self._fields.timeout:g} s") from None

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.aclose()

    @property
    def name(self) -> str:
        """Host and port, as faults call it."""
        return f"{self._host}:{self._port}"

    async def reach(self) -> None:
        """Sees whether somebody listens there; behind a proxy that is seen only when something is asked. Raises `NoConnection`."""
        if self._fields.proxy_url or (getproxies() and not _is_loopback(self._host)):
            return
        try:
            async with asyncio.timeout(self._fields.timeout):
                _, writer = await asyncio.open_connection(self._host, self._port)
        except TimeoutError:
            raise NoConnection(f"{self.name} did not answer within {self._fields.timeout:g} s") from None
        except OSError as error:
            raise self.failed(error) from error
        writer.close()

    def failed(self, error: Exception) -> NoConnection:
        """What an error of the connection means, in words."""
        return NoConnection(f"{self.name}: {_why(error)}")

    def _pause(self, status: int, attempt: int) -> float:
        doubled = 2.0 ** min(attempt, 30) if status in self._fields.backoff_on else 1.0
        return min(self._fields.retry_period * doubled, self._fields.max_retry_backoff)

    async def _once(self, request: Ask, limit: int | None) -> Answer:
        import httpx

        response = await self._sent(await self._built(request))
        try:
            if response.status_code not in self._good:
                raise await self._error(response)
            body = await self._body(response, limit)
            return Answer(response.status_code, response.headers, body)
        except httpx.HTTPError as error:
            raise self.failed(error) from error
        finally:
            await response.aclose()

    async def _built(self, request: Ask) -> httpx.Request:
        import httpx

        headers = {**self._fields.headers, **request.headers}
        if self._tokens is not None:
            headers["Authorization"] = f"Bearer {await self._token(self._tokens)}"
        try:
            return self._client.build_request(
                request.method, request.url, headers=headers, content=request.body or None
            )
        except httpx.InvalidURL as error:
            raise HttpFault(f"{self.name}: the URL cannot be used: {error}") from None

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        """The answer, still to be read, where the request is redirected from there."""
        import httpx

        for _ in range(REDIRECTS + 1):
            try:
                response = await self._client.send(request, stream=True, follow_redirects=False)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self.failed(error) from error
            self._answered(self._host, self._port)
            following = response.next_request
            if following is None or not self._fields.follow_redirects:
                return response
            await response.aclose()
            if _origin(following) != _origin(request) or following.method != request.method:
                to = f"{following.method} {following.url.scheme}://{following.url.netloc.decode('ascii')}"
                raise HttpFault(
                    f"{self.name} redirects {request.method} to {to}; write the right address", response.status_code
                )
            request = following
        raise HttpFault(f"{self.name} redirects more than {REDIRECTS} times", response.status_code)

    async def _body(self, response: httpx.Response, limit: int | None) -> bytes:
        if limit is None:
            return await _up_to(response, SPARE)
        self._check_plain(response)
        body = await _up_to(response, limit)
        if len(body) > limit:
            raise HttpFault(f"{self.name} answers more than {limit} bytes")
        return body

    def _check_plain(self, response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise HttpFault(f"{self.name} answers compressed, though it was asked not to")

    async def _error(self, response: httpx.Response) -> HttpFault:
        """The fault of an answer that is an error; keeps to what it says of when to come again."""
        import httpx

        status = response.status_code
        said = b""
        with suppress(httpx.HTTPError):
            said = (await _up_to(response, SHOWN))[:SHOWN]
        await response.aclose()
        if (pause := retry_after(response)) is not None:
            self._not_before = self._now() + min(pause, self._fields.max_retry_backoff)
        if status == UNAUTHORIZED and self._tokens is not None:
            self._tokens.forget()
        secrets = self._secrets | (self._tokens.secrets() if self._tokens else frozenset())
        text = without_secrets(" ".join(said.decode("utf-8", "replace").split()), secrets)
        answers = f"{self.name} answers {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
        return HttpFault(f"{answers}: {text}" if text else answers, status)

    async def _token(self, tokens: Tokens) -> str:
        import httpx

        try:
            return await tokens.current()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            host = urlsplit(self._fields.oauth2.token_url).hostname
            raise HttpFault(f"{self.name}: no token from {host}: {_why(error)}") from error

    async def _form(self, url: str, values: dict[str, Any], user: tuple[str, str]) -> bytes:
        """The answer to a form that is posted, for tokens."""
        async with self._client.stream("POST", url, data=values, auth=user) as response:
            if not response.is_success:
                raise ValueError(f"it answers {response.status_code}")
            return await _up_to(response, SPARE)


async def _up_to(response: httpx.Response, limit: int) -> bytes:
    """The first bytes of the body: a chunk more than `limit`, at most."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


def _origin(request: httpx.Request) -> tuple[str, str, int | None]:
    return request.url.scheme, request.url.host, request.url.port


def _trust(fields: HttpFields) -> ssl.SSLContext | bool:
    """What checks certificates, made only where there are any: it takes time and memory."""
    urls = (fields.url, fields.oauth2.token_url, fields.proxy_url)
    return context(fields.tls) if any(url.startswith("https:") for url in urls) else False


def _is_loopback(host: str) -> bool:
    """Whether it is this machine, which is never reached by way of a proxy that the environment names."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: BaseException) -> str:
    """The word of the system, which the libraries wrap in others."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate does not verify: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            is_systems = (cause.errno or 0) > 0 and not isinstance(cause, ssl.SSLError)
            return os.strerror(cause.errno or 0) if is_systems else cause.strerror
        inner = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else None
        cause = inner or cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
