"""Values of OPC UA as JSON can say them, and back.

Reading follows the JSON encoding of OPC UA Part 6, 5.4: numbers and truth values are themselves, an enumeration is its number, a time is
RFC 3339 in UTC, a GUID a text, bytes are base64, a localized text is its text, a structure an object with the names of its fields. A
structure whose definition the client does not have is ``{"type": …, "body": base64}``.

Writing is strict: a value must be of the type that was said, and fit into it; nothing is bent.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncua import ua

_INTEGERS: Final = {
    "SByte": (-(2**7), 2**7 - 1), "Byte": (0, 2**8 - 1), "Int16": (-(2**15), 2**15 - 1), "UInt16": (0, 2**16 - 1),
    "Int32": (-(2**31), 2**31 - 1), "UInt32": (0, 2**32 - 1), "Int64": (-(2**63), 2**63 - 1), "UInt64": (0, 2**64 - 1),
}  # fmt: skip


def plain(value: Any) -> Any:
    """The value as JSON can say it. Raises `ValueError` for a number that is none (NaN, infinity)."""
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"the value is {value}, not a number")
        return value
    if kind in (int, bool, str) or value is None:
        return value
    if isinstance(value, datetime):
        return stamp(value)
    if kind is list:
        return [plain(item) for item in value]
    if kind is bytes:
        return base64.b64encode(value).decode()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, int | float | str):  # asyncua's own kinds of them
        return plain(int(value) if isinstance(value, int) else float(value) if isinstance(value, float) else str(value))
    return str(value) if isinstance(value, uuid.UUID) else _structure(value)


def _structure(value: Any) -> Any:
    from asyncua import ua

    if isinstance(value, ua.NodeId):
        return value.to_string()
    if isinstance(value, ua.LocalizedText):
        return value.Text
    if isinstance(value, ua.QualifiedName):
        return value.to_string()
    if isinstance(value, ua.StatusCode):
        return value.name
    if isinstance(value, ua.Variant):
        return plain(value.Value)
    if isinstance(value, ua.DataValue):
        return plain(value.Value)
    if isinstance(value, ua.ExtensionObject):
        return {"type": value.TypeId.to_string(), "body": plain(value.Body)}
    if dataclasses.is_dataclass(value):
        shown = (field.name for field in dataclasses.fields(value) if field.name != "Encoding")
        return {name: plain(getattr(value, name)) for name in shown}
    return str(value)


def stamp(moment: datetime) -> str:
    """RFC 3339, in UTC, to the microsecond. What the client gives without a zone is UTC already."""
    aware = moment if moment.tzinfo is UTC else moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return aware.isoformat(timespec="microseconds").replace("+00:00", "Z")


def variant(value: Any, kind: str) -> ua.Variant:
    """The value, or each of a list, as that OPC UA type. Raises `ValueError` that says what is wrong."""
    from asyncua import ua

    make = WRITABLE[kind]
    if isinstance(value, list):
        return ua.Variant([make(item, kind) for item in value], ua.VariantType[kind], is_array=True)
    return ua.Variant(make(value, kind), ua.VariantType[kind])


def _integer(value: Any, kind: str) -> int:
    low, high = _INTEGERS[kind]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise ValueError(f"{value!r} is no {kind}")
    if not low <= value <= high:
        raise ValueError(f"{value!r} does not fit into {kind} ({low} to {high})")
    return int(value)


def _number(value: Any, kind: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no {kind}")
    layout = "<f" if kind == "Float" else "<d"
    try:
        number = float(struct.unpack(layout, struct.pack(layout, value))[0])
    except OverflowError:
        raise ValueError(f"{value!r} does not fit into {kind}") from None
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no {kind}")
    return number


def _truth(value: Any, kind: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is no {kind}; true or false is")
    return value


def _text(value: Any, kind: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no {kind}")
    return value


def _moment(value: Any, kind: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value, kind))
    except ValueError:
        raise ValueError(f"{value!r} is no {kind}; one is 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} is no {kind}: it does not say its zone (Z for UTC)")
    return moment.astimezone(UTC)


def _guid(value: Any, kind: str) -> uuid.UUID:
    try:
        return uuid.UUID(_text(value, kind))
    except ValueError:
        raise ValueError(f"{value!r} is no {kind}") from None


def _bytes(value: Any, kind: str) -> bytes:
    try:
        return base64.b64decode(_text(value, kind), validate=True)
    except ValueError:
        raise ValueError(f"{value!r} is no {kind}; one is written in base64") from None


def _localized(value: Any, kind: str) -> Any:
    from asyncua import ua

    return ua.LocalizedText(_text(value, kind))


WRITABLE: Final[dict[str, Callable[[Any, str], Any]]] = {
    "Boolean": _truth, **dict.fromkeys(_INTEGERS, _integer), "Float": _number, "Double": _number, "String": _text, "DateTime": _moment,
    "Guid": _guid, "ByteString": _bytes, "LocalizedText": _localized,
}  # fmt: skip
"""The types that can be written, and what makes a value of each."""
