"""Texts with values of the message in them, as Benthos writes them: ``plant/${! meta("line") }/${! json("press.name") }``.

Between ``${!`` and ``}`` stands a Bloblang expression (`setpoint.flows.bloblang`); ``${{! … }}`` stands for ``${! … }`` itself. A value
that is not there is a fault of the message, never an empty text or ``null``: it would send the message somewhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from setpoint.flows.bloblang import WORLD, BloblangError, Expression, World
from setpoint.flows.bloblang.values import type_of
from setpoint.flows.component import MessageError, Msg, serialized

_CALL: Final = re.compile(r"""\$\{!\s*(meta|json)\("([^"]+)"\)\s*\}\Z""")


class Interpolated:
    """A text to be filled in for each message. Raises `ValueError` for an expression that is none or is not translated.

    `reads` is what of the message it reads: this, payload, meta, error.
    """

    def __init__(self, text: str, world: World = WORLD) -> None:
        self.text = text
        self._parts: list[tuple[str, str, Callable[..., Any]]] = []
        reads: set[str] = set()
        at = 0
        while (start := text.find("${!", at)) >= 0:
            expression = _expression(text, start)
            self._parts.append((_plain(text[at:start]), text[start : expression.end], expression.bind(world)))
            reads |= expression.reads
            at = expression.end
        self._end = _plain(text[at:])
        self.reads = frozenset(reads)

    @property
    def fixed(self) -> bool:
        """Whether it is the same for every message."""
        return not self._parts

    def __call__(self, msg: Msg, error: str = "") -> str:
        """The text for this message, which failed before because of `error`. Raises `MessageError`."""
        if not self._parts:
            return self._end
        return "".join(f"{before}{_text(value(msg, error), shown)}" for before, shown, value in self._parts) + self._end


def _expression(text: str, start: int) -> Expression:
    try:
        return Expression(text, start=start + 3, closing="}")
    except BloblangError as error:
        raise ValueError(f"{text[start : start + 60]} cannot be evaluated: {error}") from None


def _plain(text: str) -> str:
    """The text between expressions, with what stands for such a thing itself."""
    before, *rest = text.split("${{!")
    return before + "".join("${!" + part.replace("}}", "}", 1) for part in rest)


def _text(value: Any, shown: str) -> str:
    if value is None and (call := _CALL.match(shown)):
        raise MessageError(f"has no meta {call[2]!r}" if call[1] == "meta" else f"its payload has no {call[2]!r}")
    if not isinstance(value, str | bytes | bool | int | float):
        raise MessageError(f"{shown} is no text, number or truth value, but {type_of(value)}")
    return serialized(value).decode("utf-8", errors="replace")
