"""Formats of text, as JSON Schema names them (https://json-schema.org/draft/2020-12/json-schema-validation#section-7)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID


def _uri(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", text)


FORMATS: Final[Mapping[str, Callable[[str], Any]]] = {
    "date-time": lambda text: datetime.fromisoformat(text).tzinfo is not None and len(text) > len("2026-01-01"),
    "date": lambda text: len(text) == len("2026-01-01") and date.fromisoformat(text),
    "time": time.fromisoformat,
    "email": lambda text: re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*", text) is not None,
    "uuid": lambda text: len(text) == 36 and UUID(text),
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uri": _uri,
}
"""Formats of text that are checked: each raises `ValueError` or gives False for text that is not of it."""
