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
                    msg.meta.data_contract = "_bench_v1";
                    msg.meta.tag_name = msg.meta.modbus_tag_name;
                    return msg;
          output: {uns: {}}
protocolConverter:
"""

_PROBE = """\
dataFlow:
  - name: latency
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {{uns: {{umh_topics: ['umh.v1.acme.cologne.machine-{every}\\..*']}}}}
        pipeline:
          processors:
            - nodered_js: {{code: "msg.payload = String(Date.now() - msg.payload.timestamp_ms); return msg;"}}
        output: {{file: {{path: "{path}", codec: lines}}}}
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
    bridges: int,
    port: int,
    *,
    moved: dict[int, int] | None = None,
    desired: str = "active",
    values: int = 1,
    latencies: str = "",
) -> str:
    """A file with so many bridges to the Modbus server at `port`, each with `values` values that a contract checks.

    `moved` gives single ones another port. With `latencies`, a path, a flow reads what every hundredth bridge published and writes there
    how old each value was, in milliseconds a line.
    """
    ports = moved or {}
    names = [f"- {{name: value-{n}, register: holding, address: {n}, type: INT16}}" for n in range(values)]
    fields = ", ".join(f"value-{n}: {{_payloadshape: timeseries-number}}" for n in range(values))
    models = f"dataModels: [{{name: bench, version: {{v1: {{structure: {{{fields}}}}}}}}}]\n"
    contracts = "dataContracts: [{name: _bench_v1, model: {name: bench, version: v1}}]\n"
    probe = _PROBE.format(every="(0|[0-9]*00)", path=latencies) if latencies else ""
    head = models + contracts + probe + _HEAD.replace("ADDRESSES", f"\n{' ' * 16}".join(names))
    return head + "".join(_BRIDGE.format(n=n, port=ports.get(n, port), desired=desired) for n in range(bridges))
