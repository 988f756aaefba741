"""Definitions written in Python, with all that a file can say.

::

    orders = Builder("orders")
    read, large, done = orders.state("read"), orders.state("large"), orders.state("done", final=True)

    @read.transform
    def total(order):
        return {**order, "total": order["price"] * order["quantity"]}

    read.to(large, when=expression("total > 1000"), priority=1)
    read.to(done)
    large.push("approval", then=done)
    approval = orders.network("approval")
    ...
    fsm = SimpleFSM(orders.definition())

States and networks are named, so an arc may lead to one that is written later. The first state of a network is where records enter unless
another says ``start=True``. What is wrong is said when a plan is made of it, with the line of this file that wrote it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypedDict, TypeVar, Unpack

from setpoint.data.definition import (
    ArcDef,
    ArcKind,
    DataMode,
    Definition,
    FunctionRef,
    Isolation,
    NetworkDef,
    Place,
    Push,
    ResourceDef,
    Retry,
    StateDef,
    Strategy,
    Transactions,
)

F = TypeVar("F", bound=Callable[..., Any])
Many = FunctionRef | Iterable[FunctionRef]


class StateOptions(TypedDict, total=False):
    """What `state` takes beside a name; see `StateDef`."""

    start: bool
    final: bool
    schema: Mapping[str, Any]
    resources: Mapping[str, str] | Iterable[str]
    data_mode: DataMode
    retry: Retry
    timeout: float
    emit_output: bool
    run_on_failure: bool
    doc: str
    metadata: Mapping[str, Any]


class ArcOptions(TypedDict, total=False):
    """What an arc takes beside its ends; see `ArcDef`."""

    name: str
    event: str
    after: float
    priority: int
    transforms: Many
    retry: Retry
    resources: Mapping[str, str] | Iterable[str]
    metadata: Mapping[str, Any]


class PushOptions(TypedDict, total=False):
    """What a push takes beside its network; see `Push`."""

    state: str
    return_state: str
    data_mapping: Mapping[str, str]
    result_mapping: Mapping[str, str]
    isolation: Isolation


class Limits(TypedDict, total=False):
    """What a machine takes beside its name; see `Definition`."""

    version: str
    doc: str
    data_mode: DataMode
    strategy: Strategy
    max_transitions: int
    max_depth: int
    max_parts: int
    timeout: float
    transactions: Transactions
    metadata: Mapping[str, Any]


class StateBuilder:
    """One state: what it does, and the arcs out of it. The methods that take a function may be used as decorators."""

    def __init__(self, name: str, options: StateOptions, place: Place) -> None:
        self.name = name
        self._place = place
        self._options = options
        self._gates: list[FunctionRef] = []
        self._transforms: list[FunctionRef] = []
        self._validators: list[FunctionRef] = []
        self._arcs: list[ArcDef] = []

    def gate(self, function: F) -> F:
        """One more `pre_validators`: refuses records before anything is done to them."""
        self._gates.append(function)
        return function

    def transform(self, function: F) -> F:
        """One more of `transforms`."""
        self._transforms.append(function)
        return function

    def validator(self, function: F) -> F:
        """One more of `validators`: refuses records after the transforms."""
        self._validators.append(function)
        return function

    def to(
        self, target: StateBuilder | str, *, when: FunctionRef | None = None, **arc: Unpack[ArcOptions]
    ) -> StateBuilder:
        """An arc forward, open while `when` holds. Returns this state, so that arcs can be chained."""
        return self._arc(target, "way", when, None, arc)

    def on_error(
        self, target: StateBuilder | str, *, when: FunctionRef | None = None, **arc: Unpack[ArcOptions]
    ) -> StateBuilder:
        """An arc for records that failed here or on an arc out of here."""
        return self._arc(target, "error", when, None, arc)

    def on_timeout(
        self, target: StateBuilder | str, *, when: FunctionRef | None = None, **arc: Unpack[ArcOptions]
    ) -> StateBuilder:
        """An arc for records for which this state took too long; without one they go by `on_error`."""
        return self._arc(target, "timeout", when, None, arc)

    def on_dropped(
        self, target: StateBuilder | str, *, when: FunctionRef | None = None, **arc: Unpack[ArcOptions]
    ) -> StateBuilder:
        """An arc for records that a transform dropped."""
        return self._arc(target, "dropped", when, None, arc)

    def push(
        self,
        network: NetworkBuilder | str,
        *,
        then: StateBuilder | str,
        when: FunctionRef | None = None,
        arc: ArcOptions | None = None,
        **push: Unpack[PushOptions],
    ) -> StateBuilder:
        """An arc through another network, and `then` on here."""
        how = Push(network=_name(network), place=_here(), **push)
        return self._arc(then, "way", when, how, arc or {})

    def _arc(
        self,
        target: StateBuilder | str,
        kind: ArcKind,
        when: FunctionRef | None,
        push: Push | None,
        options: ArcOptions,
    ) -> StateBuilder:
        given: dict[str, Any] = {**options, "transforms": _many(options.get("transforms", ()))}
        given["resources"] = _roles(options.get("resources", ()))
        self._arcs.append(ArcDef(target=_name(target), kind=kind, condition=when, push=push, place=_here(), **given))
        return self

    def build(self) -> StateDef:
        """The state as data."""
        options: dict[str, Any] = {**self._options, "resources": _roles(self._options.get("resources", ()))}
        return StateDef(
            name=self.name,
            pre_validators=tuple(self._gates),
            transforms=tuple(self._transforms),
            validators=tuple(self._validators),
            arcs=tuple(self._arcs),
            place=self._place,
            **options,
        )


class NetworkBuilder:
    """One network."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._place = _here()
        self._states: list[StateBuilder] = []

    def state(
        self,
        name: str,
        *,
        gates: Many = (),
        transforms: Many = (),
        validators: Many = (),
        **options: Unpack[StateOptions],
    ) -> StateBuilder:
        """One more state."""
        made = StateBuilder(name, options, _here())
        made._gates += _many(gates)
        made._transforms += _many(transforms)
        made._validators += _many(validators)
        self._states.append(made)
        return made

    def build(self) -> NetworkDef:
        """The network as data."""
        return NetworkDef(name=self.name, states=tuple(state.build() for state in self._states), place=self._place)


class Builder(NetworkBuilder):
    """A machine for records; its own states are those of the network `main`."""

    def __init__(self, name: str, **limits: Unpack[Limits]) -> None:
        super().__init__("main")
        self._machine = name
        self._limits = limits
        self._networks: list[NetworkBuilder] = []
        self._resources: list[ResourceDef] = []

    def network(self, name: str) -> NetworkBuilder:
        """One more network, for arcs to push into."""
        self._networks.append(NetworkBuilder(name))
        return self._networks[-1]

    def resource(self, name: str, type: str, **settings: Any) -> None:
        """One more resource; `settings` are its `config`, and `pool_size`, `timeout`, `retry`, `health_check_interval`."""
        own = {
            key: settings.pop(key)
            for key in ("pool_size", "timeout", "retry", "health_check_interval")
            if key in settings
        }
        self._resources.append(ResourceDef(name=name, type=type, config=settings, place=_here(), **own))

    def definition(self) -> Definition:
        """The machine as data."""
        networks = (self.build(), *(network.build() for network in self._networks))
        return Definition(
            name=self._machine,
            networks=networks,
            main=self.name,
            resources=tuple(self._resources),
            place=self._place,
            **self._limits,
        )


def _name(of: StateBuilder | NetworkBuilder | str) -> str:
    return of if isinstance(of, str) else of.name


def _many(functions: Many) -> tuple[FunctionRef, ...]:
    if isinstance(functions, Iterable):
        return tuple(functions)
    return (functions,)


def _roles(resources: Mapping[str, str] | Iterable[str]) -> Mapping[str, str]:
    return resources if isinstance(resources, Mapping) else {name: name for name in resources}


_THIS: Final = __name__


def _here() -> Place:
    """The line outside this module that is being run."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == _THIS:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)
