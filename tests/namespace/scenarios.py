"""What the tests of the embedded broker have in common."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

TOPIC = "umh.v1.acme._raw.x"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Runs a scenario, which must not hang."""
    asyncio.run(asyncio.wait_for(scenario(), 20))


def message(number: int, size: int = 0) -> Message:
    return Message(TOPIC, b"%d" % number + os.urandom(size).hex().encode())


async def everything(broker: EmbeddedBroker, group: str = "reader") -> list[Message]:
    subscription, found = broker.subscribe(group), []
    while part := await subscription.read(timeout=0):
        found += part
    await subscription.close()
    return found
