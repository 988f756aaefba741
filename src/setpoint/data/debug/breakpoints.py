"""Breakpoints: where a run that goes on stops.

At a state it stops before the record enters it; at an arc, before the arc is taken, the state's functions done. A condition is asked about
the record as it is there; without a place it is asked at every state. `ignore` lets the first so many hits pass. A condition that cannot
be answered, since a field is not there yet, is not true; what was wrong is kept in `fault`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from setpoint.data.debug.reading import reading
from setpoint.data.naming import Named, arcs_named, is_arc, states_named
from setpoint.machine import ExpressionError

if TYPE_CHECKING:
    from setpoint.data.plan import Plan


class Breakpoint:
    """One of them. `hits` counts how often the record came by and the condition was true."""

    def __init__(
        self, number: int, at: str, when: str, ignore: int, *, states: Named | None, arcs: Named | None
    ) -> None:
        self.number, self.at, self.when, self.ignore = number, at, when, ignore
        self.hits = 0
        self.fault = ""
        self.states, self.arcs = states, arcs
        self._condition: Callable[[Any], Any] | None = reading(when) if when else None

    def is_hit(self, network: str, place: str, record: Any, *, arc: bool) -> bool:
        """Whether a record that stands there is to stop; counts."""
        places = self.arcs if arc else self.states
        if places is None or (places and (network, place) not in places):
            return False
        if not self._is_true(record):
            return False
        self.hits += 1
        return self.hits > self.ignore

    def _is_true(self, record: Any) -> bool:
        self.fault = ""
        if self._condition is None:
            return True
        try:
            return bool(self._condition(record))
        except ExpressionError as error:
            self.fault = str(error)
            return False

    def __str__(self) -> str:
        return " ".join(filter(None, (self.at, f"if {self.when}" if self.when else "")))


class Breakpoints(list[Breakpoint]):
    """All of them, by their numbers."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        self._last = 0

    def add(self, at: str, when: str, ignore: int) -> Breakpoint:
        """Another one. Raises `KeyError` for a place there is not, `ExpressionError` for a condition that is none, `ValueError`."""
        if not at and not when:
            raise ValueError("a breakpoint needs a place (a state, or an arc as a->b), a condition, or both")
        if ignore < 0:
            raise ValueError(f"ignore={ignore}: it is a number of hits that pass")
        states, arcs = self._places(at) if at else (frozenset[tuple[str, str]](), None)
        made = Breakpoint(self._last + 1, at, when, ignore, states=states, arcs=arcs)
        self._last += 1
        self.append(made)
        return made

    def _places(self, at: str) -> tuple[Named | None, Named | None]:
        """The states of that name, or else the arcs."""
        if is_arc(at):
            return None, arcs_named(self._plan, at)
        try:
            return states_named(self._plan, at), None
        except KeyError:
            with suppress(KeyError):  # the error about states says more
                return None, arcs_named(self._plan, at)
            raise

    def take(self, number: int) -> Breakpoint:
        """Remove one. Raises `KeyError`."""
        for one in self:
            if one.number == number:
                self.remove(one)
                return one
        raise KeyError(f"there is no breakpoint {number}; there are {', '.join(str(b.number) for b in self) or 'none'}")
