"""Formats: what is written is read again, what is broken is set aside with its place, and every position is one to go on from."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.data.stream import Chunk, open_sink, open_source
from setpoint.data.stream.parts import Counts, Malformed, Mark

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
plain = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
records = st.lists(st.dictionaries(texts, plain | st.lists(plain, max_size=3), max_size=4), max_size=30)


def chunks(source: Any, limit: int = 7) -> list[Chunk]:
    found = []
    try:
        while (chunk := source.read(limit)) is not None:
            found.append(chunk)
    finally:
        source.close()
    return found


def everything(source: Any, limit: int = 7) -> tuple[list[Any], list[Malformed]]:
    found = chunks(source, limit)
    return [record for chunk in found for record in chunk.records], [bad for chunk in found for bad in chunk.malformed]


def written(path: Path, given: list[Any], **options: Any) -> list[Any]:
    """What the sink refused."""
    sink: Any = open_sink(path, **options)
    sink.open(False)
    refused = list(sink.write(given, {}))
    sink.commit(Mark({}, Counts()))
    sink.finish()
    return refused


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.jsonl.gz", "out.json.gz"])
@settings(max_examples=30, deadline=None)
@given(given_records=records, limit=st.integers(1, 9))
def test_what_is_written_as_json_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str, given_records: list[Any], limit: int
) -> None:
    """JSON Lines and arrays, gzipped or not, give back exactly the records, in chunks of any size."""
    path = tmp_path_factory.mktemp("json") / name
    assert written(path, given_records) == []
    assert everything(open_source(path), limit) == (given_records, [])


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=20), limit=st.integers(1, 9))
def test_what_is_written_as_rows_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], limit: int
) -> None:
    """Cells with quotes, delimiters and line breaks come back as they were."""
    given_records = [{"first": row[0], "second": row[1]} for row in rows]
    for name in ("rows.csv", "rows.tsv.gz"):
        path = tmp_path_factory.mktemp("rows") / name
        assert written(path, given_records) == []
        assert everything(open_source(path), limit) == (given_records, [])


@pytest.mark.parametrize("name", ["in.jsonl", "in.json", "in.csv", "in.txt", "in.jsonl.gz", "in.csv.gz"])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_every_position_is_one_to_go_on_from(tmp_path: Path, name: str, limit: int) -> None:
    """A source that seeks to the position behind any chunk gives the rest: places, records and what is malformed."""
    given_records = [{"text": f"line {n} “é”" + ("\n" if n % 5 == 0 and "csv" in name else "")} for n in range(20)]
    path = tmp_path / name
    written(path, given_records)
    whole = chunks(open_source(path), limit)
    assert [record for chunk in whole for record in chunk.records] == given_records
    for done, chunk in enumerate(whole, 1):
        source: Any = open_source(path)
        source.seek(json.loads(json.dumps(chunk.position)))
        rest = chunks(source, limit)
        assert [(c.records, list(c.places)) for c in rest if c.records] == [
            (c.records, list(c.places)) for c in whole[done:] if c.records
        ]


def test_a_line_that_is_no_json_is_set_aside_with_its_number(tmp_path: Path) -> None:
    """The lines around it are read; blank lines are nothing; a file may end in the middle of a line."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"a":1}\n\n{"a":\n1}\n{"a":2} {"a":3}\nNaN\n"\xff"\n{"a":4}\r\n'
        + b"[" * 100_000
        + b'\n{"a":5}\n{"a":'
    )
    found, malformed = everything(open_source(path))
    assert found == [{"a": 1}, {"a": 4}, {"a": 5}]
    assert [bad.place for bad in malformed] == [3, 4, 5, 6, 7, 9, 11]
    assert all(bad.reason.startswith("not JSON") for bad in malformed)
    assert len(malformed[5].text) < 3000


def test_a_record_that_a_plan_changed_can_be_had_as_it_was_read(tmp_path: Path) -> None:
    """Also where blank and broken lines stand between."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a":1}\n\nx\n{"a":2}\n')
    (chunk,) = chunks(open_source(path))
    chunk.records[1]["a"] = "changed"
    assert chunk.was(1) == {"a": 2}


def test_an_endless_line_is_passed_over_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line above the limit is malformed, with its length, and the next one is read."""
    monkeypatch.setattr("setpoint.data.stream.binary.MAX_PIECE", 1000)
    monkeypatch.setattr("setpoint.data.stream.binary.BLOCK", 400)
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"a":1}\n' + b"1" * 5000 + b'\n{"a":2}\n{"a":3}\n' + b"2" * 3000)
    source: Any = open_source(path)
    found = chunks(source, 2)
    assert [record for chunk in found for record in chunk.records] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [(bad.place, "5000" in bad.reason or "3000" in bad.reason) for c in found for bad in c.malformed] == [
        (2, True),
        (5, True),
    ]
    for chunk in found:
        again: Any = open_source(path)
        again.seek(chunk.position)
        rest = [record for c in chunks(again, 2) for record in c.records]
        assert rest == [record for c in found[found.index(chunk) + 1 :] for record in c.records]


def test_rows_that_do_not_fit_are_set_aside(tmp_path: Path) -> None:
    """Too short, too long, badly quoted, not text: each with the line where it begins; the others are read."""
    path = tmp_path / "in.csv"
    path.write_bytes(b'a,b\n1,2\n3\n4,5,6\n"x"y,1\n\xff,1\n7,"8\n9"\n10,11\n12,"open\n')
    found, malformed = everything(open_source(path))
    assert found == [{"a": "1", "b": "2"}, {"a": "7", "b": "8\n9"}, {"a": "10", "b": "11"}]
    assert [bad.place for bad in malformed] == [3, 4, 5, 6, 10]
    assert "1 cells, the header 2" in malformed[0].reason


def test_types_of_columns(tmp_path: Path) -> None:
    """By field, or inferred without damage: an article number 007 stays a text. A value of the wrong type is malformed."""
    path = tmp_path / "in.csv"
    path.write_text("n,price,ok,code,more\n1,2.50,true,007,[1]\n,,,,\nx,1,no,1e5,{}\n")
    typed = open_source(path, types={"n": "int", "price": "float", "ok": "bool", "more": "json"})
    found, malformed = everything(typed)
    assert found == [
        {"n": 1, "price": 2.5, "ok": True, "code": "007", "more": [1]},
        {"n": None, "price": None, "ok": None, "code": "", "more": None},
    ]
    assert malformed[0].place == 4
    assert malformed[0].reason.startswith("n: ")
    inferred, _ = everything(open_source(path, types="infer"))
    assert inferred[0] == {"n": 1, "price": 2.5, "ok": True, "code": "007", "more": "[1]"}
    assert inferred[2]["code"] == "1e5"


def test_files_without_a_header(tmp_path: Path) -> None:
    """The first row is a record; fields are numbered or named."""
    path = tmp_path / "in.csv"
    path.write_text("1,2\n3,4\n")
    assert everything(open_source(path, header=False))[0] == [
        {"col_0": "1", "col_1": "2"},
        {"col_0": "3", "col_1": "4"},
    ]
    assert everything(open_source(path, header=["x", "y"]))[0][1] == {"x": "3", "y": "4"}


def test_a_header_with_a_name_twice_is_an_error(tmp_path: Path) -> None:
    """Otherwise a column would be lost."""
    path = tmp_path / "in.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(ValueError, match="has a more than once"):
        chunks(open_source(path))


def test_a_field_that_comes_late_makes_a_column(tmp_path: Path) -> None:
    """The header is completed at the end, earlier rows are filled up; nested values are JSON, null is empty."""
    path = tmp_path / "out.csv"
    assert written(path, [{"a": 1}, {"a": None, "b": [1, {"c": True}]}, {"b": "x,y", "z": 1.5, "a": False}]) == []
    sink: Any = open_sink(path)
    sink.open(False)
    sink.write([{"a": 1}], {})
    sink.commit(Mark({}))
    assert sink.write([{"a": 2, "late": "é"}], {}) == []
    sink.commit(Mark({}))
    sink.finish()
    assert path.read_bytes().decode() == "a,late\r\n1,\r\n2,é\r\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_late_field_is_refused_where_the_header_cannot_change(tmp_path: Path) -> None:
    """In a file that is appended to, and with fixed columns: that record is refused, never cut."""
    path = tmp_path / "out.csv"
    path.write_text("a,b\n1,2\n")
    assert [bad.number for bad in written(path, [{"b": 3}, {"c": 4}, "text"], mode="append")] == [1, 2]
    assert list(csv.DictReader(io.StringIO(path.read_text()))) == [{"a": "1", "b": "2"}, {"a": "", "b": "3"}]
    (refused,) = written(tmp_path / "fixed.csv", [{"a": 1, "b": 2}], columns=["a"])
    assert "b" in refused.reason


@pytest.mark.parametrize(
    ("content", "good", "reasons"),
    [
        ("[]", [], []),
        (" [ 1 , [2,3] ]\n", [1, [2, 3]], []),
        ('{"a": 1}', [{"a": 1}], []),
        ("", [], []),
        ("[1, nope, {'x': [1,2]}, 3]", [1, 3], ["not JSON", "not JSON"]),
        ("[1, NaN, 2]", [1, 2], ["not JSON"]),
        ('[{"a": "]"}, "\\"", 2', [{"a": "]"}, '"'], ["ends inside"]),
        ("[] []", [], ["more behind the end"]),
        ("[1, 2,", [1, 2], ["ends inside"]),
        ("[1 2, 3]", [3], ["expected a comma"]),
        ('[1, "abc', [1], ["not JSON"]),
        ("[1] x", [1], ["more behind the end"]),
        ('{"a":1}\n{"a":2}', [{"a": 1}], ["more behind the end"]),
    ],
)
def test_arrays_that_are_broken(tmp_path: Path, content: str, good: list[Any], reasons: list[str]) -> None:
    """What can be read is read; everything else is said."""
    path = tmp_path / "in.json"
    path.write_text(content)
    found, malformed = everything(open_source(path), 2)
    assert found == good
    assert len(malformed) == len(reasons)
    assert all(reason in bad.reason for bad, reason in zip(malformed, reasons, strict=True))


def test_an_array_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks smaller than an element, and texts of several bytes across their borders."""
    monkeypatch.setattr("setpoint.data.stream.binary.BLOCK", 7)
    given_records = [{"n": n, "s": "“é”" * n, "x": 1234567.5} for n in range(30)]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(given_records, ensure_ascii=False))
    assert everything(open_source(path), 4) == (given_records, [])


def test_text_lines(tmp_path: Path) -> None:
    """Each line is a record with one field; a text that has a line break cannot be written as one."""
    path = tmp_path / "in.log"
    path.write_bytes(b"one\r\n\n  \ntwo\n\xff\nthree")
    found, malformed = everything(open_source(path, field="line"))
    assert found == [{"line": "one"}, {"line": "two"}, {"line": "three"}]
    assert [bad.place for bad in malformed] == [5]
    assert len(everything(open_source(path, skip_empty=False))[0]) == 5
    assert everything(open_source(path, encoding="latin-1"))[0][2] == {"text": "ÿ"}
    assert [bad.number for bad in written(tmp_path / "out.txt", [{"text": "x"}, {"text": "a\nb"}, {}, "y"])] == [1, 2]
    assert (tmp_path / "out.txt").read_text() == "x\ny\n"
    with pytest.raises(ValueError, match="UTF-8"):
        open_source(path, encoding="utf-16")


def test_a_folder_is_one_source(tmp_path: Path) -> None:
    """Its files in the order of their names, each by its format; a pattern picks some; unfinished files are left out."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.jsonl").write_text('{"a":2}\nbad\n')
    (folder / "a.csv").write_text("a\n1\n")
    (folder / "c.jsonl.part").write_text('{"a":9}\n')
    whole = chunks(open_source(folder))
    assert [record for chunk in whole for record in chunk.records] == [{"a": "1"}, {"a": 2}]
    assert whole[-1].malformed[0].place == "b.jsonl:2"
    source: Any = open_source(folder)
    source.seek(whole[0].position)
    assert everything(source)[0] == [{"a": 2}]
    assert everything(open_source(str(folder / "*.jsonl")))[0] == [{"a": 2}]
    with pytest.raises(FileNotFoundError, match="no file"):
        open_source(str(folder / "*.txt"))


def test_a_compressed_file_that_was_cut_off_is_an_error(tmp_path: Path) -> None:
    """What is whole is given; then it is said, never taken for the end."""
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n' * 100_000)[:-40])
    with pytest.raises(OSError, match="cut off or corrupt"):
        everything(open_source(path))


def test_a_name_that_says_no_format_is_refused() -> None:
    """With the formats there are, and the option that says it."""
    with pytest.raises(ValueError, match=r"end it in .jsonl"):
        open_source("records.dat")
    with pytest.raises(ValueError, match="carrier://"):
        open_sink("carrier://pigeon")
    with pytest.raises(ValueError, match="cannot be appended"):
        open_sink("x.json", mode="append")


pieces = st.lists(
    st.binary(max_size=6)
    | st.sampled_from([b"\n", b'"', b'{"a": 1}', b"[", b"]", b",", b"1,2", b"\\", b"\xef\xbb\xbf", b"a,b\n"]),
    max_size=25,
)


@pytest.mark.parametrize("name", ["in.jsonl", "in.json", "in.csv", "in.tsv", "in.txt"])
@settings(max_examples=60, deadline=None)
@given(content=pieces.map(b"".join), limit=st.integers(1, 5))
def test_whatever_is_in_a_file_reading_it_ends(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes, limit: int
) -> None:
    """With records, with what is malformed, or with an error that says what is wrong; resumed anywhere, with the same."""
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        whole = chunks(open_source(path), limit)
    except (ValueError, csv.Error):
        return
    for done, chunk in enumerate(whole, 1):
        source: Any = open_source(path)
        source.seek(chunk.position)
        rest = chunks(source, limit)
        assert [r for c in rest for r in c.records] == [r for c in whole[done:] for r in c.records]
        assert [b.place for c in rest for b in c.malformed] == [b.place for c in whole[done:] for b in c.malformed]
