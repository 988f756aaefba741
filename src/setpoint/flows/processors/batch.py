"""`batch`: joins messages into one, whose payload is the list of theirs.

    - batch: {count: 100, period: 1s, byte_size: 1000000}

The message is made when `count` messages are there, when their payloads are `byte_size` bytes together, or `period` after the first of them
came, whichever is first; what is left when the flow ends is one as well. It has the meta of its first message. Nothing that was read is
acknowledged while a message is held, so a crash loses none. In Benthos `batching` of an input or output and the processor `archive` with
`format: json_array` do this in two steps; `unarchive` takes such a list apart again, here as there.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from setpoint.data import Several
from setpoint.flows.component import Context, Duration, Msg, serialized, structured
from setpoint.flows.component import Fields as ComponentFields


class Batch:
    """Holds messages until they are enough."""

    class Fields(ComponentFields):
        count: int = Field(default=0, ge=0)
        period: Duration = Field(default=0.0, ge=0)
        byte_size: int = Field(default=0, ge=0)

        @model_validator(mode="after")
        def _ends(self) -> Self:
            if not (self.count or self.byte_size):
                raise ValueError("a batch needs a count or a byte_size that ends it, whatever else it has")
            return self

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields = fields
        self._now = context.now
        self._held: list[Msg] = []
        self._bytes = 0
        self._began = 0.0

    @property
    def held(self) -> int:
        """How many messages wait for others."""
        return len(self._held)

    def __call__(self, msg: Msg) -> Any:
        """The batch that this message completes, or nothing yet."""
        if self._fields.byte_size:
            self._bytes += len(serialized(msg.payload))
        if not self._held:
            self._began = self._now()
        self._held.append(msg)
        full = len(self._held) == self._fields.count or 0 < self._fields.byte_size <= self._bytes
        return self._joined() if full else Several()

    def due(self) -> float | None:
        """When the messages that are held are to go on, in time of `Context.now`."""
        return self._began + self._fields.period if self._held and self._fields.period else None

    def release(self) -> list[Msg]:
        """The batch whose time has come."""
        due = self.due()
        return [self._joined()] if due is not None and due <= self._now() else []

    def flush(self) -> list[Msg]:
        """What is left when the flow ends."""
        return [self._joined()] if self._held else []

    def _joined(self) -> Msg:
        held, self._held, self._bytes = self._held, [], 0
        return Msg([structured(msg.payload) for msg in held], dict(held[0].meta))
