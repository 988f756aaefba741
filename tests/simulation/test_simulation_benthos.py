"""``setpoint plan`` and ``simulate`` with flows that take Benthos: they are in the model like the others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from tests.simulation.simulation_cli import ran, written


@pytest.mark.parametrize("tagged", [[], [{"tag_processor": {"defaults": "return msg;"}}]], ids=["whole", "split"])
def test_a_flow_that_takes_benthos_is_planned(
    tagged: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would come up; without a Benthos the plan says what to install."""
    parts = {
        "input": {"generate": {"mapping": "root.n = counter()", "interval": "1s"}},
        "pipeline": {"processors": [{"mapping": 'root.n = this.n.string().hash("md5")'}, *tagged]},
        "output": {"uns": {}} if tagged else {"file": {"path": "out"}},
    }
    flow = {"name": "press", "desiredState": "active", "dataFlowComponentConfig": {"benthos": parts}}
    file = written(tmp_path, yaml.safe_dump({"agent": {"location": {0: "acme"}}, "dataFlow": [flow]}))
    monkeypatch.setenv("SETPOINT_BENTHOS", sys.executable)  # nothing is run: that there is a program is enough
    found = json.loads(ran("plan", file, "--json").output)
    states = [move["target"] for move in found["moves"] if move["path"] == "agent/flows/press"]
    assert states[-1] in ("idle", "active")
    assert found["blocked"] == []
    monkeypatch.setenv("SETPOINT_BENTHOS", "/nonexistent")
    assert "no Benthos is installed" in str(ran("plan", file).exception)
