"""`switch`, `try`, `catch`, `branch`, `dedupe`, `unarchive` and mappings: the same pipeline in Setpoint and in the real program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from real_bento import bento_path, no_bento

sys.path.insert(0, str(Path(__file__).parent.parent / "flows"))
from flows_walk import Pipeline

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(no_bento()), reason=no_bento())]

LINES = [
    '{"n":1,"t":"a"}', '{"n":2,"t":"b"}', '{"n":3}', '{"n":"x","t":"a"}', '{"n":1,"t":"a"}', '[{"n":1},{"n":2},"s"]', '{"n":null}', "{}",
]  # fmt: skip
KEEP = "root = this\nroot.way = this.way.or([]).append"
PIPELINES: dict[str, list[Any]] = {
    "mappings": [
        {"mutation": 'meta kind = this.t.or("none")\nroot.seen = true'},
        {"mapping": "root = this\nroot.kind = @kind"},
    ],
    "switch": [
        {"switch": [
            {"check": "this.n == 1", "processors": [{"mapping": f'{KEEP}("one")'}], "fallthrough": True},
            {"check": "this.n == 3", "processors": [{"mapping": f'{KEEP}("three")'}]},
            {"check": 'this.t == "b"', "processors": [{"noop": {}}]},
            {"processors": [{"mapping": f'{KEEP}("rest")'}]},
        ]},
        {"mutation": "root.end = true"},
    ],
    "nested switch": [
        {"switch": [{"check": 'this.t == "a"', "processors": [
            {"switch": [{"check": "this.n == 1", "processors": [{"mapping": f'{KEEP}("a1")'}]}]}, {"mapping": f'{KEEP}("a")'},
        ]}]},
    ],
    "try and catch": [
        {"try": [{"mutation": "root.number = this.n.number()"}, {"mutation": "root.twice = this.number * 2"}]},
        {"catch": [{"mapping": "root.was = this\nroot.failed = error().length() > 0"}]},
        {"mutation": "root.end = true"},
    ],
    "two catches": [
        {"try": [{"mutation": "root.number = this.n.number()"}]},
        {"catch": [{"mutation": 'root.t = "none"'}]},
        {"try": [{"mutation": "root.t = this.t.uppercase()"}]},
        {"catch": [{"mutation": 'root.t = "nothing"'}]},
        {"catch": [{"mutation": 'root.t = "never"'}]},
    ],
    "branch": [
        {"branch": {
            "request_map": "root.m = if this.n == 2 { deleted() } else { this.n }",
            "processors": [{"mutation": 'root.twice = this.m.number(0) * 2\nmeta by = "branch"'}],
            "result_map": 'root.twice = this.twice\nroot.by = meta("by")',
        }},
    ],
    "dedupe": [{"dedupe": {"cache": "seen", "key": "${! content() }"}}],
    "take apart": [
        {"switch": [{"check": 'content().string().has_prefix("[")', "processors": [{"unarchive": {"format": "json_array"}}]}]},
        {"mapping": "root.it = this"},
    ],
    "drop": [{"mapping": "root = if this.n == 1 { deleted() } else { this }"}],
}  # fmt: skip
CACHES = {"cache_resources": [{"label": "seen", "memory": {}}]}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_gives_the_same_in_both(name: str, tmp_path: Path) -> None:
    """Line by line, in their order. What fails in the end is sent on by the one and set aside by the other: it is left out of both."""
    lines = [line for line in LINES if name not in ("switch", "two catches") or not line.startswith("[")]
    last: list[Any] = [{"catch": [{"mapping": "root = deleted()"}]}]
    config = {
        "input": {"stdin": {}},
        "pipeline": {"threads": 1, "processors": PIPELINES[name] + last},
        "output": {"stdout": {}},
        "logger": {"level": "off"},
        "http": {"enabled": False},
        **CACHES,
    }
    (tmp_path / "flow.json").write_text(json.dumps(config))
    text = "".join(line + "\n" for line in lines)
    ran = subprocess.run(
        [bento_path(), "-c", tmp_path / "flow.json"], input=text.encode(), capture_output=True, timeout=60, check=True
    )
    theirs = [json.loads(line) for line in ran.stdout.splitlines()]
    flow = Pipeline(*PIPELINES[name], sections=CACHES)
    ours = [json.loads(out) for out in flow.written([line.encode() for line in lines])]
    assert ours == theirs
    assert len(ours) >= 4
