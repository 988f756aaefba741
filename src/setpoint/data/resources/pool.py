"""A pool: the handles of one resource, and who gets them.

At most `size` handles are in use or ready for it. Whoever asks takes a place in a queue, by priority and then by time of asking; nobody
overtakes an equal. A handle that lay idle for `check_after` seconds, or whose last holder failed, is checked before it is used again; one
that is older than `lifetime` or idle for longer than `idle` seconds is ended. The most recently used handle goes first, so that the rest
can grow old.

A place in the pool is counted from the moment it is granted until the handle is given back, also while the handle is being made, so the
limit holds at every moment; a place whose handle could not be made goes to the next in the queue.

All bookkeeping is under one lock that is never held while anything waits, so runs in threads and runs in event loops share a pool.
Handles of an async provider belong to their event loop: one found idle from another loop is let go and made anew.

The pools of one manager share the lock, which makes what `Circles` looks at one picture: a run that already holds something and must wait
is refused at once where those it waits for wait, directly or not, for what it holds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from setpoint.data.resources.circles import Circles
from setpoint.data.resources.lease import Idle, Lease, PoolSettings
from setpoint.data.resources.provider import (
    Health,
    Leak,
    Owner,
    Provider,
    ResourceBusy,
    ResourceClosed,
    ResourceDeadlock,
    ResourceTimeout,
    ResourceUnavailable,
    Status,
    Transactional,
    in_words,
    is_async,
)
from setpoint.data.resources.waiting import Pause, Steps, Ticket
from setpoint.data.retrying import pause_after


class Pool:
    """The handles of one resource. Operations are generators for `finish` or `afinish`."""

    def __init__(
        self,
        name: str,
        provider: Provider,
        settings: PoolSettings | None = None,
        *,
        circles: Circles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.provider = provider
        self.settings = settings or PoolSettings()
        self.is_async = is_async(name, provider)
        self.transactional = isinstance(provider, Transactional)
        self._clock = clock
        self._circles = circles or Circles()
        self._circles.pools.append(self)
        self._lock = self._circles.lock
        self._idle: deque[Idle] = deque()  # the most recently used at the right
        self._leases: set[Lease] = set()
        self._queue: list[tuple[int, int, Ticket]] = []
        self._numbers = itertools.count()
        self._busy = 0
        self._open = self._closed = False
        self._taken = self._made = self._timeouts = self._failures = 0
        self._longest = 0.0
        self._error = ""

    # taking and giving back

    def take(self, owner: Owner, *, priority: int = 0) -> Steps[Lease]:
        """A handle for this owner; higher priorities first. Raises `ResourceTimeout`, `ResourceUnavailable`, `ResourceClosed`."""
        item: Idle | None = yield from self._turn(owner, priority)
        try:
            while item is not None and not (yield from self._usable(item)):
                with self._lock:
                    item = self._idle.pop() if self._idle else None
            if item is None:
                item = yield from self._new()
            now = self._clock()
            lease = Lease(self.name, item.handle, owner, now, item.made_at, item.loop)
            with self._lock:
                closed = self._closed
                if not closed:
                    self._leases.add(lease)
                    self._taken += 1
            if closed:
                yield from self._ended([item])
                raise ResourceClosed(self.name)
            return lease
        except BaseException:
            self._place_free()
            raise

    def give_back(self, lease: Lease, *, suspect: bool = False) -> Steps[None]:
        """The owner is done with it; `suspect` when that went wrong. Giving back twice does nothing."""
        with self._lock:
            if lease not in self._leases:
                return
            self._leases.remove(lease)
            item = Idle(lease.handle, lease.made_at, self._clock(), suspect, lease.loop)
            if keep := not self._closed and self._loop() is lease.loop:
                self._idle.append(item)
        self._place_free()
        yield from self._ended([*([] if keep else [item]), *self._outdated()])

    def lose(self, lease: Lease) -> None:
        """The owner is gone and so is its event loop: the handle is dropped without waiting."""
        with self._lock:
            if lease not in self._leases:
                return
            self._leases.remove(lease)
        self._place_free()
        self._abandon(Idle(lease.handle, lease.made_at, 0.0, True, lease.loop))

    def evict(self) -> Steps[None]:
        """End the idle handles that are too old. Done whenever a handle is given back as well."""
        yield from self._ended(self._outdated())

    def _turn(self, owner: Owner, priority: int) -> Steps[Idle | None]:
        """Wait in the queue; an idle handle, or None where one is to be made. The place is the caller's to free."""
        ticket = Ticket(self._lock, owner, self.settings.timeout)
        began = self._clock()
        with self._lock:
            if self._closed:
                raise ResourceClosed(self.name)
            heapq.heappush(self._queue, (-priority, next(self._numbers), ticket))
            self._pump()
            if not ticket.granted and self._open and self.settings.overflows(len(self._queue)):
                self._forget(ticket)
                raise ResourceBusy(self.name, self.settings.size, self.settings.waiting)
            if not ticket.granted and (blocked := self._circles.around(owner.run)):
                self._forget(ticket)
                raise ResourceDeadlock(self.name, owner, blocked)
        try:
            if not ticket.granted and ticket.timeout != 0:
                yield ticket
        except BaseException:
            self._withdraw(ticket)
            raise
        with self._lock:
            self._longest = max(self._longest, self._clock() - began)
            if not (in_time := ticket.granted):
                self._forget(ticket)
                self._timeouts += 1
        if ticket.refusal is not None:
            raise ticket.refusal
        if not in_time:
            raise ResourceTimeout(self.name, self.settings.size, self.settings.timeout, self.held())
        item: Idle | None = ticket.item
        return item

    def _pump(self) -> None:
        """Grant what can be granted (the lock is held). Until the provider is open one asker at a time tries to open it."""
        limit = self.settings.size if self._open else 1
        while self._queue and (limit is None or self._busy < limit):
            ticket = heapq.heappop(self._queue)[2]
            ticket.item = self._idle.pop() if self._idle else None
            if ticket.grant():
                self._busy += 1
            elif ticket.item is not None:
                self._idle.append(ticket.item)

    def _place_free(self) -> None:
        with self._lock:
            self._busy -= 1
            self._pump()

    def _withdraw(self, ticket: Ticket) -> None:
        """Whoever waited is gone. What it was granted in the meantime goes to the next."""
        with self._lock:
            if not ticket.granted:
                self._forget(ticket)
            elif ticket.refusal is None:
                if ticket.item is not None:
                    self._idle.append(ticket.item)
                self._busy -= 1
                self._pump()

    def _forget(self, ticket: Ticket) -> None:
        self._queue = [entry for entry in self._queue if entry[2] is not ticket]
        heapq.heapify(self._queue)

    # handles

    def _new(self) -> Steps[Idle]:
        for attempt in itertools.count(1):
            try:
                if not self._open:
                    yield from self._call(self.provider.open)
                    with self._lock:
                        self._open = True
                        self._pump()
                handle = yield from self._call(self.provider.acquire)
            except Exception as error:
                self.failed(error)
                pause = pause_after(self.settings.retry, error, attempt)
                if pause is None:
                    text = f"resource {self.name!r} cannot be had: {in_words(error)}"
                    raise ResourceUnavailable(text + (f" (after {attempt} attempts)" if attempt > 1 else "")) from error
                yield Pause(pause)
            else:
                break
        with self._lock:
            self._made += 1
            self._error = ""
        now = self._clock()
        return Idle(handle, now, now, False, self._loop())

    def _usable(self, item: Idle) -> Steps[bool]:
        """Whether an idle handle still works; if not, it has been ended."""
        ours = self._loop() is item.loop and not self._too_old(item)
        if ours and not item.suspect and self._clock() - item.idle_since < self.settings.check_after:
            return True
        if ours:
            try:
                if (yield from self._call(self.provider.check, item.handle)) is not False:
                    return True
            except Exception as error:
                self.failed(error)
            except BaseException:  # cancelled meanwhile: the handle is in nobody's hands
                self._abandon(item)
                raise
        yield from self._ended([item])
        return False

    def _outdated(self) -> list[Idle]:
        """Takes out of the pool what is idle for too long, or too old."""
        if not self._idle:
            return []
        with self._lock:
            old = [item for item in self._idle if self._too_old(item)]
            for item in old:
                self._idle.remove(item)
        return old

    def _too_old(self, item: Idle) -> bool:
        now, idle, lifetime = self._clock(), self.settings.idle, self.settings.lifetime
        return (idle is not None and now - item.idle_since >= idle) or (
            lifetime is not None and now - item.made_at >= lifetime
        )

    def _ended(self, items: list[Idle]) -> Steps[None]:
        """End handles. That one cannot be ended well concerns nobody who asks for another: it is counted."""
        left = deque(items)
        try:
            while left:
                if self._loop() is left[0].loop:
                    try:
                        yield from self._call(self.provider.release, left[0].handle)
                    except Exception as error:
                        self.failed(error)
                else:
                    self._abandon(left[0])
                left.popleft()
        finally:  # cancelled: nobody will come for the others
            for item in left:
                self._abandon(item)

    def _abandon(self, item: Idle) -> None:
        """Let go of a handle without waiting: its event loop has ended, or is not this one."""
        let_go = getattr(self.provider, "abandon", None)
        if let_go is not None:
            try:
                let_go(item.handle)
            except Exception as error:
                self.failed(error)

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Steps[Any]:
        answer = method(*arguments)
        if self.is_async:
            answer = yield answer
        return answer

    def _loop(self) -> object:
        if not self.is_async:
            return None
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            return _NO_LOOP

    # the end, and how it is doing

    def close(self, *, let_go: bool = False) -> Steps[list[Leak]]:
        """Refuse those who wait, end all handles, and the provider. Returns the handles that were still out, which are ended too.

        With `let_go` nothing is awaited: async handles are dropped.
        """
        with self._lock:
            if self._closed:
                return []
            self._closed = True
            waiting, self._queue = self._queue, []
            for _, _, ticket in waiting:
                ticket.refusal = ResourceClosed(self.name)
                ticket.grant()
            out = list(self._leases)
            self._leases.clear()
            items = [*self._idle, *(Idle(lease.handle, lease.made_at, 0.0, True, lease.loop) for lease in out)]
            self._idle.clear()
        now = self._clock()
        if let_go and self.is_async:
            for item in items:
                self._abandon(item)
        else:
            yield from self._ended(items)
            if self._open:
                try:
                    yield from self._call(self.provider.close)
                except Exception as error:
                    self.failed(error)
        return [Leak(self.name, lease.owner, now - lease.since) for lease in out]

    def held(self, longer_than: float = 0.0) -> list[Leak]:
        """Who holds a handle for longer than so many seconds, longest first."""
        now = self._clock()
        with self._lock:
            held = [Leak(self.name, lease.owner, now - lease.since) for lease in self._leases]
        return sorted((leak for leak in held if leak.held >= longer_than), key=lambda leak: -leak.held)

    def has(self, run: str) -> bool:
        """Whether the run holds a handle (the lock is held)."""
        return any(lease.owner.run == run for lease in self._leases)

    def waiting(self) -> list[str]:
        """The runs in the queue (the lock is held)."""
        return [ticket.owner.run for _, _, ticket in self._queue]

    def holders(self) -> set[str]:
        """The runs that hold a handle, and "" where somebody is about to (the lock is held)."""
        holders = {lease.owner.run for lease in self._leases}
        return holders if self._busy == len(self._leases) else holders | {""}

    def free(self) -> bool:
        """Whether a handle could be had now, without waiting for another record."""
        with self._lock:
            limit = self.settings.size
            return not self._closed and not self._queue and (limit is None or self._busy < limit)

    def health(self) -> Health:
        """How it is doing, from what is known; nothing is tried."""
        with self._lock:
            return Health(
                status=self._status(),
                in_use=len(self._leases),
                idle=len(self._idle),
                waiting=len(self._queue),
                limit=self.settings.size or 0,
                taken=self._taken,
                made=self._made,
                timeouts=self._timeouts,
                failures=self._failures,
                longest_wait=self._longest,
                error=self._error,
            )

    def probe(self) -> Steps[Health]:
        """How it is doing, after taking a handle (without waiting for one) and checking it. A pool with none free is not disturbed."""
        if self.free():
            try:
                lease = yield from self.take(Owner("health check"))
                works = False
                try:
                    works = (yield from self._call(self.provider.check, lease.handle)) is not False
                finally:
                    yield from self.give_back(lease, suspect=not works)
                self._error = "" if works else "its check says no"
            except Exception as error:
                self.failed(error)
        return self.health()

    def _status(self) -> Status:
        if self._closed:
            return "closed"
        if self._error:
            return "unhealthy"
        if not self._made:
            return "unknown"
        return "degraded" if self._queue else "healthy"

    def failed(self, error: Exception) -> None:
        """Counts an error of the provider's; it shows in `health`."""
        with self._lock:
            self._failures += 1
            self._error = in_words(error)


_NO_LOOP = object()
