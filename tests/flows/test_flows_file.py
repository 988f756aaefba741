"""The `file` input and output: how files are cut into messages, when they go, and what the output does about files that change under it."""

import asyncio
import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest
from flows_plant import context, run
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from setpoint.flows.component import ConnectError, Msg
from setpoint.flows.inputs import INPUTS
from setpoint.flows.inputs.scanner import Scanner
from setpoint.flows.outputs import OUTPUTS


def made(table: Any, fields: dict[str, Any], **more: Any) -> Any:
    return table["file"].make(table["file"].fields.model_validate(fields), context(**more))


def cut(scanner: dict[str, Any], text: bytes, *, size: int = 1 << 20) -> tuple[list[Any], list[str]]:
    """The payloads of a text that comes in pieces, and what was left out."""
    faults: list[str] = []
    cutter = Scanner.model_validate(scanner).start(faults.append)
    found = [payload for at in range(0, len(text), size) for payload in cutter.feed(text[at : at + size])]
    return found + cutter.end(), faults


CELLS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=8), st.integers(1, 50))
def test_rows_are_read_as_they_were_written(rows: list[list[str]], size: int) -> None:
    """Whatever is in their cells and wherever pieces end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    found, faults = cut({"csv": None}, text.getvalue().encode(), size=size)
    assert found == [{"a": first, "b": second} for first, second in rows]
    assert faults == []


def test_what_is_no_row_is_left_out_and_told() -> None:
    """Rows that are short or badly quoted; the others are read. Without a header a row is a list."""
    found, faults = cut({"csv": {}}, b'a,b\n1,2\n3\n"x"y,4\n\xff,1\n5,6\n"7,8')
    assert found == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}]
    assert [fault.partition(":")[0] for fault in faults] == [
        "a row has 1 cells, the header 2; it was left out",
        "a row of CSV cannot be read and was left out",
        "a row of CSV cannot be read and was left out",
        "it ends inside a quoted cell; the row was left out",
    ]
    bare = {"csv": {"parse_header_row": False, "custom_delimiter": ";", "max_buffer_size": 10}}
    found, faults = cut(bare, b'1;2\n"34567\n89012"\n3;4\n')
    assert found == [["1", "2"], ["3", "4"]]
    assert faults == ["a row is longer than 10 bytes and was left out"]


def test_a_file_can_be_one_message() -> None:
    """Up to a size; an empty one is none."""
    assert cut({"to_the_end": {}}, b"a\nb", size=1) == ([b"a\nb"], [])
    assert cut({"to_the_end": {}}, b"") == ([], [])
    limited = {"to_the_end": {"max_buffer_size": 3}}
    assert cut(limited, b"abcd", size=2) == ([], ["4 bytes are more than 3 and were left out; raise max_buffer_size"])


def test_a_scanner_is_one_of_three() -> None:
    """None is `lines`; two, or an unknown one, are a fault."""
    assert cut({}, b"a\nb") == ([b"a", b"b"], [])
    with pytest.raises(ValidationError, match="one of lines, csv and to_the_end"):
        Scanner.model_validate({"lines": {}, "csv": {}})
    with pytest.raises(ValidationError, match="chunker"):
        Scanner.model_validate({"chunker": {}})


def test_each_file_begins_anew(tmp_path: Path) -> None:
    """With a header of its own; the scanner keeps nothing of the file before; folders that match a wildcard are passed over."""
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.csv").write_text("y\n2")
    (tmp_path / "c.csv").mkdir()

    async def scenario() -> None:
        source = made(INPUTS, {"paths": [str(tmp_path / "*.csv")], "scanner": {"csv": {}}})
        await source.connect()
        found: list[Msg] = []
        while (batch := await source.read()) is not None:
            assert batch
            found += batch
        assert [(Path(msg.meta["path"]).name, msg.payload) for msg in found] == [
            ("a.csv", {"x": "1"}),
            ("b.csv", {"y": "2"}),
        ]
        with pytest.raises(ConnectError, match=r"\*\.none is not there"):
            await made(INPUTS, {"paths": [str(tmp_path / "*.none")]}).connect()

    run(scenario())


def test_a_file_goes_with_the_batch_that_ended_it(tmp_path: Path) -> None:
    """Batches are acknowledged from the oldest on while others are out; a file whose last batch is still out stays."""
    for name in "abc":
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "d").touch()

    async def scenario() -> None:
        source = made(INPUTS, {"paths": [str(tmp_path / name) for name in "abcd"], "delete_on_finish": True})
        await source.connect()
        batches = []
        while (batch := await source.read()) is not None:
            batches.append(batch)
        assert len(batches) == 3
        left = []
        for _ in batches:
            await source.acknowledge()
            left.append("".join(sorted(os.listdir(tmp_path))))
        assert left == ["abcd", "bcd", ""]  # a is known to end when b is read

    run(scenario())


def test_a_file_that_cannot_be_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow goes on."""
    (tmp_path / "a").write_text("1\n")
    faults: list[str] = []

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    async def scenario() -> None:
        source = made(INPUTS, {"paths": [str(tmp_path / "a")], "delete_on_finish": True}, failed=faults.append)
        await source.connect()
        await source.read()
        assert await source.read() is None
        monkeypatch.setattr(os, "unlink", refuse)
        await source.acknowledge()
        assert faults == [f"{tmp_path / 'a'} cannot be deleted, and would be read again: Permission denied"]

    run(scenario())


def test_a_read_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    """At whatever moment, and closed and connected again in between."""
    path = tmp_path / "a"
    path.write_text("".join(f"{n:06}\n" for n in range(100_000)))

    async def scenario() -> None:
        source = made(INPUTS, {"paths": [str(path)]})
        await source.connect()
        found: list[Msg] = []
        for turn in range(100_000):
            reading = asyncio.ensure_future(source.read())
            for _ in range(turn % 4):
                await asyncio.sleep(0)
            if turn % 3 == 0:
                reading.cancel()
            await asyncio.wait({reading})
            if reading.cancelled():
                if turn % 2:
                    await source.close()
                    await source.connect()
                continue
            batch = reading.result()
            if batch is None:
                break
            found += batch
        assert [int(msg.payload) for msg in found] == list(range(100_000))
        await source.close()

    run(scenario())


def test_a_file_that_was_rotated_is_made_anew(tmp_path: Path) -> None:
    """Nothing is written where nobody looks any more."""
    path = tmp_path / "out"

    async def scenario() -> None:
        sink = made(OUTPUTS, {"path": str(path)})
        await sink.connect()
        await sink.write([sink.prepare(Msg("1", {}))])
        path.rename(tmp_path / "out.1")
        await sink.write([sink.prepare(Msg("2", {}))])
        path.unlink()
        await sink.write([sink.prepare(Msg("3", {}))])
        await sink.close()

    run(scenario())
    assert ((tmp_path / "out.1").read_text(), path.read_text()) == ("1\n", "3\n")


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """It is ended before the first batch; a file that ends well is left as it is, and so is one without lines."""

    async def scenario(codec: str) -> str:
        path = tmp_path / codec
        path.write_text("whole\nha")
        for _ in range(2):
            sink = made(OUTPUTS, {"path": str(path), "codec": codec})
            await sink.connect()
            await sink.write([sink.prepare(Msg("new", {}))])
            await sink.close()
        return path.read_text()

    assert run(scenario("lines")) == "whole\nha\nnew\nnew\n"
    assert run(scenario("append")) == "whole\nhanewnew"
