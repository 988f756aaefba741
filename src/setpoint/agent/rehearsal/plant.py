"""The plant: a model of what is outside of an agent. Devices answer or do not, flows carry messages, the broker is open or not.

The workers that run over it are the real ones, and so are their machines; only what they look at and act on is modelled. The models are
simple and say so: a flow connects as soon as its device and its broker are there and carries one message a second; a device answers at
once or never; a broker that fails closes. Time is that of the running loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from setpoint.flows import FlowConfigError, FlowEngine, FlowStatus
from setpoint.namespace import BrokerError, BrokerStats
from setpoint.namespace.browser import Browser, Limits, Status
from setpoint.services import Contacts, HostFigures, Resolver
from setpoint.workers.broker import BrokerSpec, Look
from setpoint.workers.connection import Connection, ConnectionObserved, ConnectionSpec
from setpoint.workers.flow import Flow, FlowSpec
from setpoint.workers.historian import Historian, HistorianObserved, HistorianSpec

Address = tuple[str, int]
AT_EASE = HostFigures(20.0, 2.0, 0.0, 30.0, 1 << 30, 4 << 30, 40.0, 20 << 30, 50 << 30, "a host at ease")
MESSAGES_PER_S = 1.0
BYTES_A_MESSAGE = 200
STARTS_IN_S = 0.05
STOPS_IN_S = 0.2


def _now() -> float:
    return asyncio.get_running_loop().time()


class Plant:
    """What there is outside, and what is wrong with it now. Counters, because several faults may befall one thing at a time."""

    def __init__(self) -> None:
        self.down: Counter[Address] = Counter()
        self.crashed: Counter[str] = Counter()
        self.broker_fails = 0
        self.host = AT_EASE
        self.host_is_full = 0
        self.broker = ModelBroker(self)
        self.browser = ModelBrowser(self)

    def answers(self, address: Address) -> bool:
        return not self.down[address]

    def befall(self, counts: Counter[Any], thing: Any) -> Callable[[], None]:
        """Something is wrong with a thing; returns what ends it."""
        counts[thing] += 1

        def heal() -> None:
            counts[thing] -= 1

        return heal


class ModelBroker:
    """The part of a broker that its worker uses: whichever log the config asks for, it opens at once."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.is_open = False
        self.changed: Callable[[], None] = lambda: None
        self._carried = 0

    def carried(self, messages: int) -> None:
        """Flows have written messages."""
        self._carried += messages

    @property
    def carried_so_far(self) -> int:
        return self._carried

    async def open(self, spec: BrokerSpec) -> None:
        if self._plant.broker_fails:
            raise BrokerError("the log cannot be opened: the rehearsal has it fail")
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def look(self, spec: BrokerSpec) -> Look:
        if not self.is_open:
            return Look(fault="the log cannot be opened: the rehearsal has it fail" if self._plant.broker_fails else "")
        return Look(open=True, name="a model of a log", stats=self._stats())

    def _stats(self) -> BrokerStats:
        if self._plant.broker_fails:
            return BrokerStats(error="the log cannot be written: the rehearsal has it fail")
        size = self._carried * BYTES_A_MESSAGE
        return BrokerStats(
            ready=self.is_open,
            bytes_in=size,
            messages_in=self._carried,
            last_offset=self._carried - 1,
            size_bytes=size,
            disk_free_bytes=50,
            disk_total_bytes=100,
        )


class ModelBrowser(Browser):
    """The reader of the topic browser: it takes in at once what flows have written."""

    def __init__(self, plant: Plant) -> None:
        broker: Any = plant.broker  # nothing is ever read from it
        super().__init__(broker)
        self._plant = plant
        self.limits: Limits | None = None
        """Those it runs within; None while it does not run."""

    async def begin(self, limits: Limits) -> None:
        self.limits = limits

    async def end(self) -> None:
        self.limits = None

    def status(self) -> Status:
        if self.limits is None:
            return Status()
        there = self._plant.broker.is_open
        fault = "" if there else "the log of the namespace is not open"
        carried = self._plant.broker.carried_so_far
        return Status(True, there, there, fault, messages=carried, limits=self.limits)


@dataclass
class ModelFlow:
    """One flow that the engine was asked to run."""

    config: Mapping[str, Any]
    bridged_by: str
    device: Address | None
    to_broker: bool
    status: FlowStatus
    read_at: float
    owed: float = 0.0  # parts of a message


class ModelEngine(FlowEngine):
    """The engine of flows, with models of flows in it. Those that take Benthos have a model like the others."""

    def __init__(self, plant: Plant) -> None:
        broker: Any = plant.broker  # to compile against; nothing is ever read from it or written to it
        super().__init__(broker)
        self._plant = plant
        self._models: dict[str, ModelFlow] = {}

    def begin(self, name: str, config: Mapping[str, Any], *, bridged_by: str = "") -> None:
        """A flow runs from now on."""
        device = None
        try:
            kinds = self.compile(config).config
        except FlowConfigError:  # the check of the file has found that Benthos runs it, or a part of it
            to_broker = any("uns" in (config.get(end) or ()) for end in ("input", "output"))
        else:
            fields: Any = kinds.input.fields
            device = fields.endpoint if kinds.input.kind == "modbus" else None
            to_broker = "uns" in (kinds.input.kind, kinds.output.kind)
        status = FlowStatus(running=True, started_at=_now())
        self._models[name] = ModelFlow(config, bridged_by, device, to_broker, status, _now())

    async def start(self, name: str, config: Mapping[str, Any], *, bridged_by: str = "") -> None:
        await asyncio.sleep(STARTS_IN_S)
        there = self._models.get(name)
        if there and there.status.running and there.config == config and there.bridged_by == bridged_by:
            return
        self.begin(name, config, bridged_by=bridged_by)

    async def stop(self, name: str, *, timeout: float = 5.0) -> None:
        if name in self._models:
            await asyncio.sleep(STOPS_IN_S)
            self._models.pop(name, None)

    def status(self, name: str) -> FlowStatus | None:
        model = self._models.get(name)
        if model is None:
            return None
        now = _now()
        if self._plant.crashed[name]:
            model.status = FlowStatus(started_at=model.status.started_at, last_error="the rehearsal has it crash")
        elif model.status.running:
            self._run(model, now)
        model.read_at = now
        return model.status

    def _run(self, model: ModelFlow, now: float) -> None:
        """What the flow has done since it was looked at last."""
        reached = model.device is None or self._plant.answers(model.device)
        broker = self._plant.broker.is_open and not self._plant.broker_fails
        written = broker or not model.to_broker
        if not reached:
            trouble = f"input: no answer from {model.device[0]}:{model.device[1]}" if model.device else ""
        else:
            trouble = "" if written else "output: the broker does not take messages"
        moved = 0
        if reached and written:
            model.owed += (now - model.read_at) * MESSAGES_PER_S
            moved, model.owed = int(model.owed), model.owed % 1.0
            if model.to_broker:
                self._plant.broker.carried(moved)
        model.status = msgspec.structs.replace(
            model.status,
            input_connected=reached,
            output_connected=written,
            input_received=model.status.input_received + moved,
            output_sent=model.status.output_sent + moved,
            last_error=trouble,
        )


class RehearsedConnection(Connection):
    "Watches the way to a device of the model."

    machine_name = Connection.machine.name
    __doc__ = Connection.__doc__

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        super().__init__(Contacts(), Resolver())  # neither is ever asked

    async def collect_observed_state(self, desired: ConnectionSpec) -> ConnectionObserved:
        if desired.desired_state == "stopped":
            self._reachable = None
            return ConnectionObserved()
        up = self._plant.answers((desired.target, desired.port))
        changes = self._count_changes(up, desired.flaky_window_s)
        where = f"{desired.target}:{desired.port}"
        detail = (
            f"{where} accepts connections" if up else f"no answer from {where} within {desired.probe_timeout_s:g} s"
        )
        return ConnectionObserved("open" if up else "filtered", detail, 1.0 if up else None, changes)


class RehearsedFlow(Flow):
    "Keeps one data flow of the model running."

    machine_name = Flow.machine.name
    __doc__ = Flow.__doc__

    def derive_desired_state(self, spec: FlowSpec) -> FlowSpec:
        """All of it in the model, whichever engine would run it: the check of the file has asked them."""
        return spec.model_copy(update={"engine": "embedded"})


class RehearsedHistorian(Historian):
    "Writes the model's namespace to a database that takes everything; no database is touched."

    machine_name = Historian.machine.name

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._at_work: HistorianSpec | None = None

    async def collect_observed_state(self, desired: HistorianSpec) -> HistorianObserved:
        running = self._at_work is not None
        return HistorianObserved(
            running=running,
            current=self._at_work == desired,
            connected=running,
            database=str(desired.place()),
            namespace_fault="" if self._plant.broker.is_open else "the log of the namespace is not open",
        )

    async def begin(self, desired: HistorianSpec) -> None:
        self._at_work = desired

    async def end(self, desired: HistorianSpec) -> None:
        self._at_work = None

    async def close(self) -> None:
        self._at_work = None


class ModelHost:
    """The figures of a host: as it was found, or full."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    async def read(self) -> HostFigures:
        return self.latest()

    def latest(self) -> HostFigures:
        found = self._plant.host
        return msgspec.structs.replace(found, cpu_percent=97.0) if self._plant.host_is_full else found
