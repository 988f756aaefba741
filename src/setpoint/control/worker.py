"""Workers: a machine with eyes and hands.

A worker class declares its states and arcs, measures (`collect_observed_state`), may turn what the user wrote into what is wanted
(`derive_desired_state`), may want children (`children`), and has one idempotent async method for each action a state names. Deciding is
not its business: the machine decides, over a snapshot. Shutdown, staleness, disabling, time-outs and faults are the runtime's.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from setpoint.control.snapshot import DesiredT, Observation, ObservedT
from setpoint.machine import Machine, State
from setpoint.machine.model import Arcs

SpecT = TypeVar("SpecT")


@dataclass(frozen=True)
class ChildSpec:
    """A worker that a parent wants: what it is called, what it is, what it shall do.

    `reads` names other workers, by path, whose facts it sees as ``snapshot.peers``. `needs` lists the paths of workers that must outlive
    it: when everything shuts down, they are told to stop once it is at rest.
    """

    name: str
    worker_type: str
    spec: Any = None
    enabled: bool = True
    reads: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """What the runtime lends to a worker: its path, and two ways to say that something changed. Both may be called from the event
    loop's thread only."""

    path: str
    push: Callable[[Observation], None]
    """Hand over an observation now, without waiting for the next collection."""
    observe: Callable[[], None]
    """Ask for a collection now: something changed, look."""


def _no_context(*_: object) -> None:
    return None


class Worker(Generic[SpecT, DesiredT, ObservedT]):
    """The base of all workers. States are class attributes; `arcs` lists the ways between them; the first state is the initial one.

    A class that declares states gets its `machine` when it is defined. Raises `MachineError` or `TypeError` there and then when the
    machine is not valid or a state acts by a method that is missing or not async.
    """

    machine: ClassVar[Machine]
    machine_name: ClassVar[str] = ""
    """The machine's name; the class name in snake case by default."""
    arcs: ClassVar[Arcs] = ()

    interval: float = 1.0
    """Seconds between two observations."""
    timeout: float = 2.2
    """Seconds after which an observation is abandoned and counts as failed."""
    sees_observations: ClassVar[bool] = False
    """Whether what children and peers observed is part of its facts (`fact.observed`). Then each change of theirs has it decide again."""
    context: Context = Context("", _no_context, _no_context)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names = {
            name: None
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, State)
        }
        found = {
            id(value): value for name in names if isinstance(value := getattr(cls, name), State)
        }  # once under two names
        states = list(found.values())
        if not states:
            return
        name = cls.__dict__.get("machine_name") or re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        cls.machine = Machine(name, states, cls.arcs, doc=inspect.getdoc(cls) or "")
        for state in states:
            if state.act and not inspect.iscoroutinefunction(getattr(cls, state.act, None)):
                raise TypeError(
                    f"{cls.__name__}: state {state.name!r} acts by {state.act!r}, which is not an async method of it"
                )

    async def collect_observed_state(self, desired: DesiredT) -> ObservedT:
        """Measure. May wait, must not change anything, must honour cancellation. What it raises is kept as a failed observation."""
        raise NotImplementedError(f"{type(self).__name__} must define collect_observed_state")

    def derive_desired_state(self, spec: SpecT) -> DesiredT:
        """Turn what the user wrote into what is wanted. Pure. What it raises is shown; the last good desired state stays in force."""
        given: Any = spec  # identity: for workers whose spec is their desired state
        desired: DesiredT = given
        return desired

    def children(self, desired: DesiredT, state: str) -> Sequence[ChildSpec]:
        """The children wanted in this state. Pure. They are told to stop whenever this worker is."""
        return ()

    def initial_state(self) -> str:
        """The state to begin in; the machine's initial state by default."""
        return self.machine.initial

    async def close(self) -> None:
        """Let go of what the worker holds. Called once, when it has been removed."""
