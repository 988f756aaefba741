"""`envelope`: puts payload and meta of a message into one JSON document, and takes them out again.

::

    {"payload": "eyJuIjoxfQ==", "meta": {"tag_name": "n"}, "error": null}

For ways that carry a payload only, such as the body of a request with many messages. The payload is bytes in Base64 (RFC 4648, 4), so that
any goes; meta that are other values than texts, as Benthos may have them, become texts. A message with an `error` is one that failed
before it was sealed: opening it fails with that reason, and it is set aside with what it was.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Literal

import msgspec

from setpoint.flows.component import Context, Fields, MessageError, Msg, Processor, serialized


class EnvelopeFields(Fields):
    """What to do: `seal` or `open`."""

    do: Literal["seal", "open"]


class Sealed(msgspec.Struct):
    """An envelope as it is read."""

    payload: bytes
    meta: dict[str, Any] = {}
    error: str | None = None


_decoder = msgspec.json.Decoder(Sealed)


def envelope(fields: EnvelopeFields, context: Context) -> Processor:
    """The processor."""
    return _seal if fields.do == "seal" else _open


def _seal(msg: Msg) -> Msg:
    payload = b64encode(serialized(msg.payload)).decode("ascii")
    return Msg({"payload": payload, "meta": msg.meta, "error": None}, {})


def _open(msg: Msg) -> Msg:
    try:
        sealed = _decoder.decode(serialized(msg.payload))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MessageError(f"this is no envelope: {error}") from None
    msg.payload, msg.meta = sealed.payload, {key: _text(value) for key, value in sealed.meta.items()}
    if sealed.error:
        raise MessageError(sealed.error)
    return msg


def _text(value: Any) -> str:
    return value if type(value) is str else msgspec.json.encode(value).decode()
