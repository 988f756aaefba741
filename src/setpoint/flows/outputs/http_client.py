"""`http_client`: sends messages to a service.

Fields as documented for Benthos (`setpoint.flows.http` has those of the service): `url` and `headers` may take values of the message
(`setpoint.flows.interpolation`), in the URL behind the host alone, where they are quoted; `verb`; `max_in_flight`. Beyond Benthos
`body` says what a request carries: `each` message by itself, a batch as one JSON `array`, or as `lines` of JSON.

A message is taken when the answer to its request is good (2xx, and `successful_on`). It is refused for good, and set aside with what the
service says, by an answer that speaks of what was sent: those in `REFUSED` and in `drop_on`. All else, 401 and 404 among them, may become
good when somebody corrects the configuration or the service: the flow keeps the batch and sends it again, for as long as it takes. Of a
batch that is refused as a whole, each half is tried by itself, down to the messages that are the reason.

**At least once.** What was taken of a batch is not sent again with the rest. Where an answer is lost nobody knows; the request is made
again with the same ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header), by which a service that heeds it takes it once. With
`max_in_flight` 1, the default, messages arrive in order.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import quote

import msgspec
from pydantic import AfterValidator, Field, model_validator

from setpoint.flows.component import (
    ConnectError,
    Context,
    MessageError,
    Msg,
    Rejected,
    WriteError,
    serialized,
    structured,
)
from setpoint.flows.http import Ask, HttpFault, HttpFields, NoConnection, Peer, Verb, checked_headers, header_fault
from setpoint.flows.interpolation import Interpolated

REFUSED: Final = frozenset({400, 406, 409, 410, 411, 413, 414, 415, 416, 417, 422, 428, 431})
"""Answers that speak of the request itself: made again it would be answered the same (RFC 9110, 15.5; RFC 6585)."""
_PLACE: Final = re.compile(r"https?://[^/?#]+[/?]")


def _url(text: str) -> str:
    Target(text)
    return text


def _texts(headers: dict[str, str]) -> dict[str, str]:
    for text in headers.values():
        Interpolated(text)
    return headers


class Target:
    """A URL to be filled in for each message. Raises `ValueError` for an expression that is unknown, or that says who is asked."""

    def __init__(self, text: str) -> None:
        self._parts = list(_parts(text))
        self.fixed = all(part.fixed for part in self._parts)
        if not self.fixed and not _PLACE.match(self._parts[0].text):
            raise ValueError("values of the message may stand behind the host, as in http://host/…, and not before")

    def __call__(self, msg: Msg) -> str:
        """The URL for this message. Raises `MessageError`."""
        return "".join(part(msg) if part.fixed else _quoted(part(msg)) for part in self._parts)


def _parts(text: str) -> Iterator[Interpolated]:
    """What is fixed and what is filled in, by turns. An expression ends with the first brace with which it is one."""
    at = 0
    while (start := text.find("${!", at)) >= 0:
        yield Interpolated(text[at:start])
        end = start
        while (end := text.find("}", end + 1)) >= 0:
            with suppress(ValueError):
                yield Interpolated(text[start : end + 1])
                break
        else:
            Interpolated(text[start:])  # says what is wrong with it
        at = end + 1
    yield Interpolated(text[at:])


def _quoted(value: str) -> str:
    if value in ("", ".", ".."):
        raise MessageError(f"{value!r} cannot be a part of its URL")
    return quote(value, safe="")


class Outgoing(msgspec.Struct):
    """A message as it will be sent, and what became of it: nothing yet, taken (an empty reason), or refused."""

    ask: Ask
    key: str
    refused: str | None = None


class HttpClient:
    """Sends to one service."""

    class Fields(HttpFields):
        url: Annotated[str, AfterValidator(_url)]
        verb: Verb = "POST"
        headers: Annotated[dict[str, str], AfterValidator(checked_headers), AfterValidator(_texts)] = {}
        body: Literal["each", "array", "lines"] = "each"
        retries: int = Field(default=0, ge=0, le=1000)
        max_in_flight: int = Field(default=1, ge=1, le=1000)

        @model_validator(mode="after")
        def _one_request(self) -> Self:
            filled = not Target(self.url).fixed or any(not Interpolated(text).fixed for text in self.headers.values())
            if self.body != "each" and filled:
                raise ValueError(f"body: {self.body} is one request for many messages; url and headers cannot differ")
            return self

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields, self._context = fields, context
        self._url = Target(fields.url)
        self._headers = {name: Interpolated(text) for name, text in fields.headers.items()}
        self._own = frozenset(name.lower() for name in fields.headers)
        self._final = REFUSED.union(fields.drop_on).difference(fields.successful_on)
        self._peer: Peer | None = None

    async def connect(self) -> None:
        """Sees that somebody listens there. Raises `ConnectError`."""
        await self.close()
        self._peer = Peer(self._fields, self._context, final=self._final, told=lambda reason: None)
        try:
            await self._peer.reach()
        except HttpFault as fault:
            raise ConnectError(str(fault)) from fault

    def prepare(self, msg: Msg) -> Outgoing:
        """The message as it will be sent. Raises `MessageError`."""
        if self._fields.body == "each":
            body, kind = serialized(msg.payload), _kind(msg.payload)
        else:
            body, kind = (
                _json(msg.payload),
                "application/json" if self._fields.body == "array" else "application/x-ndjson",
            )
        headers = {name: text(msg) for name, text in self._headers.items()}
        for name, value in headers.items():
            if fault := header_fault(name, value):
                raise MessageError(fault)
        if "content-type" not in self._own:
            headers["Content-Type"] = kind
        return Outgoing(Ask(self._fields.verb, self._url(msg), headers, body), secrets.token_hex(16))

    async def write(self, batch: Sequence[Outgoing]) -> int:
        """Sends what was not taken yet. Raises `Rejected` with what is refused for good, when all else was taken."""
        peer = self._peer
        if peer is None:
            raise ConnectError("not connected")
        left = [message for message in batch if message.refused is None]
        if self._fields.body == "each":
            await self._send_each(peer, left)
        elif left:
            await self._send_all(peer, left)
        if reasons := {number: message.refused for number, message in enumerate(batch) if message.refused}:
            raise Rejected(reasons)
        return sum(len(message.ask.body) for message in batch)

    async def _send_each(self, peer: Peer, left: Sequence[Outgoing]) -> None:
        """Each by itself, `max_in_flight` at once. All that are under way are waited for: what becomes of them should be known."""
        waiting = iter(left)

        async def one_after_the_other() -> None:
            for message in waiting:
                await self._send(peer, message.ask, [message])

        lanes = [one_after_the_other() for _ in range(min(self._fields.max_in_flight, len(left)))]
        for fault in await asyncio.gather(*lanes, return_exceptions=True):
            if fault is not None:
                raise fault

    async def _send_all(self, peer: Peer, left: Sequence[Outgoing]) -> None:
        """One request for all; where it is refused, one for each half."""
        pieces = [message.ask.body for message in left]
        lines = self._fields.body == "lines"
        body = b"\n".join([*pieces, b""]) if lines else b"[" + b",".join(pieces) + b"]"
        await self._send(peer, left[0].ask._replace(body=body), left)
        if len(left) > 1 and left[0].refused:
            for message in left:
                message.refused = None
            middle = len(left) // 2
            await self._send_all(peer, left[:middle])
            await self._send_all(peer, left[middle:])

    async def _send(self, peer: Peer, ask: Ask, messages: Sequence[Outgoing]) -> None:
        """Makes one request and notes what became of these messages. Raises `WriteError` and `ConnectError`."""
        if "idempotency-key" not in self._own:
            keys = "".join(message.key for message in messages)
            key = keys if len(messages) == 1 else hashlib.sha256(keys.encode()).hexdigest()[:32]
            ask = ask._replace(headers={**ask.headers, "Idempotency-Key": key})
        outcome = ""
        try:
            await peer.ask(ask, limit=None)
        except NoConnection as fault:
            raise ConnectError(str(fault)) from fault
        except HttpFault as fault:
            if fault.status not in self._final:
                raise WriteError(str(fault)) from fault
            outcome = str(fault)
        for message in messages:
            message.refused = outcome

    async def close(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()


def _kind(payload: Any) -> str:
    if type(payload) is bytes:
        return "application/octet-stream"
    return "text/plain; charset=utf-8" if type(payload) is str else "application/json"


def _json(payload: Any) -> bytes:
    """The payload as one line of JSON, whatever it was. Raises `MessageError`."""
    try:
        return msgspec.json.encode(structured(payload))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the payload cannot be written as JSON: {error}") from error
