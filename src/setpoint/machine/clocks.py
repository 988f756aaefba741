"""Clocks over a gap: what is stored of running waits, and how they go on once an instance is run again.

While nobody runs an instance its clocks stand, and the clock they were read from may begin anew (a monotonic clock does with each boot).
So moments are not stored, but seconds that had passed when the instance was last seen:

    state       the state it was in
    in_state    seconds since it entered that state
    clocks      seconds by clock, for the waits that have one of their own

Going on, each wait follows the policy declared with it (`resume=`), given for how long nobody ran the instance:

- ``deadline``: the gap counts, and what fell due meanwhile is due at once. The default of ``after=``;
- ``remaining``: the gap does not count, and the rest is still to be waited;
- ``restart``: the wait begins again. The default of ``held(...)``: nobody saw the guard hold without a break.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from setpoint.machine.decide import NOTHING_HELD, Position
from setpoint.machine.guards import Held
from setpoint.machine.model import Arc, Machine


def elapsed(machine: Machine, position: Position, now: float) -> dict[str, Any]:
    """The position as it is stored: plain data, seconds that have passed. Never negative, also where the clock was set back.

    Waits that begin again anyway, and those that count from when the state was entered, are not in it. Raises `LookupError` when the
    machine has no such state.
    """
    starts = {arc.clock: position.began(arc) for arc in _waits(machine, position.state) if arc.resume == "remaining"}
    starts |= {key: position.held[key] for key, _ in _going_on(machine, position.state) if key in position.held}
    clocks = {key: max(0.0, now - start) for key, start in starts.items()}
    return {"state": position.state, "in_state": max(0.0, now - position.entered_at), "clocks": clocks}


def resume(machine: Machine, stored: Mapping[str, Any], *, down_for: float, now: float) -> Position:
    """The position from which a stored instance goes on, after `down_for` seconds in which nobody ran it.

    `stored` is what `elapsed` gave. A negative `down_for` (the clock was set back) counts as none. Stored clocks that the machine no longer
    has are left out; a wait that goes on and has none stored counts from when the state was entered. Raises `LookupError` when the
    machine has no such state (see `migrate`), and `ValueError` when the data is not of that form.
    """
    if not isfinite(down_for):
        raise ValueError(f"down_for is {down_for}; expected a finite number of seconds")
    gap = max(0.0, down_for)
    state, in_state, clocks = _read(stored)
    begun = {
        arc.clock: now - (clocks.get(arc.clock, in_state) if arc.resume == "remaining" else 0.0)
        for arc in _waits(machine, state)
        if arc.resume != "deadline"
    }
    held = {
        key: now - clocks[key] - (gap if node.resume == "deadline" else 0.0)
        for key, node in _going_on(machine, state)
        if key in clocks
    }
    return Position(state, now - in_state - gap, held or NOTHING_HELD, begun or NOTHING_HELD)


def _waits(machine: Machine, state: str) -> Iterator[Arc]:
    if state not in machine.by_name:
        raise LookupError(
            f"machine {machine.name!r} has no state {state!r}; its states are {', '.join(machine.by_name)}"
        )
    return (arc for arc in machine.outgoing(state) if arc.after is not None)


def _going_on(machine: Machine, state: str) -> Iterator[tuple[str, Held]]:
    """The held guards whose clocks do not begin again, by their texts."""
    return ((key, node) for key, node, _ in machine.table[state].held if node.resume != "restart")


def _read(stored: Mapping[str, Any]) -> tuple[str, float, Mapping[str, float]]:
    state, clocks = stored.get("state"), stored.get("clocks", {})
    if not isinstance(state, str) or not isinstance(clocks, Mapping):
        raise ValueError(f"stored position {dict(stored)!r}: expected a state's name and a mapping of clocks")
    return state, _seconds("in_state", stored.get("in_state")), {key: _seconds(key, clocks[key]) for key in clocks}


def _seconds(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return value
    raise ValueError(f"stored position: {name} is {value!r}; expected a finite number of seconds of at least 0")
