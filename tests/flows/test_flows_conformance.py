"""What every component promises, whatever it is: this suite takes any entry of the three tables with a configuration that works."""

import asyncio
from collections.abc import Awaitable
from inspect import isawaitable
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
from setpoint.flows.scope import CacheFields, LimitFields, LocalLimit, MemoryCache, Scope
from setpoint.namespace import Message
from setpoint.namespace.embedded import EmbeddedBroker

TAG = 'msg.meta.location_path = "acme"; msg.meta.data_contract = "_raw"; msg.meta.tag_name = "n"; return msg;'
SERIES = Msg({"timestamp_ms": 1, "value": 2.5}, {"umh_topic": "umh.v1.acme._raw.n"})

SERVED = {"mqtt", "opcua", "sparkplug_b", "kafka", "kafka_franz", "http_client", "http_server"}
"""Kinds that need a server to connect to: tests/real has one."""
SCOPE = Scope({"c": MemoryCache(CacheFields())}, {"r": LocalLimit(LimitFields())})
"""What the fields of a component may refer to."""
TEXTS = {kind: 'meta m = "1"' for kind in ("bloblang", "mapping", "mutation")}
"""Kinds that are configured by a text."""
EVERY = [
    *((INPUTS, kind) for kind in INPUTS),
    *((PROCESSORS, kind) for kind in PROCESSORS),
    *((OUTPUTS, kind) for kind in OUTPUTS),
]


def working(table: Any, kind: str, folder: Path, url: str = "tcp://127.0.0.1:1") -> dict[str, Any]:
    """A configuration that works, for each component that needs one."""
    fields: dict[str, dict[str, Any]] = {
        "modbus": {
            "controller": url,
            "unifiedAddresses": ["value.holding.0.FLOAT32"],
            **({"timeBetweenReads": "1ms"} if table is INPUTS else {}),
        },
        "opcua": {
            "endpoint": "opc.tcp://127.0.0.1:1",
            **(
                {"nodeIDs": ["i=85"]}
                if table is INPUTS
                else {"nodeMappings": [{"nodeId": "i=1", "valueFrom": "value", "dataType": "Double"}]}
            ),
        },
        "sparkplug_b": {"mqtt": {"urls": [url]}},
        "generate": {"mapping": "root = counter()", "interval": "1ms"},
        "file": {"paths": [str(folder / "in")]} if table is INPUTS else {"path": str(folder / "out")},
        "nodered_js": {"code": "return msg;"},
        "batch": {"count": 2},
        "dedupe": {"cache": "c", "key": "${! content() }"},
        "envelope": {"do": "seal"},
        "rate_limit": {"resource": "r"},
        "unarchive": {"format": "lines"},
        "machine": {"definition": {"name": "m", "states": {"a": {"on_complete": "b"}, "b": {"final": True}}}},
        "tag_processor": {"defaults": TAG},
        "stream_processor": {
            "output_topic": "umh.v1.acme",
            "model": {"name": "m", "version": "v1"},
            "sources": {"n": "acme._raw.n"},
            "mapping": {"twice": "n * 2", "once": "n"},
        },
        "kafka": {
            "addresses": ["127.0.0.1:1"],
            **({"topics": ["a"], "consumer_group": "g"} if table is INPUTS else {"topic": "a"}),
        },
        "kafka_franz": {
            "seed_brokers": ["127.0.0.1:1"],
            **({"topics": ["a"], "consumer_group": "g"} if table is INPUTS else {"topic": "a"}),
        },
        "http_client": {"url": "http://127.0.0.1:1/a"},
        **sql(folder),
        "mqtt": {"urls": [url], **({"topics": ["a/#"]} if table is INPUTS else {"topic": "a/b"})},
    }
    return fields.get(kind, {})


def sql(folder: Path) -> dict[str, dict[str, Any]]:
    """A SQLite file with a table of one row, made with the first connection."""
    place = {
        "driver": "sqlite",
        "dsn": str(folder / "sql.db"),
        "init_statement": "CREATE TABLE IF NOT EXISTS t (n); INSERT INTO t SELECT 1 WHERE (SELECT count(*) FROM t) < 1;",
    }
    return {
        "sql_select": {**place, "table": "t", "columns": ["n"], "interval": "1ms"},
        "sql_insert": {**place, "table": "t", "columns": ["n"], "args_mapping": "root = [ this.value ]"},
        "sql_raw": {**place, "query": "INSERT INTO t VALUES (?)", "args_mapping": "root = [ this.value ]"},
    }


async def until_done(out: Awaitable[Any]) -> Any:
    return await out


def made(table: Any, kind: str, fields: dict[str, Any], **more: Any) -> Any:
    given = TEXTS.get(kind, fields) if table is PROCESSORS else fields
    return table[kind].make(table[kind].fields.model_validate(given, context=SCOPE), context(**more))


@pytest.mark.parametrize(("table", "kind"), EVERY)
def test_its_fields_are_strict(table: Any, kind: str, tmp_path: Path) -> None:
    """A field nobody reads is refused."""
    with pytest.raises(ValidationError, match="nobody_reads_this"):
        table[kind].fields.model_validate({**working(table, kind, tmp_path), "nobody_reads_this": 1}, context=SCOPE)


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
    if isawaitable(out):
        out = asyncio.run(until_done(out))
    assert out is None or isinstance(out, Msg | Several)
    assert given == SERIES


@pytest.mark.parametrize("kind", [kind for kind in OUTPUTS if kind not in {"stdout", *SERVED}])
def test_an_output_writes_what_it_prepared_and_says_how_much(kind: str, tmp_path: Path) -> None:
    """Preparing neither writes nor changes the message; writing returns the bytes; after closing it can connect again."""

    async def scenario() -> None:
        async with Plc() as plc, EmbeddedBroker(tmp_path / "log") as broker:
            sink = made(OUTPUTS, kind, working(OUTPUTS, kind, tmp_path, plc.url), broker=broker)
            for _ in range(2):
                await sink.connect()
                given = Msg(dict(SERIES.payload), dict(SERIES.meta))
                ready = [sink.prepare(given), sink.prepare(given)]
                assert given == SERIES
                assert await sink.write(ready) >= 2 * len(b'{"timestamp_ms":1,"value":2.5}')
                await sink.close()

    run(scenario())
