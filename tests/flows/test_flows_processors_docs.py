"""The page on processors and the example beside it: what they show can be copied."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from flows_plant import until

from setpoint.flows import FlowEngine, compile_flow
from setpoint.flows.bloblang.functions import FUNCTIONS
from setpoint.flows.bloblang.methods import METHODS
from setpoint.flows.processors import PROCESSORS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "processors.md").read_text(encoding="utf-8")
FLOWS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", FLOWS, ids=lambda text: " ".join(text.split())[:40])
def test_every_flow_of_the_page_is_one(text: str) -> None:
    """It compiles as it is printed, between any two ends."""
    shown = yaml.safe_load(text)
    compile_flow({"input": {"generate": {"mapping": "root = {}"}}, "output": {"drop": {}}, **shown})


def test_the_page_names_all_there_is() -> None:
    """Each processor, function and method of the tables."""
    assert [name for name in PROCESSORS if f"`{name}`" not in PAGE] == []
    assert [
        name for name in FUNCTIONS if f"`{name}`" not in PAGE and f"`…_{name.rsplit('_', 1)[-1]}`" not in PAGE
    ] == []
    assert [name for name in METHODS if f"`{name}`" not in PAGE] == []


def test_the_example_runs_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubles and empty orders are left out, what failed is mended with its reason, the rest is priced."""
    folder = shutil.copytree(ROOT / "examples" / "processors", tmp_path / "example")
    monkeypatch.chdir(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    flow: dict[str, Any] = config["dataFlow"][0]["dataFlowComponentConfig"]["benthos"]

    async def scenario() -> None:
        engine = FlowEngine()
        await engine.start("orders", flow)
        await until(lambda: (status := engine.status("orders")) is not None and status.finished)
        await engine.close()

    asyncio.run(scenario())
    orders = [json.loads(line) for line in (folder / "accepted.jsonl").read_text().splitlines()]
    assert [order.get("total") for order in orders] == [50.0, 1200, None, None]
    assert orders[1]["approval"] == "needed"
    assert orders[2]["error"] == "line 1: 'many' is no number"
    assert "price: is missing" in orders[3]["error"]
