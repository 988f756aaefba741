"""How the records of a chunk are carried: each by itself, or, by a plan whose strategy is `stream_optimized`, state by state.

State by state means that all records of the chunk that stand before the same state pass it one after the other before any of them goes
on: what a state needs (a connection, a model, code in the processor's cache) is needed for all of them in a row. Each record's result is
that of carrying it alone. Where the definition has transactions by batch, a chunk is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from setpoint.data.batch import arun_batch, atransaction, transaction
from setpoint.data.definition import Strategy
from setpoint.data.result import Result

if TYPE_CHECKING:
    from setpoint.data.plan import Plan


def carry(plan: Plan, records: Sequence[Any]) -> list[Result]:
    """The results of the records, in order, by a plan without async functions."""
    with transaction(plan) as carried:
        if plan.definition.strategy is Strategy.STREAM_OPTIMIZED:
            return carried.run_chunk(records)
        return list(map(carried.run, records))


async def acarry(plan: Plan, records: Sequence[Any], *, concurrency: int) -> list[Result]:
    """The results of the records, in order: by a plan with async functions, at most `concurrency` at once (or state by state)."""
    if plan.definition.strategy is not Strategy.STREAM_OPTIMIZED:
        return await arun_batch(plan, records, concurrency=concurrency)
    async with atransaction(plan) as carried:
        return await carried.arun_chunk(records)
