"""Guards: named, pure questions about a snapshot, and how they compose.

A guard decides whether an arc is open. It is a function of one snapshot and of nothing else: no clock, no I/O, no memory, so the same
snapshot always gives the same answer and everything built on a decision (explain, simulate, check, replay, plan) can ask again.

Leaves are Python functions (`@guard`) or expressions (`expression("observed.running")`). A function is opaque to the checker, an
expression is not. Leaves compose with ``&``, ``|`` and ``~``. Time enters in one place only: ``held(g, seconds)`` is true once ``g`` has
been true at every evaluation for so long in the present state. Its memory lives in the machine's position, not in the guard.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, overload

from setpoint.machine.expression import Expression
from setpoint.machine.seconds import RESUMES, Resume, Seconds, Setting, number_text, seconds_in_force, seconds_text

RESERVED: Final = frozenset({"always", "held", "expression", *keyword.kwlist})
"""Words that have a meaning of their own in the text of a guard, so no guard may be called by them."""


class Verdict(NamedTuple):
    """An answer that says why: truthy when `ok`, with the fact behind it in `because`."""

    ok: bool
    because: str = ""

    def __bool__(self) -> bool:
        return self.ok


Test = Callable[[Any], object]
"""What a compiled guard is: snapshot in, something truthy or not out."""


class Moment(NamedTuple):
    """A snapshot with the answers of its held guards, and of leaves that are asked once, by their texts."""

    snapshot: Any
    answers: Mapping[str, object]


NONE: Final[frozenset[str]] = frozenset()


def of_moment(test: Test, leaf: str, once: frozenset[str]) -> Test:
    """The test of a leaf as one of a moment."""
    if leaf in once:
        return lambda moment: moment.answers[leaf]
    return lambda moment: test(moment.snapshot)


class Guard:
    """What all guards share: composition, a text that can be read back, and their parts."""

    __slots__ = ()

    def __and__(self, other: Guard) -> Guard:
        return All((*_flat(self, All), *_flat(other, All)))

    def __or__(self, other: Guard) -> Guard:
        return Any_((*_flat(self, Any_), *_flat(other, Any_)))

    def __invert__(self) -> Guard:
        return self.part if isinstance(self, Not) else Not(self)

    def __bool__(self) -> bool:
        raise TypeError(f"guard ({self}) has no truth of its own: write &, | and ~ instead of and, or and not")

    def parts(self) -> tuple[Guard, ...]:
        """The guards this one is made of, in order; none for a leaf."""
        return ()

    def walk(self) -> Iterator[Guard]:
        """This guard and all below it, parts before wholes."""
        for part in self.parts():
            yield from part.walk()
        yield self

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        """One plain function for the whole tree: of a snapshot, or of a `Moment` where the tree has a `held(...)` in it.

        The leaves whose texts are in `once` are asked once a moment, whichever guard asks first.
        """
        raise NotImplementedError

    def verdict(self, snapshot: Any) -> object:
        """What a leaf answers, with the fact behind it where it knows one."""
        return self.compile(timed=False)(snapshot)

    @property
    def timed(self) -> bool:
        """Whether there is a `held(...)` in the tree."""
        return any(isinstance(node, Held) for node in self.walk())


@dataclass(frozen=True, slots=True, repr=False)
class Named(Guard):
    """A leaf: a named predicate with a line that says what it means. `wanted` marks the one that says the thing shall run."""

    name: str
    test: Test = field(compare=False)
    doc: str = ""
    wanted: bool = False

    def __call__(self, snapshot: Any) -> object:
        return self.test(snapshot)

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        return of_moment(self.test, str(self), once) if timed else self.test

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


@dataclass(frozen=True, slots=True, repr=False)
class Expr(Guard):
    """A leaf written as an expression over the snapshot's fields: readable by the checker and by people."""

    expression: Expression

    @property
    def doc(self) -> str:
        return self.expression.text

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        return of_moment(self.expression, str(self), once) if timed else self.expression

    def __str__(self) -> str:
        text = self.expression.text
        return text if _stands_alone(text) else f"expression({text!r})"

    __repr__ = __str__


@dataclass(frozen=True, slots=True, repr=False)
class Not(Guard):
    """True when its part is not."""

    part: Guard

    def parts(self) -> tuple[Guard, ...]:
        return (self.part,)

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        part = self.part.compile(timed=timed, once=once)
        return lambda snapshot: not part(snapshot)

    def __str__(self) -> str:
        return f"not {_enclosed(self.part)}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True, repr=False)
class All(Guard):
    """True when every part is."""

    members: tuple[Guard, ...]

    def parts(self) -> tuple[Guard, ...]:
        return self.members

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        tests = tuple(part.compile(timed=timed, once=once) for part in self.members)
        if len(tests) > 3:
            return lambda snapshot: all(test(snapshot) for test in tests)
        first, second, third = (*tests, tests[-1])[:3]  # written out, two and three are asked in half the time
        if len(tests) == 3:
            return lambda snapshot: first(snapshot) and second(snapshot) and third(snapshot)
        return lambda snapshot: first(snapshot) and second(snapshot)

    def __str__(self) -> str:
        return " and ".join(_enclosed(part) for part in self.members)

    __repr__ = __str__


@dataclass(frozen=True, slots=True, repr=False)
class Any_(Guard):
    """True when at least one part is."""

    members: tuple[Guard, ...]

    def parts(self) -> tuple[Guard, ...]:
        return self.members

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        tests = tuple(part.compile(timed=timed, once=once) for part in self.members)
        if len(tests) > 3:
            return lambda snapshot: any(test(snapshot) for test in tests)
        first, second, third = (*tests, tests[-1])[:3]  # written out, two and three are asked in half the time
        if len(tests) == 3:
            return lambda snapshot: first(snapshot) or second(snapshot) or third(snapshot)
        return lambda snapshot: first(snapshot) or second(snapshot)

    def __str__(self) -> str:
        return " or ".join(_enclosed(part) for part in self.members)

    __repr__ = __str__


@dataclass(frozen=True, slots=True, repr=False)
class Held(Guard):
    """True once its part has been true without a break for `seconds` in the present state, as seen at every evaluation."""

    part: Guard
    seconds: Seconds
    resume: Resume = "restart"

    def parts(self) -> tuple[Guard, ...]:
        return (self.part,)

    def compile(self, *, timed: bool, once: frozenset[str] = NONE) -> Test:
        key = str(self)
        return lambda moment: moment.answers[key]

    def __str__(self) -> str:
        policy = "" if self.resume == "restart" else f", resume={self.resume!r}"
        return f"held({self.part}, {seconds_text(self.seconds)}{policy})"

    __repr__ = __str__


def _always(snapshot: Any) -> bool:
    return True


ALWAYS = Named("always", _always, "always")
"""The guard of an arc that is always open."""


@overload
def guard(test: Test, /) -> Named: ...
@overload
def guard(*, name: str = "", wanted: bool = False) -> Callable[[Test], Named]: ...
def guard(test: Test | None = None, *, name: str = "", wanted: bool = False) -> Named | Callable[[Test], Named]:
    """Make a guard of a pure function over a snapshot; its docstring's first line says what it means.

    ``wanted=True`` marks the guard that is true while the thing is wanted running, so that `check` can ask what happens once it is
    told to stop. Raises `TypeError` for a coroutine function: a guard may not wait, and a coroutine would count as true.
    """
    if test is None:
        return lambda function: _named(function, name, wanted)
    return _named(test, name, wanted)


def _named(test: Test, name: str, wanted: bool) -> Named:
    label = unicodedata.normalize("NFKC", name or getattr(test, "__name__", ""))
    if inspect.iscoroutinefunction(test) or inspect.isgeneratorfunction(test):
        raise TypeError(
            f"guard {label!r} is a coroutine or generator function; a guard is a plain function of a snapshot"
        )
    if not label.isidentifier():
        raise TypeError(f"guard needs a name that is an identifier, got {label!r}: use @guard(name='...')")
    if label in RESERVED:
        raise TypeError(f"guard {label!r}: the word has a meaning of its own in guards: use @guard(name='...')")
    doc = (inspect.getdoc(test) or label.replace("_", " ")).splitlines()[0]
    return Named(label, test, doc, wanted)


def expression(text: str) -> Guard:
    """A guard written as an expression over the snapshot's fields, e.g. ``expression("observed.level > 3")``.

    Raises `ExpressionError` when the text is not in the safe subset of Python (see `setpoint.machine.expression`).
    """
    return Expr(Expression(text))


def held(part: Guard, seconds: Seconds, *, resume: Resume = "restart") -> Guard:
    """A guard that is true once `part` has been true without a break for `seconds` (a number, or a `Setting`).

    `resume` says what a time counts in which nobody ran the machine and so nobody saw the part: by default it begins again. Raises
    `ValueError` for seconds that are negative or not finite, and for a policy that there is not.
    """
    if resume not in RESUMES:
        raise ValueError(f"held({part}, resume={resume!r}): expected one of {', '.join(RESUMES)}")
    if not isinstance(seconds, Setting) and not 0 <= seconds < float("inf"):
        raise ValueError(f"held({part}, {seconds}): seconds must be a finite number of at least 0")
    return Held(part, seconds, resume)


class Judged(NamedTuple):
    """A guard tree as judged for one snapshot: each node ticked or crossed, leaves with the fact behind the answer.

    A leaf that could not answer is crossed and says so: a decision may never have asked it, as in ``known & high`` while not known.
    """

    text: str
    kind: str  # "leaf", "not", "all", "any", "held"
    ok: bool
    doc: str = ""
    because: str = ""
    parts: tuple[Judged, ...] = ()


def judge(node: Guard, moment: Moment) -> Judged:
    """Judge every node of the tree, with no short cut, so that a reader sees each leaf."""
    parts = tuple(judge(part, moment) for part in node.parts())
    match node:
        case Not():
            return Judged(str(node), "not", not parts[0].ok, parts=parts)
        case All():
            return Judged(str(node), "all", all(part.ok for part in parts), parts=parts)
        case Any_():
            return Judged(str(node), "any", any(part.ok for part in parts), parts=parts)
        case Held():
            return _judge_held(node, moment, parts)
    return _judge_leaf(node, moment)


def _judge_leaf(node: Guard, moment: Moment) -> Judged:
    text, doc = node.expression.text if isinstance(node, Expr) else str(node), getattr(node, "doc", "")
    try:
        answer = node.verdict(moment.snapshot)
        ok = bool(answer)
    except Exception as error:
        return Judged(text, "leaf", False, doc, f"no answer: {type(error).__name__}: {error}")
    return Judged(text, "leaf", ok, doc, answer.because if isinstance(answer, Verdict) else "")


def _judge_held(node: Held, moment: Moment, parts: tuple[Judged, ...]) -> Judged:
    try:
        ok, seconds = bool(moment.answers[str(node)]), number_text(seconds_in_force(node.seconds, moment.snapshot))
    except Exception as error:
        return Judged(str(node), "held", False, "", f"no answer: {type(error).__name__}: {error}", parts)
    return Judged(str(node), "held", ok, f"for {seconds} s without a break", parts=parts)


def _flat(node: Guard, kind: type[All] | type[Any_]) -> tuple[Guard, ...]:
    return node.parts() if isinstance(node, kind) else (node,)


def _enclosed(part: Guard) -> str:
    text = str(part)
    closed = text != part.expression.text if isinstance(part, Expr) else isinstance(part, Held) or not part.parts()
    return text if closed else f"({text})"


def _stands_alone(text: str) -> bool:
    """Whether an expression's text among guards is read back as this one leaf: no bare name, which could be a guard's, and no
    and, or, not on top, which would join guards."""
    try:
        tree = ast.parse(f"({text})", mode="eval").body
    except SyntaxError:  # e.g. it ends in a comment
        return False
    joins = isinstance(tree, ast.Name | ast.BoolOp) or (isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not))
    return not joins and ast.get_source_segment(f"({text})", tree) == text
