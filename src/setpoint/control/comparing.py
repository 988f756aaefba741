"""Comparing what people and workers give: whether two values are the same, and a short text for one that differs where it does."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec
from pydantic import BaseModel

_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal. Values that cannot be compared (arrays, values that contain themselves) are the same if identical."""
    try:
        return one is other or bool(one == other)
    except Exception:
        return False


def digest(value: Any) -> str:
    """A short text, the same in every run of the program for equal values."""
    try:
        text = msgspec.json.encode(value, order="deterministic", enc_hook=_plain)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = _ADDRESS.sub("", repr(value)).encode(errors="replace")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    inside = vars(value) if hasattr(value, "__dict__") else _ADDRESS.sub("", repr(value))
    return [type(value).__qualname__, inside]
