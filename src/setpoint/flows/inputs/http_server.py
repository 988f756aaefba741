"""`http_server`: takes what others send by HTTP, a message a request.

Fields as documented for Benthos: `address`, `path`, `allowed_verbs`, `timeout`, `cert_file` and `key_file`. Beyond Benthos there are
`basic_auth` and `bearer_token`, of which one must be shown where any is set, and limits: `max_body_size`, `max_in_flight` (requests that
are not yet answered) and `rate` (requests a second, with as many at once). Meta are the headers, by their names as ``Content-Type``, except
those that say who somebody is; the parameters of the query; and, whatever those say, `http_server_verb`, `http_server_request_path`,
`http_server_remote_ip` and `http_server_user_agent`.

**200 means delivered.** A request is answered when the flow has acknowledged its message: the output took it, or it was set aside with its
reason. What is not delivered within `timeout` is answered 503 with a ``Retry-After``; where the flow had begun with it, it may be delivered
all the same, and the sender's next attempt doubles it: at least once. 503 as well when too many wait, 429 above `rate`; 401, 404, 405, 413,
415 and 408 say what is wrong with the request. Compressed and multipart bodies are not taken (415).

The agent's loop serves it; an address that cannot be listened on is the reason why the input is not connected.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hmac
import ssl
from collections import deque
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from setpoint.flows.component import ConnectError, Context, Duration, Meta, Msg, one_or_many
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.http import BasicAuth
from setpoint.flows.http_serving import Head, Reply, Server

BATCH: Final = 500
RETRY_AFTER: Final = "1"
CLOSE_WITHIN: Final = 1.0
_PRIVATE: Final = frozenset({"authorization", "proxy-authorization", "cookie"})


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("an address is of the form host:port, such as 127.0.0.1:8080")
    if not host.strip("[]"):
        raise ValueError(
            f"say where to listen: 127.0.0.1:{port} for this machine alone, 0.0.0.0:{port} for all who reach it"
        )
    return text


class Waiting:
    """A request whose message is not delivered yet."""

    def __init__(self, msg: Msg) -> None:
        self.msg = msg
        self.begun = False  # the flow has it
        self.outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settle(self, delivered: bool) -> None:
        """Tells the sender; once."""
        if not self.outcome.done():
            self.outcome.set_result(delivered)


class HttpServer:
    """Reads what is sent to an address."""

    class Fields(ComponentFields):
        address: Annotated[str, AfterValidator(_address)] = "127.0.0.1:4195"
        path: str = Field(default="/post", pattern=r"^/")
        allowed_verbs: Annotated[
            tuple[Literal["POST", "PUT", "PATCH", "GET", "DELETE"], ...],
            BeforeValidator(one_or_many),
            Field(min_length=1),
        ] = ("POST",)
        timeout: Duration = Field(default=5.0, gt=0, le=600)
        rate: float = Field(default=0.0, ge=0)
        max_body_size: int = Field(default=1_048_576, ge=1, le=1_000_000_000)
        max_in_flight: int = Field(default=64, ge=1, le=500)
        basic_auth: BasicAuth = BasicAuth()
        bearer_token: str = Field(default="", repr=False)
        cert_file: str = ""
        key_file: str = ""

        @model_validator(mode="after")
        def _whole(self) -> Self:
            if bool(self.cert_file) != bool(self.key_file):
                raise ValueError("TLS needs both cert_file and key_file")
            if self.basic_auth.enabled and not (self.basic_auth.username and self.basic_auth.password):
                raise ValueError("basic_auth is enabled and lacks a username or a password: anybody would get in")
            return self

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields, self._context = fields, context
        self._server: Server | None = None
        self._waiting: deque[Waiting] = deque()
        self._out: deque[list[Waiting]] = deque()
        self._news = asyncio.Event()
        self._allowance, self._counted = max(1.0, fields.rate), context.now()
        self._known = _credentials(fields)
        self._ways = _ways(fields)
        self.port = 0
        """Where it listens, once it is connected."""

    async def connect(self) -> None:
        """Listens. Raises `ConnectError` with the reason why it cannot."""
        await self.close()
        fields = self._fields
        server = Server(
            judge=self._judge,
            take=self._take,
            told=self._context.failed,
            max_body=fields.max_body_size,
            body_within=fields.timeout,
        )
        host, _, port = fields.address.rpartition(":")
        try:
            self.port = await server.open(host.strip("[]"), int(port), _tls(fields))
        except OSError as error:
            raise ConnectError(f"cannot listen on {fields.address}: {_why(error)}") from error
        self._server = server

    async def read(self) -> list[Msg]:
        """What was sent; waits for the first."""
        if self._server is None:
            raise ConnectError("not listening")
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        self._out.append(batch)
        for waiting in batch:
            waiting.begun = True
        return [waiting.msg for waiting in batch]

    async def acknowledge(self) -> None:
        """The senders of the oldest batch are told."""
        for waiting in self._out.popleft():
            waiting.settle(True)

    async def close(self) -> None:
        """Listens no more. Who still waits is told to come again."""
        server, self._server = self._server, None
        if server is None:
            return
        for waiting in (*self._waiting, *(each for batch in self._out for each in batch)):
            waiting.settle(False)
        self._waiting.clear()
        await server.close(CLOSE_WITHIN)

    def _judge(self, head: Head, in_flight: int) -> Reply | None:
        """What is wrong with a request, seen from its head."""
        fields = self._fields
        if not self._may(head):
            return Reply(401, "say who you are", self._ways)
        if head.path != fields.path:
            return Reply(404, "nothing is taken here")
        if head.method not in fields.allowed_verbs:
            return Reply(405, "", (("Allow", ", ".join(fields.allowed_verbs)),))
        reply = self._unfit(head, in_flight)
        if reply is not None:
            self._context.failed(f"{head.remote} was answered {reply.status}: {reply.text}")
        return reply

    def _may(self, head: Head) -> bool:
        scheme, _, credentials = head.header("authorization").partition(" ")
        shown = f"{scheme.lower()} {credentials.strip()}".encode()
        return not self._known or any([hmac.compare_digest(shown, known) for known in self._known])

    def _unfit(self, head: Head, in_flight: int) -> Reply | None:
        """Why a request of one who may send is not taken."""
        again = (("Retry-After", RETRY_AFTER),)
        if head.header("content-encoding").lower() not in ("", "identity"):
            return Reply(415, "a compressed body is not taken")
        if head.header("content-type").lower().startswith("multipart/"):
            return Reply(415, "a body of several parts is not taken")
        if not self._within_rate():
            return Reply(429, f"more than {self._fields.rate:g} requests a second", again)
        if in_flight >= self._fields.max_in_flight:
            return Reply(503, f"{in_flight} requests wait already", again)
        return None

    def _within_rate(self) -> bool:
        """Takes one of the requests that are allowed; they come back with time (a token bucket)."""
        rate = self._fields.rate
        if not rate:
            return True
        now = self._context.now()
        self._allowance = min(max(1.0, rate), self._allowance + (now - self._counted) * rate)
        self._counted = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    async def _take(self, head: Head, body: bytes) -> Reply:
        """Hands the message to the flow and waits until it is delivered."""
        waiting = Waiting(Msg(body, _meta(head)))
        self._waiting.append(waiting)
        self._news.set()
        why = "the flow is stopping"
        try:
            async with asyncio.timeout(self._fields.timeout):
                if await waiting.outcome:
                    return Reply(200)
        except TimeoutError:
            why = f"not delivered within {self._fields.timeout:g} s"
        if waiting.begun:
            why += "; it may be delivered all the same"
        elif waiting in self._waiting:
            self._waiting.remove(waiting)
        self._context.failed(f"{head.remote} was answered 503: {why}")
        return Reply(503, why, (("Retry-After", RETRY_AFTER),))


def _meta(head: Head) -> Meta:
    meta = dict(head.query)
    for name, value in head.headers:
        if name not in _PRIVATE:
            meta[name.title()] = value
    meta["http_server_verb"] = head.method
    meta["http_server_request_path"] = head.path
    meta["http_server_remote_ip"] = head.remote
    meta["http_server_user_agent"] = head.header("user-agent")
    return meta


def _credentials(fields: HttpServer.Fields) -> tuple[bytes, ...]:
    """What may stand in ``Authorization``, its scheme in small letters; nothing: anybody may send."""
    known = []
    if fields.basic_auth.enabled:
        pair = f"{fields.basic_auth.username}:{fields.basic_auth.password}"
        known.append(b"basic " + base64.b64encode(pair.encode()))
    if fields.bearer_token:
        known.append(f"bearer {fields.bearer_token}".encode())
    return tuple(known)


def _ways(fields: HttpServer.Fields) -> tuple[tuple[str, str], ...]:
    """How one may say who one is."""
    schemes = (["Basic"] if fields.basic_auth.enabled else []) + (["Bearer"] if fields.bearer_token else [])
    return tuple(("WWW-Authenticate", f'{scheme} realm="setpoint"') for scheme in schemes)


def _tls(fields: HttpServer.Fields) -> ssl.SSLContext | None:
    if not fields.cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(fields.cert_file, fields.key_file)
    return context


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another flow or program listens there"
        case errno.EACCES if not isinstance(error, FileNotFoundError) and not error.filename:
            return "a port below 1024 needs more rights than this user has"
        case _:
            return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
