"""What every component promises, whatever it is: this suite takes any entry of the three tables with a configuration that works."""

from pathlib import Path
from typing import Any

import pytest
from flows_plant import Plc, context, run
from pydantic import ValidationError

from setpoint.data import Several
from setpoint.flows.component import Msg
from setpoint.flows.inputs import INPUTS
from setpoint.flows.outputs import OUTPUTS
from setpoint.flows.processors import PROCESSORS
from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

TAG = 'msg.meta.location_path = "acme"; msg.meta.data_contract = "_raw"; msg.meta.tag_name = "n"; return msg;'
SERIES = Msg({"timestamp_ms": 1, "value": 2.5}, {"umh_topic": "umh.v1.acme._raw.n"})

SERVED = {"mqtt", "kafka", "kafka_franz"}
"""Kinds that need a server to connect to: tests/real has one."""
EVERY = [
    *((INPUTS, kind) for kind in INPUTS),
    *((PROCESSORS, kind) for kind in PROCESSORS),
    *((OUTPUTS, kind) for kind in OUTPUTS),
]


def working(table: Any, kind: str, folder: Path, url: str = "tcp://127.0.0.1:1") -> dict[str, Any]:
    """A configuration that works, for each component that needs one."""
    fields: dict[str, dict[str, Any]] = {
        "modbus": {"controller": url, "unifiedAddresses": ["a.holding.0.INT16"], "timeBetweenReads": "1ms"},
        "generate": {"mapping": "root = counter()", "interval": "1ms"},
        "file": {"paths": [str(folder / "in")]} if table is INPUTS else {"path": str(folder / "out")},
        "nodered_js": {"code": "return msg;"},
        "tag_processor": {"defaults": TAG},
        "kafka": {
            "addresses": ["127.0.0.1:1"],
            **({"topics": ["a"], "consumer_group": "g"} if table is INPUTS else {"topic": "a"}),
        },
        "kafka_franz": {
            "seed_brokers": ["127.0.0.1:1"],
            **({"topics": ["a"], "consumer_group": "g"} if table is INPUTS else {"topic": "a"}),
        },
        "mqtt": {"urls": [url], **({"topics": ["a/#"]} if table is INPUTS else {"topic": "a/b"})},
    }
    return fields.get(kind, {})


def made(table: Any, kind: str, fields: dict[str, Any], **more: Any) -> Any:
    return table[kind].make(table[kind].fields.model_validate(fields), context(**more))


@pytest.mark.parametrize(("table", "kind"), EVERY)
def test_its_fields_are_strict(table: Any, kind: str, tmp_path: Path) -> None:
    """A field nobody reads is refused."""
    with pytest.raises(ValidationError, match="nobody_reads_this"):
        table[kind].fields.model_validate({**working(table, kind, tmp_path), "nobody_reads_this": 1})


@pytest.mark.parametrize(("table", "kind"), [entry for entry in EVERY if entry[0] is not PROCESSORS])
def test_making_it_opens_nothing_and_it_can_be_closed_at_any_time(table: Any, kind: str, tmp_path: Path) -> None:
    """Before it was connected, and twice."""

    async def scenario() -> None:
        component = made(table, kind, working(table, kind, tmp_path))
        await component.close()
        await component.close()

    run(scenario())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [kind for kind in INPUTS if kind not in {"stdin", *SERVED}])
def test_an_input_reads_and_can_connect_again(kind: str, tmp_path: Path) -> None:
    """Batches are lists of messages with texts as meta; after closing, connecting goes on with what was not read yet."""
    (tmp_path / "in").write_text("x" * 1000 + "\n" + "y" * 70_000 + "\nz\n")

    async def scenario() -> None:
        async with Plc() as plc, EmbeddedBroker(tmp_path / "broker.sqlite") as broker:
            fields = working(INPUTS, kind, tmp_path, plc.url)
            if kind == "file":
                fields["scanner"] = {"lines": {"max_buffer_size": 100_000}}
            source = made(INPUTS, kind, fields, broker=broker)
            found = []
            for _ in range(2):
                await broker.publish([Message("umh.v1.acme._raw.x", b'{"timestamp_ms":1,"value":1}')])
                await source.connect()
                batch = await source.read()
                assert all(
                    isinstance(msg, Msg) and all(isinstance(text, str) for text in msg.meta.values()) for msg in batch
                )
                found += [msg.payload for msg in batch]
                await source.acknowledge()
                await source.close()
            assert len(found) == {"file": 3}.get(kind, 2)

    run(scenario())


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_processor_gives_messages_and_leaves_its_input_alone(kind: str, tmp_path: Path) -> None:
    """One message, several or none; the message it was given is as before, since a failed one is still to be shown."""
    processor = made(PROCESSORS, kind, working(PROCESSORS, kind, tmp_path))
    given = Msg(dict(SERIES.payload), dict(SERIES.meta))
    out = processor(given)
    assert out is None or isinstance(out, Msg | Several)
    assert given == SERIES


@pytest.mark.parametrize("kind", [kind for kind in OUTPUTS if kind not in {"stdout", *SERVED}])
def test_an_output_writes_what_it_prepared_and_says_how_much(kind: str, tmp_path: Path) -> None:
    """Preparing neither writes nor changes the message; writing returns the bytes; after closing it can connect again."""

    async def scenario() -> None:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            sink = made(OUTPUTS, kind, working(OUTPUTS, kind, tmp_path), broker=broker)
            for _ in range(2):
                await sink.connect()
                given = Msg(dict(SERIES.payload), dict(SERIES.meta))
                ready = [sink.prepare(given), sink.prepare(given)]
                assert given == SERIES
                assert await sink.write(ready) >= 2 * len(b'{"timestamp_ms":1,"value":2.5}')
                await sink.close()

    run(scenario())
