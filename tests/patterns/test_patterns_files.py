"""Files in, files out: a folder of lists sorted by content, an access log taken apart, and the sums over it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.patterns.patterns_folder import enter, module

from setpoint.data.fsm import SimpleFSM


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter("files", tmp_path, monkeypatch)


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def letters(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_folder_is_sorted_into_a_file_for_each_end() -> None:
    """CSV, JSON Lines and gzip alike; cleaned on the way; every piece of input is in exactly one place."""
    report = SimpleFSM("sort.yaml").process_stream("incoming", "sorted/{state}.csv")
    found = {
        name: [(row["article"], row["quantity"], row["weight"]) for row in table(f"sorted/{name}.csv")]
        for name in ("goods", "heavy", "returned", "unknown")
    }
    assert found == {
        "goods": [("GEAR-40", "120", "0.8"), ("GEAR-60", "40", "1.9"), ("BELT", "50", ""), ("RELAY", "600", "0.2")],
        "heavy": [("MOTOR", "30", "22.5"), ("FRAME", "2", "310.0")],
        "returned": [("MOTOR", "1", "22.5"), ("RELAY", "3", "")],
        "unknown": [("CATALOGUE", "200", "0.3")],
    }
    assert (report.total, sum(report.emitted.values()), report.malformed, report.failed) == (13, 9, 1, {"failed": 3})


def test_bad_lines_are_set_aside_with_their_place() -> None:
    """The file, the line, why, and what stood there."""
    SimpleFSM("sort.yaml").process_stream("incoming", "sorted/{state}.csv")
    told = {letter["at"]: (letter["kind"], letter["reason"]) for letter in letters("sorted/failed.dead.jsonl")}
    assert told == {
        "acme.csv:6": ("failed", "quantity: is a str, not int"),
        "hopper.jsonl.gz:2": ("failed", "quantity: 0 is below 1"),
        "zuse.jsonl:4": ("malformed", "not JSON: Input data was truncated"),
        "zuse.jsonl:5": ("failed", "article: is missing"),
    }


def test_a_log_is_taken_apart() -> None:
    """Fields with their types, by what each line says; what is no request is set aside; robots are left out."""
    report = SimpleFSM("log.yaml").process_stream("access.log", "lines/{state}.jsonl")
    assert (report.emitted, report.excluded, report.failed) == (
        {"served": 5, "refused": 2, "broken": 2}, {"robot": 1}, {"failed": 1},
    )  # fmt: skip
    assert letters("lines/served.jsonl")[1] == {
        "host": "10.0.0.7",
        "user": "ada",
        "time": "21/Nov/2026:06:00:02 +0000",
        "method": "GET",
        "path": "/plan/press-1",
        "query": "day=1",
        "status": 200,
        "bytes": 812,
        "referrer": "http://hall/plan",
        "agent": "Mozilla/5.0 (X11; Linux x86_64)",
    }
    assert [line["status"] for line in letters("lines/broken.jsonl")] == [503, 500]
    [letter] = letters("lines/failed.dead.jsonl")
    assert (letter["at"], letter["record"]) == (9, {"text": "logrotate: rotated at 06:00"})


def test_the_sums_over_the_log() -> None:
    """One record a page, carried by a machine of its own; run again on a log that has grown, each line counts once."""
    report = module("report").report
    lines, pages = report("access.log")
    assert (lines.read, pages.read) == (11, 5)
    assert [(row["path"], row["requests"], row["bytes"]) for row in table("pages/well.csv")] == [
        ("/plan", "2", "10240"), ("/plan/press-1", "2", "1657"),
    ]  # fmt: skip
    assert [(row["path"], row["failing"]) for row in table("pages/look_at.csv")] == [
        ("/orders", "0.667"), ("/plan/press-9", "1.0"), ("/robots.txt", "1.0"),
    ]  # fmt: skip
    with Path("access.log").open("a") as log:
        for _ in range(30):
            log.write('10.0.0.9 - - [21/Nov/2026:06:01:00 +0000] "POST /orders HTTP/1.1" 201 64 "-" "Mozilla/5.0"\n')
    lines, pages = report("access.log")
    assert (lines.read, lines.success) == (30, True)
    orders = table("pages/well.csv")[0]
    assert (orders["path"], orders["requests"], orders["failing"]) == ("/orders", "33", "0.061")


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"pattern": "(?P<a>x)"}, "needs the params field"),
        ({"field": "text", "pattern": "(x)"}, "no named group"),
        ({"field": "text", "pattern": "(?P<a>x", "types": {}}, "cannot be read: missing \\), unterminated subpattern"),
        ({"field": "text", "pattern": "(?P<a>x)", "types": {"b": "int"}}, "has no group b; it has a"),
        ({"field": "text", "pattern": "(?P<a>x)", "types": {"a": "itn"}}, "did you mean 'int'"),
    ],
)
def test_patterns_that_cannot_be(params: dict[str, Any], reason: str) -> None:
    """Found when the machine is made."""
    states = {"a": {"transforms": [{"name": "extract", "params": params}], "on_complete": "b"}, "b": {"final": True}}
    with pytest.raises(ValueError, match=reason):
        SimpleFSM({"name": "m", "states": states})
