"""Strict reading of mappings: every key is asked for by name and kind, and what was not asked for is an error.

A `Fields` is one mapping being read. Asking for a value that is missing, null or of the wrong kind reports it and gives the default, so
that reading goes on and all problems come out at once. The keys asked for are the keys known: leaving the ``with`` block reports every
other key together with the known name nearest to it.

A template is read twice: as written, to check its keys (`Place.templated`: values that contain an action are then let through), and
once more for each item after rendering.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Final, NamedTuple

from setpoint.configfile.node import Mapping, Mark, Node, Scalar, Sequence, plain
from setpoint.configfile.problem import Problem, Severity

MOST_PROBLEMS: Final = 1000
"""Problems reported of one file; the rest is counted."""
_MOST_COMPARED: Final = 200
"""Known names that a wrong one is compared with; comparing is slow, and there may be many of both."""
_SECRET: Final = re.compile("(?i)password|token|secret|credential|private|apikey")
_TRUE: Final = {"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
_FALSE: Final = {"n", "N", "no", "No", "NO", "off", "Off", "OFF"}


@dataclass(slots=True)
class Report:
    """All problems of one file, in the order found. `errors` counts every error, also those that repeat a reported one."""

    source: str
    problems: dict[tuple[str, tuple[str, int, int], str, str | None], Problem] = field(default_factory=dict)
    errors: int = 0
    left_out: int = 0

    def add(self, problem: Problem) -> None:
        self.errors += problem.severity == "error"
        identity = (problem.key, (problem.source, problem.line, problem.column), problem.message, problem.item)
        if identity in self.problems:
            return
        if self.full:
            self.left_out += 1
        else:
            self.problems[identity] = problem

    @property
    def full(self) -> bool:
        """Further problems are only counted."""
        return len(self.problems) >= MOST_PROBLEMS

    def errors_found(self) -> Iterator[Problem]:
        """The errors among the problems."""
        return (problem for problem in self.problems.values() if problem.severity == "error")


class Place(NamedTuple):
    """Where the reader is: the path of keys, for the item `item`; problems are reported through it."""

    report: Report
    key: str = ""
    item: str | None = None
    templated: bool = False

    def nearest(self, word: str, known: Iterable[str]) -> str:
        """The known word most like `word`, in any case of letters; empty when none is alike, or nobody would read it."""
        if self.report.full:
            return ""
        lowered = {name.lower().replace("_", ""): name for name in islice(known, _MOST_COMPARED)}
        close = difflib.get_close_matches(word[:60].lower().replace("_", ""), lowered, n=1, cutoff=0.6)
        return lowered[close[0]] if close else ""

    def at(self, step: str | int) -> Place:
        report, key, item, templated = self
        if isinstance(step, int):
            return Place(report, f"{key}[{step}]", item, templated)
        return Place(report, f"{key}.{step[:100]}" if key else step[:100], item, templated)

    def error(self, mark: Mark, message: str, hint: str = "") -> None:
        self._add("error", mark, message, hint)

    def warning(self, mark: Mark, message: str, hint: str = "") -> None:
        self._add("warning", mark, message, hint)

    def _add(self, severity: Severity, mark: Mark, message: str, hint: str) -> None:
        source = mark.file or self.report.source
        problem = Problem(message, mark.line, mark.column, self.key, self.item, hint, severity, source)
        self.report.add(problem)


def found(node: Node, key: str = "") -> str:
    """A node in the words of a message; the value of a secret is not shown."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if node.native is not None:
        return node.text
    if node.value is None:
        return "nothing"
    if _SECRET.search(key):
        return "a value that is not shown"
    text = node.text if len(node.text) <= 60 else node.text[:57] + "…"
    return repr(text)


class Fields:
    """One mapping being read; see the module. A missing or unusable mapping reads as if it were empty."""

    def __init__(self, node: Node | None, place: Place, *, what: str = "a mapping") -> None:
        self.place = place
        self.mark: Mark = node.mark if node else Mark(1, 1)
        self.node = node if isinstance(node, Mapping) else None
        self._known: dict[str, None] = {}
        self._refused: set[str] = set()
        self._ignore_unknown = self.node is None
        if node is not None and self.node is None and not _null(node) and not self._excused(node):
            place.error(node.mark, f"expected {what}, found {found(node, place.key)}", "indent its keys below it")

    def __enter__(self) -> Fields:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.node is None or self._ignore_unknown:
            return
        for key in self.node.items:
            if key not in self._known and key not in self._refused:
                self.unknown(key)

    def unknown(self, key: str) -> None:
        """Report a key nobody asked for."""
        like = self.place.nearest(key, self._known)
        hint = f"did you mean {like!r}?" if like else f"known here: {', '.join(self._known) or 'nothing'}"
        self.place.at(key).error(self.mark_of(key), "unknown key", hint)

    def refuse(self, remedies: MappingOf[str, str]) -> None:
        """Report keys that others know and that mean nothing here, each with what to write instead."""
        for key in self.node.items if self.node else ():
            if key in remedies and key not in self._known:
                self.place.at(key).error(self.mark_of(key), "means nothing here", remedies[key])
                self._refused.add(key)

    def either(self, key: str, *others: str) -> str:
        """Which of several names of one thing is used, the first where none is; more than one is an error."""
        used = [name for name in (key, *others) if self.has(name)]
        self._known.update(dict.fromkeys((key, *others)))
        for name in used[1:]:
            self.place.at(name).error(self.mark_of(name), f"says the same as {used[0]!r}", "keep one of them")
        return used[0] if used else key

    @property
    def present(self) -> bool:
        return self.node is not None

    def has(self, key: str) -> bool:
        """Whether the key is there with a value; does not count as asking for it."""
        return bool(self.node and key in self.node.items and not _null(self.node.items[key]))

    def mark_of(self, key: str) -> Mark:
        """Where the key stands, or else the mapping."""
        return self.node.keys.get(key, self.mark) if self.node else self.mark

    def get(self, key: str, *, required: str = "") -> Node | None:
        """The node of a key as it is. `required` says in words what is expected, and makes its absence an error."""
        self._known[key] = None
        node = self.node.items.get(key) if self.node else None
        if node is not None and not _null(node):
            return node
        if required and self.node and not (node and node.flawed):
            mark = self.mark_of(key)
            self.place.at(key).error(mark, "is empty" if node else "is missing", f"expected {required}")
        return None

    def text(self, key: str, *, default: str = "", required: str = "") -> str:
        """A single value as it is written."""
        node = self.get(key, required=required)
        if node is None or self._excused(node):
            return default
        if isinstance(node, Scalar):
            return node.text
        self.place.at(key).error(node.mark, f"expected {required or 'a text'}, found {found(node)}")
        return default

    def choice(self, key: str, allowed: SequenceOf[str], *, default: str = "") -> str:
        """One of a few words; without a default it is required."""
        words = " or ".join([", ".join(allowed[:-1]), allowed[-1]] if len(allowed) > 1 else allowed)
        node = self.get(key, required="" if default else words)
        if node is None or self._excused(node):
            return default
        if isinstance(node, Scalar) and node.text in allowed:
            return node.text
        like = self.place.nearest(node.text, allowed) if isinstance(node, Scalar) else ""
        hint = f"; did you mean {like!r}?" if like else ""
        self.place.at(key).error(node.mark, f"expected {words}, found {found(node, key)}{hint}")
        return default

    def integer(self, key: str, *, default: int = 0, low: int = 0, high: int = 2**63 - 1, required: str = "") -> int:
        """A whole number, also when it is written in quotes."""
        node = self.get(key, required=required)
        if node is None or self._excused(node):
            return default
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and re.fullmatch("[0-9]{1,20}", value):
            value = int(value)
        if type(value) is int and low <= value <= high:
            return value
        expected = required or (
            f"a whole number from {low} to {high}" if high < 2**63 - 1 else f"a whole number, {low} or more"
        )
        self.place.at(key).error(node.mark, f"expected {expected}, found {found(node, key)}")
        return default

    def number(self, key: str, *, default: float | None = None, low: float = 0.0, above: bool = False) -> float | None:
        """A number, also when it is written in quotes: `low` or more, or more than `low` with `above`."""
        node = self.get(key)
        if node is None or self._excused(node):
            return default
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and re.fullmatch("[0-9]{1,20}([.][0-9]{1,20})?", value):
            value = float(value)
        in_range = isinstance(value, int | float) and low <= value < 1e300 and (value > low or not above)
        if isinstance(value, int | float) and not isinstance(value, bool) and in_range:
            return float(value)
        bound = f"more than {low:g}" if above else f"{low:g} or more"
        self.place.at(key).error(node.mark, f"expected a number, {bound}, found {found(node, key)}")
        return default

    def data(self, key: str) -> dict[str, Any]:
        """The mapping below a key as plain data, whatever is in it."""
        node = self.get(key)
        if node is None:
            return {}
        if isinstance(node, Mapping):
            return {name: plain(child) for name, child in node.items.items()}
        self.place.at(key).error(node.mark, f"expected a mapping, found {found(node, key)}", "indent its keys below it")
        return {}

    def boolean(self, key: str, *, default: bool = False) -> bool:
        node = self.get(key)
        if node is None or self._excused(node):
            return default
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str):
            value = True if value in _TRUE else False if value in _FALSE else value
        if isinstance(value, bool):
            return value
        self.place.at(key).error(node.mark, f"expected true or false, found {found(node, key)}")
        return default

    def fields(self, key: str, *, required: str = "") -> Fields:
        """The mapping below a key."""
        return Fields(self.get(key, required=required), self.place.at(key))

    def entries(self, key: str) -> list[tuple[str, Node, Place]]:
        """Name, node and place of everything in the mapping below a key whose names are free."""
        return self.fields(key).all()

    def all(self) -> list[tuple[str, Node, Place]]:
        """Name, node and place of everything in this mapping."""
        self._ignore_unknown = True
        return [(name, node, self.place.at(name)) for name, node in self.node.items.items()] if self.node else []

    def sequence(self, key: str) -> list[tuple[Node, Place]]:
        """Node and place of everything in the list below a key."""
        node = self.get(key)
        if node is None or self._excused(node):
            return []
        place = self.place.at(key)
        if isinstance(node, Sequence):
            return [(child, place.at(index)) for index, child in enumerate(node.items)]
        place.error(node.mark, f"expected a list, found {found(node, key)}", "start every entry with '- '")
        return []

    def texts(self, key: str) -> list[str]:
        """The single values in the list below a key."""
        found_texts: list[str] = []
        for node, place in self.sequence(key):
            if isinstance(node, Scalar):
                found_texts.append(node.text)
            else:
                place.error(node.mark, f"expected a text, found {found(node)}")
        return found_texts

    def _excused(self, node: Node) -> bool:
        """Nothing is to be said about it: it is flawed and reported, or a template that is not rendered yet."""
        if isinstance(node, Scalar):
            return node.flawed or (self.place.templated and node.dynamic)
        return False


def _null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None and node.native is None
