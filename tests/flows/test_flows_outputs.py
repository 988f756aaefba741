"""Outputs and the finite inputs: what is written is whole, what cannot be written is said, and nothing blocks the loop."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flows_plant import context, run

from setpoint.flows.component import ConnectError, MessageError, Msg, WriteError
from setpoint.flows.inputs import INPUTS
from setpoint.flows.outputs import OUTPUTS
from setpoint.flows.outputs import file as file_output
from setpoint.namespace import Message, decode
from setpoint.namespace.embedded import EmbeddedBroker
from setpoint.services import blocking


def made(table: Any, kind: str, fields: dict[str, Any], **more: Any) -> Any:
    return table[kind].make(table[kind].fields.model_validate(fields), context(**more))


def series(value: Any = 1.5, topic: str = "umh.v1.a._raw.x") -> Msg:
    return Msg({"timestamp_ms": 1000, "value": value}, {"umh_topic": topic, "unit": "bar"})


def test_the_namespace_output_publishes_topic_payload_and_headers(tmp_path: Path) -> None:
    """What a group then reads from the broker is what the message said, with who brought it."""

    async def scenario() -> list[Message]:
        async with EmbeddedBroker(tmp_path / "log") as broker:
            uns = made(OUTPUTS, "uns", {}, broker=broker, bridged_by="bridge-1")
            await uns.connect()
            order = Msg({"order": 7}, {"umh_topic": "umh.v1.a._order.new"})
            assert await uns.write([uns.prepare(series()), uns.prepare(order)]) > 20
            reader = broker.subscribe("g")
            found: list[Message] = await reader.read(timeout=2)
            await reader.close()
            return found

    first, second = run(scenario())
    assert first.topic == "umh.v1.a._raw.x"
    assert first.payload == b'{"timestamp_ms":1000,"value":1.5}'
    assert first.headers == {"umh_topic": "umh.v1.a._raw.x", "unit": "bar", "bridged_by": "bridge-1"}
    assert decode(second.payload) == {"order": 7}


@pytest.mark.parametrize(
    ("msg", "text"),
    [
        (Msg({"order": 1}, {}), "umh_topic is not set"),
        (series(topic="umh.v1.a.x"), "no contract"),
        (series(topic="umh.v1.a._raw.x y"), "not valid"),
        (series(value=None), "value must be"),
        (series(value=float("nan")), "finite"),
        (series(value=[1]), "value must be"),
        (Msg(23.5, {"umh_topic": "umh.v1.a._raw.x"}), "add a tag_processor"),
        (Msg(b"[1]", {"umh_topic": "umh.v1.a._raw.x"}), "not list"),
        (Msg({"blob": "x" * 1_100_000}, {"umh_topic": "umh.v1.a._raw.x"}), "1 MiB"),
        (Msg({"x": {1, 2, object()}}, {"umh_topic": "umh.v1.a._raw.x"}), "JSON"),
    ],
)
def test_what_does_not_fit_the_namespace_is_refused_with_the_reason(msg: Msg, text: str) -> None:
    """Topics and payloads are checked before anything is written."""
    with pytest.raises(MessageError, match=text):
        made(OUTPUTS, "uns", {}).prepare(msg)


def test_a_fixed_topic_and_a_topic_from_other_meta() -> None:
    """`umh_topic` is a topic, or names the meta that holds it."""
    assert made(OUTPUTS, "uns", {"umh_topic": "umh.v1.b._raw.y"}).prepare(series()).topic == "umh.v1.b._raw.y"
    other = made(OUTPUTS, "uns", {"umh_topic": "${! meta('place') }"})
    assert other.prepare(Msg({"a": 1}, {"place": "umh.v1.c._raw.z"})).topic == "umh.v1.c._raw.z"


def test_a_closed_broker_is_a_write_error(tmp_path: Path) -> None:
    """The batch was not taken: the engine will try again."""

    async def scenario() -> None:
        broker = EmbeddedBroker(tmp_path / "log")
        uns = made(OUTPUTS, "uns", {}, broker=broker)
        with pytest.raises(WriteError):
            await uns.write([uns.prepare(series())])

    run(scenario())


def test_the_file_output_appends_lines(tmp_path: Path) -> None:
    """JSON as JSON, texts as they are, raw bytes unchanged; folders are made; what was there stays."""
    path = tmp_path / "new" / "out.txt"

    async def scenario() -> None:
        for payloads in ([{"a": 1}, "text"], [b'{"a":  1.0}']):
            out = made(OUTPUTS, "file", {"path": str(path)})
            await out.connect()
            await out.write([out.prepare(Msg(payload, {})) for payload in payloads])
            await out.close()
            await out.close()

    run(scenario())
    assert path.read_text() == '{"a":1}\ntext\n{"a":  1.0}\n'


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that stops half way is undone, so that trying again gives the line once."""
    path, real, left = tmp_path / "out.txt", os.write, [3]

    def full(file: int, data: Any) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        wrote = real(file, bytes(data)[: left[0]])
        left[0] -= wrote
        return wrote

    async def scenario() -> None:
        out = made(OUTPUTS, "file", {"path": str(path)})
        await out.connect()
        monkeypatch.setattr(file_output.os, "write", full)
        with pytest.raises(WriteError, match="No space left"):
            await out.write([out.prepare(Msg("first", {}))])
        assert path.read_bytes() == b""
        left[0] = 1000
        await out.write([out.prepare(Msg("first", {}))])
        await out.close()

    run(scenario())
    assert path.read_text() == "first\n"


def test_a_file_that_cannot_be_opened_is_a_connect_error(tmp_path: Path) -> None:
    """A folder in place of the file is said with its path."""
    with pytest.raises(ConnectError, match="cannot be opened: Is a directory"):
        run(made(OUTPUTS, "file", {"path": str(tmp_path)}).connect())


def test_a_call_that_blocks_blocks_nothing_else() -> None:
    """The loop goes on, cancelling ends the waiting, and the program can end."""
    code = """
import asyncio, os, sys
from setpoint.services.blocking import in_thread
async def main():
    pipe, _ = os.pipe()
    waiting = asyncio.ensure_future(in_thread(lambda: os.read(pipe, 1)))
    await asyncio.sleep(0.05)
    waiting.cancel()
asyncio.run(main())
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=False)
    assert (done.stdout, done.returncode) == ("ended\n", 0)


def test_a_blocking_call_hands_back_its_answer_or_its_fault() -> None:
    """Exceptions cross over as they are."""

    def fails() -> None:
        raise KeyError("x")

    async def scenario() -> None:
        assert await blocking.in_thread(lambda: 42) == 42
        with pytest.raises(KeyError):
            await blocking.in_thread(fails)

    run(scenario())


def read_all(fields: dict[str, Any], faults: list[str]) -> list[Msg]:
    async def scenario() -> list[Msg]:
        source = made(INPUTS, "file", fields, failed=faults.append)
        await source.connect()
        found: list[Msg] = []
        while (batch := await source.read()) is not None:
            found += batch
            await source.acknowledge()
        await source.close()
        return found

    result: list[Msg] = run(scenario())
    return result


def test_the_file_input_reads_lines_of_all_its_files_in_order(tmp_path: Path) -> None:
    """Wildcards are sorted; line ends of both kinds go; a last line without one counts; the path is in the meta."""
    (tmp_path / "b.log").write_bytes(b"three\r\n\nfour")
    (tmp_path / "a.log").write_bytes(b"one\ntwo\n")
    found = read_all({"paths": [str(tmp_path / "*.log")]}, [])
    assert [msg.payload for msg in found] == [b"one", b"two", b"three", b"", b"four"]
    assert found[0].meta["path"] == str(tmp_path / "a.log")
    assert set(found[0].meta) == {"path", "mod_time", "mod_time_unix"}


def test_lines_across_chunks_and_lines_too_long(tmp_path: Path) -> None:
    """Lines are whole wherever chunks end; one that is too long is left out and counted, those around it are not."""
    lines = [b"x" * (n % 977) for n in range(1000)] + [b"y" * 200_000] + [b"z" * 65_536, b"end"]
    (tmp_path / "a").write_bytes(b"\n".join(lines))
    faults: list[str] = []
    found = [msg.payload for msg in read_all({"paths": [str(tmp_path / "a")]}, faults)]
    assert found == [line for line in lines if len(line) <= 65_536]
    assert faults == [f"{tmp_path / 'a'}: a line is longer than 65536 bytes and was left out; raise max_buffer_size"]


def test_files_are_deleted_only_after_all_their_lines_were_delivered(tmp_path: Path) -> None:
    """Reading to the end is not enough: the batch must be acknowledged."""
    path = tmp_path / "a"
    path.write_text("one\n")

    async def scenario() -> None:
        source = made(INPUTS, "file", {"paths": [str(path)], "delete_on_finish": True})
        await source.connect()
        while await source.read() is not None:
            pass
        assert path.exists()
        await source.acknowledge()
        assert not path.exists()

    run(scenario())


def test_a_file_that_is_not_there_is_a_connect_error(tmp_path: Path) -> None:
    """The path is named, and it may appear later."""
    with pytest.raises(ConnectError, match="nowhere"):
        run(made(INPUTS, "file", {"paths": [str(tmp_path / "nowhere")]}).connect())


ECHO = """
import asyncio
from setpoint.flows import FlowEngine
async def main():
    engine = FlowEngine()
    await engine.start("echo", {"input": {"stdin": {}}, "output": {"stdout": {}}})
    while engine.status("echo").running:
        await asyncio.sleep(0.005)
    status = engine.status("echo")
    assert status.finished and status.output_sent == 3, status
    await engine.close()
asyncio.run(main())
"""


@pytest.mark.parametrize("regular", [True, False])
def test_standard_input_to_standard_output(regular: bool, tmp_path: Path) -> None:
    """A flow from a pipe or a regular file to a pipe passes each line unchanged and ends with its input."""
    text = '{"a":  1.0}\nplain\n{"b": 2}'
    (tmp_path / "in").write_text(text)
    with (tmp_path / "in").open() as source:
        given: dict[str, Any] = {"stdin": source} if regular else {"input": text}
        done = subprocess.run(
            [sys.executable, "-c", ECHO], capture_output=True, text=True, timeout=20, check=False, **given
        )
    assert (done.stdout, done.stderr) == (text + "\n", "")


def test_one_flow_at_a_time_has_standard_input() -> None:
    """The second is refused, by name of the reason, until the first lets go."""

    async def scenario() -> None:
        first, second = made(INPUTS, "stdin", {}), made(INPUTS, "stdin", {})
        await first.connect()
        with pytest.raises(ConnectError, match="another flow"):
            await second.connect()
        await first.close()
        await second.connect()
        await second.close()

    run(scenario())
