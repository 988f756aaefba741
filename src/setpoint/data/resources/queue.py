"""Queues: what a run puts there others take out; in memory, or the broker of the unified namespace.

In a transaction nothing is seen by others before it is committed: what a record that fails has put is never sent. A broker gets all of a
transaction in one call, which it writes as a whole or not at all.

The broker itself is the program's: it is given as a provider (`BrokerQueue`), since a file cannot say where it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from setpoint.data.resources.provider import ResourceError, TransactionError


class QueueFull(ResourceError):
    """The queue holds as much as it may; take something out, or allow more."""


class _Outbox:
    """What was put in a transaction and is not sent yet. Marks of savepoints are lengths."""

    def __init__(self) -> None:
        self.items: list[Any] | None = None

    def begin(self) -> None:
        self.items = []

    def taken(self) -> list[Any]:
        """What is to be sent; there is no transaction afterwards. Raises `TransactionError` where there was none."""
        items, self.items = self.items, None
        if items is None:
            raise TransactionError("there is no transaction to commit")
        return items

    def mark(self) -> int:
        return len(self.items or ())

    def undo(self, mark: int) -> None:
        if self.items is not None:
            del self.items[mark:]


class Queue:
    """The handle of a queue in memory, in the hands of one run."""

    def __init__(self, items: MemoryQueue) -> None:
        self._shared = items
        self.outbox = _Outbox()

    def put(self, item: Any) -> None:
        """Put something at the end; in a transaction when that is committed. Raises `QueueFull`."""
        if self.outbox.items is None:
            self._shared.add([item])
        else:
            self.outbox.items.append(item)

    def take(self, default: Any = None) -> Any:
        """Take out the first; `default` where there is none. For good, also in a transaction that is rolled back."""
        return self._shared.first(default)

    def __len__(self) -> int:
        return len(self._shared.items)


class MemoryQueue:
    """Gives handles of one queue of this process; at most `max_items` are in it."""

    def __init__(self, *, max_items: int | None = None) -> None:
        self._max = max_items
        self._lock = threading.Lock()
        self.items: deque[Any] = deque()

    def add(self, items: Sequence[Any]) -> None:
        """Put all of them, or none. Raises `QueueFull`."""
        with self._lock:
            if self._max is not None and len(self.items) + len(items) > self._max:
                raise QueueFull(
                    f"the queue has {len(self.items)} items and may have {self._max}; {len(items)} do not fit"
                )
            self.items.extend(items)

    def first(self, default: Any) -> Any:
        """Take out the first."""
        with self._lock:
            return self.items.popleft() if self.items else default

    def open(self) -> None:
        pass

    def acquire(self) -> Queue:
        return Queue(self)

    def check(self, handle: Queue) -> bool:
        return True

    def release(self, handle: Queue) -> None:
        pass

    def close(self) -> None:
        pass

    def begin(self, handle: Queue) -> None:
        handle.outbox.begin()

    def commit(self, handle: Queue) -> None:
        self.add(handle.outbox.taken())

    def rollback(self, handle: Queue) -> None:
        handle.outbox.items = None

    def savepoint(self, handle: Queue) -> int:
        return handle.outbox.mark()

    def keep(self, handle: Queue, mark: int) -> None:
        pass

    def undo(self, handle: Queue, mark: int) -> None:
        handle.outbox.undo(mark)

    def pending(self, handle: Queue) -> bool:
        return handle.outbox.items is not None


class Publisher(Protocol):
    """What a broker must be able to do: `setpoint.namespace.Broker` can."""

    async def publish(self, messages: Sequence[Any]) -> int:
        """Append the messages, all or none; durable when it returns."""
        ...


class Topics:
    """The handle of a broker, in the hands of one run."""

    def __init__(self, broker: Publisher, message: Callable[..., Any]) -> None:
        self._broker, self._message = broker, message
        self.outbox = _Outbox()

    async def publish(self, topic: str, payload: Any, headers: Mapping[str, str] | None = None) -> None:
        """Publish one message, in a transaction when that is committed. What is not bytes or text is sent as JSON."""
        content = payload.encode() if isinstance(payload, str) else payload
        if not isinstance(content, bytes):
            content = msgspec.json.encode(content)
        message = self._message(topic=topic, payload=content, headers=dict(headers or {}))
        if self.outbox.items is None:
            await self._broker.publish([message])
        else:
            self.outbox.items.append(message)


class BrokerQueue:
    """Gives `Topics` handles of a broker that the program has opened and closes. `message` makes one of its messages.

    ``BrokerQueue(broker, setpoint.namespace.Message)``
    """

    def __init__(self, broker: Publisher, message: Callable[..., Any]) -> None:
        self._broker, self._message = broker, message

    async def open(self) -> None:
        pass

    async def acquire(self) -> Topics:
        return Topics(self._broker, self._message)

    async def check(self, handle: Topics) -> bool:
        return True

    async def release(self, handle: Topics) -> None:
        pass

    async def close(self) -> None:
        pass

    async def begin(self, handle: Topics) -> None:
        handle.outbox.begin()

    async def commit(self, handle: Topics) -> None:
        messages = handle.outbox.taken()
        if messages:
            await self._broker.publish(messages)

    async def rollback(self, handle: Topics) -> None:
        handle.outbox.items = None

    async def savepoint(self, handle: Topics) -> int:
        return handle.outbox.mark()

    async def keep(self, handle: Topics, mark: int) -> None:
        pass

    async def undo(self, handle: Topics, mark: int) -> None:
        handle.outbox.undo(mark)

    def pending(self, handle: Topics) -> bool:
        return handle.outbox.items is not None
