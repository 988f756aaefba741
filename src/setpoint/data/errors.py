"""What can go wrong with a record that is not an exception of the user's own functions, and what can be wrong with a plan."""

from __future__ import annotations

from collections.abc import Iterable

from setpoint.data.definition import Place
from setpoint.data.faults import Fault


class PlanError(ValueError):
    """The definition does not make a plan: lists every fault, with names and places. `faults` are their texts, `places` where they are."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        found = tuple(faults)
        self.faults: tuple[str, ...] = tuple(fault.text for fault in found)
        self.places: tuple[Place, ...] = tuple(fault.place for fault in found)
        lines = (f"  - {fault.place}: {fault.text}" if fault.place.line else f"  - {fault.text}" for fault in found)
        super().__init__(f"machine {name!r} cannot carry records:\n" + "\n".join(lines))


class Refused(Exception):
    """A gate or a validator said no to the record; the message is its reason."""


class NoOpenArc(Exception):
    """No arc out of the state was open for the record: give the state an arc without a condition, or one that covers this record."""


class NotAwaited(Exception):
    """A function that was not declared async returned a coroutine: write it with ``async def``."""

    def __init__(self) -> None:
        super().__init__("the function returned a coroutine but is not declared async; write it with `async def`")


class TimedOut(TimeoutError):
    """A state or the run took longer than it may. A function that is not async cannot be interrupted: its late answer is thrown away."""


class TooManyTransitions(Exception):
    """The record took more arcs than a run may: the machine has a loop that it does not leave."""

    def __init__(self, limit: int, path: tuple[str, ...]) -> None:
        super().__init__(
            f"the record took {limit} arcs without coming to an end, lastly through {', '.join(path[-6:])}"
        )


class TooManyParts(Exception):
    """More records came of one, by splitting or fanning out, than a run may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} records came of one by splitting")


class TooDeep(Exception):
    """Networks push into each other without end."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} networks inside each other; raise max_depth if that is meant")


class NotTaken(Exception):
    """The event was sent to a run that does not wait for it, or the conditions of the arcs that it opens say no. The run is unchanged."""


class Failed(Exception):
    """The record came to the end `failed` by an ordinary arc: it is a failure because the machine says so."""
