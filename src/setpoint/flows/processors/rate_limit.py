"""`rate_limit`: lets no more messages pass than a rate limit of the flow allows; the others wait, and with them all that is behind them.

    rate_limit_resources: [{label: slow, local: {count: 10, interval: 1s}}]
    …
    - rate_limit: {resource: slow}

Fields as documented for Benthos. Processors with the same `resource` share it. Nothing is lost: the flow reads no further meanwhile.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator, ValidationInfo

from setpoint.flows.component import Context, Msg
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.scope import LocalLimit, named, scope_of


def _limit(label: object, info: ValidationInfo) -> LocalLimit:
    return named(scope_of(info).limits, label, "rate limit")


class RateLimit:
    """Waits for its turn."""

    class Fields(ComponentFields):
        resource: Annotated[Any, PlainValidator(_limit)]

    def __init__(self, fields: Fields, context: Context) -> None:
        self._limit: LocalLimit = fields.resource
        self._now = context.now

    async def __call__(self, msg: Msg) -> Msg:
        """The message, when there is a place for it."""
        await self._limit.pass_(self._now)
        return msg
