"""Watches: expressions and paths whose values are looked at wherever the run stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from setpoint.data.debug.changes import same
from setpoint.data.debug.reading import reading
from setpoint.data.functions.fields import MISSING
from setpoint.data.modes import deep_copy
from setpoint.machine import ExpressionError


class Watched(NamedTuple):
    """What is watched. `value` is `MISSING` where it has none, and `fault` says why; `before` is the value where the run stood before."""

    text: str
    value: Any
    before: Any
    fault: str = ""

    @property
    def changed(self) -> bool:
        """Whether it is another value than before."""
        return not same(self.before, self.value)


class Watches:
    """All that are watched, in the order in which they were added."""

    def __init__(self) -> None:
        self._readings: dict[str, Callable[[Any], Any]] = {}
        self.seen: tuple[Watched, ...] = ()

    def add(self, text: str, record: Any) -> Watched:
        """One more. Raises `ExpressionError` for a text that is none."""
        text = text.strip()
        self._readings[text] = reading(text)
        first = self._looked(text, record, {})
        first = first._replace(before=first.value)
        self.seen = (*(one for one in self.seen if one.text != text), first)
        return first

    def take(self, text: str) -> None:
        """One less. Raises `KeyError`."""
        if text not in self._readings:
            raise KeyError(f"{text!r} is not watched; watched are: {', '.join(self._readings) or 'none'}")
        del self._readings[text]
        self.seen = tuple(one for one in self.seen if one.text != text)

    def look(self, record: Any) -> None:
        """Their values for this record."""
        before = {one.text: one.value for one in self.seen}
        self.seen = tuple(self._looked(text, record, before) for text in self._readings)

    def _looked(self, text: str, record: Any, before: dict[str, Any]) -> Watched:
        try:
            value, fault = deep_copy(self._readings[text](record)), ""
        except ExpressionError as error:
            value, fault = MISSING, str(error)
        return Watched(text, value, before.get(text, MISSING), fault)
