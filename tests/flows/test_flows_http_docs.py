"""The pages on HTTP and on files, and the example: what they show can be copied."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from setpoint.flows import compile_flow

ROOT = Path(__file__).parents[2]
SHOWN = [
    text
    for page in ("http.md", "files.md")
    for text in re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.M | re.S)
]
EXAMPLE = yaml.safe_load((ROOT / "examples" / "http" / "config.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", SHOWN, ids=lambda text: " ".join(text.split())[:40])
def test_every_flow_of_the_pages_is_one(text: str) -> None:
    """It compiles as it is printed."""
    compile_flow(yaml.safe_load(text))


@pytest.mark.parametrize("flow", EXAMPLE["dataFlow"], ids=lambda flow: str(flow["name"]))
def test_every_flow_of_the_example_is_one(flow: dict[str, dict[str, dict[str, object]]]) -> None:
    """It compiles as it is written."""
    compile_flow(flow["dataFlowComponentConfig"]["benthos"])


def test_there_are_flows() -> None:
    """The pattern above finds what it looks for."""
    assert len(SHOWN) >= 6
