"""Payloads of Sparkplug B: what is in the bytes, and what the values mean (Eclipse Sparkplug 3.0, chapter 6).

The messages are protocol buffers; their fields and numbers, as the specification gives them, stand in `_MESSAGES`, and the protobuf
library makes classes of it. A metric says its type once, in a birth certificate, and only its value afterwards, so a value is read with
the type beside it. As JSON can say them: numbers and truth values are themselves, a time is RFC 3339 in UTC, bytes and files are base64,
a data set is an object with `columns` and `rows`, a template an object of its metrics, an array a list.
"""

from __future__ import annotations

import base64
import math
import struct
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any, Final

LIBRARY: Final = "Sparkplug B needs libraries: pip install 'setpoint[sparkplug]'"

TYPES: Final = (
    "Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Boolean", "String", "DateTime",
    "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet", "PropertySetList", "Int8Array", "Int16Array", "Int32Array",
    "Int64Array", "UInt8Array", "UInt16Array", "UInt32Array", "UInt64Array", "FloatArray", "DoubleArray", "BooleanArray", "StringArray",
    "DateTimeArray",
)  # fmt: skip
"""The data types by their numbers."""

_VALUES: Final = "uint32 int_value, uint64 long_value, float float_value, double double_value, bool boolean_value, string string_value"
_MESSAGES: Final = {
    "Payload": "1 uint64 timestamp, 2 *Metric metrics, 3 uint64 seq, 4 string uuid, 5 bytes body",
    "Metric": "1 string name, 2 uint64 alias, 3 uint64 timestamp, 4 uint32 datatype, 5 bool is_historical, 6 bool is_transient,"
    " 7 bool is_null, 9 PropertySet properties,"
    f" 10 {_VALUES}, bytes bytes_value, DataSet dataset_value, Template template_value",
    "PropertySet": "1 *string keys, 2 *PropertyValue values",
    "PropertyValue": f"1 uint32 type, 2 bool is_null, 3 {_VALUES}, PropertySet propertyset_value",
    "DataSet": "1 uint64 num_of_columns, 2 *string columns, 3 *uint32 types, 4 *Row rows",
    "Row": "1 *DataSetValue elements",
    "DataSetValue": f"1 {_VALUES}",
    "Template": "1 string version, 2 *Metric metrics, 3 *Parameter parameters, 4 string template_ref, 5 bool is_definition",
    "Parameter": f"1 string name, 2 uint32 type, 3 {_VALUES}",
}
"""The messages: number, type (* for repeated) and name of each field; a field without a number has the next. What ends in _value is one of
a choice. What nothing here reads (metadata, extensions) is passed over by the library."""

_INTEGERS: Final = {"Int8": (8, True), "Int16": (16, True), "Int32": (32, True), "Int64": (64, True), "UInt8": (8, False), "UInt16": (16, False), "UInt32": (32, False), "UInt64": (64, False)}  # fmt: skip # noqa: E501
_ARRAYS: Final = {
    "Int8Array": "b", "Int16Array": "h", "Int32Array": "i", "Int64Array": "q", "UInt8Array": "B", "UInt16Array": "H", "UInt32Array": "I",
    "UInt64Array": "Q", "FloatArray": "f", "DoubleArray": "d", "DateTimeArray": "q",
}  # fmt: skip
"""Arrays of numbers: packed without gaps, least byte first."""


@cache
def message(name: str) -> Any:
    """The class of one kind of message. Raises `ModuleNotFoundError` where protobuf is not installed."""
    factory, pool = import_module("google.protobuf.message_factory"), _pool()
    return factory.GetMessageClass(pool.FindMessageTypeByName(f"sparkplug.{name}"))


@cache
def _pool() -> Any:
    descriptors = import_module("google.protobuf.descriptor_pb2")
    file = descriptors.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    for name, fields in _MESSAGES.items():
        kind, number = file.message_type.add(name=name), 0
        for field in fields.split(", "):
            *given, type_, label = field.split()
            number = int(given[0]) if given else number + 1
            _add_field(kind, number, type_, label)
    pool = import_module("google.protobuf.descriptor_pool").DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(kind: Any, number: int, type_: str, label: str) -> None:
    added = kind.field.add(name=label, number=number)
    added.label = added.LABEL_REPEATED if type_.startswith("*") else added.LABEL_OPTIONAL
    plain = type_.removeprefix("*")
    if plain in _MESSAGES:
        added.type, added.type_name = added.TYPE_MESSAGE, f".sparkplug.{plain}"
    else:
        added.type = getattr(added, f"TYPE_{plain.upper()}")
    if label.endswith("_value"):
        if not kind.oneof_decl:
            kind.oneof_decl.add(name="value")
        added.oneof_index = 0


def decode(raw: bytes) -> Any:
    """The payload in these bytes. Raises `ValueError`."""
    payload = message("Payload")()
    try:
        payload.ParseFromString(raw)
    except import_module("google.protobuf.message").DecodeError as error:
        raise ValueError(f"the payload is not Sparkplug B: {error}") from error
    return payload


def type_name(number: int) -> str:
    """The name of the data type. Raises `ValueError` for a number that stands for none."""
    if not 0 < number < len(TYPES):
        raise ValueError(f"has the unknown data type {number}")
    return TYPES[number]


def value_of(metric: Any, datatype: int) -> Any:
    """The value of a metric, property, parameter or element of that type. Raises `ValueError`."""
    if getattr(metric, "is_null", False):
        return None
    kind, field = type_name(datatype), metric.WhichOneof("value")
    if field is None:
        raise ValueError("has no value")
    return _meaning(kind, field, getattr(metric, field))


def _meaning(kind: str, field: str, raw: Any) -> Any:
    if kind in _INTEGERS:
        return _integer(_typed(raw, int, kind, field), *_INTEGERS[kind])
    if kind in ("Float", "Double"):
        number = _typed(raw, float, kind, field)
        if not math.isfinite(number):
            raise ValueError(f"is {number}, not a number")
        return number
    if kind == "Boolean":
        return _typed(raw, bool, kind, field)
    if kind in ("String", "Text", "UUID"):
        return _typed(raw, str, kind, field)
    if kind == "DateTime":
        return _moment(_typed(raw, int, kind, field))
    if kind in ("Bytes", "File"):
        return base64.b64encode(_typed(raw, bytes, kind, field)).decode()
    if kind == "DataSet" and field == "dataset_value":
        return _dataset(raw)
    if kind == "Template" and field == "template_value":
        return {each.name: value_of(each, each.datatype) for each in raw.metrics}
    return _array(kind, _typed(raw, bytes, kind, field))


def _typed(raw: Any, wanted: type, kind: str, field: str) -> Any:
    if type(raw) is not wanted:
        raise ValueError(f"is of the type {kind}, and its value a {field}")
    return raw


def _integer(raw: int, bits: int, signed: bool) -> int:
    """The number in the lowest bits: two's complement for those with a sign (6.4.16), which some clients extend to all bits."""
    low = raw & ((1 << bits) - 1)
    if not signed:
        if low != raw:
            raise ValueError(f"is {raw}, which does not fit into {bits} bits")
        return raw
    return low - (1 << bits) if low >> (bits - 1) else low


def _moment(milliseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"is the time {milliseconds}, which no calendar has") from error
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dataset(raw: Any) -> dict[str, Any]:
    types = list(raw.types)
    if len(types) != len(raw.columns) or any(len(row.elements) != len(types) for row in raw.rows):
        raise ValueError("is a data set whose rows do not fit its columns")
    rows = [[_element(each, kind) for each, kind in zip(row.elements, types, strict=True)] for row in raw.rows]
    return {"columns": list(raw.columns), "rows": rows}


def _element(element: Any, datatype: int) -> Any:
    """An element of a data set; one without a value is null."""
    return None if element.WhichOneof("value") is None else value_of(element, datatype)


def _array(kind: str, raw: bytes) -> list[Any]:
    if kind == "StringArray":
        return raw.decode("utf-8", errors="replace").split("\0")[:-1]
    if kind == "BooleanArray":
        return _booleans(raw)
    if kind not in _ARRAYS:
        raise ValueError(f"is of the type {kind}, which is no value of a metric")
    layout = _ARRAYS[kind]
    size = struct.calcsize(f"<{layout}")
    if len(raw) % size:
        raise ValueError(f"is a {kind} of {len(raw)} bytes")
    found = list(struct.unpack(f"<{len(raw) // size}{layout}", raw))
    if kind == "DateTimeArray":
        return [_moment(each) for each in found]
    if layout in "fd" and not all(math.isfinite(each) for each in found):
        raise ValueError("has a member that is not a number")
    return found


def _booleans(raw: bytes) -> list[bool]:
    """The count in four bytes, least first, then the bits, highest first."""
    count = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or count > 8 * (len(raw) - 4):
        raise ValueError("is a BooleanArray that is shorter than it says")
    return [bool(raw[4 + n // 8] >> (7 - n % 8) & 1) for n in range(count)]
