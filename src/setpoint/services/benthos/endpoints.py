"""Asks the HTTP server of one Benthos how it is, some once a second, inside this process.

One connection is kept; all questions of a look are written to it at once and the answers read in their order, so that a look costs one
write and, as a rule, one read. They are asked below the path that only this flow with this config has (see `config`):

- ``/ping`` says ``pong``: the process is live;
- ``/ready`` is 200 when input and output are connected. Bento writes a sentence ("input not connected"), Benthos 4 and UMH's a list of
  connections in JSON;
- ``/metrics``, see `setpoint.services.benthos.metrics`;
- ``/version``, once a connection.

Whoever answers may be a stranger on our port: answers are bounded in size and time, and nothing is believed before the ping was right.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from setpoint.services.benthos.config import LOOPBACK, root_path
from setpoint.services.benthos.limits import BODY_BYTES, POLL_TIMEOUT_S
from setpoint.services.benthos.metrics import Metrics, NotPrometheus, read

Answered = Literal["flow", "other config", "stranger", "nobody"]

_HEAD_BYTES: Final = 65_536
_SHOWN: Final = 200


class Connection(msgspec.Struct, frozen=True):
    """One input or output as ``/ready`` tells of it (Benthos 4, not Bento)."""

    label: str = ""
    path: str = ""
    connected: bool = False
    error: str = ""


class Scan(msgspec.Struct, frozen=True):
    """What one look found. `problem` says why it is not live, `not_ready` why not ready, `metrics_problem` why there are no metrics."""

    answered: Answered = "nobody"
    """Who answered: the flow with the config that is wanted; a Benthos with another config; something else; nobody."""
    ready: bool = False
    connections: tuple[Connection, ...] = ()
    version: str = ""
    metrics: Metrics | None = None
    problem: str = ""
    not_ready: str = ""
    metrics_problem: str = ""

    @property
    def live(self) -> bool:
        """The flow itself answered."""
        return self.answered == "flow"


class _Reply(NamedTuple):
    status: int
    body: str


class _BadAnswer(Exception):
    """Not an answer of HTTP, or one without measure."""


class _Ready(msgspec.Struct):
    error: str = ""
    statuses: list[Connection] = []


class _Version(msgspec.Struct):
    version: str = ""


class Endpoints:
    """The HTTP server of the flow with this port and config. For the event loop's thread; one look at a time; close it in the end."""

    def __init__(self, port: int, digest: str, *, timeout: float = POLL_TIMEOUT_S) -> None:
        self.port = port
        self.digest = digest
        self._timeout = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._version = ""
        self._seen: tuple[str, Metrics] | None = None

    async def scan(self) -> Scan:
        """One look. Never raises for what is or is not at the other end, and takes no longer than the timeout."""
        where = f"{LOOPBACK}:{self.port}"
        try:
            async with asyncio.timeout(self._timeout):
                return await self._look()
        except ConnectionRefusedError:
            return self._lost("nobody", f"nothing listens on {where}")
        except TimeoutError:
            return self._lost("nobody", f"no answer from {where} within {self._timeout:g} s")
        except _BadAnswer as error:
            return self._lost("stranger", f"what listens on {where} does not answer as Benthos does: {error}")
        except (OSError, EOFError) as error:
            return self._lost("nobody", f"{where}: {getattr(error, 'strerror', None) or 'the connection was closed'}")
        except BaseException:
            self.close()  # given up in the middle: the rest of the answers is nobody's
            raise

    def close(self) -> None:
        """Let the connection go. The next look opens another."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
        self._version = ""

    def _lost(self, answered: Answered, problem: str) -> Scan:
        self.close()
        return Scan(answered, problem=problem)

    async def _look(self) -> Scan:
        """A kept connection that turns out to be dead is opened anew, once: the process may have been restarted."""
        kept = self._streams is not None
        try:
            return await self._answers()
        except (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError):
            self.close()
            if not kept:
                raise
            return await self._answers()

    async def _answers(self) -> Scan:
        prefix = root_path(self.digest)
        pages = ("ping", "ready", "metrics") if self._version else ("ping", "ready", "metrics", "version")
        reader = await self._ask(f"{prefix}/{page}" for page in pages)
        ping = await _reply(reader)
        if not _pong(ping):
            return await self._not_ours(ping)
        ready, metrics, *version = [await _reply(reader) for _ in pages[1:]]
        if version:
            self._version = _decoded(version[0].body, _Version).version
        is_ready, connections, not_ready = _readiness(ready)
        found, metrics_problem = self._metrics(metrics)
        return Scan(
            "flow",
            ready=is_ready,
            connections=connections,
            version=self._version,
            metrics=found,
            not_ready=not_ready,
            metrics_problem=metrics_problem,
        )

    async def _not_ours(self, ping: _Reply) -> Scan:
        """Somebody answers, but not under our path: is it a Benthos at all?"""
        self.close()
        with contextlib.suppress(OSError, EOFError, _BadAnswer):
            if _pong(await _reply(await self._ask(["/ping"]))):
                return self._lost("other config", f"the Benthos on port {self.port} runs another config")
        message = (
            f"port {self.port} is held by another program: it answers {ping.status} where this flow would say pong"
        )
        return self._lost("stranger", message)

    def _metrics(self, reply: _Reply) -> tuple[Metrics | None, str]:
        if reply.status != 200:
            return (
                None,
                f"/metrics answers {reply.status}: metrics are switched off, or of a kind that has no such page",
            )
        if self._seen is None or self._seen[0] != reply.body:
            try:
                self._seen = (reply.body, read(reply.body))
            except NotPrometheus as error:
                return None, f"/metrics: {error}"
        found = self._seen[1]
        return found, f"/metrics has no {' and no '.join(found.missing)}" if found.missing else ""

    async def _ask(self, paths: Iterable[str]) -> asyncio.StreamReader:
        """Ask for these pages; the answers come in their order from the reader."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(LOOPBACK, self.port, limit=_HEAD_BYTES)
        reader, writer = self._streams
        writer.write("".join(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n" for path in paths).encode())
        return reader


def _pong(reply: _Reply) -> bool:
    return reply.status == 200 and reply.body.strip() == "pong"


async def _reply(reader: asyncio.StreamReader) -> _Reply:
    """One answer of HTTP/1.1 (RFC 9112), its body by length or in chunks. Raises `_BadAnswer`."""
    head = (await _until(reader, b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    words = first.split(" ", 2)
    if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdecimal():
        raise _BadAnswer(f"it says {first[:80]!r}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    else:
        length = _number(headers.get("content-length", ""), 10)
        body = await reader.readexactly(length)
    return _Reply(int(words[1]), body.decode(errors="replace"))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := _number((await _until(reader, b"\r\n")).partition(b";")[0].decode("latin-1").strip(), 16):
        if len(body) + size > BODY_BYTES:
            raise _BadAnswer(f"an answer of more than {BODY_BYTES:,} bytes")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await _until(reader, b"\r\n") != b"\r\n":  # trailers
        pass
    return bytes(body)


async def _until(reader: asyncio.StreamReader, end: bytes) -> bytes:
    try:
        return await reader.readuntil(end)
    except asyncio.LimitOverrunError:
        raise _BadAnswer("a head or a line without end") from None


def _number(text: str, base: int) -> int:
    """A length that may be read. Raises `_BadAnswer`."""
    try:
        number = int(text, base)
    except ValueError:
        raise _BadAnswer("an answer without a length") from None
    if not 0 <= number <= BODY_BYTES:
        raise _BadAnswer(f"an answer of more than {BODY_BYTES:,} bytes")
    return number


def _readiness(reply: _Reply) -> tuple[bool, tuple[Connection, ...], str]:
    """Whether it is ready, its connections where they are told, and why it is not ready."""
    told = _decoded(reply.body, _Ready) if reply.body.startswith("{") else _Ready()
    connections = tuple(told.statuses)
    if reply.status == 200 and not told.error:
        return True, connections, ""
    parts = [f"{one.path} {one.error or 'not connected'}".strip() for one in connections if not one.connected]
    said = told.error or "; ".join(parts) or " ".join(reply.body.split())
    return False, connections, said[:_SHOWN] or f"/ready answers {reply.status}"


def _decoded(text: str, kind: type[Any]) -> Any:
    """The JSON as this type; an empty one where it is something else: a stranger's answer is no error of ours."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        return kind()
