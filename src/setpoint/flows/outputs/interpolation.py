"""Texts with values of the message in them, as Benthos writes them: ``plant/${! meta("line") }/${! json("press.name") }``.

Two functions are known: `meta` gives the meta of that name, `json` the value at that place in the payload. One that is not there is a
fault of the message, never an empty text: it would send the message somewhere else.
"""

from __future__ import annotations

import re
from typing import Any, Final

from setpoint.flows.component import MessageError, Msg, serialized, structured

_PART: Final = re.compile(r"\$\{!(.*?)\}", re.DOTALL)
_CALL: Final = re.compile(r"""\s*(meta|json)\((["'])([^"']+)\2\)\s*\Z""")


class Interpolated:
    """A text to be filled in for each message. Raises `ValueError` for an expression that is not known."""

    def __init__(self, text: str) -> None:
        self.text = text
        *parts, self._end = _PART.split(text)
        self._parts = [(parts[n], *_call(parts[n + 1])) for n in range(0, len(parts), 2)]

    @property
    def fixed(self) -> bool:
        """Whether it is the same for every message."""
        return not self._parts

    def __call__(self, msg: Msg) -> str:
        """The text for this message. Raises `MessageError`."""
        if not self._parts:
            return self._end
        return "".join(f"{before}{_value(msg, call, name)}" for before, call, name in self._parts) + self._end


def _call(expression: str) -> tuple[str, str]:
    found = _CALL.match(expression)
    if found is None:
        raise ValueError(
            f'${{!{expression}}} cannot be evaluated; known are ${{! meta("name") }} and ${{! json("a.b") }}'
        )
    return found.group(1), found.group(3)


def _value(msg: Msg, call: str, name: str) -> str:
    if call == "meta":
        if name not in msg.meta:
            raise MessageError(f"has no meta {name!r}")
        return msg.meta[name]
    value: Any = structured(msg.payload)
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            raise MessageError(f"its payload has no {name!r}")
        value = value[key]
    if isinstance(value, dict | list) or value is None:
        raise MessageError(f"{name!r} in its payload is no text, number or truth value")
    return serialized(value).decode()
