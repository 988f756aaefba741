"""Worker types by name, and what they are made with. Each supervisor has its own registry, so two of them in one process share nothing.

registry = Registry(engine=engine)          # what workers may ask for, by the names of their constructors' parameters
registry.add("flow", Flow)                  # Flow(engine) is made for each worker of the type
registry.add("disk", disk_has_room)         # a monitor, or any function that makes a worker

@registry.register                          # or by decorator; the type is the class name in snake case
class Press(Worker[...]): ...

registry.load_entry_points()                # and those of installed packages, group "setpoint.workers"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeVar

import structlog

from setpoint.control.worker import Worker, snake_case
from setpoint.machine import check

log = structlog.get_logger(__name__)

AnyWorker = Worker[Any, Any, Any]
Factory = Callable[..., AnyWorker]
FactoryT = TypeVar("FactoryT", bound=Factory)

ENTRY_POINTS: Final = "setpoint.workers"
"""The group of entry points that name worker types: ``press = "my_package.press:Press"``."""


class UnknownWorkerType(LookupError):
    """There is no worker type of that name in the registry."""


class MissingDependency(TypeError):
    """A worker type asks for something that the registry was not given."""


class Registry:
    """How to make a worker of each type. Keyword arguments are what constructors may ask for by name."""

    def __init__(self, **dependencies: Any) -> None:
        self._dependencies = dependencies
        self._factories: dict[str, Factory] = {}
        self._entry_points: dict[str, EntryPoint] = {}
        self._checked: set[str] = set()

    def add(self, worker_type: str, factory: Factory) -> None:
        """Register a type: a worker class, or a function that makes a worker. Raises `ValueError` when the name is empty or taken."""
        if not worker_type:
            raise ValueError("a worker type needs a name")
        if worker_type in self._factories:
            raise ValueError(f"worker type {worker_type!r} is registered already")
        self._factories[worker_type] = factory

    def register(self, factory: FactoryT) -> FactoryT:
        """Register a worker class or a monitor under its own name, in snake case; for use as a decorator."""
        self.add(snake_case(factory.__name__), factory)
        return factory

    def load_entry_points(self, group: str = ENTRY_POINTS) -> None:
        """Know the worker types that installed packages offer. Each is imported when the first worker of it is made."""
        for point in entry_points(group=group):
            if point.name not in self._factories:
                self._entry_points[point.name] = point

    def create(self, worker_type: str) -> AnyWorker:
        """A new worker. Raises `UnknownWorkerType`, `MissingDependency`, or whatever the import or the constructor raises."""
        factory = self.factory(worker_type)
        worker = factory(**self._asked_for(worker_type, factory))
        if worker_type not in self._checked:
            self._checked.add(worker_type)
            _warn_of_faults(worker_type, worker)
        return worker

    def factory(self, worker_type: str) -> Factory:
        """What makes workers of a type. Raises `UnknownWorkerType`, or whatever the import of an entry point raises."""
        factory = self._factories.get(worker_type)
        if factory is None and worker_type in self._entry_points:
            factory = self._factories[worker_type] = self._entry_points[worker_type].load()
        if factory is None:
            near = get_close_matches(worker_type, self, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known types: {', '.join(sorted(self)) or 'none'}"
            raise UnknownWorkerType(f"there is no worker type {worker_type!r}; {hint}")
        return factory

    def _asked_for(self, worker_type: str, factory: Factory) -> Mapping[str, Any]:
        """The dependencies that the constructor names; parameters with a default may stay without."""
        given: dict[str, Any] = {}
        for name, parameter in inspect.signature(factory).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if name in self._dependencies:
                given[name] = self._dependencies[name]
            elif parameter.default is parameter.empty:
                offered = ", ".join(sorted(self._dependencies)) or "none"
                raise MissingDependency(
                    f"worker type {worker_type!r} asks for {name!r}, which the registry was not given; it has {offered}"
                )
        return given

    def __iter__(self) -> Iterator[str]:
        yield from self._factories
        yield from (name for name in self._entry_points if name not in self._factories)


def _warn_of_faults(worker_type: str, worker: AnyWorker) -> None:
    """Say what can be known to be wrong with the machine of a type, when the first worker of it is made."""
    for finding in check(worker.machine):
        if finding.severity == "error":
            log.warning("the machine of a worker type has a fault", type=worker_type, fault=str(finding))
