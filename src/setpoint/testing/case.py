"""A case: a worker under the laws, with what its snapshots and its stage are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from setpoint.control import ChildSpec, Worker
from setpoint.control.variables import SpecError, as_type
from setpoint.machine import Machine
from setpoint.testing.sources import AnyWorker, Source, class_of, make, missing_arguments
from setpoint.testing.stage import Stage


@dataclass(frozen=True)
class Case:
    """A worker under the laws, and what its snapshots and its stage are made with."""

    source: Source
    spec: Any = None
    desired: Any = None
    observed: Any = None
    types: Mapping[str, Source] = field(default_factory=dict)
    peers: Mapping[str, Source | None] = field(default_factory=dict)
    beside: Sequence[ChildSpec] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    examples: int = 100

    @cached_property
    def kind(self) -> type[AnyWorker]:
        return class_of(self.source)

    @property
    def machine(self) -> Machine:
        return self.kind.machine

    @property
    def desired_now(self) -> Any:
        """What is wanted of it by the spec it is run with."""
        return make(self.source).derive_desired_state(as_type(self.spec, self.kind.spec_type))

    def stage(self, source: Source | None = None) -> Stage:
        return Stage(
            source or self.source, self.spec, types=self.types, beside=self.beside, reads=self.reads, must_stop=False
        )

    @cached_property
    def cannot_be_made(self) -> str:
        if isinstance(self.source, Worker):
            return "an instance can be run only once; give its class or a function that makes it"
        missing = missing_arguments(self.source)
        return f"it is made with {', '.join(missing)}; give a function that makes it" if missing else ""

    @cached_property
    def cannot_be_run(self) -> str:
        if self.cannot_be_made:
            return self.cannot_be_made
        try:
            as_type(self.spec, self.kind.spec_type)
        except SpecError as error:
            return f"it needs spec=…: {error}"
        return ""


Check = Callable[[Case], Iterator[str]]
"""Says how the law is broken, once for each way; nothing when it is kept."""


class Law(NamedTuple):
    """One law: a sentence, and how it is checked. `needs` is "" (the class), "made" (an instance), "alive" (one
    on a stage) or "run" (one on a stage with a spec)."""

    says: str
    check: Check
    needs: str = ""
