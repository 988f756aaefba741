"""What runs a flow: the embedded engine, Benthos, or a chain of both (`setpoint.workers.flow.split`), seen as one.

Benthos comes first: it judges its part, and what it refuses leaves all that runs as it is. Then what is no longer a part ends, and the
parts in the agent are started, the last one first. What is sent to a part that is not there yet is sent again until it is. To stop, the
first part goes first, and the next when that is down: what was read is delivered.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from setpoint.control.worker import Context
from setpoint.flows import FlowEngine
from setpoint.services.benthos.flows import BenthosFlows, Link
from setpoint.workers.flow.benthos import Benthos
from setpoint.workers.flow.embedded import Embedded
from setpoint.workers.flow.seen import REJECTED, FlowObserved, FlowSpec
from setpoint.workers.flow.split import Cut, benthos_of, cut_of, front_of, rest_of

LISTENS_IN_S: Final = 5.0
INTO, OUT = "into", "out"
BEFORE, ON, BEHIND = "before Benthos", "on Benthos", "behind Benthos"
"""What parts are called in reasons."""


class Part(NamedTuple):
    """A part of a flow: where it is, what runs it, and what is wanted of it."""

    where: str
    runner: Embedded | Benthos
    spec: FlowSpec


class Parts:
    """All that runs one flow. `context` is that of its worker."""

    def __init__(self, engine: FlowEngine, flows: BenthosFlows | None, context: Context) -> None:
        self._engine, self._flows, self._context = engine, flows, context
        self._benthos = Benthos(flows, context) if flows is not None else None
        self._embedded: dict[str, Embedded] = {}
        self._cut: tuple[FlowSpec, Cut] | None = None
        self._seen: dict[str, FlowObserved] = {}
        self._looking = asyncio.Lock()

    async def look(self, desired: FlowSpec) -> FlowObserved:
        """Look at each part."""
        self._seen = {part.where: await self._look_at(part) for part in await self._parts(desired)}
        return as_one(self._seen)

    async def _look_at(self, part: Part) -> FlowObserved:
        """One look at a time: what Benthos answers is read from one connection."""
        async with self._looking:
            return await part.runner.look(part.spec)

    async def start(self, desired: FlowSpec) -> None:
        """Have all parts run as wanted. Idempotent. Raises why one cannot."""
        await self._claim(desired)
        parts = await self._parts(desired)
        for part in parts:
            if part.runner is self._benthos:
                await part.runner.start(part.spec)
        await self._end_others({id(part.runner) for part in parts})
        for part in reversed(parts):
            if part.runner is not self._benthos:
                if part.where == BEFORE and len(parts) > 1:
                    await self._listening(parts[1])
                await part.runner.start(part.spec)

    async def _listening(self, benthos: Part) -> None:
        """Wait for Benthos to take messages, so that the first ones do not fail; not for ever, since its reason is told anyhow."""
        until = asyncio.get_running_loop().time() + LISTENS_IN_S
        while not (await self._look_at(benthos)).input_connected:
            if asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(0.05)

    async def stop(self, desired: FlowSpec) -> None:
        """Have the first part that runs deliver what it read, and end; then the next. Idempotent: ask again until all are down."""
        parts = await self._parts(desired)
        for part in parts:
            await part.runner.stop()
            if part is not parts[-1] and (await self._look_at(part)).up:
                return
        wanted = {id(part.runner) for part in parts}
        for each in self._embedded.values():
            if id(each) not in wanted:
                await each.stop()

    async def close(self) -> None:
        """End all of it for good, in the order of its messages."""
        front = self._embedded.get(self._context.path) if self._cut and self._cut[1].front else None
        if front is not None:
            await front.close()
        await self._end_others(set())

    async def _end_others(self, wanted: set[int]) -> None:
        """End what is not wanted, or not any more: also what an agent left on Benthos that was killed before the config changed."""
        if self._benthos is not None and id(self._benthos) not in wanted:
            await self._benthos.close()
        for name, each in list(self._embedded.items()):
            if id(each) not in wanted:
                await each.close()
                del self._embedded[name]

    def _cut_of(self, desired: FlowSpec) -> Cut:
        if self._cut is None or (self._cut[0].engine, self._cut[0].config) != (desired.engine, desired.config):
            embedded = desired.engine == "embedded" or self._flows is None
            self._cut = desired, Cut(front=desired.config) if embedded else cut_of(desired.config, self._engine)
        return self._cut[1]

    async def _claim(self, desired: FlowSpec) -> None:
        """Have a port for each cut. One on which our own part listens is no other's."""
        cut = self._cut_of(desired)
        if self._flows is None or cut.benthos is None:
            return
        path = self._context.path
        if cut.front is not None:
            await self._flows.link(path, INTO, held=self._seen.get(ON, FlowObserved()).input_connected)
        if cut.rest is not None:
            await self._flows.link(path, OUT, held=self._seen.get(BEHIND, FlowObserved()).input_connected)

    async def _parts(self, desired: FlowSpec) -> list[Part]:
        """The parts as they are wanted, in the order of messages, with the ways between them where those are known."""
        cut, path = self._cut_of(desired), self._context.path
        into, out = Link(), Link()
        if self._flows is not None and not cut.whole:
            into, out = await self._flows.known_link(path, INTO), await self._flows.known_link(path, OUT)
        found = []
        if (front := front_of(cut, into)) is not None:
            found.append(Part(BEFORE, self._in_agent(path), _with(desired, front)))
        if self._benthos is not None and (middle := benthos_of(cut, into, out)) is not None:
            found.append(Part(ON, self._benthos, _with(desired, middle)))
        if (rest := rest_of(cut, out)) is not None:
            name = path if cut.front is None else f"{path}/rest"
            found.append(Part(BEHIND, self._in_agent(name), _with(desired, rest)))
        return found

    def _in_agent(self, name: str) -> Embedded:
        if name not in self._embedded:
            self._embedded[name] = Embedded(self._engine, self._context, name)
        return self._embedded[name]


def _with(desired: FlowSpec, config: object) -> FlowSpec:
    return desired if config is desired.config else desired.model_copy(update={"config": config})


def as_one(seen: dict[str, FlowObserved]) -> FlowObserved:
    """What is seen of a flow, from what is seen of its parts in their order, by where they are."""
    parts = list(seen.values())
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first
    linked = all(part.output_connected or part.finished for part in parts[:-1])
    linked = linked and all(part.input_connected for part in parts[1:])
    return FlowObserved(
        engine="split",
        up=all(part.up for part in parts),
        partly=any(part.up for part in parts),
        current=all(part.current for part in parts),
        finished=first.finished,
        uptime_s=min(part.uptime_s for part in parts),
        input_connected=first.input_connected,
        output_connected=last.output_connected and linked,
        moving=first.moving or last.moving,
        in_per_s=first.in_per_s,
        out_per_s=last.out_per_s,
        ended_after=first.ended_after,
        errors=_told({where: part.errors for where, part in seen.items()}),
        fault=next((part.fault for part in parts if part.fault.startswith(REJECTED)), "")
        or _told({where: part.fault for where, part in seen.items()}),
    )


def _told(by_place: dict[str, str]) -> str:
    return "; ".join(f"{where}: {text}" for where, text in by_place.items() if text)
