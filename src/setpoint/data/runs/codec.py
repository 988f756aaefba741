"""Progress and results as bytes, and back the same.

The form is MessagePack (https://msgpack.org). What it has no word for but records often hold, tuples, sets, dates, decimals, UUIDs, large
numbers, is written as an extension; any other object is refused by name and place, before anything is kept, since a run that cannot be
read back is not kept at all. Nothing is ever unpickled. Exceptions stay behind: an error keeps their type and message.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from setpoint.data.context import Progress, Token
from setpoint.data.draft import DraftDict, DraftList, settled
from setpoint.data.result import Result
from setpoint.data.runs.errors import NotKept

T = TypeVar("T")
VERSION: Final = b"\x02"


_NAMED: Final[Sequence[tuple[type, Callable[[Any], str], Callable[[str], Any]]]] = (
    (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    (datetime.timedelta, lambda value: f"{value.days},{value.seconds},{value.microseconds}", lambda text: _delta(text)),  # noqa: PLW0108
    (decimal.Decimal, str, decimal.Decimal),
    (uuid.UUID, str, uuid.UUID),
    (int, hex, lambda text: int(text, 16)),
    (complex, repr, complex),
    (bytearray, bytearray.hex, bytearray.fromhex),
)
"""Types written as text: each extension's number is its place here, from 16."""
_SEQUENCES: Final[Sequence[type[Any]]] = (tuple, set, frozenset)
"""Types written as arrays: each extension's number is its place here, from 1."""
_PAIRS: Final = 8
"""The extension of a mapping whose keys are not all texts."""
_SAME: Final = 9
"""The extension of a record that stands elsewhere in an earlier place already: which of its records it is."""
_PLAIN: Final = frozenset({str, float, bool, type(None), bytes})
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1
MAX_BYTES: Final = 900_000_000
"""SQLite holds a billion in a row; see https://www.sqlite.org/limits.html."""


def _hook(value: Any) -> Any:
    """What stays behind: the exception of an error."""
    if isinstance(value, BaseException):
        return None
    raise NotKept(f"a {type(value).__name__} cannot be kept")


_encode: Final = msgspec.msgpack.Encoder(enc_hook=_hook).encode


def encoded(value: Progress | list[Result] | Result) -> bytes:
    """The bytes. Raises `NotKept`."""
    return _within_reason(_shipped, value)


def decoded_progress(data: bytes) -> Progress:
    """A run's progress. Raises `ValueError` for bytes that are none."""
    progress = _decoded(data, _progress)
    found = _Found()
    tokens, waiting, failed = (
        tuple(_joined(token, found) for token in some) for some in (progress.tokens, progress.waiting, progress.failed)
    )
    return msgspec.structs.replace(progress, tokens=tokens, waiting=waiting, failed=failed)


def decoded_results(data: bytes) -> list[Result]:
    """A lot of results. Raises `ValueError` for bytes that are none."""
    return _decoded(data, _results)


def decoded_value(data: bytes) -> Any:
    """A record. Raises `ValueError` for bytes that are none."""
    return _decoded(data, _raw)


def encoded_value(record: Any) -> bytes:
    """A record as bytes. Raises `NotKept`."""
    return _within_reason(_tagged, record, "record")


def _within_reason(shape: Callable[..., Any], *what: Any) -> bytes:
    try:
        data = VERSION + _encode(shape(*what))
    except RecursionError:
        raise NotKept("the record is nested too deep, or holds itself; it cannot be kept") from None
    except UnicodeEncodeError as error:
        raise NotKept(f"the text {error.object!a:.60} cannot be kept: part of it is no character") from None
    if len(data) > MAX_BYTES:
        raise NotKept(f"the run is {len(data):,} bytes now; at most {MAX_BYTES:,} can be kept")
    return data


def _decoded(data: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    if data[:1] != VERSION:
        raise ValueError(f"these bytes are of another version ({data[:1]!r})")
    try:
        return decoder.decode(data[1:])
    except Exception as error:  # of any type: what stands in a damaged file, nobody knows
        raise ValueError(f"these bytes are damaged: {type(error).__name__}: {error}") from error


def _shipped(value: Any) -> Any:
    """The same with records in a form that MessagePack has; only what needs it is built anew."""
    match value:
        case Progress():
            if not (value.ends or value.waiting or value.variables or value.failed) and len(value.tokens) == 1:
                token = _token(value.tokens[0], _Once())
                return value if token is value.tokens[0] else msgspec.structs.replace(value, tokens=(token,))
            once = _Once()
            return msgspec.structs.replace(
                value,
                tokens=tuple(_token(token, once) for token in value.tokens),
                waiting=tuple(_token(token, once) for token in value.waiting),
                failed=tuple(_token(token, once) for token in value.failed),
                ends=tuple(map(_shipped, value.ends)),
                variables=_tagged(value.variables, "variables"),
            )
        case Result():
            data = _tagged(value.data, "record")
            if data is value.data and not value.parts:
                return value
            return msgspec.structs.replace(value, data=data, parts=tuple(map(_shipped, value.parts)))
    return [_shipped(one) for one in value]


class _Once:
    """Gives each record once; where the same object comes again, the number under which it came first: what was one object stays one."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}  # with the object itself, so that its id is not given to another

    def __call__(self, value: Any) -> Any:
        if value.__class__ in _PLAIN or value.__class__ is int:
            return _tagged(value, "record")
        if known := self._seen.get(id(value)):
            return msgspec.msgpack.Ext(_SAME, str(known[0]).encode())
        self._seen[id(value)] = (len(self._seen), value)
        return _tagged(value, "record")


class _Found:
    """The way back from `_Once`: takes the records in the same order."""

    def __init__(self) -> None:
        self._seen: list[Any] = []

    def __call__(self, value: Any) -> Any:
        if type(value) is _Same:
            return self._seen[value.number]
        if value.__class__ not in _PLAIN and value.__class__ is not int:
            self._seen.append(value)
        return value


def _token(token: Token, once: _Once) -> Token:
    before, record = token.before and _token(token.before, once), once(token.record)
    if before is token.before and record is token.record and not token.frames:
        return token
    frames = [msgspec.structs.replace(one, entered=once(one.entered), record=once(one.record)) for one in token.frames]
    return msgspec.structs.replace(token, before=before, record=record, frames=tuple(frames))


def _joined(token: Token, found: _Found) -> Token:
    """The token as it was, what was one object in it and in those before being one again."""
    before, record = token.before and _joined(token.before, found), found(token.record)
    if before is token.before and record is token.record and not token.frames:
        return token
    frames = [
        msgspec.structs.replace(one, entered=found(one.entered), record=found(one.record)) for one in token.frames
    ]
    return msgspec.structs.replace(token, before=before, record=record, frames=tuple(frames))


def _tagged(value: Any, where: str) -> Any:
    """The value, itself where it is plain all through."""
    kind = value.__class__
    if kind in _PLAIN or (kind is int and _LEAST <= value <= _MOST):
        return value
    if kind is DraftDict or kind is DraftList:
        value = settled(value)
        kind = value.__class__
    if kind is dict:
        return _mapping(value, where)
    if kind is list:
        made = [_tagged(item, where) for item in value]
        return value if all(a is b for a, b in zip(made, value, strict=True)) else made
    return _extension(value, where)


def _mapping(value: dict[Any, Any], where: str) -> Any:
    made: dict[str, Any] | None = None
    for key, item in value.items():
        if key.__class__ is not str:
            pairs = [[_tagged(key, where), _tagged(item, f"{where}[{key!r}]")] for key, item in value.items()]
            return msgspec.msgpack.Ext(_PAIRS, _encode(pairs))
        kind = item.__class__
        if kind in _PLAIN or (kind is int and _LEAST <= item <= _MOST):
            continue
        new = _tagged(item, f"{where}.{key}")
        if new is not item:
            made = dict(value) if made is None else made
            made[key] = new
    return value if made is None else made


def _extension(value: Any, where: str) -> msgspec.msgpack.Ext:
    for number, kind in enumerate(_SEQUENCES, 1):
        if value.__class__ is kind:
            return msgspec.msgpack.Ext(number, _encode([_tagged(item, where) for item in value]))
    for number, (kind, write, _) in enumerate(_NAMED, 16):
        if value.__class__ is kind:
            return msgspec.msgpack.Ext(number, write(value).encode())
    raise NotKept(f"{where} is a {type(value).__name__}, which cannot be kept; make it plain data in the state before")


class _Same(NamedTuple):
    """A record that stands elsewhere in its run."""

    number: int


def _read(code: int, data: memoryview) -> Any:
    raw = bytes(data)
    if code == _SAME:
        return _Same(int(raw))
    if code == _PAIRS:
        return {key: item for key, item in _raw.decode(raw)}
    if 1 <= code <= len(_SEQUENCES):
        return _SEQUENCES[code - 1](_raw.decode(raw))
    if 16 <= code < 16 + len(_NAMED):
        return _NAMED[code - 16][2](raw.decode())
    raise ValueError(f"extension {code} is unknown: a newer version wrote it")


def _delta(text: str) -> datetime.timedelta:
    days, seconds, microseconds = (int(part) for part in text.split(","))
    return datetime.timedelta(days, seconds, microseconds)


_raw: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(Any, ext_hook=_read)
_types: Final[Mapping[str, Any]] = {"ext_hook": _read, "dec_hook": lambda kind, value: value}
_progress: Final[msgspec.msgpack.Decoder[Progress]] = msgspec.msgpack.Decoder(Progress, **_types)
_results: Final[msgspec.msgpack.Decoder[list[Result]]] = msgspec.msgpack.Decoder(list[Result], **_types)
