"""Boolean reasoning about guards: can this be true at all, does that follow from it, and with which facts?

A guard tree becomes a *formula* over *facts*. A Python guard is one fact that may be true or false, whatever its name says: the function
behind it is opaque. An expression is looked into: ``and``, ``or``, ``not`` and comparisons of one field with a literal are understood,
so ``level > 3`` and ``level < 2`` are known to exclude each other; anything else in it is one opaque fact. ``held(g, 5)`` is a fact
of its own that implies ``g``. What another instance is (``peer("a").is_in("up")``) is a comparison as well.

Satisfiability is decided by trying the values of one fact after another, with Kleene's three-valued logic to stop as soon as the facts
chosen so far settle the answer. A field compared with literals needs few values only: each literal, one between each two neighbours,
one on either side of them all, and one that is none of them. The search is exact unless it meets `MAX_STEPS`; then its answer is None.

A comparison that would raise (``None > 3``) is neither true nor false, as at run time: a guard that raises opens nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import isfinite, isnan
from operator import eq, ge, gt, is_, is_not, le, lt, ne
from types import MappingProxyType
from typing import Any, Final, cast

from setpoint.machine.guards import ALWAYS, All, Any_, Expr, Guard, Held, Named, Not
from setpoint.machine.peers import PeerGuard
from setpoint.machine.seconds import Seconds, Setting

MAX_STEPS: Final = 4_096
"""Facts tried before a question is given up: all cases of 12 facts, and of far more where they settle early."""

Facts = Mapping[str, Any]
Answer = bool | None
Formula = Callable[[Facts], Answer]
"""Facts in, and out comes whether it is true, or None while the facts chosen so far do not say."""

UNSET: Final = object()
NO_FACTS: Final[Facts] = MappingProxyType({})

_OPERATORS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: eq, ast.NotEq: ne, ast.Lt: lt, ast.LtE: le, ast.Gt: gt, ast.GtE: ge, ast.Is: is_, ast.IsNot: is_not,
    ast.In: lambda fact, known: fact in known, ast.NotIn: lambda fact, known: fact not in known,
}  # fmt: skip


@dataclass(slots=True)
class Terms:
    """The facts that formulas speak of, by name, each with the values worth trying. `opaque` ones are not looked into."""

    assumed: Mapping[str, bool] = field(default_factory=dict)
    literals: dict[str, list[Any]] = field(default_factory=dict)
    opaque: set[str] = field(default_factory=set)

    def formula(self, guard: Guard) -> Formula:
        """The guard as a formula; its facts are added to the terms."""
        match guard:
            case Named():
                return _constant(True) if guard == ALWAYS else self._named(guard)
            case Expr():
                return self._expression(guard.expression.tree)
            case Not():
                return negated(self.formula(guard.part))
            case All():
                return every([self.formula(part) for part in guard.members])
            case Any_():
                return negated(every([negated(self.formula(part)) for part in guard.members]))
            case Held():
                return every([self._fact(str(guard)), self.formula(guard.part)])
            case PeerGuard():
                return self._peer(guard)
        raise TypeError(f"not a guard: {guard!r}")

    def domain(self, name: str) -> list[Any]:
        """The values of a fact that can make a difference."""
        literals = self.literals.get(name)
        return [True, False] if literals is None else _worth_trying(literals)

    def waited(self, seconds: Seconds | None) -> Formula:
        """Whether a wait is over, as a formula: one that is over has all shorter ones behind it."""
        if seconds is None or seconds == 0:
            return _constant(True)
        if isinstance(seconds, Setting):
            return self._fact(f"after {seconds}")
        return self._test("seconds in this state", [seconds], lambda fact: fact >= seconds)

    def _peer(self, guard: PeerGuard) -> Formula:
        """One is in one state, and is healthy, stopped or neither."""
        if guard.question == "is_in":
            return self._test(f"peer {guard.peer}.state", list(guard.states), lambda fact: fact in guard.states)
        return self._test(f"peer {guard.peer}.standing", [guard.question], lambda fact: fact == guard.question)

    def _named(self, guard: Named) -> Formula:
        if guard.name in self.assumed:
            return _constant(self.assumed[guard.name])
        return self._fact(f"guard {guard.name}")

    def _fact(self, name: str) -> Formula:
        self.opaque.add(name)
        return lambda facts: facts.get(name)

    def _expression(self, tree: ast.expr) -> Formula:
        match tree:
            case ast.BoolOp(op=ast.And(), values=parts):
                return every([self._expression(part) for part in parts])
            case ast.BoolOp(values=parts):
                return negated(every([negated(self._expression(part)) for part in parts]))
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return negated(self._expression(part))
            case ast.Constant(value=value):
                return _constant(bool(value))
            case ast.Compare():
                return self._comparison(tree)
        path = _path(tree)
        return self._fact(ast.unparse(tree)) if path is None else self._test(path, [True, False], bool)

    def _comparison(self, tree: ast.Compare) -> Formula:
        sides = [tree.left, *tree.comparators]
        steps = zip(sides, tree.ops, sides[1:], strict=False)
        return every([self._step(left, operator, right) for left, operator, right in steps])

    def _step(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Formula:
        compare = _OPERATORS[type(operator)]
        path, known = _path(left), _literals(right, operator)
        if path is not None and known is not None:
            value = known if isinstance(operator, ast.In | ast.NotIn) else known[0]
            return self._test(path, known, lambda fact: compare(fact, value))
        path, known = _path(right), _literals(left, operator)
        if path is not None and known is not None and not isinstance(operator, ast.In | ast.NotIn):
            return self._test(path, known, lambda fact: compare(known[0], fact))
        return self._fact(ast.unparse(ast.Compare(left, [operator], [right])))

    def _test(self, path: str, literals: list[Any], test: Callable[[Any], Any]) -> Formula:
        self.literals.setdefault(path, []).extend(literals)

        def answer(facts: Facts) -> Answer:
            fact = facts.get(path, UNSET)
            if fact is UNSET:
                return None
            try:
                return bool(test(fact))
            except TypeError:
                return None

        return answer


def every(parts: list[Formula]) -> Formula:
    """True where every part is."""

    def answer(facts: Facts) -> Answer:
        known: Answer = True
        for part in parts:
            value = part(facts)
            if value is False:
                return False
            if value is None:
                known = None
        return known

    return answer


def negated(part: Formula) -> Formula:
    """True where the part is false."""

    def answer(facts: Facts) -> Answer:
        value = part(facts)
        return None if value is None else not value

    return answer


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a search: `possible` is None where it was given up; `facts` make the formula true where it is possible."""

    possible: bool | None
    facts: Mapping[str, Any]


def search(formula: Formula, terms: Terms, known: Facts = NO_FACTS) -> Found:
    """Facts that make the formula true together with those that are known, if there are any."""
    names = [name for name in (*terms.literals, *sorted(terms.opaque)) if name not in known]
    domains = {name: terms.domain(name) for name in names}
    steps = 0

    def models(chosen: dict[str, Any], rest: list[str]) -> Iterator[dict[str, Any] | None]:
        nonlocal steps
        steps += 1
        answer = formula(chosen)
        if steps > MAX_STEPS:
            yield None
        elif answer is True:
            yield chosen
        elif answer is None and rest:
            for value in domains[rest[0]]:
                yield from models({**chosen, rest[0]: value}, rest[1:])

    found = next(models(dict(known), names), UNSET)
    if found is UNSET:
        return Found(False, {})
    return Found(None, {}) if found is None else Found(True, cast("dict[str, Any]", found))


def _constant(value: bool) -> Formula:
    return lambda facts: value


def _path(node: ast.expr) -> str | None:
    """``observed.level`` as text; None for anything but dotted names."""
    if isinstance(node, ast.Name):
        return node.id
    owner = _path(node.value) if isinstance(node, ast.Attribute) else None
    return None if owner is None else f"{owner}.{cast(ast.Attribute, node).attr}"


def _literals(node: ast.expr, operator: ast.cmpop) -> list[Any] | None:
    """The literal that is compared with, or those of a list; None where it is neither."""
    if isinstance(operator, ast.In | ast.NotIn):
        if not isinstance(node, ast.List | ast.Tuple):
            return None
        values = [_literal(element) for element in node.elts]
        return None if UNSET in values else values
    value = _literal(node)
    return None if value is UNSET else [value]


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        return -value if isinstance(value, int | float) else UNSET
    return node.value if isinstance(node, ast.Constant) else UNSET


class _Other:
    """A value that equals no literal and has no order."""

    def __repr__(self) -> str:
        return "something else"


def _worth_trying(literals: list[Any]) -> list[Any]:
    """One value of each region into which the literals divide all values, the literals first and the odd ones last."""
    numbers = sorted({value for value in literals if isinstance(value, int | float) and not isnan(value)})
    texts = sorted({value for value in literals if isinstance(value, str)})
    finite = [Fraction(value) for value in numbers if isfinite(value)]
    values: list[Any] = [value for value in (None, True, False) if any(value is literal for literal in literals)]
    values += [value for value in numbers if not isinstance(value, bool)]
    if finite:
        values += [(low + high) / 2 for low, high in pairwise(finite)] + [finite[0] - 1, finite[-1] + 1]
    values += texts
    if texts:
        values += ["", *(f"{text}\0" for text in texts)]
    return [*values, *([float("nan")] if finite else []), _Other()]
