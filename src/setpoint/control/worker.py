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
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from setpoint.control.snapshot import DesiredT, Fact, Observation, ObservedT, Snapshot
from setpoint.machine import Machine, Migration, State, migration_faults
from setpoint.machine.model import Arcs

SpecT = TypeVar("SpecT")


@dataclass(frozen=True)
class ChildSpec:
    """A worker that a parent wants: what it is called, what it is, what it shall do.

    `spec` is an object of the type that the worker declares, or plain data that becomes one; templates in it are rendered with the
    `variables` given here and above (see `setpoint.control.variables`). `after` names siblings that must have started before it is told
    to start; it stops before them. `reads` names other workers, by path, whose facts it sees as ``snapshot.peers``. `needs` lists the
    paths of workers that must outlive it: when everything shuts down, they are told to stop once it is at rest.
    """

    name: str
    worker_type: str
    spec: Any = None
    enabled: bool = True
    reads: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, value in (("name", self.name), ("worker_type", self.worker_type)):
            given: object = value  # typed code cannot pass anything else; untyped code can
            if not isinstance(given, str):
                raise TypeError(
                    f"ChildSpec: {what} is {given!r}; expected a text, for the type the name under which it is registered"
                )


@dataclass(frozen=True)
class Context:
    """What the runtime lends to a worker: its path, two ways to say that something changed, and a look at others. All may be called
    from the event loop's thread only."""

    path: str
    push: Callable[[Observation], None]
    """Hand over an observation now, without waiting for the next collection."""
    observe: Callable[[], None]
    """Ask for a collection now: something changed, look."""
    read: Callable[[str], Fact] = Fact
    """The fact of the worker at a path, with what it observed and how old that is; its state is `missing` when there is none."""
    count: Callable[[str, float], None] = lambda name, by: None
    """Add to a counter of one's own, ``count("messages", 3)``: shown with the worker's figures and exported to Prometheus."""
    gauge: Callable[[str, float], None] = lambda name, value: None
    """Set a gauge of one's own."""


def _no_context(*_: object) -> None:
    return None


def snake_case(name: str) -> str:
    """``HelloWorld`` as ``hello_world``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Worker(Generic[SpecT, DesiredT, ObservedT]):
    """The base of all workers. States are class attributes; `arcs` lists the ways between them; the first state is the initial one.

    A class that declares states gets its `machine` when it is defined. Raises `MachineError` or `TypeError` there and then when the
    machine is not valid or a state acts by a method that is missing or not async.
    """

    machine: ClassVar[Machine]
    machine_name: ClassVar[str] = ""
    """The machine's name; the class name in snake case by default."""
    machine_version: ClassVar[str] = "1"
    """The machine's version: change it when a state goes or changes its meaning, and declare how stored states move on (`migrations`)."""
    migrations: ClassVar[Sequence[Migration]] = ()
    """How stored states of earlier versions of the machine become states of this one."""
    arcs: ClassVar[Arcs] = ()
    spec_type: ClassVar[Any] = Any
    desired_type: ClassVar[Any] = Any
    observed_type: ClassVar[Any] = Any
    """The types declared in ``Worker[Spec, Desired, Observed]``; `Any` where none is."""

    interval: float = 1.0
    """Seconds between two observations."""
    timeout: float = 2.2
    """Seconds after which an observation is abandoned and counts as failed."""
    sees_observations: ClassVar[bool] = False
    """Whether what children and peers observed is part of its facts (`fact.observed`). Then each change of theirs has it decide again."""
    context: Context = Context("", _no_context, _no_context)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._declare_types()
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
        name = cls.__dict__.get("machine_name") or snake_case(cls.__name__)
        cls.machine = Machine(name, states, cls.arcs, version=cls.machine_version, doc=inspect.getdoc(cls) or "")
        if faults := list(migration_faults(cls.machine, cls.migrations)):
            raise TypeError(f"{cls.__name__}: {'; '.join(faults)}")
        for state in states:
            if state.act and not inspect.iscoroutinefunction(getattr(cls, state.act, None)):
                raise TypeError(
                    f"{cls.__name__}: state {state.name!r} acts by {state.act!r}, which is not an async method of it"
                )

    @classmethod
    def _declare_types(cls) -> None:
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Worker) and len(get_args(base)) == 3:
                types = (Any if isinstance(each, TypeVar) else each for each in get_args(base))
                cls.spec_type, cls.desired_type, cls.observed_type = types

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

    def resume_state(self, state: str, snapshot: Snapshot[DesiredT, ObservedT]) -> str:
        """The state to go on in after the agent was started again: `state` is the stored one, the snapshot is fresh. Pure.

        By default it goes on where it was, because what it keeps running may have outlived the agent. A worker whose thing is gone with
        the agent says `initial_state()` when it does not observe it.
        """
        return state

    async def close(self) -> None:
        """Let go of what the worker holds. Called once, when it has been removed."""
