"""A session with an OPC UA server: connect, read, browse, subscribe, write, and find out at once when it is over.

asyncua has the protocol; what is ours is that everything ends. Each request has `TIMEOUT` seconds. While the session stands a watch asks
for the server's state every `WATCH` seconds, so that a server that hangs is found out within `WATCH` + `TIMEOUT` seconds, one that closes
the connection at once, and a subscription that fell silent after three of its keep-alives. Then `lost` says why, once and for all: a
session is not mended, the next one is made anew.

Requests are cut into pieces that the server says it takes (its OperationLimits), and that no server chokes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaStatusCodeError

from setpoint.flows.component import ConnectError
from setpoint.flows.opcua import OpcuaFields, fingerprint_kind
from setpoint.flows.opcua_certificate import kept
from setpoint.services.blocking import in_thread

if TYPE_CHECKING:
    from collections.abc import Coroutine

TIMEOUT: Final = 5.0
WATCH: Final = 3.0
OPENING: Final = 20.0
"""Seconds for everything up to the session."""
GOODBYE: Final = 1.0
PUBLISHING: Final = 0.1
"""Seconds between two publications of a subscription."""
KEEP_ALIVE: Final = 50
"""Publications without news after which the server says that there is none."""
LIFETIME: Final = 6000
"""Publications that nobody asked for after which the server gives a subscription up: ten minutes of a flow that waits."""
PIECE: Final = 500
"""Nodes in one request, at most."""
MAX_CONTINUATIONS: Final = 10_000
_LIMITS: Final = {"read": 11705, "write": 11707, "browse": 11710, "monitor": 11714}
"""The nodes of the server's OperationLimits (OPC UA Part 5, 6.3.11)."""
_STATE: Final = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_State))

_NAMESPACES: Final = ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray))

Got = TypeVar("Got")

logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # its troubles are in the flow's status


class Session:
    """One session, from `connect` to its end; not to be connected twice. `ended` is called once when it is lost, not when it is closed."""

    def __init__(self, fields: OpcuaFields, *, ended: Callable[[], None], answered: Callable[[str, int], None]) -> None:
        self._fields = fields
        self._where = "{}:{}".format(*fields.address)
        self._ended, self._answered = ended, answered
        self._client = _client(fields)
        self._services = self._client.uaclient.session
        self._loop = asyncio.get_running_loop()
        self._limits: dict[str, int] = {}
        self._heard: float | None = None
        self._silence = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._closed = False
        self.lost = ""
        """Why the session is no more; empty while it is."""

    # the connection

    async def connect(self) -> None:
        """Opens the session. Raises `ConnectError`."""
        try:
            async with asyncio.timeout(OPENING):
                await self._ask(self._open())
                self._limits = await self._operation_limits()
        except TimeoutError:
            await self.close()
            raise ConnectError(f"{self._where} did not open a session within {OPENING:g} s") from None
        except BaseException:
            await self.close()
            raise
        self._watching = self._loop.create_task(self._watch(), name=f"watch {self._where}")

    async def _open(self) -> None:
        client, fields = self._client, self._fields
        if fields.secure:
            await self._secure()
        await client.connect_socket()
        await client.send_hello()
        await client.open_secure_channel()
        await client.create_session()
        await client.activate_session(fields.username or None, fields.password or None)

    async def _secure(self) -> None:
        """Chooses the server's endpoint, looks at its certificate, and takes our own."""
        client, fields = self._client, self._fields
        mode = ua.MessageSecurityMode[fields.securityMode]
        policy = getattr(security_policies, f"SecurityPolicy{fields.policy}")
        try:
            own = await in_thread(lambda: kept(Path(fields.certificateFolder)))
        except (OSError, ValueError) as error:
            raise ConnectError(f"the certificate of this client: {error}") from error
        endpoints = await client.connect_and_get_server_endpoints()
        offered = [each for each in endpoints if (each.SecurityMode, each.SecurityPolicyUri) == (mode, policy.URI)]
        if not offered:
            raise ConnectError(f"{self._where} does not offer {fields.securityMode} with {fields.policy}")
        theirs = _first(offered[0].ServerCertificate or b"")
        self._pinned(theirs)
        client.application_uri = own.uri
        await client.set_security(
            policy,
            CertProperties(own.pem, "pem"),
            CertProperties(own.key, "pem"),
            server_certificate=CertProperties(theirs, "der"),
            mode=mode,
        )

    def _pinned(self, certificate: bytes) -> None:
        expected = self._fields.serverCertificateFingerprint
        if not expected:
            return
        kind = fingerprint_kind(expected)
        found = hashlib.new(kind, certificate).hexdigest()
        if found != expected:
            raise ConnectError(
                f"{self._where} shows a certificate with the {kind} {found}, not the one in serverCertificateFingerprint;"
                " if it was renewed, change that"
            )

    async def _operation_limits(self) -> dict[str, int]:
        nodes = [(ua.NodeId(ua.Int32(number)), AttributeIds.Value) for number in _LIMITS.values()]
        found = await self.read(nodes)
        given = [value.Value.Value if value.Value is not None else None for value in found]
        return {
            name: min(limit, PIECE)
            for name, limit in zip(_LIMITS, given, strict=True)
            if isinstance(limit, int) and limit
        }

    async def _ask(self, answer: Awaitable[Got]) -> Got:
        """The answer of the server. Raises `ConnectError` where there is none."""
        try:
            return await answer
        except ConnectError:
            raise
        except TimeoutError as error:
            raise ConnectError(f"{self._where} did not answer within {TIMEOUT:g} s") from error
        except UaStatusCodeError as error:
            status = ua.StatusCode(error.code)
            raise ConnectError(f"{self._where}: {status.name}: {status.doc}") from error
        except OSError as error:
            raise ConnectError(f"{self._where}: {error or type(error).__name__}") from error
        except Exception as error:  # whatever asyncua makes of an answer that is none
            raise ConnectError(f"{self._where}: {type(error).__name__}: {error}") from error

    def _pieces(self, service: str, items: Sequence[Got]) -> list[Sequence[Got]]:
        size = self._limits.get(service, PIECE)
        return [items[at : at + size] for at in range(0, len(items), size)]

    async def _call(self, answer: Coroutine[Any, Any, Got]) -> Got:
        got = await self._ask(answer)
        self._answered(*self._fields.address)
        return got

    # services

    async def node_ids(self, texts: Sequence[str]) -> list[ua.NodeId]:
        """The node ids, those with a namespace's name (nsu=) under its number on this server. Raises `ConnectError`."""
        named = any(text.startswith("nsu=") for text in texts)
        (value,) = await self.read([(_NAMESPACES, AttributeIds.Value)]) if named else (ua.DataValue(),)
        known = list(value.Value.Value or ()) if value.Value is not None else []
        made = []
        for text in texts:
            if text.startswith("nsu="):
                uri, _, rest = text.removeprefix("nsu=").partition(";")
                if uri not in known:
                    raise ConnectError(f"{self._where} has no namespace {uri!r}; it has {', '.join(map(str, known))}")
                text = f"ns={known.index(uri)};{rest}"
            made.append(ua.NodeId.from_string(text))
        return made

    async def read(self, wanted: Sequence[tuple[ua.NodeId, AttributeIds]]) -> list[ua.DataValue]:
        """These attributes. Raises `ConnectError`; what one of them lacks says its status."""
        found: list[ua.DataValue] = []
        for piece in self._pieces("read", wanted):
            parameters = ua.ReadParameters()
            parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            for node, attribute in piece:
                parameters.NodesToRead.append(ua.ReadValueId(NodeId=node, AttributeId=attribute))
            found += await self._call(self._services.read(parameters))
        return self._whole(found, len(wanted))

    async def write(self, values: Sequence[tuple[ua.NodeId, ua.Variant]]) -> list[ua.StatusCode]:
        """Writes the values, in order, without times of ours, and returns how each went. Raises `ConnectError`."""
        found: list[ua.StatusCode] = []
        for piece in self._pieces("write", values):
            parameters = ua.WriteParameters()
            for node, value in piece:
                data = ua.DataValue(value)
                item = ua.WriteValue(NodeId=node, AttributeId=AttributeIds.Value, Value=data)
                parameters.NodesToWrite.append(item)
            found += await self._call(self._services.write(parameters))
        return self._whole(found, len(values))

    async def browse(self, wanted: Sequence[ua.BrowseDescription]) -> list[tuple[ua.StatusCode, list[Any]]]:
        """The references of each, all of them, and how it went. Raises `ConnectError`."""
        found: list[tuple[ua.StatusCode, list[Any]]] = []
        for piece in self._pieces("browse", wanted):
            parameters = ua.BrowseParameters()
            parameters.View.Timestamp = ua.get_win_epoch()
            parameters.NodesToBrowse = list(piece)
            results = self._whole(await self._call(self._services.browse(parameters)), len(piece))
            found += [(result.StatusCode, await self._rest(result)) for result in results]
        return found

    async def _rest(self, result: ua.BrowseResult) -> list[Any]:
        references = list(result.References or ())
        for _ in range(MAX_CONTINUATIONS):
            if not result.ContinuationPoint:
                break
            parameters = ua.BrowseNextParameters()
            parameters.ContinuationPoints = [result.ContinuationPoint]
            (result,) = self._whole(await self._call(self._services.browse_next(parameters)), 1)
            references += result.References or ()
        return references

    def _whole(self, found: list[Got] | None, count: int) -> list[Got]:
        if found is None or len(found) != count:
            raise ConnectError(f"{self._where} gave {len(found or ())} results where {count} were asked for")
        return found

    async def subscribe(
        self,
        items: Sequence[tuple[ua.NodeId, int]],
        *,
        sampling: float,
        queue: int,
        changed: Callable[[Sequence[ua.MonitoredItemNotification]], Awaitable[None]],
    ) -> list[ua.StatusCode]:
        """Has the server tell changes of the values of nodes, each under its number; returns how that went for each.

        `sampling` is in milliseconds. `changed` is awaited: no more is asked of the server until it is done. Raises `ConnectError`.
        """
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=PUBLISHING * 1000,
            RequestedLifetimeCount=LIFETIME,
            RequestedMaxKeepAliveCount=KEEP_ALIVE,
            PublishingEnabled=True,
        )
        made = await self._call(self._services.create_subscription(parameters, self._published(changed)))
        self._silence = 3 * made.RevisedPublishingInterval / 1000 * max(made.RevisedMaxKeepAliveCount, 1) + TIMEOUT
        self._heard = self._loop.time()
        statuses: list[ua.StatusCode] = []
        for piece in self._pieces("monitor", items):
            request = ua.CreateMonitoredItemsParameters()
            request.SubscriptionId = made.SubscriptionId
            request.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.ItemsToCreate = [_item(node, number, sampling, queue) for node, number in piece]
            results = self._whole(await self._call(self._services.create_monitored_items(request)), len(piece))
            statuses += [result.StatusCode for result in results]
        return statuses

    def _published(
        self, changed: Callable[[Sequence[ua.MonitoredItemNotification]], Awaitable[None]]
    ) -> Callable[[ua.PublishResult], Awaitable[None]]:
        async def published(result: ua.PublishResult) -> None:
            self._heard = None  # what takes long now is not the server
            self._answered(*self._fields.address)
            try:
                for told in result.NotificationMessage.NotificationData or ():
                    if isinstance(told, ua.DataChangeNotification):
                        await changed(told.MonitoredItems)
                    elif isinstance(told, ua.StatusChangeNotification):
                        self._end(f"{self._where} ended the subscription: {told.Status.name}")
            except Exception as error:  # asyncua would only log it
                self._end(f"{self._where}: a notification cannot be read: {type(error).__name__}: {error}")
            self._heard = self._loop.time()

        return published

    # its end

    async def _watch(self) -> None:
        """Finds out that the session is over, and renews the keys of its channel in time (OPC UA Part 4, 5.5.2)."""
        client = self._client
        renewed = self._loop.time()
        async with client.subscribe_state() as states:
            while not (self.lost or self._closed):  # what is cancelled here may be taken for a time-out
                with contextlib.suppress(TimeoutError):
                    await states.next_change(WATCH)
                try:
                    if client.state is not UaClientState.CONNECTED:
                        raise ConnectError(f"{self._where}: the connection broke")
                    await self.read([(_STATE, AttributeIds.Value)])
                    if self._heard is not None and self._loop.time() - self._heard > self._silence:
                        raise ConnectError(f"{self._where}: the subscription fell silent")
                    if self._loop.time() - renewed > 0.75 * client.secure_channel_timeout / 1000:
                        await self._ask(self._renew())
                        renewed = self._loop.time()
                except ConnectError as error:
                    self._end(str(error))

    async def _renew(self) -> None:
        await self._client.open_secure_channel(renew=True)
        self._client.uaclient.revolve_security_token()

    def _end(self, why: str) -> None:
        if not self.lost and not self._closed:
            self.lost = why
            self._ended()

    async def close(self) -> None:
        """Ends the session. Idempotent, and done within about `GOODBYE` seconds."""
        self._closed = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching}, timeout=GOODBYE)
        services = self._client.uaclient
        if services.state is UaClientState.CONNECTED and not self.lost:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(GOODBYE):
                    await services.close_session(True)
                    await services.close_secure_channel()
        services.disconnect_socket()
        with contextlib.suppress(
            Exception
        ):  # without a socket it is only marked as closed, which ends asyncua's own tasks
            await services.close_session(True)


def _client(fields: OpcuaFields) -> Client:
    client = Client(fields.endpoint, timeout=TIMEOUT)
    client.name = client.description = "Setpoint"
    client.application_uri = client.product_uri = "urn:setpoint"
    client.session_timeout = fields.sessionTimeout
    return client


def _first(chain: bytes) -> bytes:
    """The first certificate of a chain in DER: a SEQUENCE whose length stands in its second to fourth byte."""
    return chain[: int.from_bytes(chain[2:4]) + 4]


def _item(node: ua.NodeId, number: int, sampling: float, queue: int) -> ua.MonitoredItemCreateRequest:
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor = ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value)
    item.MonitoringMode = ua.MonitoringMode.Reporting
    item.RequestedParameters = ua.MonitoringParameters(
        ClientHandle=number, SamplingInterval=sampling, QueueSize=queue, DiscardOldest=True
    )
    return item
