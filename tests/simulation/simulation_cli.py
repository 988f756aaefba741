"""Runs the commands of this part by themselves, and a config with two bridges to run them on."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from setpoint.cli.plan import plan
from setpoint.cli.simulate import simulate

app = typer.Typer()
app.command()(simulate)
app.command()(plan)

BRIDGE = """
  - name: {name}
    desiredState: {desired}
    protocolConverterServiceConfig:
      variables: {{ IP: "{ip}", PORT: "502" }}
      config:
        connection:
          nmap: {{ target: "{{{{ .IP }}}}", port: "{{{{ .PORT }}}}" }}
        dataflowcomponent_read:
          benthos:
            input:
              modbus:
                controller: "tcp://{{{{ .IP }}}}:{{{{ .PORT }}}}"
                addresses:
                  - {{ name: temperature, register: holding, address: 0, type: INT16 }}
            pipeline:
              processors:
                - tag_processor:
                    defaults: |
                      msg.meta.location_path = "acme.press";
                      msg.meta.data_contract = "_raw";
                      msg.meta.tag_name = "temperature";
                      return msg;
            output:
              uns: {{}}
"""


def config(*, first: str = "active", second: str = "10.0.0.6") -> str:
    """Two presses: the first with a desired state, the second at an address ("" for none at all)."""
    bridges = BRIDGE.format(name="press-1", desired=first, ip="10.0.0.5")
    if second:
        bridges += BRIDGE.format(name="press-2", desired="active", ip=second)
    return f"agent:\n  location:\n    0: acme\nprotocolConverter:{bridges}"


def written(folder: Path, text: str, name: str = "config.yaml") -> str:
    file = folder / name
    file.write_text(text)
    return str(file)


def ran(*arguments: str) -> Result:
    """How a command ended."""
    return CliRunner().invoke(app, arguments)
