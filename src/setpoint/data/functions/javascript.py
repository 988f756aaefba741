"""Functions written in JavaScript: the body of a function of `record`, with the limits of `setpoint.scripts`.

A transform returns the record that goes on, or nothing if it changed it in place; ``several([...])`` to split it, ``DROP`` to drop it. A
condition may also be an expression, without return. A gate or validator returns true or false, or ``{ok: false, because: "…"}``. Code is
strict: a name that was not declared is an error.

The record passes as JSON, so JavaScript sees dates as texts, and nan as null. But a field that it does not change stays exactly what it
was: only what looks different to JavaScript before and after is taken over. So a 64-bit integer or a date passes through unharmed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from setpoint.data.definition import Function, Role, Unresolved
from setpoint.data.functions.fields import kind_of
from setpoint.data.result import DROP, Several
from setpoint.machine import Verdict
from setpoint.scripts import Program, ScriptError, syntax_error

TIMEOUT: Final = 0.1
"""CPU seconds that a script may take for one record, unless said otherwise."""
MEMORY: Final = 8 * 1024 * 1024
"""Bytes that a script may keep between records, unless said otherwise."""


class _Output(msgspec.Struct):
    """What `record.js` gives; its first lines say what each field means."""

    a: bool = False
    b: str = ""
    c: dict[str, Any] | None = None
    g: list[str] = []
    v: Any = msgspec.UNSET
    s: list[Any] | None = None
    d: int = 0


_decode = msgspec.json.Decoder(_Output).decode
_encode = msgspec.json.Encoder().encode


@cache
def _runner() -> str:
    return files("setpoint.data.functions").joinpath("record.js").read_text(encoding="utf-8")


def by_javascript(code: str, role: Role, *, timeout: float = TIMEOUT, memory: int = MEMORY) -> Function:
    """The function that the code stands for in this role. Raises `Unresolved` for code that does not parse, or that can give no answer."""
    argument = _encode([_body(code, role), str(role)]).decode()
    programs = threading.local()

    def call(record: Any) -> _Output:
        try:
            program = programs.program
        except AttributeError:
            program = programs.program = Program(_runner(), argument, timeout=timeout, memory=memory)
        try:
            return _decode(program(_encode(record).decode()))
        except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
            raise ScriptError(f"the record cannot pass through JavaScript: {error}") from error

    if role is not Role.TRANSFORM:
        return lambda record: _answer(call(record))
    return lambda record: _changed(record, call(record))


def _answer(output: _Output) -> bool | Verdict:
    return True if output.a else Verdict(False, output.b) if output.b else False


def _changed(record: Any, output: _Output) -> Any:
    if output.c is not None:
        return _merged(record, output.c, output.g)
    if output.d:
        return DROP
    return Several(output.s) if output.s is not None else output.v


def _merged(record: Any, changed: dict[str, Any], gone: list[str]) -> Any:
    if not changed and not gone:
        return record
    if not isinstance(record, Mapping):  # an object with fields, which JavaScript saw as its fields
        record = msgspec.to_builtins(record)
    for key in record:
        if not isinstance(key, str):
            raise ScriptError(f"the record has the key {key!r}, {kind_of(key)}; JavaScript has texts as keys only")
    made = {**record, **changed}
    for key in gone:
        del made[key]
    return made


def _body(code: str, role: Role) -> str:
    """The code as the body of a function."""
    if not code.strip():
        raise Unresolved("the JavaScript is empty")
    if role is not Role.TRANSFORM and not syntax_error(expression := f"return ({code}\n);", "record"):
        return expression
    if fault := syntax_error(code, "record"):
        raise Unresolved(f"the JavaScript cannot be read: {fault}")
    if role is not Role.TRANSFORM and "return" not in code:
        raise Unresolved(f"the JavaScript never returns, so it says neither yes nor no: a {role} returns true or false")
    return code
