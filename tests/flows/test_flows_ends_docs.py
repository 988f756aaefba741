"""The page on connectors: what it shows can be copied."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from setpoint.data.stream import open_sink, open_source
from setpoint.flows import compile_flow, ends

PAGE = (Path(__file__).parents[2] / "docs" / "connectors.md").read_text(encoding="utf-8")
FLOWS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RUNS = re.findall(r"^\$ setpoint run (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("text", FLOWS, ids=lambda text: " ".join(text.split())[:40])
def test_every_flow_of_the_page_is_one(text: str) -> None:
    """It compiles as it is printed; one end alone stands for a flow with any other."""
    shown = yaml.safe_load(text)
    compile_flow({"input": {"generate": {"mapping": "root = {}"}}, "output": {"drop": {}}, **shown})


@pytest.mark.parametrize("command", RUNS)
def test_every_url_of_the_page_is_known(command: str) -> None:
    """Those of our schemes open as they are printed, as far as that is possible without a broker."""
    ends.register()
    words = shlex.split(command)
    opened = 0
    for option, opens in (("--input", open_source), ("--output", open_sink)):
        url = words[words.index(option) + 1]
        if url.partition("://")[0] in ends.HOMES and not url.startswith(("flow://", "kafka://")):
            opens(url)  # type: ignore[operator]  # both take a text
            opened += 1
    assert opened or "flow://" in command or "kafka://" in command


def test_there_are_flows_and_urls() -> None:
    """The patterns above find what they look for."""
    assert len(FLOWS) >= 3
    assert len(RUNS) >= 5
