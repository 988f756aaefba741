"""The log of the namespace, for everybody who publishes and reads: one object that lasts, and behind it the log that the config asks for.

Which one that is, the broker's worker says when it opens it. When the config asks for another, the one before is closed, whoever waits on
it gets a `BrokerError`, and tries again on the new one. What was in the log before stays there; it is not copied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Literal

import msgspec

from setpoint.flows.tls import context
from setpoint.namespace import EmbeddedBroker
from setpoint.namespace.broker import EVERYTHING, Broker, BrokerError, BrokerStats, Message, Subscription, TopicInfo
from setpoint.namespace.kafka.broker import TOPIC, KafkaBroker
from setpoint.namespace.kafka.client import Access
from setpoint.places import BROKER, KAFKA_INDEX, REDPANDA
from setpoint.services.processes import ProcessError
from setpoint.workers.broker.spec import AdminFields, BrokerSpec, External, Managed, RegistryFields

if TYPE_CHECKING:
    from setpoint.services.redpanda import Admin, Readings, Schemas
    from setpoint.services.redpanda.cluster import Cluster
    from setpoint.services.redpanda.process import OpenBackend, RedpandaProcess
    from setpoint.services.redpanda.schemas import KeptSchemas, Wanted

Place = External | Managed | None
OPEN_WITHIN_S = 10.0
PUBLISH_WITHIN_S = 25.0


class Look(msgspec.Struct, frozen=True):
    """One look at the log: whether one is `open`, and is the one that is wanted (`current`); whether a process of ours `running`; what is
    wrong with the process or the opening (`fault`); what the broker and the cluster around it say, None where there is nobody to ask; why
    the schemas of the data contracts are not all registered (`schemas`); messages under contracts that nobody declared (`undeclared`)."""

    open: bool = False
    current: bool = True
    running: bool = False
    name: str = ""
    fault: str = ""
    stats: BrokerStats = BrokerStats()
    readings: Readings | None = None
    schemas: str = ""
    undeclared: Mapping[str, int] = {}


class _Opened:
    """One log that was asked for: the client, and what is around it. `ready` once the client is open."""

    def __init__(
        self, place: Place, broker: Broker, cluster: Cluster | None = None, schemas: KeptSchemas | None = None
    ) -> None:
        self.place, self.broker, self.cluster, self.schemas = place, broker, cluster, schemas
        self.ready = False

    @property
    def name(self) -> str:
        return "the built-in log" if self.place is None else str(self.place)


class NamespaceLog:
    """A `Broker` over the log that the worker opened last. `data` is the agent's data directory, `processes` opens its processes.

    A cluster has `open_timeout` seconds to answer before the opening fails; it is for the worker to try again.
    """

    def __init__(self, data: Path, *, processes: OpenBackend, open_timeout: float = OPEN_WITHIN_S) -> None:
        self._data, self._processes, self._open_timeout = data, processes, open_timeout
        self._embedded = EmbeddedBroker(data / BROKER)
        self._retention_ms = 604_800_000
        self._opened: _Opened | None = None
        self._process: RedpandaProcess | None = None
        self._why = ""
        self._turn = asyncio.Lock()
        self._opening: asyncio.Task[None] | None = None
        self._schemas: Wanted = dict
        self._owner = ""
        self.undeclared: Callable[[], Mapping[str, int]] = dict
        """Messages under contracts that nobody declared, by contract; for whoever looks."""
        self.changed: Callable[[], None] = lambda: None
        """Called when it may look different: the process ended, or runs."""

    def set_retention(self, *, retention_ms: int, retention_bytes: int) -> None:
        """How long the built-in log keeps messages, and what a topic of Kafka begins with when it is made."""
        self._embedded.set_retention(retention_ms=retention_ms, retention_bytes=retention_bytes)
        self._retention_ms = retention_ms

    def set_schemas(self, schemas: Wanted, *, owner: str) -> None:
        """The JSON Schemas that a schema registry shall have, by subject. `owner` says whose they are where others share the registry."""
        if (schemas, owner) == (self._schemas, self._owner):
            return
        self._schemas, self._owner = schemas, owner
        if self._opened is not None and self._opened.schemas is not None:
            self._opened.schemas.want(schemas)

    # opened, closed and looked at by its worker

    async def open(self, spec: BrokerSpec = BrokerSpec()) -> None:  # noqa: B008 - frozen
        """Have the log open that is wanted, and no other. Idempotent. Raises `BrokerError` with the reason why it is not."""
        async with self._turn:
            opening = self._opening = asyncio.get_running_loop().create_task(self._open(spec))
            try:
                await asyncio.wait({opening})
                if opening.cancelled():
                    raise BrokerError("it was closed before it was open")
                opening.result()
            except (BrokerError, ProcessError) as error:
                self._why = str(error)
                raise BrokerError(self._why) from error
            finally:
                opening.cancel()
                self._opening = None
            self._why = ""

    async def _open(self, spec: BrokerSpec) -> None:
        if self._opened is None or self._opened.place != spec.place:
            await self._end()
            self._opened = self._made(spec.place)
        opened = self._opened
        if isinstance(opened.place, Managed):
            self._process = self._process_of(opened.place)
            await self._process.start(self.changed)
        else:
            await self._leave_nothing_running()
        if opened.cluster is not None:
            opened.cluster.want(spec.settings)
            opened.cluster.begin()
        await opened.broker.open()
        if opened.schemas is not None:
            opened.schemas.begin()
        opened.ready = True

    def _made(self, place: Place) -> _Opened:
        if place is None:
            return _Opened(place, self._embedded)
        if isinstance(place, Managed):
            managed = self._process_of(place).managed
            admin = AdminFields(url=managed.admin_url)
            cluster = self._cluster(lambda: _admin(admin, None), registry=managed.registry_url)
            schemas = self._kept(lambda: _registry(RegistryFields(url=managed.registry_url), None))
            return _Opened(place, self._kafka(Access(servers=(managed.servers,)), TOPIC, cluster), cluster, schemas)
        around = None
        if place.admin is not None:
            asked = place.admin
            around = self._cluster(lambda: _admin(asked, place))
        kept: KeptSchemas | None = None
        if place.registry is not None:
            registry = place.registry
            kept = self._kept(lambda: _registry(registry, place, owner=self._owner))
        return _Opened(place, self._kafka(place.access(), place.topic, around), around, kept)

    def _kept(self, make: Callable[[], Schemas]) -> KeptSchemas:
        from setpoint.services.redpanda.schemas import KeptSchemas

        return KeptSchemas(make, self._schemas)

    def _cluster(self, make: Callable[[], Admin], registry: str = "") -> Cluster:
        from setpoint.services.redpanda.cluster import Cluster  # with what speaks HTTP, which most agents do not need

        return Cluster(make, registry=registry)

    def _kafka(self, access: Access, topic: str, cluster: Cluster | None) -> KafkaBroker:
        return KafkaBroker(
            access,
            topic=topic,
            index=self._data / KAFKA_INDEX,
            retention_ms=self._retention_ms,
            open_timeout=self._open_timeout,
            publish_timeout=PUBLISH_WITHIN_S,
            measure=cluster.disk if cluster is not None else None,
        )

    def _process_of(self, place: Managed) -> RedpandaProcess:
        """The process of the data directory, with these settings."""
        from setpoint.services.redpanda import managed as services
        from setpoint.services.redpanda.process import RedpandaProcess

        wanted = services.Managed(directory=self._data.absolute() / REDPANDA, **place.model_dump())
        if self._process is None:
            self._process = RedpandaProcess(wanted, open_backend=self._processes)
        self._process.managed = wanted
        return self._process

    async def _leave_nothing_running(self) -> None:
        """Remove the process of an earlier config, also one that another agent started on this directory."""
        if self._process is None and (self._data / REDPANDA).exists():
            self._process = self._process_of(Managed())
        if self._process is not None:
            await self._process.remove()

    async def close(self) -> None:
        """Write what is queued, let go of the log, and have a process of ours drained and ended, without waiting for that. Idempotent."""
        if self._opening is not None:
            self._opening.cancel()  # a cluster that does not answer must not hold up the end
        async with self._turn:
            await self._end()
            self._why = ""
            if self._process is not None:
                await self._process.stop()

    async def _end(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.broker.close()
            for around in (opened.cluster, opened.schemas):
                if around is not None:
                    await around.close()

    async def look(self, spec: BrokerSpec) -> Look:
        """How it is, compared with what is wanted. Answers at once, or within a second or so."""
        opened = self._opened
        running, fault = await self._look_at_process()
        if opened is None or not opened.ready:
            return Look(running=running, name=opened.name if opened else "", fault=fault or self._why)
        if opened.cluster is not None:
            opened.cluster.want(spec.settings)
        return Look(
            open=True,
            current=opened.place == spec.place,
            running=running,
            name=opened.name,
            fault=fault or self._why,
            stats=await opened.broker.stats(),
            readings=opened.cluster.readings if opened.cluster is not None else None,
            schemas=opened.schemas.fault if opened.schemas is not None else "",
            undeclared=self.undeclared(),
        )

    async def _look_at_process(self) -> tuple[bool, str]:
        if self._process is None:
            if not (self._data / REDPANDA).exists():
                return False, ""
            self._process = self._process_of(Managed())  # what an agent before this one left is looked at as well
        try:
            facts = await self._process.look()
        except (ProcessError, OSError) as error:
            return True, f"its process cannot be looked at: {error}"  # it may run
        return facts.up, facts.fault

    # a broker for everybody else

    def _behind(self) -> Broker:
        if self._opened is None or not self._opened.ready:
            raise BrokerError(f"the log of the namespace is not open{f': {self._why}' if self._why else ''}")
        return self._opened.broker

    async def publish(self, messages: Sequence[Message]) -> int:
        """See `Broker.publish`."""
        return await self._behind().publish(messages)

    def subscribe(
        self, group: str, topics: Sequence[str] = EVERYTHING, *, start: Literal["earliest", "latest"] = "earliest"
    ) -> Subscription:
        """See `Broker.subscribe`."""
        return self._behind().subscribe(group, topics, start=start)

    async def topics(self, contains: str = "") -> list[TopicInfo]:
        """See `Broker.topics`."""
        return await self._behind().topics(contains)

    async def stats(self) -> BrokerStats:
        """See `Broker.stats`; all zero, with the reason, while no log is open."""
        opened = self._opened
        return await opened.broker.stats() if opened is not None and opened.ready else BrokerStats(error=self._why)


def _admin(fields: AdminFields, cluster: External | None) -> Admin:
    """The client of an admin API. Blocks: it reads certificates. Raises `ConnectError` for those that cannot be read."""
    from setpoint.services.redpanda import Admin

    return Admin(fields.url, user=fields.user, password=fields.password, verify=_verify(fields.url, cluster))


def _registry(fields: RegistryFields, cluster: External | None, *, owner: str = "") -> Schemas:
    """The client of a schema registry. Blocks and raises as `_admin` does."""
    from setpoint.services.redpanda import Schemas

    verify = _verify(fields.url, cluster)
    return Schemas(fields.url, owner=owner, user=fields.user, password=fields.password, verify=verify)


def _verify(url: str, cluster: External | None) -> bool | SSLContext:
    return context(cluster.tls) if url.startswith("https") and cluster is not None else True
