"""Files that a flow consists of are found beside the config, wherever the agent is started."""

from pathlib import Path

import pytest
from tests.cli.cli_shop import run_cli

MACHINE = "name: order\nstates:\n  received: {arcs: [done]}\n  done: {final: true}\n"
CONFIG = """\
agent: {location: {0: acme}}
dataFlow:
  - name: orders
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {generate: {mapping: 'root.price = 1', interval: 1s}}
        pipeline: {processors: [{machine: {file: machines/order.yaml}}]}
        output: {drop: {}}
"""


def test_a_machine_of_a_flow_is_found_beside_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same file is right from any folder; without the machine it is an error with its place."""
    plant = tmp_path / "plant"
    (plant / "machines").mkdir(parents=True)
    (plant / "machines" / "order.yaml").write_text(MACHINE)
    (plant / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert run_cli(capsys, "check", "plant/config.yaml").code == 0
    (plant / "machines" / "order.yaml").unlink()
    missing = run_cli(capsys, "check", "plant/config.yaml")
    assert missing.code == 1
    assert "order.yaml" in missing.out + missing.err
