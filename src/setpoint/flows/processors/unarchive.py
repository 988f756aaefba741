"""`unarchive`: takes a message apart into several, each with its meta: the items of a JSON array, JSON documents or lines.

Fields as documented for Benthos: `format`, of which `json_array`, `json_documents` and `lines` are known here.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

import msgspec
from pydantic import field_validator

from setpoint.data import Several
from setpoint.flows.component import Context, MessageError, Msg, serialized, structured
from setpoint.flows.component import Fields as ComponentFields

_decoder: Final = json.JSONDecoder()
_ELSEWHERE: Final = ("binary", "csv", "json_map", "tar", "zip")


class Unarchive:
    """Makes several messages of one."""

    class Fields(ComponentFields):
        format: Literal["json_array", "json_documents", "lines"]

        @field_validator("format", mode="before")
        @classmethod
        def _known(cls, value: object) -> object:
            if isinstance(value, str) and value.startswith(_ELSEWHERE):
                raise ValueError(f"the format {value!r} is one of Benthos, not of Setpoint: `engine: benthos` runs it")
            return value

    def __init__(self, fields: Fields, context: Context) -> None:
        self._take_apart = {"json_array": _items, "json_documents": _documents, "lines": _lines}[fields.format]

    def __call__(self, msg: Msg) -> Any:
        """The messages; None where there is nothing in it. Raises `MessageError` where it is no such thing."""
        parts = self._take_apart(msg.payload)
        return Several(Msg(part, dict(msg.meta)) for part in parts) if parts else None


def _items(payload: Any) -> list[Any]:
    found = structured(payload)
    if type(found) is not list:
        raise MessageError(f"expected a JSON array, got {type(found).__name__}")
    return [_item(item) for item in found]


def _item(item: Any) -> Any:
    """A text stays a JSON text: alone it would be read as what it says."""
    return msgspec.json.encode(item) if type(item) is str else item


def _documents(payload: Any) -> list[Any]:
    """Documents, each on its lines, with nothing but space between them."""
    text, at = serialized(payload).decode("utf-8", errors="replace").strip(), 0
    found: list[Any] = []
    while at < len(text):
        try:
            item, at = _decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise MessageError(f"document {len(found) + 1} is no JSON: {error}") from None
        found.append(_item(item))
        at = _space(text, at)
    return found


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _lines(payload: Any) -> list[Any]:
    return list(serialized(payload).split(b"\n"))
