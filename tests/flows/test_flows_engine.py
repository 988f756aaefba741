"""The engine: many flows in one loop, each started, watched, replaced and stopped by itself, none able to harm another."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from flows_plant import Plc, run, until

from setpoint.flows import FlowConfigError, FlowEngine, FlowStatus
from setpoint.flows.component import ConnectError, Fields, Kind, Msg, WriteError
from setpoint.flows.inputs import INPUTS
from setpoint.flows.outputs import OUTPUTS
from setpoint.flows.processors import PROCESSORS
from setpoint.namespace import BrokerError, Message, decode
from setpoint.namespace.embedded import EmbeddedBroker

TAG = 'msg.meta.location_path = "acme";\nmsg.meta.data_contract = "_raw";\nmsg.meta.tag_name = "n";\nreturn msg;'


def flow(mapping: str = "root = counter()", *processors: Any, output: Any = None, **generate: Any) -> dict[str, Any]:
    """A flow of generated messages; by default one every 2 ms, dropped at the end."""
    return {
        "input": {"generate": {"mapping": mapping, "interval": "2ms", **generate}},
        "pipeline": {"processors": list(processors)},
        "output": output or {"drop": {}},
    }


@asynccontextmanager
async def engine(*given: Any, **more: Any) -> AsyncIterator[FlowEngine]:
    made = FlowEngine(*given, **more)
    try:
        yield made
    finally:
        await made.close(timeout=1)


def status(of: FlowEngine, name: str = "f") -> FlowStatus:
    found = of.status(name)
    assert found is not None
    return found


class Bare:
    """A component of a third party in its shortest form: both an input and an output, whose behaviour a test supplies."""

    class Fields(Fields):
        pass

    def __init__(self, fields: Fields, context: Any) -> None:
        self.written: list[Any] = []
        self.acknowledged = 0

    async def connect(self) -> None:
        pass

    async def read(self) -> list[Msg] | None:
        return [Msg(1, {})]

    async def acknowledge(self) -> None:
        self.acknowledged += 1

    def prepare(self, msg: Msg) -> Any:
        return msg.payload

    async def write(self, batch: Sequence[Any]) -> int:
        self.written += batch
        return len(batch)

    async def close(self) -> None:
        pass


class Slow(Bare):
    """An output that takes its time."""

    async def write(self, batch: Sequence[Any]) -> int:
        await asyncio.sleep(0.05)
        return await super().write(batch)


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Adds a component under a name of its own, for one test, and hands out what was made of it."""

    def add(table: dict[str, Any], kind: str, component: Any) -> list[Any]:
        made: list[Any] = []

        def make(fields: Any, context: Any) -> Any:
            made.append(component(fields, context))
            return made[-1]

        monkeypatch.setitem(table, kind, Kind(Bare.Fields, make))
        return made

    return add


def test_a_plc_is_read_into_the_namespace(tmp_path: Path) -> None:
    """The whole way: registers, JavaScript, downsampling, the broker, and a reader of it; each step is counted."""

    async def scenario() -> None:
        device = Plc()
        device.put(0, "f", 21.5)
        async with device as plc, EmbeddedBroker(tmp_path / "log") as broker, engine(broker) as flows:
            defaults = TAG.replace('"n"', "msg.meta.modbus_tag_name")
            config = {
                "input": {
                    "modbus": {
                        "controller": plc.url,
                        "timeBetweenReads": "5ms",
                        "unifiedAddresses": ["temp.holding.0.FLOAT32"],
                    }
                },
                "pipeline": {"processors": [{"tag_processor": {"defaults": defaults}}, {"downsampler": {}}]},
                "output": {"uns": {}},
            }
            await flows.start("f", config, bridged_by="bridge-7")
            await until(lambda: status(flows).output_sent >= 3)
            now = status(flows)
            assert (now.running, now.input_connected, now.output_connected, now.input_connection_up) == (
                True,
                True,
                True,
                1,
            )
            assert now.input_received >= now.output_sent
            assert (now.processor_errors, now.output_errors, now.dropped, now.last_error) == (0, 0, 0, "")
            reader = broker.subscribe("g")
            message = (await reader.read(timeout=2))[0]
            assert (message.topic, message.headers["bridged_by"]) == ("umh.v1.acme._raw.temp", "bridge-7")
            assert decode(message.payload).value == 21.5  # type: ignore[union-attr]
            await reader.close()

    run(scenario())


def test_the_device_goes_and_comes_back() -> None:
    """A lost connection is told at once, shown, and taken up again without anybody's doing."""

    async def scenario() -> None:
        async with Plc() as plc, engine() as flows:
            news: list[FlowStatus] = []
            flows.watch("f", news.append)
            modbus = {
                "controller": plc.url,
                "timeBetweenReads": "5ms",
                "timeout": "200ms",
                "unifiedAddresses": ["a.holding.0.INT16"],
            }
            await flows.start("f", {"input": {"modbus": modbus}, "output": {"drop": {}}})
            await until(lambda: status(flows).output_sent)
            await plc.stop()
            await until(lambda: news and not news[-1].input_connected and news[-1].input_connection_lost == 1)
            assert "modbus" in status(flows).last_error
            await until(lambda: status(flows).input_connection_failed)
            before = status(flows).output_sent
            await plc.start()
            await until(lambda: status(flows).output_sent > before)
            assert (status(flows).input_connection_up, status(flows).input_connected) == (2, True)

    run(scenario())


def test_a_flow_ends_with_its_input_and_everything_is_delivered(tmp_path: Path) -> None:
    """A file is read to its end into another file; the flow is finished, not failed, and a further start changes nothing."""
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(f"{n}\n" for n in range(5000)))

    async def scenario() -> None:
        async with engine() as flows:
            config = {"input": {"file": {"paths": [str(source)]}}, "output": {"file": {"path": str(sink)}}}
            await flows.start("f", config)
            await until(lambda: not status(flows).running)
            ended = status(flows)
            assert (ended.finished, ended.input_received, ended.output_sent, ended.output_bytes) == (
                True,
                5000,
                5000,
                23890,
            )
            await flows.start("f", config)
            assert status(flows) is ended
            await flows.stop("f")
            assert flows.status("f") is None
            await flows.start("f", config)
            await until(lambda: status(flows).finished)

    run(scenario())
    assert sink.read_text() == source.read_text() * 2


def test_start_and_stop_are_idempotent() -> None:
    """The same again changes nothing; another configuration replaces; stopping what is not there is fine."""

    async def scenario() -> None:
        async with engine() as flows:
            config = flow()
            await flows.start("f", config)
            first = status(flows).started_at
            await flows.start("f", flow())
            assert status(flows).started_at == first
            config["input"]["generate"]["interval"] = "1h"
            await flows.start("f", config)
            await until(lambda: status(flows).output_sent == 1)
            assert status(flows).started_at > first
            await flows.start("f", config, bridged_by="other")
            assert status(flows).output_sent == 0
            assert flows.names() == ("f",)
            await flows.stop("f")
            await flows.stop("f")
            await flows.stop("never")
            assert flows.names() == ()

    run(scenario())


def test_a_replaced_flow_is_drained_and_gone_before_the_new_one_starts(third_party: Any) -> None:
    """The old output has all that was read and gets nothing more."""
    made = third_party(OUTPUTS, "slow", Slow)

    async def scenario() -> None:
        async with engine() as flows:
            await flows.start("f", flow(output={"slow": {}}))
            await until(lambda: status(flows).input_received == 2)
            await flows.start("f", flow("root = 1", output={"slow": {}}))
            assert made[0].written == [1, 2]
            await until(lambda: len(made[1].written) == 2)
            assert made[0].written == [1, 2]

    run(scenario())


def test_a_bad_configuration_leaves_the_running_flow_alone() -> None:
    """The error is raised before anything is touched."""

    async def scenario() -> None:
        async with engine() as flows:
            await flows.start("f", flow())
            with pytest.raises(FlowConfigError):
                await flows.start("f", {"input": {"generate": {}}})
            assert status(flows).running

    run(scenario())


def test_stopping_while_the_input_waits_takes_no_time() -> None:
    """A hundred flows that wait an hour for their next message stop at once."""

    async def scenario() -> None:
        async with engine() as flows:
            for n in range(100):
                await flows.start(f"f{n}", flow(interval="1h"))
            await until(lambda: all(status(flows, f"f{n}").output_sent for n in range(100)))
            async with asyncio.timeout(1):
                await flows.close()

    run(scenario())


def test_stopping_delivers_the_batch_in_hand(third_party: Any) -> None:
    """A write under way when the flow is told to stop is not cut short: all that was read is written, once."""
    made = third_party(OUTPUTS, "slow", Slow)

    async def scenario() -> None:
        async with engine() as flows:
            await flows.start("f", flow(output={"slow": {}}, batch_size=3))
            await until(lambda: status(flows).input_received == 6)
            await flows.stop("f")
            assert made[0].written == [1, 2, 3, 4, 5, 6]

    run(scenario())


def test_stopping_while_the_device_cannot_be_reached_takes_no_time() -> None:
    """Waiting for the next attempt to connect is waiting as well."""

    async def scenario() -> None:
        async with engine() as flows:
            modbus = {"controller": "tcp://127.0.0.1:1", "unifiedAddresses": ["a.holding.0.INT16"]}
            await flows.start("f", {"input": {"modbus": modbus}, "output": {"drop": {}}})
            await until(lambda: status(flows).input_connection_failed)
            assert "127.0.0.1:1 cannot be reached" in status(flows).last_error
            async with asyncio.timeout(0.5):
                await flows.stop("f")

    run(scenario())


def test_stopping_delivers_what_processors_hold_back(third_party: Any) -> None:
    """Points that the downsampler holds come out before the flow ends."""
    made = third_party(OUTPUTS, "slow", Slow)

    async def scenario() -> None:
        async with engine() as flows:
            mapping = 'root = {"timestamp_ms": counter(), "value": counter()}\nmeta umh_topic = "umh.v1.a._raw.x"'
            thin = {"downsampler": {"default": {"swinging_door": {"threshold": 0.5}}}}
            await flows.start("f", flow(mapping, thin, output={"slow": {}}))
            await until(lambda: status(flows).input_received >= 5)
            last: list[FlowStatus] = []
            flows.watch("f", last.append)
            await flows.stop("f")
            assert [value["value"] for value in made[0].written] == [1, last[-1].input_received]
            assert not last[-1].running
            assert last[-1].output_sent == 2

    run(scenario())


def test_an_output_that_fails_keeps_the_batch_and_the_input_waits(tmp_path: Path) -> None:
    """Nothing is lost, doubled or reordered over a broker that comes and goes; memory holds one batch; other flows go on."""

    class ComesAndGoes(EmbeddedBroker):
        calls = 0

        async def publish(self, messages: Sequence[Message]) -> int:
            self.calls += 1
            if 3 <= self.calls <= 5:
                raise BrokerError("the disk is full")
            return await super().publish(messages)

    async def scenario() -> None:
        async with ComesAndGoes(tmp_path / "log") as broker, engine(broker) as flows:
            await flows.start(
                "f", flow("root = counter()", {"tag_processor": {"defaults": TAG}}, output={"uns": {}}, count=20)
            )
            await flows.start("other", flow())
            await until(lambda: status(flows).output_errors == 2)
            stuck, other = status(flows), status(flows, "other").output_sent
            assert (stuck.input_received, stuck.output_sent, stuck.running) == (3, 2, True)
            assert stuck.last_error == "output uns: the disk is full"
            await until(lambda: status(flows).finished)
            assert status(flows, "other").output_sent > other
            reader = broker.subscribe("g")
            messages: list[Message] = []
            while len(messages) < 20:
                messages += await reader.read(timeout=2)
            assert [decode(message.payload).value for message in messages] == list(range(1, 21))  # type: ignore[union-attr]
            await reader.close()

    run(scenario())


def test_a_batch_is_acknowledged_only_after_the_output_took_it(third_party: Any) -> None:
    """As long as writing fails the input hears nothing; then exactly once."""

    class Closed(Bare):
        attempts = connects = 0

        async def connect(self) -> None:
            self.connects += 1

        async def write(self, batch: Sequence[Any]) -> int:
            self.attempts += 1
            if self.attempts < 3:
                raise WriteError("not yet") if self.attempts == 1 else ConnectError("gone")
            return await super().write(batch)

    class Once(Bare):
        reads = 0

        async def read(self) -> list[Msg] | None:
            self.reads += 1
            assert self.acknowledged == self.reads - 1
            return [Msg(self.reads, {})] if self.reads < 3 else None

    sinks, sources = third_party(OUTPUTS, "closed", Closed), third_party(INPUTS, "once", Once)

    async def scenario() -> None:
        async with engine() as flows:
            await flows.start("f", {"input": {"once": {}}, "output": {"closed": {}}})
            await until(lambda: sinks and sinks[0].attempts == 1)
            assert sources[0].acknowledged == 0
            await until(lambda: status(flows).finished)
            assert (sources[0].acknowledged, sinks[0].written) == (2, [1, 2])
            assert sinks[0].connects == 2

    run(scenario())


def test_a_message_that_fails_does_not_stop_the_flow() -> None:
    """Faults of a processor are counted with the reason; drops are counted apart; the rest is delivered, in order."""

    async def scenario() -> None:
        async with engine() as flows:
            code = "if (msg.payload % 3 === 0) throw new Error('three'); if (msg.payload % 5 === 0) return null; return msg;"
            await flows.start(
                "f", flow("root = counter()", {"label": "pick", "nodered_js": {"code": code}}, count=30, interval="0s")
            )
            await until(lambda: status(flows).finished)
            now = status(flows)
            assert (now.input_received, now.processor_errors, now.dropped, now.output_sent) == (30, 10, 4, 16)
            assert now.last_error == "processor pick: code: Error: three"
            assert now.last_error_at is not None

    run(scenario())


def test_what_the_namespace_cannot_take_is_set_aside(tmp_path: Path) -> None:
    """Counted with its reason and never written; the good ones beside it are."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker, engine(broker) as flows:
            code = "return {payload: {n: msg.payload}, meta: {umh_topic: msg.payload % 2 ? 'umh.v1.a._raw.x' : 'nonsense'}};"
            await flows.start(
                "f",
                flow("root = counter()", {"nodered_js": {"code": code}}, output={"uns": {}}, count=10, batch_size=10),
            )
            await until(lambda: status(flows).finished)
            now = status(flows)
            assert (now.output_sent, now.output_set_aside, now.output_errors, now.processor_errors) == (5, 5, 5, 0)
            assert now.last_error.startswith("output uns: set aside: topic 'nonsense'")
            assert (await broker.stats()).last_offset == 4

    run(scenario())


@pytest.mark.parametrize("where", ["connect", "read", "acknowledge", "write", "close"])
def test_a_component_that_crashes_ends_its_flow_alone(where: str, third_party: Any) -> None:
    """The reason is in the status, the loop and the other flows go on, and starting again makes a new attempt."""

    class Crashes(Bare):
        async def close(self) -> None:
            raise RuntimeError("close")

    async def crash(*anything: Any) -> Any:
        raise ZeroDivisionError("oh no")

    setattr(Crashes, where, crash)
    made = third_party(INPUTS if where in ("read", "acknowledge") else OUTPUTS, "crashes", Crashes)

    async def scenario() -> None:
        async with engine() as flows:
            config = flow(count=1) | (
                {"input": {"crashes": {}}} if where in ("read", "acknowledge") else {"output": {"crashes": {}}}
            )
            await flows.start("other", flow())
            await flows.start("f", config)
            await until(lambda: not status(flows).running)
            ended = status(flows)
            if where == "close":
                assert ended.finished
                return
            assert (ended.finished, ended.last_error) == (False, "flow ended: ZeroDivisionError: oh no")
            assert ended.ended_at is not None
            await flows.start("f", config)
            await until(lambda: len(made) == 2 and not status(flows).running)
            assert status(flows, "other").running

    run(scenario())


def test_a_component_that_hangs_does_not_hang_the_stop(third_party: Any) -> None:
    """Neither a write that never returns nor one that refuses to be cancelled keeps `stop` waiting."""

    class Hangs(Bare):
        async def write(self, batch: Sequence[Any]) -> int:
            while len(self.written) < 3:
                self.written.append("tried")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue
            return 0

    made = third_party(OUTPUTS, "hangs", Hangs)

    async def scenario() -> None:
        async with engine() as flows:
            await flows.start("f", flow(output={"hangs": {}}))
            await until(lambda: made and made[0].written)
            news: list[FlowStatus] = []
            flows.watch("f", news.append)
            async with asyncio.timeout(3):
                await flows.stop("f", timeout=0.05)
            assert flows.status("f") is None
            assert (news[-1].running, news[-1].last_error) == (
                False,
                "stopped before all that was read could be delivered",
            )
            made[0].written += ["let go", "let go"]
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                if task.get_name() == "flow f":
                    task.cancel()

    run(scenario())


def test_a_script_that_loops_leaves_room_for_the_others() -> None:
    """While one flow's script always runs into its limit, another still gets its turns."""

    async def scenario() -> None:
        async with engine() as flows:
            await flows.start(
                "bad", flow("root = 1", {"nodered_js": {"code": "while (true) {}", "timeout": "20ms"}}, batch_size=100)
            )
            await flows.start("f", flow(interval="10ms"))
            await until(
                lambda: status(flows).output_sent >= 10 and status(flows, "bad").processor_errors >= 3, timeout=8
            )
            assert "more than 20 ms of CPU time" in status(flows, "bad").last_error

    run(scenario())


def test_watchers_hear_what_matters_and_not_each_message() -> None:
    """Start, connections, the first message, the end: a handful of calls for hundreds of messages; a watcher that fails harms nobody."""

    async def scenario() -> None:
        async with engine() as flows:
            heard: list[FlowStatus] = []

            def broken(now: FlowStatus) -> None:
                raise RuntimeError("watcher")

            unwatch_broken = flows.watch("f", broken)
            unwatch = flows.watch("f", heard.append)
            await flows.start("f", flow(count=500, interval="0s"))
            await until(lambda: heard and heard[-1].finished)
            assert heard[0].running
            assert any(now.input_connected for now in heard)
            assert len(heard) < 10
            unwatch()
            unwatch()
            unwatch_broken()
            count = len(heard)
            await flows.stop("f")
            assert len(heard) == count

            flows.watch("f", heard.append)
            await flows.start("f", flow("root = 1", {"nodered_js": {"code": "throw 1;"}}, count=500, interval="0s"))
            await until(lambda: heard[-1].processor_errors == 500)
            assert len(heard) - count < 30

            await flows.start("f", flow("root = 1", {"nodered_js": {"code": "throw 1;"}}, interval="5ms"))
            await until(lambda: heard[-1].running and heard[-1].processor_errors >= 10)

    run(scenario())


def test_an_asynchronous_processor_is_awaited(third_party: Any) -> None:
    """A third party's processor may wait; messages keep their order."""

    class Waits:
        def __init__(self, fields: Any, context: Any) -> None:
            pass

        async def __call__(self, msg: Msg) -> Any:
            await asyncio.sleep(0.001 if msg.payload % 2 else 0)
            return Msg(msg.payload * 10, msg.meta)

    third_party(PROCESSORS, "waits", Waits)
    sinks = third_party(OUTPUTS, "list", Bare)

    async def scenario() -> None:
        async with engine() as flows:
            await flows.start("f", flow("root = counter()", {"waits": {}}, output={"list": {}}, count=6, batch_size=6))
            await until(lambda: status(flows).finished)
            assert sinks[0].written == [10, 20, 30, 40, 50, 60]

    run(scenario())


def test_one_more_flow_costs_little_memory() -> None:
    """Three hundred flows with a tag processor take well under half a megabyte each."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def scenario() -> None:
        async with engine() as flows:
            processors = [{"tag_processor": {"defaults": TAG}}, {"downsampler": {}}]
            await flows.start("first", flow("root = 1", *processors))
            before = resident()
            for n in range(300):
                await flows.start(f"f{n}", flow("root = 1", *processors, interval="1h"))
            await until(lambda: all(status(flows, f"f{n}").output_sent for n in range(300)))
            assert (resident() - before) / 300 < 100_000

    run(scenario())
