"""What a machine for records is, as frozen data: what a configuration file or the builder gives, and what a plan is compiled from.

A `Definition` has networks, a network has states, a state has arcs out of it. A record enters a state (its gates, the `pre_validators`,
are asked; its transforms run; its validators are asked) and leaves by the first open arc. An arc may *push*: the record goes through
another network before it arrives. Nothing here runs or checks anything: `plan.Plan` checks a definition as a whole and reports all its
faults at once, each with its `Place`.

Functions are named, not called, here. A `FunctionRef` is one of

    a Python callable         as it is; it may ask for the `Context` as second parameter
    a guard of the model      ``expression("amount > 3")``, ``@guard``: for conditions, gates and validators
    Named(name, params)       a function of the registry, a built-in one, or ``module:function``
    Code(text, language)      an expression, JavaScript, or Python (only where the caller trusts the file)

and becomes a callable through the `Resolve` function that a plan is given: it is asked once for every reference, with the role that the
function plays, and raises `Unresolved` where it cannot serve it.

Seconds are floats, names of states are looked up in their own network only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

import msgspec

from setpoint.machine import Guard

Function = Callable[..., Any]
"""What a reference becomes: called with the record, or with the record and the `Context` where it has a second parameter for it."""


class Place(msgspec.Struct, frozen=True):
    """Where something was written: file, line and column, both counted from 1; 0 where that is not known."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([self.file or "<config>", *numbers])


NOWHERE: Final = Place()


class Role(StrEnum):
    """What a function is for. A condition opens an arc, a gate or a validator refuses a record, a transform changes it."""

    CONDITION = "condition"
    GATE = "gate"
    TRANSFORM = "transform"
    VALIDATOR = "validator"


class DataMode(StrEnum):
    """What a state works on: a copy, a copy of what it changes that is put back in one go, or the record itself."""

    COPY = "copy"
    REFERENCE = "reference"
    DIRECT = "direct"


class Strategy(StrEnum):
    """Which of several open arcs a record takes, and in which order the work is done."""

    DEPTH_FIRST = "depth_first"
    BREADTH_FIRST = "breadth_first"
    RESOURCE_OPTIMIZED = "resource_optimized"
    STREAM_OPTIMIZED = "stream_optimized"


Language = Literal["expression", "javascript", "python"]
Isolation = Literal["copy", "reference", "none", "serialize"]
"""What the record in a pushed network shares with its parent: nothing; what it does not change; everything; nothing, through JSON."""
ArcKind = Literal["way", "error", "timeout", "dropped"]
"""When an arc is taken: on the way forward, when the state or an arc out of it failed, when that was a time-out, when it was dropped."""
Backoff = Literal["fixed", "linear", "exponential"]
Transactions = Literal["none", "record", "batch", "manual"]


class Named(msgspec.Struct, frozen=True):
    """A function by its name: registered, built in (``validators.RangeValidator``) or ``module:function``; `params` are its settings."""

    name: str
    params: Mapping[str, Any] = {}
    place: Place = NOWHERE

    def __str__(self) -> str:
        return self.name


class Code(msgspec.Struct, frozen=True):
    """A function as text in the definition itself."""

    text: str
    language: Language = "expression"
    place: Place = NOWHERE

    def __str__(self) -> str:
        return self.text


FunctionRef = Function | Guard | Named | Code


class Unresolved(ValueError):
    """No function stands behind a reference. The message says which, and what to do: register it, correct the name, trust the file."""


class Resolve(Protocol):
    """Turns a reference into a function. Asked once for each reference when a plan is made; guards are not passed to it."""

    def __call__(self, ref: FunctionRef, role: Role, /) -> Function:
        """The function for `ref`. Raises `Unresolved`."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often a state or an arc is tried, and how long to wait between attempts.

    The wait after attempt n (1, 2, …) is `delay` (fixed), ``delay * n`` (linear) or ``delay * factor ** (n - 1)`` (exponential), at most
    `max_delay` seconds, then spread by `jitter`: 0.2 gives 80 to 120 % of it. `on` limits retries to exceptions of these types, by class
    or by name of a class in their inheritance; empty means all.
    """

    attempts: int
    backoff: Backoff = "fixed"
    delay: float = 0.0
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.0
    on: tuple[str | type[Exception], ...] = ()
    place: Place = NOWHERE


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """Through which network an arc leads, and what goes in and out.

    `data_mapping` builds the child's record (parent's field → child's field; empty: the whole record goes in). `result_mapping` lays
    fields of the child's end over the parent's record (child's field → parent's field; empty: the child's record replaces it). Afterwards
    the record enters `return_state`, or the arc's target where there is none. Fields may be dotted paths.
    """

    network: str
    state: str = ""
    return_state: str = ""
    data_mapping: Mapping[str, str] = {}
    result_mapping: Mapping[str, str] = {}
    isolation: Isolation = "copy"
    place: Place = NOWHERE


class ArcDef(msgspec.Struct, frozen=True, kw_only=True):
    """A way out of a state. Arcs are tried by falling `priority`, then in the order of definition; no condition means open.

    An arc with an `event` opens when that event is sent to the run, one with `after` when the record has been in its state for so many
    seconds; while no other arc is open the record waits there.

    `resources` maps the role under which functions see a resource to the resource's name; it is acquired for the arc's transforms.
    """

    target: str
    name: str = ""
    kind: ArcKind = "way"
    event: str = ""
    after: float | None = None
    condition: FunctionRef | None = None
    transforms: tuple[FunctionRef, ...] = ()
    priority: int = 0
    push: Push | None = None
    retry: Retry | None = None
    resources: Mapping[str, str] = {}
    metadata: Mapping[str, Any] = {}
    place: Place = NOWHERE

    @property
    def waits(self) -> bool:
        """Whether it needs something from outside to open: an event, or time."""
        return bool(self.event) or self.after is not None


class StateDef(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record can be.

    `schema` (JSON Schema) is one more gate, the first: a plan resolves it as ``Named("schema", {"schema": …})``. `timeout` bounds one
    attempt of the state's functions. `emit_output` says whether a stream writes records that end here; `run_on_failure` has the state's
    functions run also for a record that has failed before. `data_mode` overrides the definition's.
    """

    name: str
    start: bool = False
    final: bool = False
    pre_validators: tuple[FunctionRef, ...] = ()
    transforms: tuple[FunctionRef, ...] = ()
    validators: tuple[FunctionRef, ...] = ()
    arcs: tuple[ArcDef, ...] = ()
    schema: Mapping[str, Any] | None = None
    resources: Mapping[str, str] = {}
    data_mode: DataMode | None = None
    retry: Retry | None = None
    timeout: float | None = None
    emit_output: bool = True
    run_on_failure: bool = False
    doc: str = ""
    metadata: Mapping[str, Any] = {}
    place: Place = NOWHERE


class NetworkDef(msgspec.Struct, frozen=True, kw_only=True):
    """States that belong together; records enter at the one that is `start` (the first, where none says so)."""

    name: str
    states: tuple[StateDef, ...]
    doc: str = ""
    metadata: Mapping[str, Any] = {}
    place: Place = NOWHERE

    @property
    def start(self) -> str:
        """The name of the state where records enter; empty for a network without states."""
        first = self.states[0].name if self.states else ""
        return next((state.name for state in self.states if state.start), first)


class ResourceDef(msgspec.Struct, frozen=True, kw_only=True):
    """Something outside that functions use: what it is, and how many may use it at once."""

    name: str
    type: str
    config: Mapping[str, Any] = {}
    pool_size: int = 10
    timeout: float = 30.0
    retry: Retry | None = None
    health_check_interval: float | None = None
    place: Place = NOWHERE


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A machine for records, whole. Records enter the network `main` (the first, where it is empty).

    Limits of one run: `max_transitions` arcs taken, `max_depth` networks inside each other, `max_parts` records that come of one by
    splitting or fanning out, `timeout` seconds. `none` says what None from a transform means: the record was changed in place
    (``"keep"``), or it is dropped (``"drop"``).
    """

    name: str
    networks: tuple[NetworkDef, ...]
    main: str = ""
    version: str = "1"
    doc: str = ""
    data_mode: DataMode = DataMode.COPY
    strategy: Strategy = Strategy.DEPTH_FIRST
    none: Literal["keep", "drop"] = "keep"
    max_transitions: int = 1000
    max_depth: int = 100
    max_parts: int = 10_000
    timeout: float | None = None
    transactions: Transactions = "none"
    resources: tuple[ResourceDef, ...] = ()
    metadata: Mapping[str, Any] = {}
    place: Place = NOWHERE

    @property
    def main_network(self) -> str:
        """The name of the network that records enter."""
        return self.main or (self.networks[0].name if self.networks else "")

    def network(self, name: str) -> NetworkDef:
        """The network of that name. Raises `KeyError`."""
        for network in self.networks:
            if network.name == name:
                return network
        raise KeyError(f"{self.name!r} has no network {name!r}; it has {', '.join(n.name for n in self.networks)}")
