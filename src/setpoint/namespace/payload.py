"""Payloads: what a message carries, as JSON in one of two shapes.

*Time series* is one value at one moment, exactly ``{"timestamp_ms": …, "value": …}`` with a number, a text or a truth
value. *Relational* is any other JSON object: an order, an alarm, a batch report. An object with exactly the two time
series keys is meant as a time series and must be a good one; a null or a list in its place is a fault, not a
relational record.

Contracts ``_raw`` and ``_historian`` ask for one of the two shapes and no more. Other contracts add a data model on
top; their payloads have one of these shapes as well. A payload has at most 1 MiB and nests at most 64 deep, so that
no message from outside can take the memory or the stack of a reader. JSON knows neither NaN nor infinity, and both
are refused instead of turned into null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64

Value = bool | int | float | str
"""What a time series can hold."""


class PayloadError(ValueError):
    """The payload is not valid: says what is wrong and what is expected."""


class TimeSeries(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One value at one moment (ms since 1970, UTC)."""

    timestamp_ms: int
    value: Value


Relational = dict[str, Any]
"""Any JSON object that is not a time series."""

_time_series = msgspec.json.Decoder(TimeSeries)
_anything = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_KEYS: Final = {"timestamp_ms", "value"}


def encode_time_series(value: Value, timestamp_ms: int) -> bytes:
    """The payload of one value at one moment (ms since 1970, UTC). Raises `PayloadError` for anything else than the shape allows."""
    kind = type(value)
    if type(timestamp_ms) is int and (kind is bool or kind is int or (kind is float and math.isfinite(value))):  # type: ignore[arg-type]
        return _encoder.encode(TimeSeries(timestamp_ms, value))  # nearly all are, and none of these can be too long
    return _limited(_encoder.encode(_checked(timestamp_ms, value)))


def encode_relational(obj: Mapping[str, Any]) -> bytes:
    """The payload of one JSON object. Raises `PayloadError` for what JSON cannot say, NaN and infinity among it, or is too large."""
    if not isinstance(obj, Mapping):
        raise PayloadError(f"a relational payload must be an object, not {type(obj).__name__}")
    try:
        payload = _encoder.encode(obj)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as fault:
        raise PayloadError(f"the object cannot be written as JSON: {fault}") from fault
    if b"null" in payload and not _finite(obj):  # the encoder writes NaN and infinity as null
        raise PayloadError(
            "the object contains NaN or infinity, which JSON cannot say; leave the field out or set it to None"
        )
    _limited(payload)
    _check_depth(payload, obj)
    return payload


def decode(payload: bytes, contract: str = "_raw") -> TimeSeries | Relational:
    """What the payload says. Raises `PayloadError`, which names the contract, for a payload of neither shape."""
    try:
        _limited(payload)
        try:
            return _time_series.decode(payload)
        except msgspec.ValidationError:  # well-formed so far, but not this shape
            return _decode_other(payload)
    except PayloadError as fault:
        raise PayloadError(f"payload of contract {contract}: {fault}") from fault
    except (ValueError, RecursionError, msgspec.MsgspecError) as fault:
        raise PayloadError(f"payload of contract {contract} is not valid JSON: {fault}") from fault


def _decode_other(payload: bytes) -> TimeSeries | Relational:
    decoded = _anything.decode(payload)
    if not isinstance(decoded, dict):
        raise PayloadError(f"expected a JSON object, not {type(decoded).__name__}")
    if decoded.keys() == _KEYS:
        return _checked(decoded["timestamp_ms"], decoded["value"])
    _check_depth(payload, decoded)
    return decoded


def _checked(timestamp_ms: object, value: object) -> TimeSeries:
    """A time series of these parts; a timestamp such as 1.7e12 is a whole number as well. Raises `PayloadError`."""
    if isinstance(timestamp_ms, float) and timestamp_ms.is_integer():
        timestamp_ms = int(timestamp_ms)
    if isinstance(timestamp_ms, bool) or not isinstance(timestamp_ms, int):
        raise PayloadError(f"timestamp_ms must be a whole number of milliseconds, not {_shown(timestamp_ms)}")
    if not isinstance(value, (bool, int, float, str)):
        raise PayloadError(f"value must be a number, a text or a truth value, not {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise PayloadError(f"value must be a finite number, not {value}; JSON cannot say it")
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise PayloadError("value contains half a surrogate pair, which no text encoding can write")
    return TimeSeries(timestamp_ms, value)


def _limited(payload: bytes) -> bytes:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadError(f"the payload has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} (1 MiB) are allowed")
    return payload


def _check_depth(payload: bytes, decoded: object) -> None:
    if payload.count(b"{") + payload.count(b"[") <= MAX_DEPTH:
        return  # too few brackets to nest deeper: spares nearly every payload the walk
    level = [decoded]
    for _ in range(MAX_DEPTH):
        level = [child for container in level for child in _children(container)]
        if not level:
            return
    if any(isinstance(item, (Mapping, list, tuple)) for item in level):
        raise PayloadError(f"the payload nests deeper than {MAX_DEPTH} levels")


def _finite(obj: object) -> bool:
    rest = [obj]
    while rest:
        item = rest.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return False
        rest.extend(_children(item))
    return True


def _children(item: object) -> list[Any]:
    if isinstance(item, Mapping):
        return list(item.values())
    return list(item) if isinstance(item, (list, tuple)) else []


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
