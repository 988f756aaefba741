"""The part of the Bloblang mapping language that `generate` evaluates: assignments of JSON values that may hold calls of a few functions.

::

    root = {"id": counter(), "level": random_int(min: 0, max: 100)}
    root.at = now()
    meta umh_topic = "umh.v1.acme._raw.level"

Functions: `counter()` (1, 2, 3, …), `random_int(min:, max:)` (both included), `now()` (RFC 3339), `timestamp_unix()` and
`timestamp_unix_milli()`. Anything else is refused, by name, when the configuration is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t]+|\#[^\n]*)|(?P<line>\s*\n\s*)
      |(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      |(?P<name>[A-Za-z_]\w*)|(?P<mark>[=.,:(){}\[\]])""",
    re.VERBOSE,
)
_WORDS: Final = {"true": True, "false": False, "null": None}
MAX_DEPTH: Final = 32


class World(NamedTuple):
    """What the functions draw on."""

    clock: Callable[[], float]
    random: Callable[[], float]


class _State:
    """One message in the making, and the counters that last."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counters: dict[int, int] = {}


_Value = Callable[[_State], Any]


class Mapping:
    """A mapping, parsed once. Raises `ValueError` for what it cannot evaluate, with the line."""

    def __init__(self, text: str) -> None:
        self._assignments = _Parser(text).assignments()

    def start(self, world: World) -> Callable[[], tuple[Any, dict[str, str]]]:
        """A function that makes the payload and the meta of one message after the other."""
        state = _State(world)

        def make() -> tuple[Any, dict[str, str]]:
            root: Any = None
            meta: dict[str, str] = {}
            for names, value in self._assignments:
                made = value(state)
                if names[0] == "meta":
                    meta[names[1]] = made if isinstance(made, str) else msgspec.json.encode(made).decode()
                elif len(names) == 1:
                    root = made
                else:
                    root = _with(root, names[1:], made)
            return root, meta

        return make


def _with(root: Any, names: tuple[str, ...], value: Any) -> Any:
    """The object with that value at the end of the names; what is in the way and no object is replaced."""
    root = root if isinstance(root, dict) else {}
    root[names[0]] = value if len(names) == 1 else _with(root.get(names[0]), names[1:], value)
    return root


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def assignments(self) -> list[tuple[tuple[str, ...], _Value]]:
        found = []
        while True:
            while self._kind() == "line":
                self._at += 1
            if self._kind() == "end":
                break
            names = self._target()
            self._expect("=")
            found.append((names, self._value(0)))
            if self._kind() not in ("line", "end"):
                raise self._fault(
                    f"{self._text()!r} after the value cannot be evaluated; only literals and simple functions can"
                )
        if not found:
            raise ValueError('the mapping is empty; write for example: root = {"value": counter()}')
        return found

    def _target(self) -> tuple[str, ...]:
        first = self._take()
        if first == "meta" and self._kind() in ("name", "text"):
            return ("meta", self._name())
        if first != "root":
            raise self._fault(
                f"{first!r} cannot be evaluated; an assignment begins with root, root.<name> or meta <name>"
            )
        names = [first]
        while self._text() == ".":
            self._at += 1
            names.append(self._name())
        return tuple(names)

    def _name(self) -> str:
        if self._kind() == "text":
            return str(msgspec.json.decode(self._take()))
        if self._kind() == "name":
            return self._take()
        raise self._fault(f"expected a name, found {self._text()!r}")

    def _value(self, depth: int) -> _Value:
        if depth > MAX_DEPTH:
            raise self._fault(f"values nest deeper than {MAX_DEPTH} levels")
        kind, text = self._kind(), self._take()
        if kind in ("text", "number"):
            return _constant(self._json(text))
        if text == "{":
            return self._object(depth)
        if text == "[":
            return self._list(depth)
        if kind == "name" and text in _WORDS:
            return _constant(_WORDS[text])
        if kind == "name" and self._text() == "(":
            return self._call(text)
        raise self._fault(f"{text!r} cannot be evaluated; use a JSON value or one of {', '.join(sorted(_FUNCTIONS))}")

    def _json(self, text: str) -> Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise self._fault(f"{text} is not valid JSON: {error}") from None

    def _object(self, depth: int) -> _Value:
        parts: list[tuple[str, _Value]] = []
        for _ in self._items("}"):
            name = self._name()
            self._expect(":")
            parts.append((name, self._value(depth + 1)))
        return lambda state: {name: value(state) for name, value in parts}

    def _list(self, depth: int) -> _Value:
        parts = [self._value(depth + 1) for _ in self._items("]")]
        return lambda state: [value(state) for value in parts]

    def _items(self, end: str) -> Any:
        """Once for each item up to `end`, with the commas and line breaks between taken."""
        self._skip_lines()
        while self._text() != end:
            yield
            self._skip_lines()
            if self._text() != end:
                self._expect(",")
            self._skip_lines()
        self._at += 1

    def _call(self, function: str) -> _Value:
        if function not in _FUNCTIONS:
            raise self._fault(f"the function {function!r} cannot be evaluated; known: {', '.join(sorted(_FUNCTIONS))}")
        self._at += 1
        given: dict[str, Any] = {}
        for _ in self._items(")"):
            name = self._name()
            self._expect(":")
            given[name] = self._json(self._take())
        make, known = _FUNCTIONS[function]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise self._fault(f"{function} has no argument {unknown[0]!r}; known: {', '.join(known) or 'none'}")
        wrong = [name for name, value in given.items() if not isinstance(value, int)]
        if wrong or given.get("min", 0) > given.get("max", 2**53 - 1):
            raise self._fault(f"{function} needs whole numbers with min not above max")
        return make(given, self._at)

    def _skip_lines(self) -> None:
        while self._kind() == "line":
            self._at += 1

    def _expect(self, text: str) -> None:
        if self._text() != text:
            raise self._fault(f"expected {text!r}, found {self._text()!r}")
        self._at += 1

    def _take(self) -> str:
        text = self._text()
        self._at += 1
        return text

    def _kind(self) -> str:
        return self._tokens[min(self._at, len(self._tokens) - 1)][0]

    def _text(self) -> str:
        return self._tokens[min(self._at, len(self._tokens) - 1)][1]

    def _fault(self, message: str) -> ValueError:
        line = self._tokens[min(max(self._at - 1, 0), len(self._tokens) - 1)][2]
        return ValueError(f"line {line}: {message}")


def _tokens(text: str) -> list[tuple[str, str, int]]:
    found, at, line = [], 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(
                f"line {line}: {text[at : at + 20].split(maxsplit=1)[0]!r} cannot be evaluated; only literals and simple functions can"
            )
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match.group(), line))
        line += match.group().count("\n")
        at = match.end()
    return [*found, ("end", "the end", line)]


def _constant(value: Any) -> _Value:
    return lambda state: value


def _counter(given: dict[str, Any], place: int) -> _Value:
    def count(state: _State) -> int:
        state.counters[place] = state.counters.get(place, 0) + 1
        return state.counters[place]

    return count


def _random_int(given: dict[str, Any], place: int) -> _Value:
    low, high = given.get("min", 0), given.get("max", 2**53 - 1)
    return lambda state: low + int(state.world.random() * (high - low + 1))


def _now(given: dict[str, Any], place: int) -> _Value:
    return lambda state: datetime.fromtimestamp(state.world.clock(), UTC).isoformat().replace("+00:00", "Z")


def _unix(given: dict[str, Any], place: int) -> _Value:
    return lambda state: int(state.world.clock())


def _unix_milli(given: dict[str, Any], place: int) -> _Value:
    return lambda state: int(state.world.clock() * 1000)


_FUNCTIONS: Final[dict[str, tuple[Callable[[dict[str, Any], int], _Value], tuple[str, ...]]]] = {
    "counter": (_counter, ()),
    "now": (_now, ()),
    "random_int": (_random_int, ("min", "max")),
    "timestamp_unix": (_unix, ()),
    "timestamp_unix_milli": (_unix_milli, ()),
}
