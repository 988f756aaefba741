"""What a resource is to the runtime: something that gives *handles*, one to each record that needs it for a while.

A provider knows one thing outside: a database, a service, a folder. `open` makes it usable, once; `acquire` makes a handle, `check` says
whether a handle that lay idle still works, `release` ends one, `close` ends it all. How many handles there are, who gets the next one,
when an old one goes: that is the pool's, and the same for all providers.

A provider is sync or async, all of its methods alike. Handles of an async provider belong to the event loop in which they were made, so
only runs with an event loop can have them.

A provider whose handles know transactions has the methods of `Transactional` as well; then the runtime begins and ends them (see
`setpoint.data.resources.scope`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from setpoint.secrets import without_secrets


class ResourceError(RuntimeError):
    """A resource cannot be had, or cannot do this; the message names it and says what to do."""


class UnknownResource(ResourceError, LookupError):
    """No resource has this name: declare it under `resources`."""

    def __init__(self, name: str, known: Mapping[str, object]) -> None:
        self.name = name
        super().__init__(f"there is no resource {name!r} (known: {', '.join(sorted(known)) or 'none'})")


class ResourceUnavailable(ResourceError):
    """The provider could not make a handle; its own error is the cause."""


class ResourceTimeout(ResourceError, TimeoutError):
    """No handle was free in time; the message says who holds them."""

    def __init__(self, name: str, size: int | None, timeout: float | None, held: Sequence[Leak]) -> None:
        holders = [f"{leak.owner} ({leak.held:.1f} s)" for leak in held]
        shown = ", ".join(holders[:3]) + (f" and {len(holders) - 3} more" if len(holders) > 3 else "")
        super().__init__(
            f"resource {name!r}: none of its {size} handles was free within {timeout or 0:g} s; "
            f"held by {shown or 'runs that are about to get theirs'}. Give it more handles, or hold them for less long"
        )


class ResourceBusy(ResourceError):
    """All handles are taken, and as many as may wait for one are waiting; asking again later may help."""

    def __init__(self, name: str, size: int | None, waiting: int | None) -> None:
        super().__init__(f"{name} is busy: {size} at once, and {waiting} that wait, are all that it takes")


class ResourceDeadlock(ResourceError):
    """Runs would wait for each other for ever; this one was refused. It can be tried again."""

    def __init__(self, name: str, owner: Owner, others: Sequence[str]) -> None:
        super().__init__(
            f"resource {name!r}: {owner} would wait for ever, for {', '.join(others)}, which wait for what it holds. "
            "Name all resources that belong together on the first state that uses one of them: they are taken in one order"
        )


class ResourceClosed(ResourceError):
    """The resource was closed: its machine has ended."""

    def __init__(self, name: str) -> None:
        super().__init__(f"resource {name!r} is closed: its machine has ended")


class TransactionError(ResourceError):
    """A transaction did not end as it should; the message says what was written and what was not."""


@runtime_checkable
class Provider(Protocol):
    """Gives handles. All five methods are plain functions, or all five are ``async def``."""

    def open(self) -> Any:
        """Make it usable. Called once before the first `acquire`; again only after it raised."""

    def acquire(self) -> Any:
        """A new handle. What it raises is the error of the state that asked."""

    def check(self, handle: Any) -> Any:
        """Whether the handle still works: False, or any exception, and it is ended. Called before an idle one is used again."""

    def release(self, handle: Any) -> Any:
        """End the handle. Called once for each, also for one that no longer works."""

    def close(self) -> Any:
        """End what `open` began. Called once, after the handles have ended."""


@runtime_checkable
class Transactional(Provider, Protocol):
    """A provider whose handles know transactions, with savepoints in them. Sync or async, as its other methods are."""

    def begin(self, handle: Any) -> Any:
        """Begin a transaction."""

    def commit(self, handle: Any) -> Any:
        """Make what was done since `begin` permanent. Raises when that is not certain."""

    def rollback(self, handle: Any) -> Any:
        """Undo what was done since `begin`; nothing to do when there is no transaction."""

    def savepoint(self, handle: Any) -> Any:
        """A mark in the transaction, to keep or to go back to."""

    def keep(self, handle: Any, mark: Any) -> Any:
        """What was done since the mark stays part of the transaction. Raises when the transaction has ended meanwhile."""

    def undo(self, handle: Any, mark: Any) -> Any:
        """Undo what was done since the mark; the transaction goes on."""

    def pending(self, handle: Any) -> bool:
        """Whether a transaction is under way (never async)."""


class Given:
    """Hands out one object that the caller has and looks after: its life is not the runtime's."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def open(self) -> None:
        pass

    def acquire(self) -> Any:
        return self._value

    def check(self, handle: Any) -> bool:
        return True

    def release(self, handle: Any) -> None:
        pass

    def close(self) -> None:
        pass


_METHODS: Final = ("open", "acquire", "check", "release", "close")
_OF_TRANSACTIONS: Final = ("begin", "commit", "rollback", "savepoint", "keep", "undo")


def is_async(name: str, provider: Provider) -> bool:
    """Whether the provider is async. Raises `ResourceError` for one that is neither, which would lose a coroutine somewhere."""
    methods = _METHODS + (_OF_TRANSACTIONS if isinstance(provider, Transactional) else ())
    kinds = {method: inspect.iscoroutinefunction(getattr(provider, method)) for method in methods}
    if len(set(kinds.values())) > 1:
        ours = ", ".join(method for method, awaited in kinds.items() if awaited)
        rest = ", ".join(method for method, awaited in kinds.items() if not awaited)
        raise ResourceError(
            f"resource {name!r}: {type(provider).__name__} has async {ours} and plain {rest}; make all of them alike"
        )
    return kinds["acquire"]


class Owner(NamedTuple):
    """Who holds a handle: a run, and the state in which it asked."""

    run: str
    state: str = ""

    def __str__(self) -> str:
        return f"{self.run}, state {self.state}" if self.state else self.run


class Leak(NamedTuple):
    """A handle that was not given back: whose it is, and for how long (seconds)."""

    resource: str
    owner: Owner
    held: float

    def __str__(self) -> str:
        return f"{self.resource} is held by {self.owner} for {self.held:.1f} s"


Status = Literal["unknown", "healthy", "degraded", "unhealthy", "closed"]


class Health(msgspec.Struct, frozen=True):
    """How a resource is doing.

    `status` is unknown before its first use, unhealthy when the last attempt to make or check a handle failed, degraded when records wait
    for it. `limit` is 0 where there is none. Counts are totals since the start; `longest_wait` is in seconds.
    """

    status: Status
    in_use: int
    idle: int
    waiting: int
    limit: int
    taken: int
    made: int
    timeouts: int
    failures: int
    longest_wait: float
    error: str = ""


def in_words(error: BaseException) -> str:
    """What an error of a driver says, on one line and without the secrets that drivers like to put there."""
    text = " ".join(str(error).split())
    return without_secrets(f"{type(error).__name__}: {text}" if text else type(error).__name__)[:500]
