"""The processors of a flow, read from its configuration: a list, in which some hold lists of their own.

    switch   the first case whose check holds; its processors, then what follows the switch. `fallthrough` goes on into the next case.
             A case without a check always holds; where none does, the message passes as it is
    try      its processors, the next only if none failed: what any list does here, so it is a name for a group
    catch    what failed in the list before it goes through its processors, and on; messages that did not fail pass it by. What fails in a
             catch goes to one that follows it, or has failed

What these say is not done by processors but by arcs: `setpoint.flows.plan` makes states of it. `branch` is a processor like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from pydantic import AfterValidator, BeforeValidator

from setpoint.flows.bloblang import Expression
from setpoint.flows.bloblang.values import type_of
from setpoint.flows.checking import ComponentConfig, checked_fields, chosen_kind, of_kind
from setpoint.flows.component import Fields, Kind, MessageError, Msg
from setpoint.flows.problems import FlowConfigError, FlowProblem, Path, shown, unknown
from setpoint.flows.scope import Scope

MAX_DEPTH: Final = 16


class Case(msgspec.Struct, frozen=True):
    """One case of a switch. Without a check it always holds."""

    check: str
    steps: tuple[Step, ...]
    fallthrough: bool


class Switch(msgspec.Struct, frozen=True):
    """Cases, of which the first that holds has its way."""

    name: str
    cases: tuple[Case, ...]
    path: Path


class Try(msgspec.Struct, frozen=True):
    """Processors in a group."""

    name: str
    steps: tuple[Step, ...]
    path: Path


class Catch(msgspec.Struct, frozen=True):
    """Processors for messages that failed before."""

    name: str
    steps: tuple[Step, ...]
    path: Path


Step = ComponentConfig | Switch | Try | Catch


def check(text: str) -> Callable[[Msg], bool]:
    """A question about a message. Raises `ValueError` for what is no expression; asked, `MessageError` where the answer is neither."""
    expression = Expression(text)
    if "error" in expression.reads:
        raise ValueError(
            "error() is not known in a check; put it into meta by a mapping in the `catch`, and ask for that"
        )
    evaluated = expression.bind()

    def asked(msg: Msg) -> bool:
        found = evaluated(msg)
        if type(found) is bool:
            return found
        raise MessageError(f"the check is neither true nor false but {type_of(found)}: {text[:80]}")

    asked.__doc__ = text  # what is said of it where the machine is drawn
    return asked


def _of_yaml(value: object) -> object:
    """YAML reads ``check: true`` as a truth value; it was meant as an expression."""
    return str(value).lower() if isinstance(value, bool) else value


def _checked(text: str) -> str:
    if text:
        check(text)
    return text


class CaseFields(Fields):
    """A case of a switch as it is written."""

    check: Annotated[str, BeforeValidator(_of_yaml), AfterValidator(_checked)] = ""
    processors: list[Any] = []
    fallthrough: bool = False


class Reader:
    """Reads lists of processors, and collects what is wrong with them in `problems`."""

    def __init__(self, known: Mapping[str, Kind[Any]], scope: Scope, problems: list[FlowProblem]) -> None:
        self._known, self._scope, self._problems = known, scope, problems
        self._names = sorted([*known, *_NESTING])

    def steps(self, items: object, path: Path, prefix: str = "") -> tuple[Step, ...]:
        """The steps of a list; those without a label are called after their kind and place, behind `prefix`."""
        if items is None:
            return ()
        if not isinstance(items, list | tuple):
            self._problems.append(FlowProblem(path, f"expected a list of processors, got {shown(items)}"))
            return ()
        if self._depth(path) > MAX_DEPTH:
            self._problems.append(FlowProblem(path, f"processors nest deeper than {MAX_DEPTH} levels"))
            return ()
        found = (self._step(item, (*path, n), prefix, n) for n, item in enumerate(items))
        return tuple(step for step in found if step is not None)

    def _step(self, item: object, path: Path, prefix: str, place: int) -> Step | None:
        name = f"{prefix}{{}}_{place}"
        chosen = chosen_kind(item, path, "processor", self._names, self._problems, name=name)
        if chosen is None:
            return None
        if chosen.kind in _NESTING:
            return _NESTING[chosen.kind](self, chosen.values, (*path, chosen.kind), chosen.name)
        if chosen.kind not in self._known:
            self._problems.append(unknown((*path, chosen.kind), chosen.kind, "processor", self._names))
            return None
        scope = msgspec.structs.replace(self._scope, depth=self._depth(path))
        return of_kind(chosen, path, "processor", self._known, self._problems, scope=scope)

    def _depth(self, path: Path) -> int:
        return self._scope.depth + sum(part in _NESTING for part in path)

    def switch(self, values: object, path: Path, name: str) -> Step:
        """A switch."""
        if not isinstance(values, list | tuple):
            self._problems.append(FlowProblem(path, f"expected a list of cases, got {shown(values)}"))
            values = ()
        cases = (self._case(case, (*path, n), f"{name}_{n}_") for n, case in enumerate(values))
        return Switch(name, tuple(case for case in cases if case is not None), path)

    def _case(self, values: object, path: Path, prefix: str) -> Case | None:
        fields = checked_fields(CaseFields, values, path, self._problems, scope=self._scope)
        if fields is None:
            return None
        return Case(fields.check, self.steps(fields.processors, (*path, "processors"), prefix), fields.fallthrough)

    def try_(self, values: object, path: Path, name: str) -> Step:
        """A group."""
        self._not_caught(path)
        return Try(name, self.steps(values, path, f"{name}_"), path)

    def catch(self, values: object, path: Path, name: str) -> Step:
        """What is done with messages that failed."""
        self._not_caught(path)
        inside = Reader(self._known, msgspec.structs.replace(self._scope, caught=True), self._problems)
        return Catch(name, inside.steps(values, path, f"{name}_"), path)

    def _not_caught(self, path: Path) -> None:
        """In Benthos a message counts as failed until it leaves the `catch`, so that these two mean something else there."""
        if self._scope.caught:
            hint = f"put it behind the catch, or in a branch; `engine: benthos` has a {path[-1]} in a catch"
            self._problems.append(FlowProblem(path, f"a {path[-1]} cannot stand in a catch", hint))


_NESTING: Final[dict[str, Callable[[Reader, object, Path, str], Step]]] = {
    "catch": Reader.catch,
    "switch": Reader.switch,
    "try": Reader.try_,
}


def components(steps: Sequence[Step]) -> Iterator[ComponentConfig]:
    """All processors, in the order in which they are written."""
    for step in steps:
        if isinstance(step, ComponentConfig):
            yield step
        else:
            for inside in _inside(step):
                yield from components(inside)


def _inside(step: Switch | Try | Catch) -> list[tuple[Step, ...]]:
    return [case.steps for case in step.cases] if isinstance(step, Switch) else [step.steps]


def same_names(steps: Sequence[Step]) -> list[FlowProblem]:
    """The faults of two steps that are called the same."""
    seen: dict[str, Path] = {}
    problems = []
    for name, path in _named(steps):
        if name in seen:
            other = ".".join(map(str, seen[name]))
            problems.append(FlowProblem(path, f"the name {name!r} is also that of {other}", "change a label"))
        seen.setdefault(name, path)
    return problems


def _named(steps: Sequence[Step]) -> Iterator[tuple[str, Path]]:
    for step in steps:
        if not isinstance(step, Try):
            yield step.name, step.path
        if not isinstance(step, ComponentConfig):
            for inside in _inside(step):
                yield from _named(inside)


def nested_steps(items: object, scope: Scope) -> tuple[Step, ...]:
    """The steps of a list inside a processor. Raises `FlowConfigError` with the paths from that list on."""
    from setpoint.flows.processors import PROCESSORS

    problems: list[FlowProblem] = []
    steps = Reader(PROCESSORS, scope, problems).steps(items, ())
    problems += same_names(steps)
    if problems:
        raise FlowConfigError(problems)
    return steps
