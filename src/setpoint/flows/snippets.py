"""Recognises the small JavaScript that most tag processors consist of, and translates exactly that into Python closures.

The subset, a stage being any number of assignments and then ``return msg``::

    msg.meta.<name> = <sum> ;        msg.payload = <sum> ;        += works as well
    <sum>        texts in quotes without escapes, msg.meta.<name>, msg.payload, msg.payload.<name>…, joined by +
    <condition>  true, false, or comparisons of two sums with === or !==, joined by &&

Everything else is left to JavaScript: `translate` gives None. Also a translated stage leaves a message to JavaScript (`NotPlain`) whenever
a value turns up whose behaviour differs between the languages: missing names, numbers that are no safe integers, lists, objects, sums of
numbers. Names that every JavaScript object has (`constructor`, …) are not in the subset. A property test holds the two ways equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

Meta = dict[str, str]
_Get = Callable[[Any, dict[str, Any]], Any]
_Set = Callable[[Any, dict[str, Any]], Any]
"""A statement: takes the payload and the meta, changes the meta, gives the payload."""

MAX_SAFE_INTEGER: Final = 2**53 - 1
_MISSING: Final = object()
_INHERITED: Final = frozenset(
    {
        *(
            "constructor",
            "hasOwnProperty",
            "isPrototypeOf",
            "propertyIsEnumerable",
            "toLocaleString",
            "toString",
            "valueOf",
        ),
        *("__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
    }
)
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\n\r\u2028\u2029]*|/\*.*?\*/)
      |(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
      |(?P<text>"[^"\\]*"|'[^'\\]*')
      |(?P<mark>===|!==|&&|\+=|[.=+;])""",
    re.VERBOSE | re.DOTALL,
)


class Stage(NamedTuple):
    """One stage of a script: what to call it in messages, its body, and the condition under which it runs (empty: always)."""

    name: str
    code: str
    condition: str = ""


class NotPlain(Exception):
    """This message is for JavaScript itself."""


class _NotInSubset(Exception):
    """This code is for JavaScript itself."""


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def translate(stages: Sequence[Stage]) -> Callable[[Any, Meta], tuple[Any, Meta]] | None:
    """One Python function for all stages, or None when a stage is not in the subset. The function may raise `NotPlain`."""
    try:
        steps = [(_Parser(stage.code).stage(), _Parser(stage.condition).condition()) for stage in stages]
    except _NotInSubset:
        return None

    def run(payload: Any, meta: Meta) -> tuple[Any, Meta]:
        before = payload
        work: dict[str, Any] = dict(meta)
        for statements, condition in steps:
            if condition is None or condition(payload, work):
                for statement in statements:
                    payload = statement(payload, work)
        if payload is not before:
            _plain_payload(payload)
        for name, value in work.items():
            if type(value) is not str:
                work[name] = _text(value)
        return payload, work

    return run


def _text(value: Any) -> str:
    """What JavaScript makes of the value as text. Raises `NotPlain` where that is not obvious."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return str(value)
    raise NotPlain


def _plain_payload(value: Any) -> None:
    if type(value) is not float:
        _text(value)
    elif not (abs(value) < 1e21 and value % 1):  # whole, huge, NaN: JSON writes them another way
        raise NotPlain


def _sum(left: Any, right: Any) -> str:
    if type(left) is str or type(right) is str:
        return _text(left) + _text(right)
    raise NotPlain


class _Parser:
    """Recursive descent over the tokens of one stage or condition."""

    def __init__(self, code: str) -> None:
        self._tokens = list(_tokens(code))
        self._at = 0

    def stage(self) -> list[_Set]:
        statements: list[_Set] = []
        while self._peek().text != "return":
            statements.append(self._statement())
        line = self._next().line
        returned = self._next()
        if returned.text != "msg" or returned.line != line:  # a line break after `return` returns nothing
            raise _NotInSubset
        while self._peek().text == ";":
            self._next()
        self._expect("")
        return statements

    def condition(self) -> _Get | None:
        if self._peek().kind == "end":
            return None
        tests = [self._test()]
        while self._peek().text == "&&":
            self._next()
            tests.append(self._test())
        self._expect("")
        return tests[0] if len(tests) == 1 else lambda payload, meta: all(test(payload, meta) for test in tests)

    def _test(self) -> _Get:
        word = self._peek()
        if word.kind == "name" and word.text in ("true", "false"):
            self._next()
            return lambda payload, meta: word.text == "true"
        left = self._sum()
        mark = self._next().text
        if mark not in ("===", "!=="):
            raise _NotInSubset
        right = self._sum()
        return lambda payload, meta: _same(left(payload, meta), right(payload, meta)) is (mark == "===")

    def _statement(self) -> _Set:
        if self._peek().text == ";":
            raise _NotInSubset
        names = self._reference()
        mark = self._next().text
        value = self._sum()
        if mark == "+=":
            value = _added(_reader(names), value)
        elif mark != "=":
            raise _NotInSubset
        last = self._tokens[self._at - 1]
        if self._peek().text == ";":
            self._next()
        elif self._peek().line == last.line:
            raise _NotInSubset
        return _writer(names, value)

    def _sum(self) -> _Get:
        value = self._term()
        while self._peek().text == "+":
            self._next()
            value = _added(value, self._term())
        return value

    def _term(self) -> _Get:
        if self._peek().kind == "text":
            text = self._next().text[1:-1]
            return lambda payload, meta: text
        return _reader(self._reference())

    def _reference(self) -> tuple[str, ...]:
        """``msg.meta.name`` as ("meta", "name"), ``msg.payload.a`` as ("payload", "a")."""
        self._expect("msg")
        names = []
        while self._peek().text == ".":
            self._next()
            token = self._next()
            if token.kind != "name" or token.text in _INHERITED:
                raise _NotInSubset
            names.append(token.text)
        if names[:1] == ["payload"] or (names[:1] == ["meta"] and len(names) == 2):
            return tuple(names)
        raise _NotInSubset

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind == "end":
            raise _NotInSubset
        self._at += 1
        return token

    def _expect(self, text: str) -> None:
        token = self._tokens[self._at]
        if token.kind == "text" or token.text != text:
            raise _NotInSubset
        if token.kind != "end":
            self._at += 1


def _tokens(code: str) -> list[_Token]:
    found, at, line = [], 0, 1
    while at < len(code):
        match = _TOKEN.match(code, at)
        if match is None:
            raise _NotInSubset
        kind, text = str(match.lastgroup), match.group()
        if (
            kind == "text" and not text.isprintable()
        ):  # line breaks and separators are not allowed in JavaScript's quotes
            raise _NotInSubset
        if kind != "space":
            found.append(_Token(kind, text, line))
        line += len(re.findall(r"\r\n|[\n\r\u2028\u2029]", text))
        at = match.end()
    return [*found, _Token("end", "", line + 1)]


def _reader(names: tuple[str, ...]) -> _Get:
    if names[0] == "meta":
        name = names[1]
        return lambda payload, meta: meta.get(name, _MISSING)
    path = names[1:]
    return (lambda payload, meta: _inner(payload, path)) if path else (lambda payload, meta: payload)


def _inner(payload: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if type(payload) is not dict or name not in payload:
            raise NotPlain
        payload = payload[name]
    return payload


def _added(left: _Get, right: _Get) -> _Get:
    return lambda payload, meta: _sum(left(payload, meta), right(payload, meta))


def _writer(names: tuple[str, ...], value: _Get) -> _Set:
    if names[0] == "meta":
        name = names[1]

        def set_meta(payload: Any, meta: dict[str, Any]) -> Any:
            meta[name] = value(payload, meta)
            return payload

        return set_meta
    if len(names) > 1:
        raise _NotInSubset
    return value


def _same(left: Any, right: Any) -> bool:
    for value in (left, right):
        if value is not _MISSING and type(value) is not str:
            raise NotPlain
    return bool(left == right)
