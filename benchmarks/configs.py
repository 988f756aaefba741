"""Config files of any size for the benchmarks: many bridges from one template, each read once a second."""

from __future__ import annotations

_HEAD = """\
agent: {location: {0: acme, 1: cologne}}
templates:
  protocolConverter:
    one-value:
      connection: {nmap: {target: "{{ .IP }}", port: "{{ .PORT }}"}}
      dataflowcomponent_read:
        benthos:
          input:
            modbus:
              controller: "tcp://{{ .IP }}:{{ .PORT }}"
              slaveIDs: [1]
              timeBetweenReads: "1s"
              addresses:
                ADDRESSES
          pipeline:
            processors:
              - tag_processor:
                  defaults: |
                    msg.meta.location_path = "{{ .location_path }}";
                    msg.meta.data_contract = "_raw";
                    msg.meta.tag_name = msg.meta.modbus_tag_name;
                    return msg;
          output: {uns: {}}
protocolConverter:
"""

_BRIDGE = """\
  - name: machine-{n}
    desiredState: {desired}
    protocolConverterServiceConfig:
      templateRef: one-value
      location: {{2: machine-{n}}}
      variables: {{IP: "127.0.0.1", PORT: "{port}"}}
"""


def config(
    bridges: int, port: int, *, moved: dict[int, int] | None = None, desired: str = "active", values: int = 1
) -> str:
    """A file with so many bridges to the Modbus server at `port`, each with `values` values; `moved` gives single ones another port."""
    ports = moved or {}
    names = [f"- {{name: value-{n}, register: holding, address: {n}, type: INT16}}" for n in range(values)]
    head = _HEAD.replace("ADDRESSES", f"\n{' ' * 16}".join(names))
    return head + "".join(_BRIDGE.format(n=n, port=ports.get(n, port), desired=desired) for n in range(bridges))
