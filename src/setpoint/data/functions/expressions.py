"""Functions written as expressions, in the safe subset of Python that `setpoint.machine.expression` reads.

A name in an expression is a field of the record, and ``record`` is the record itself: ``price * qty > 100``, ``record['unit price'] > 3``.
As a condition an expression opens its arc where it is true. As a gate or validator it refuses a record for which it is not true, and
says so. As a transform it gives the record that goes on, a mapping; fields are set by assignments::

    {set: {total: price * qty, address.country: "upper(country)", checked: true}}

Each assignment sees the fields set before it. A value that is not text stands for itself; text in text needs quotes of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from setpoint.data.definition import Function, Role
from setpoint.data.functions.fields import fields_of, kind_of, put, shown
from setpoint.data.modes import deep_copy
from setpoint.machine import Expression, Verdict

THE_RECORD = "record"
"""The name by which an expression has the record itself."""


def by_expression(text: str, role: Role) -> Function:
    """The function that an expression stands for in this role. Raises `ExpressionError` for a text that is none."""
    value = evaluator(text)
    if role is Role.CONDITION:
        return value
    return _replacement(text, value) if role is Role.TRANSFORM else refusal(text, value)


def assignments(fields: Mapping[str, Any]) -> Function:
    """A transform that sets fields to values of expressions. Raises `ValueError` that names the field whose expression is none."""
    if not isinstance(fields, Mapping) or not fields:
        raise ValueError(f"expected a mapping of fields to expressions, got {shown(fields)}")
    steps = [(name, _value(name, asked)) for name, asked in fields.items()]

    def assign(record: Any) -> dict[str, Any]:
        made = fields_of(record)
        for name, value in steps:
            put(made, name, deep_copy(value(made)))  # so that no two fields share what one could change
        return made

    return assign


def evaluator(text: str) -> Callable[[Any], Any]:
    """The value of an expression as a function of the record. Raises `ExpressionError`."""
    expression = Expression(text)
    roots = {name.split(".", 1)[0] for name in expression.names}
    if THE_RECORD not in roots:
        return expression
    if roots == {THE_RECORD}:
        return lambda record: expression({THE_RECORD: record})
    return lambda record: expression({**fields_of(record), THE_RECORD: record})


def refusal(text: str, test: Callable[[Any], Any]) -> Function:
    """A check that refuses what the test does not hold for: with the test's own reason, or saying that it is not so."""
    refused = Verdict(False, f"not so: {text}")

    def check(record: Any) -> bool | Verdict:
        answer = test(record)
        if answer:
            return True
        return answer if isinstance(answer, Verdict) and answer.because else refused

    return check


def _value(name: object, asked: Any) -> Callable[[Any], Any]:
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a field is text, not {shown(name)}")
    if not isinstance(asked, str):
        return lambda record: asked
    try:
        return evaluator(asked)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _replacement(text: str, value: Callable[[Any], Any]) -> Function:
    def replace(record: Any) -> Any:
        made = value(record)
        if not isinstance(made, Mapping):
            raise TypeError(
                f"{text}: gave {kind_of(made)}; a transform gives the record that goes on, a mapping: "
                "to set a field write {set: {field: expression}}"
            )
        return made

    return replace
