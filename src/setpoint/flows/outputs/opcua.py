"""`opcua`: writes values to the nodes of an OPC UA server.

Fields as documented for benthos-umh (`setpoint.flows.opcua` has those of the connection): each of `nodeMappings` names a node (`nodeId`),
the field of the payload whose value goes there (`valueFrom`, dots lead into objects), and the type in which the server holds it
(`dataType`). Of a payload those fields are written that it has, in the order of the mappings; one that has none of them is set aside, and
so is one whose value is not of the type. A list is written as an array.

What the server says to a write is heeded: a node that it does not have, or does not let us write, or another type, sets the message aside
with the server's reason; what may pass (no communication with its device, no resources) is tried again. With `readBack` the value is read
again, and a message that the server did not keep is set aside with what it has instead.

A batch is taken when the server has taken all of it. What was written is not written again when the rest is tried again, unless the
answer was lost: at least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from setpoint.flows.component import (
    ConnectError,
    Context,
    Fields,
    MessageError,
    Msg,
    Rejected,
    WriteError,
    serialized,
    structured,
)
from setpoint.flows.opcua import LIBRARY, NodeText, OpcuaFields

if TYPE_CHECKING:
    from asyncua import ua

    from setpoint.flows.opcua_session import Session

DataType = Literal["Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String", "DateTime", "Guid", "ByteString", "LocalizedText"]  # fmt: skip # noqa: E501
_PASSING: Final = frozenset({
    "BadCommunicationError", "BadDeviceFailure", "BadInternalError", "BadNoCommunication", "BadNotConnected", "BadOutOfMemory",
    "BadOutOfService", "BadResourceUnavailable", "BadServerHalted", "BadShutdown", "BadTimeout", "BadTooManyOperations",
    "BadWaitingForInitialData",
})  # fmt: skip
"""Statuses that may pass (OPC UA Part 4, 7.39; Part 8, 6.3)."""
_MISSING: Final = object()


class NodeMapping(Fields):
    """One node, and where its value stands in the payload."""

    nodeId: NodeText
    valueFrom: str = Field(min_length=1)
    dataType: DataType


class Pending(msgspec.Struct):
    """A message as it will be written: the nodes by their numbers, with values that are still to be written, and its size."""

    changes: list[tuple[int, Any]]
    size: int


class Opcua:
    """Writes to one server."""

    class Fields(OpcuaFields):
        nodeMappings: Annotated[tuple[NodeMapping, ...], Field(min_length=1)]
        readBack: bool = False

    def __init__(self, fields: Fields, context: Context) -> None:
        self._fields, self._context = fields, context
        self._session: Session | None = None
        self._nodes: list[ua.NodeId] = []

    async def connect(self) -> None:
        try:
            from setpoint.flows.opcua_session import Session
        except ModuleNotFoundError as error:
            raise RuntimeError(LIBRARY) from error
        await self.close()
        session = Session(self._fields, ended=lambda: None, answered=self._context.answered)
        await session.connect()
        self._session = session
        self._nodes = await session.node_ids([mapping.nodeId for mapping in self._fields.nodeMappings])

    def prepare(self, msg: Msg) -> Pending:
        """The values that the payload has for nodes. Raises `MessageError`."""
        from setpoint.flows.opcua_values import variant

        payload, changes = structured(msg.payload), []
        for number, mapping in enumerate(self._fields.nodeMappings):
            value = _at(payload, mapping.valueFrom)
            if value is not _MISSING:
                try:
                    changes.append((number, variant(value, mapping.dataType)))
                except ValueError as error:
                    raise MessageError(f"{mapping.valueFrom}: {error}") from error
        if not changes:
            known = ", ".join(mapping.valueFrom for mapping in self._fields.nodeMappings)
            raise MessageError(f"the payload has none of {known}")
        return Pending(changes, len(serialized(msg.payload)))

    async def write(self, batch: Sequence[Pending]) -> int:
        """Writes what is not written yet. Raises `Rejected` with what the server will never take, after all else was written."""
        refused: dict[int, str] = {}
        for number, pending in enumerate(batch):
            session = self._session
            if session is None or session.lost:
                raise ConnectError(session.lost if session is not None else "not connected")
            reason = await self._write(session, pending) if pending.changes else ""
            if reason:
                refused[number] = reason
        if refused:
            raise Rejected(refused)
        return sum(pending.size for pending in batch)

    async def _write(self, session: Session, pending: Pending) -> str:
        """Writes one message; gives what speaks against it for good. Raises `WriteError` for what may pass."""
        changes = pending.changes
        statuses = await session.write([(self._nodes[number], value) for number, value in changes])
        bad = [(number, status) for (number, _), status in zip(changes, statuses, strict=True) if not status.is_good()]
        pending.changes = [change for change, status in zip(changes, statuses, strict=True) if not status.is_good()]
        for number, status in bad:
            if status.name in _PASSING:
                raise WriteError(f"{self._named(number)}: {status.name}: {status.doc}")
        if bad:
            number, status = bad[0]
            return f"{self._named(number)}: {status.name}: {status.doc}"
        return await self._differs(session, changes) if self._fields.readBack else ""

    async def _differs(self, session: Session, changes: Sequence[tuple[int, Any]]) -> str:
        """What the server has not kept of that, or nothing."""
        from asyncua.ua.attribute_ids import AttributeIds

        found = await session.read([(self._nodes[number], AttributeIds.Value) for number, _ in changes])
        for (number, value), data in zip(changes, found, strict=True):
            kept = data.Value.Value if data.Value is not None else None
            if kept != value.Value:
                return f"{self._named(number)}: {value.Value!r} was written, the server has {kept!r}"
        return ""

    def _named(self, number: int) -> str:
        mapping = self._fields.nodeMappings[number]
        return f"{mapping.valueFrom} ({mapping.nodeId})"

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _at(payload: Any, place: str) -> Any:
    """The value at that place of the payload, or `_MISSING`."""
    for key in place.split("."):
        if not isinstance(payload, dict) or key not in payload:
            return _MISSING
        payload = payload[key]
    return payload
