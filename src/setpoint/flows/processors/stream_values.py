"""What the fields of a stream processor come to: expressions, evaluated over the latest values of the sources.

All expressions in JavaScript share one engine, and those that a message makes due are evaluated in one call, because a call costs as much
as an expression. Each has an outcome of its own: a value, nothing (null), or a fault. Where a limit ends a call there is no outcome at all;
then each is called by itself, so that the one that loops for ever is named and the others have their values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from setpoint import scripts
from setpoint.flows.processors.stream_mapping import Constant, Copy, Derived, JavaScript
from setpoint.machine.expression import Expression, ExpressionError


class Outcome(NamedTuple):
    """A value, or why there is none. Without either there is nothing to publish."""

    value: bool | int | float | str | None
    fault: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[list[Any]]).decode


@cache
def _program() -> str:
    return files("setpoint.flows.processors").joinpath("stream_mappings.js").read_text(encoding="utf-8")


class Evaluation:
    """The fields, ready to be evaluated. Not for use from several threads.

    `timeout` is CPU seconds a message, `memory` bytes kept between messages: the limits of `setpoint.scripts`.
    """

    def __init__(self, derived: Sequence[Derived], *, timeout: float, memory: int) -> None:
        self._derived = derived
        self._numbers: dict[int, int] = {}
        scripted: list[tuple[str, ...]] = []
        for number, one in enumerate(derived):
            if isinstance(one.by, JavaScript):
                self._numbers[number] = len(scripted)
                scripted.append((one.by.text, *one.uses))
        self._engine = scripts.Program(_program(), _encode(scripted).decode(), timeout=timeout, memory=memory)

    def __call__(self, asked: Sequence[tuple[int, Sequence[Any]]]) -> list[Outcome]:
        """The outcomes of the fields of these numbers, each with the values of the aliases that it uses, in their order."""
        in_javascript = [(number, values) for number, values in asked if number in self._numbers]
        scripted = iter(self._in_javascript(in_javascript)) if in_javascript else iter(())
        return [
            next(scripted) if number in self._numbers else _outcome(self._derived[number], values)
            for number, values in asked
        ]

    def _in_javascript(self, asked: Sequence[tuple[int, Sequence[Any]]]) -> list[Outcome]:
        try:
            answer = self._engine(_encode([(self._numbers[number], *values) for number, values in asked]).decode())
            return [Outcome(*found) for found in _decode(answer)]
        except (scripts.ScriptError, msgspec.DecodeError) as error:  # a limit, or a text that no encoding can say
            if len(asked) == 1:
                text = str(error) if isinstance(error, scripts.ScriptError) else f"gave what cannot be read: {error}"
                return [Outcome(None, text)]
            return [outcome for one in asked for outcome in self._in_javascript([one])]


def _outcome(derived: Derived, values: Sequence[Any]) -> Outcome:
    """Of a field that needs no engine."""
    by = derived.by
    if isinstance(by, Constant):
        return Outcome(by.value)
    if isinstance(by, Copy):
        return _checked(values[0])
    assert isinstance(by, Expression)  # the others go to the engine
    try:
        return _checked(by(dict(zip(derived.uses, values, strict=True))))
    except ExpressionError as error:
        return Outcome(None, str(error))


def _checked(value: Any) -> Outcome:
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return Outcome(value)
    if isinstance(value, float):
        return Outcome(None, f"gave {value}, which is not a value")
    kind = "a list" if isinstance(value, list | tuple) else "an object"
    return Outcome(None, f"gave {kind}; expected a number, a text, a truth value, or None to publish nothing")
