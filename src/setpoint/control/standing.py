"""Standing: what is stored of a worker, and how it goes on from there after the agent was started again.

Moments are stored as seconds that had passed, beside the wall time at which that was: the runtime's clock begins anew with each start. How
long nobody ran the agent is known from the store, which notes until when the agent was alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from setpoint.control.registry import AnyWorker
from setpoint.machine import Machine, MachineError, Position, Refused, load, migrate, resume


class Identity(msgspec.Struct, frozen=True):
    """Who a worker is. `parent` is the path of its parent, "" at the top."""

    type: str
    name: str
    parent: str


class Seen(msgspec.Struct, frozen=True):
    """The latest observation: the last good value, and why the latest attempt failed."""

    value: Any
    error: str


class Standing(msgspec.Struct, frozen=True):
    """Where a worker stands, in which machine, what operators told it, and its counts.

    `in_state` and `clocks` are seconds that had passed at wall time `at`, as `setpoint.machine.elapsed` gives them; `since` is the wall
    time at which it entered the state. `at_rest`: nothing of it ran. `finished` is set once it has gone because it asked for that, and
    `asked` is then a digest of the spec that it was given.
    """

    machine: str = ""
    version: str = ""
    hash: str = ""
    state: str = ""
    since: float = 0.0
    in_state: float = 0.0
    clocks: dict[str, float] = {}
    at: float = 0.0
    generation: int = 1
    transitions: int = 0
    starts: int = 0
    paused: str = ""
    disabled: str = ""
    down: float = 0.0  # seconds in which nobody ran it, before `at` and since it was last alive
    at_rest: bool = True
    finished: bool = False
    asked: str = ""


class Found(NamedTuple):
    """The state to go on in, with what there is to say about it; or why it cannot go on."""

    state: str
    note: str = ""
    refused: str = ""


class Memory(NamedTuple):
    """What an earlier run of the agent left of one worker: who it was, where it stood, what was wanted of it (plain data), the machine it
    had (where that was kept), and until when the agent was alive, in wall time."""

    identity: Identity
    standing: Standing
    desired: Any
    definition: Machine | None
    alive_at: float

    @property
    def left_running(self) -> bool:
        """Something of it may run still: it was not at rest when the agent ended."""
        return bool(self.standing.state) and not self.standing.at_rest and not self.standing.finished

    def moved_on(self, wall: float) -> Standing:
        """Where it stood, as of a later moment. The time without an agent is not in its clocks, but in `down`."""
        was = self.standing
        if was.down:
            ran_on, down = 0.0, was.down + max(0.0, wall - was.at)
        else:
            ran_on, down = max(0.0, self.alive_at - was.at), max(0.0, wall - max(self.alive_at, was.at))
        clocks = {key: seconds + ran_on for key, seconds in was.clocks.items()}
        return msgspec.structs.replace(was, in_state=was.in_state + ran_on, clocks=clocks, down=down, at=wall)

    def state_for(self, worker: AnyWorker) -> Found:
        """Where the worker goes on, by its machine and the migrations it declares."""
        was = self.standing
        found = migrate(
            worker.machine,
            worker.migrations,
            name=was.machine,
            version=was.version,
            hash=was.hash,
            state=was.state,
            definition=self.definition,
        )
        if isinstance(found, Refused):
            return Found("", refused=found.text)
        return Found(found.state, note=found.text)

    def position(self, machine: Machine, state: str, *, now: float, wall: float) -> Position:
        """Where its machine goes on, each clock as its policy says. Raises what `setpoint.machine.resume` raises."""
        was = self.moved_on(wall)
        return resume(
            machine, {"state": state, "in_state": was.in_state, "clocks": was.clocks}, down_for=was.down, now=now
        )


def definition_of(kept: Mapping[str, Any] | None) -> Machine | None:
    """The machine that was stored; None where it was not kept. One whose guards cannot be had any more is as good as none: it is used to
    say what has changed."""
    try:
        return None if kept is None else load(dict(kept))
    except (MachineError, LookupError, ValueError, TypeError):
        return None
