"""What the mapping of a stream processor says: which fields there are, from which sources, in which language.

::

    mapping:
      pressure: press * 6.895            # JavaScript, in which the aliases of the sources are variables
      motor:
        state: 'run ? "on" : "off"'      # folders become the virtual path: motor.state
        torque: = round(force * 0.35, 1) # behind a "=": a Setpoint expression
      serial: '"SN-7"'                   # uses no source: published whenever one arrives
      stages: 3                          # a number or a truth value stands for itself

A text that is the name of a source alone is a copy of it, to the last digit. Everything that is wrong is found here, before anything runs:
texts that are no expressions, names that are no sources, and topics that cannot be.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, NamedTuple

from setpoint import scripts
from setpoint.flows.processors.stream_names import KEYWORDS, known_to_javascript, names_in
from setpoint.machine.expression import FUNCTIONS, Expression, ExpressionError
from setpoint.namespace import Topic, TopicError

EXPRESSION: Final = "="
"""How a text begins that is a Setpoint expression; no expression in JavaScript begins so."""
_ALIAS: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_QUOTED: Final = "a fixed text needs quotes of its own: '\"{}\"'"

Path = tuple[str, ...]


class Constant(NamedTuple):
    """A value that stands for itself."""

    value: bool | int | float


class Copy(NamedTuple):
    """The value of one source."""


class JavaScript(NamedTuple):
    """An expression in JavaScript."""

    text: str


class Derived(NamedTuple):
    """One field of the model: its path below the contract, the aliases that it uses, and how it comes of them."""

    path: Path
    uses: tuple[str, ...]
    by: Constant | Copy | JavaScript | Expression


class Fault(NamedTuple):
    """One thing that is wrong with a mapping: the keys that lead to it, what, and what to do about it."""

    path: Path
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = ".".join(self.path)
        return f"{where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


def read_mapping(sources: Collection[str], mapping: Mapping[str, Any]) -> tuple[list[Derived], list[Fault]]:
    """The fields, in their order, and everything that is wrong. `sources` are the aliases."""
    derived: list[Derived] = []
    faults: list[Fault] = []
    for path, value in _leaves(mapping, ()):
        try:
            _check_path(path)
            derived.append(_derived(path, value, sources))
        except _Wrong as wrong:
            faults.append(Fault(path, wrong.message, wrong.hint))
    return derived, faults


def alias_fault(alias: str) -> str:
    """Why that cannot be the name of a source; empty when it can."""
    if not _ALIAS.fullmatch(alias):
        return f"{alias[:60]!r} cannot be a variable: expected letters, digits and '_', not beginning with a digit"
    if alias in KEYWORDS or keyword.iskeyword(alias):
        return f"{alias!r} is a word of the language and cannot be a variable"
    return ""


class _Wrong(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


def _leaves(mapping: Mapping[str, Any], above: Path) -> Iterator[tuple[Path, Any]]:
    for key, value in mapping.items():
        path = (*above, str(key))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _check_path(path: Path) -> None:
    try:
        Topic.build(location_path="x", contract="_c", virtual_path=".".join(path[:-1]), name=path[-1])
    except TopicError as error:
        raise _Wrong(str(error).removeprefix("topic to build: "), "fields become topics") from None
    if dotted := next((step for step in path if "." in step), ""):
        raise _Wrong(f"{dotted!r} has a dot in it", "write a folder with the field below it")


def _derived(path: Path, value: Any, sources: Collection[str]) -> Derived:
    if isinstance(value, bool | int | float):
        return Derived(path, (), Constant(value))
    if not isinstance(value, str) or not value.strip():
        raise _Wrong("expected an expression, a number, true or false, or fields below it")
    text = value.strip()
    if text in sources:
        return Derived(path, (text,), Copy())
    return _expression(path, text, sources) if text.startswith(EXPRESSION) else _javascript(path, text, sources)


def _expression(path: Path, text: str, sources: Collection[str]) -> Derived:
    try:
        expression = _compiled(text[len(EXPRESSION) :])
    except ExpressionError as error:
        raise _Wrong(f"this is no expression: {error}") from None
    names = dict.fromkeys(sorted(name.partition(".")[0] for name in expression.names))
    _check_known(names, sources, FUNCTIONS, text)
    return Derived(path, tuple(names), expression)


def _javascript(path: Path, text: str, sources: Collection[str]) -> Derived:
    if fault := _not_javascript(text):
        raise _Wrong(f"this is not JavaScript: {fault}", _QUOTED.format(text[:40]))
    names = names_in(text)
    if names.exact:
        _check_known([name for name in names.used if name not in names.own], sources, known_to_javascript(), text)
    return Derived(path, tuple(name for name in names.used if name in sources), JavaScript(text))


@lru_cache(4096)
def _compiled(text: str) -> Expression:
    return Expression(text)


@lru_cache(4096)
def _not_javascript(text: str) -> str:
    return scripts.syntax_error(f'"use strict"; return ({text}\n);')


def _check_known(names: Collection[str], sources: Collection[str], given: Collection[str], text: str) -> None:
    """Raises for the first name that is neither a source nor given."""
    for name in names:
        if name in sources or name in given:
            continue
        near = get_close_matches(name, list(sources), n=1)
        known = f"the sources are {', '.join(list(sources)[:10])}"
        hint = f"did you mean {near[0]!r}?" if near else f"{known}; {_QUOTED.format(text[:40])}"
        raise _Wrong(f"{name!r} is no source", hint)
