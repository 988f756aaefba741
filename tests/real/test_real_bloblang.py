"""Bloblang in the real program: the corpus says of it what it does."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from real_bento import bento_path, no_bento

from setpoint.configfile import compose, plain

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(no_bento()), reason=no_bento())]

CORPUS = Path(__file__).parent.parent / "corpus" / "bloblang.yaml"


def corpus() -> list[dict[str, Any]]:
    root, faults = compose(CORPUS.read_text(encoding="utf-8"))
    assert root is not None
    assert not faults
    cases: list[dict[str, Any]] = plain(root)
    return cases


def flow(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """One flow for all cases: message n goes through the mapping of case n, in a branch, so that what comes of it comes back whole."""
    switch = []
    for n, case in enumerate(cases):
        inside = [
            {case.get("kind", "mapping"): case["mapping"]},
            {"catch": [{"mapping": 'meta = {"was": "error"}\nroot = ""'}]},
            {"mapping": 'root = {"gives": content().string(), "meta": @}'},
        ]
        branch = {
            "request_map": "root = this.payload\nmeta = this.meta",
            "processors": inside,
            "result_map": "root.out = this",
        }
        switch.append({"check": f"this.n == {n}", "processors": [{"branch": branch}]})
    return {
        "input": {"stdin": {}},
        "pipeline": {
            "threads": 1,
            "processors": [{"switch": switch}, {"catch": [{"mapping": "root = this\nroot.err = error()"}]}],
        },
        "output": {"stdout": {}},
        "logger": {"level": "off"},
        "http": {"enabled": False},
    }


def outcome(answer: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """What came of a case, in the words of the corpus."""
    if "err" in answer:
        assert "zero messages" in answer["err"], answer
        return {"dropped": True}
    if answer["out"]["meta"] == {"was": "error"}:
        return {"fails": True}
    meta = {key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            for key, value in answer["out"]["meta"].items()}  # fmt: skip
    return {"gives": answer["out"]["gives"], **({"meta_after": meta} if meta != case.get("meta", {}) else {})}


def same(one: str, other: str) -> bool:
    """Whether two payloads are the same JSON, or the same text."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return one == (json.loads(other) if other.startswith('"') else other)


def test_the_corpus_says_what_the_real_program_does(tmp_path: Path) -> None:
    """Every mapping that is not refused, with its message, in one run of the program."""
    cases = [case for case in corpus() if not case.get("refused")]
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(flow(cases)))
    lines = "".join(
        json.dumps({"n": n, "payload": case["payload"], "meta": case.get("meta", {})}) + "\n"
        for n, case in enumerate(cases)
    )
    ran = subprocess.run([bento_path(), "-c", file], input=lines.encode(), capture_output=True, timeout=120, check=True)
    answers = [json.loads(line) for line in ran.stdout.decode("utf-8", errors="replace").splitlines()]
    assert len(answers) == len(cases) > 300
    for answer in answers:
        case = cases[answer["n"]]
        expected = {key: case[key] for key in ("gives", "meta_after", "dropped", "fails") if key in case}
        theirs = outcome(answer, case)
        if "gives" in theirs and "gives" in expected and same(theirs["gives"], expected["gives"]):
            theirs["gives"] = expected["gives"]
        assert theirs == expected, case


def test_what_the_corpus_says_is_refused_the_real_program_refuses() -> None:
    """Setpoint may take a little more than Benthos, but nothing that is refused here runs there."""
    refused = [case["mapping"] for case in corpus() if case.get("refused")]

    def asked(mapping: str) -> str:
        ran = subprocess.run(
            [bento_path(), "blobl", mapping], input=b"{}\n", capture_output=True, timeout=60, check=False
        )
        return (ran.stderr + ran.stdout).decode("utf-8", errors="replace")

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(asked, refused))
    assert len(refused) > 15
    assert [mapping for mapping, text in zip(refused, said, strict=True) if "failed to parse mapping" not in text] == []
