"""`opcua`: values of an OPC UA server, one message a value, by subscription or by polling.

Fields as documented for benthos-umh (`setpoint.flows.opcua` has those of the connection): `nodeIDs` are variables, or folders of which
all variables are meant. With `subscribeEnabled` the server tells each change; what it does not take into the subscription (it has limits)
is polled. Without, all are read every `pollRate` milliseconds. `useHeartbeat` adds the server's clock as a message of its own, and holds
that the connection is dead when it stands still for 10 s.

What can go wrong, and what then happens:

    a value with a bad status, or no number         counted with node and status, no message
    a node that the server does not have            counted at each `pollRate`; once it is there, the flow connects and browses anew
    the server stops, hangs or drops the session    what was received is delivered, then the input connects again and subscribes anew
    the flow is slower than the server              the server keeps `queueSize` values a node; what it then drops is counted

The protocol has no acknowledgement that waits for a flow: at most once across a lost connection. After it was made anew the server gives
the present value of each node once more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field

from setpoint.flows.component import ConnectError, Context, Meta, Msg, one_or_many
from setpoint.flows.opcua import LIBRARY, NodeText, OpcuaFields

if TYPE_CHECKING:
    from asyncua import ua

    from setpoint.flows.inputs.opcua_browse import Tag
    from setpoint.flows.opcua_session import Session

BATCH: Final = 1000
"""Messages given out at once, at most."""
HELD: Final = 10_000
"""Messages that wait for the flow before the server must wait."""
GOODBYE: Final = 1.0
"""Seconds that the end of polling may take."""
HEARTBEAT: Final = "i=2258"
"""The server's clock (OPC UA Part 5, 6.3.3)."""
HEARTBEAT_LIMIT: Final = 10.0
_OVERFLOW: Final = 0x480
"""Info type data value, overflow (OPC UA Part 4, 7.39)."""


class Opcua:
    """Reads one server."""

    class Fields(OpcuaFields):
        nodeIDs: Annotated[tuple[NodeText, ...], BeforeValidator(one_or_many), Field(min_length=1)]
        subscribeEnabled: bool = False
        pollRate: int = Field(default=1000, ge=10, le=86_400_000)
        samplingInterval: float = Field(default=0.0, ge=0, le=86_400_000, allow_inf_nan=False)
        queueSize: int = Field(default=10, ge=1, le=100_000)
        useHeartbeat: bool = False

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields, self._context = fields, context
        self._session: Session | None = None
        self._working: asyncio.Task[None] | None = None
        self._tags: Sequence[Tag] = ()
        self._held: deque[Msg] = deque()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._clock, self._beaten = "", 0.0

    async def connect(self) -> None:
        """Opens a session, finds the variables, and subscribes. Raises `ConnectError`."""
        try:
            from setpoint.flows.opcua_session import Session
        except ModuleNotFoundError as error:
            raise RuntimeError(LIBRARY) from error
        await self.close()
        self._beaten = self._context.now()
        self._session = Session(self._fields, ended=self._news.set, answered=self._context.answered)
        try:
            await self._session.connect()
            polled, missing = await self._prepare(self._session)
        except BaseException:
            await self.close()
            raise
        if polled or missing or self._fields.useHeartbeat:
            work = self._poll(self._session, polled, missing)
            self._working = asyncio.get_running_loop().create_task(work, name=f"poll {self._fields.endpoint}")
            self._working.add_done_callback(lambda _: self._news.set())

    async def _prepare(self, session: Session) -> tuple[list[int], list[ua.NodeId]]:
        """Finds the tags and subscribes to them; gives those to be polled by their numbers, and the nodes that are missing."""
        from setpoint.flows.inputs.opcua_browse import find

        fields = self._fields
        texts = (*fields.nodeIDs, HEARTBEAT) if fields.useHeartbeat else fields.nodeIDs
        self._tags, missing = await find(session, texts, self._context.failed)
        for tag in self._tags:
            if fields.useHeartbeat and tag.meta["opcua_node_id"] == HEARTBEAT:
                tag.meta["opcua_heartbeat_message"] = "true"
        if not self._tags and not missing:
            raise ConnectError(f"there are no variables in {', '.join(fields.nodeIDs)}")
        numbers = list(range(len(self._tags)))
        if not fields.subscribeEnabled or not self._tags:
            return numbers, missing
        statuses = await session.subscribe(
            [(tag.node, number) for number, tag in enumerate(self._tags)],
            sampling=fields.samplingInterval,
            queue=fields.queueSize,
            changed=self._changed,
        )
        refused = [number for number in numbers if not statuses[number].is_good()]
        for number in refused:
            node = self._tags[number].meta["opcua_node_id"]
            self._context.failed(f"{node} is polled: the subscription does not take it: {statuses[number].name}")
        return refused, missing

    # what comes in

    async def _changed(self, items: Sequence[ua.MonitoredItemNotification]) -> None:
        for item in items:
            if 0 <= item.ClientHandle < len(self._tags):
                self._take(self._tags[item.ClientHandle].meta, item.Value)
        await self._has_room()

    async def _has_room(self) -> None:
        """Waits until the flow has taken some of what is held, or the session is over."""
        while len(self._held) >= HELD and self._session is not None:
            self._room.clear()
            await self._room.wait()
            self._beaten = self._context.now()  # nothing was taken meanwhile, the heartbeat neither

    def _take(self, known: Meta, data: ua.DataValue) -> None:
        from setpoint.flows.opcua_values import plain, stamp

        status = data.StatusCode
        if status is not None and status.is_bad():
            self._context.failed(f"{known['opcua_node_id']}: {status.name}: {status.doc}")
            return
        try:
            value = plain(data.Value.Value if data.Value is not None else None)
        except ValueError as error:
            self._context.failed(f"{known['opcua_node_id']}: {error}")
            return
        if status is not None and status.value & _OVERFLOW == _OVERFLOW:
            self._context.failed(
                f"{known['opcua_node_id']}: the server dropped values; the flow is slower than its queueSize"
            )
        meta = dict(known)
        meta["opcua_tag_type"] = _KINDS.get(type(value), "string")
        meta["opcua_attr_statuscode"] = "Good" if status is None else status.name
        if data.SourceTimestamp is not None:
            meta["opcua_source_timestamp"] = stamp(data.SourceTimestamp)
        if data.ServerTimestamp is not None:
            meta["opcua_server_timestamp"] = stamp(data.ServerTimestamp)
        if "opcua_heartbeat_message" in meta and value != self._clock:
            self._clock, self._beaten = value, self._context.now()
        self._held.append(Msg(value, meta))
        self._news.set()

    # polling

    async def _poll(self, session: Session, polled: Sequence[int], missing: Sequence[ua.NodeId]) -> None:
        """Reads at each beat what is not subscribed to. Beats are spread, so that many inputs do not read all at once."""
        beat = self._fields.pollRate / 1000
        due = self._context.now() + beat * self._context.random()
        while self._session is session and not session.lost:  # a cancellation may be taken for a time-out further down
            await asyncio.sleep(max(due - self._context.now(), 0))
            due = max(due + beat, self._context.now())
            await self._read(session, [self._tags[number] for number in polled])
            await self._look_for(session, missing)
            self._check_heartbeat()
            await self._has_room()

    async def _read(self, session: Session, tags: Sequence[Tag]) -> None:
        from asyncua.ua.attribute_ids import AttributeIds

        found = await session.read([(tag.node, AttributeIds.Value) for tag in tags]) if tags else []
        for tag, data in zip(tags, found, strict=True):
            self._take(tag.meta, data)

    async def _look_for(self, session: Session, missing: Sequence[ua.NodeId]) -> None:
        """Raises `ConnectError` once one of the missing nodes is there, so that all is browsed anew."""
        from asyncua.ua.attribute_ids import AttributeIds

        found = await session.read([(node, AttributeIds.NodeClass) for node in missing]) if missing else []
        for node, data in zip(missing, found, strict=True):
            if data.StatusCode is None or data.StatusCode.is_good():
                raise ConnectError(f"{node.to_string()} is there now; connecting anew to browse it")
            self._context.failed(f"{node.to_string()}: {data.StatusCode.name}: {data.StatusCode.doc}")

    def _check_heartbeat(self) -> None:
        silent = self._context.now() - self._beaten
        if self._fields.useHeartbeat and silent > HEARTBEAT_LIMIT + self._fields.pollRate / 1000:
            raise ConnectError(f"the server's clock has stood still for {silent:.0f} s")

    # what goes on

    async def read(self) -> list[Msg]:
        """What has come; waits for the first. Raises `ConnectError` once the session is over and all of it was given out."""
        while not self._held:
            lost = self._session.lost if self._session is not None else "not connected"
            if lost:
                raise ConnectError(lost)
            if self._working is not None and self._working.done():
                self._working.result()  # says what ended it
            self._news.clear()
            await self._news.wait()
        batch = [self._held.popleft() for _ in range(min(BATCH, len(self._held)))]
        self._room.set()
        return batch

    async def acknowledge(self) -> None:
        """A server keeps nothing for us until then."""

    async def close(self) -> None:
        session, self._session = self._session, None
        working, self._working = self._working, None
        self._room.set()
        if working is not None:
            working.cancel()
            await asyncio.wait({working}, timeout=GOODBYE)
        if session is not None:
            await session.close()


_KINDS: Final[dict[type[Any], str]] = {int: "number", float: "number", bool: "bool"}
