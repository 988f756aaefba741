"""`drop`: takes everything and keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence

from setpoint.flows.component import Context, Msg, serialized
from setpoint.flows.component import Fields as ComponentFields


class Drop:
    """Counts bytes and forgets them. A payload that could not be written anywhere is set aside here as well."""

    class Fields(ComponentFields):
        pass

    def __init__(self, fields: Fields, context: Context) -> None:
        pass

    async def connect(self) -> None:
        pass

    def prepare(self, msg: Msg) -> bytes:
        return serialized(msg.payload)

    async def write(self, batch: Sequence[bytes]) -> int:
        return sum(map(len, batch))

    async def close(self) -> None:
        pass
