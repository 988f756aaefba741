"""Worker types by name. Each supervisor has its own registry, so two of them in one process share nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

from setpoint.control.worker import Worker

AnyWorker = Worker[Any, Any, Any]


class UnknownWorkerType(LookupError):
    """There is no worker type of that name in the registry."""


class Registry:
    """How to make a worker of each type: a factory without arguments. Dependencies are bound into the factory by whoever registers it."""

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], AnyWorker]] = {}

    def add(self, worker_type: str, factory: Callable[[], AnyWorker]) -> None:
        """Register a type. Raises `ValueError` when the name is taken."""
        if worker_type in self._factories:
            raise ValueError(f"worker type {worker_type!r} is registered already")
        self._factories[worker_type] = factory

    def create(self, worker_type: str) -> AnyWorker:
        """A new worker. Raises `UnknownWorkerType`, or whatever the factory raises."""
        factory = self._factories.get(worker_type)
        if factory is None:
            near = get_close_matches(worker_type, self._factories, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"known types: {', '.join(sorted(self._factories)) or 'none'}"
            )
            raise UnknownWorkerType(f"there is no worker type {worker_type!r}; {hint}")
        return factory()

    def __iter__(self) -> Iterator[str]:
        return iter(self._factories)
