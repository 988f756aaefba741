"""``${NAME}`` and ``${file:PATH}``: resolved once, everywhere in the file, and secret where what they stand for was."""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.agent import Agent
from setpoint.agent.config import Configuration, read_config
from setpoint.agent.config.memo import Memo
from setpoint.agent.config.references import References, unset_in
from setpoint.agent.environment import Windows
from setpoint.agent.tree import tree_of
from setpoint.configfile import Place, Report, compose, plain

ENV = {
    "HOST": "plc-1",
    "PORT": "502",
    "PLC_PASSWORD": "hunter2-plc",
    "EMPTY": "",
    "BRACES": "{{ .IP }}",
    "REF": "${HOST}",
}


def value(text: str, env: dict[str, str] | None = None) -> object:
    """What a value is read as."""
    root, _ = compose(f"k: {text}\n")
    assert root is not None
    report = Report("config.yaml")
    found = plain(References(ENV if env is None else env).replaced(root, Place(report)))
    problems = [str(problem) for problem in report.problems.values()]
    return problems[0] if problems else found["k"]


def read(body: str, env: dict[str, str] | None = None, memo: Memo | None = None) -> Configuration:
    return read_config(f"agent: {{location: {{0: acme}}}}\n{body}", env=ENV if env is None else env, memo=memo)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${HOST}", "plc-1"),
        ('"tcp://${HOST}:${PORT}"', "tcp://plc-1:502"),
        ("${PORT}", "502"),
        ("${NONE:fallback}", "fallback"),
        ("${EMPTY:fallback}", ""),
        ("${EMPTY:-fallback}", "fallback"),
        ("${NONE:-${HOST}}", "plc-1"),
        ("${NONE:}", ""),
        ('"$${HOST}"', "${HOST}"),
        ('"$$${HOST}"', "$plc-1"),
        ("${REF}", "${HOST}"),  # what takes the place of a reference is no reference
        ('${! meta("x") }', '${! meta("x") }'),
        ("${msg.payload}", "${msg.payload}"),
        ("a${", "a${"),
        ("5", 5),
    ],
)
def test_a_reference_becomes_text(text: str, expected: object) -> None:
    """With defaults as in Benthos and in shells; what names no variable stays as it is."""
    assert value(text) == expected


def test_what_is_in_a_file_comes_without_its_last_line_break(tmp_path: Path) -> None:
    """As mounted secrets have one; the path may be made of references."""
    (tmp_path / "plc").write_text("s3cret\n")
    assert value(f"${{file:{tmp_path}/plc}}") == "s3cret"
    assert value("${file:${FOLDER}/plc}", {"FOLDER": str(tmp_path)}) == "s3cret"


@pytest.mark.parametrize("kind", ["missing", "relative", "empty", "pipe", "folder", "bytes", "large"])
def test_a_file_that_cannot_be_read_is_an_error_and_nothing_hangs(tmp_path: Path, kind: str) -> None:
    """With the line of the reference."""
    path = tmp_path / "plc"
    match kind:
        case "empty":
            path.write_text("\n")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "bytes":
            path.write_bytes(b"\xff")
        case "large":
            path.write_bytes(b"x" * 70_000)
    said = str(value(f"${{file:{'plc' if kind == 'relative' else path}}}"))
    assert said.startswith("config.yaml:1:4: k: the "), said


def test_a_variable_that_is_not_set_is_an_error_of_its_item_with_its_line() -> None:
    """Of a bridge, a template, a flow, a worker; other items are what they were."""
    found = read(
        """\
dataFlow:
  - name: bad
    desiredState: active
    dataFlowComponentConfig: {benthos: {input: {file: {paths: ["${NOWHERE}"]}}, output: {drop: {}}}}
  - name: good
    desiredState: active
    dataFlowComponentConfig: {benthos: {input: {file: {paths: ["${HOST}"]}}, output: {drop: {}}}}
"""
    )
    assert [(error.line, error.item, error.message) for error in found.errors] == [
        (5, "bad", "the variable NOWHERE is not set")
    ]
    assert unset_in(found.errors[0]) == "NOWHERE"
    assert [flow.name for flow in found.flows] == ["good"]
    assert found.rejected == {"bad"}
    assert "set NAME" in str(read("internal: {redpanda: {external: {brokers: ['${NAME:?set NAME}:1']}}}\n").errors[0])


def test_only_texts_below_the_keys_of_scripts_are_scripts() -> None:
    """A mapping of somebody's own may have such a key."""
    found = read("workers:\n  - {name: a, type: t, spec: {defaults: {host: '${HOST}'}, code: '${HOST}'}}\n")
    assert found.workers[0].spec == {"defaults": {"host": "plc-1"}, "code": "${HOST}"}


def test_javascript_keeps_its_own_templates() -> None:
    """In tag processors, in a write flow, in mappings of a stream processor."""
    found = read(
        """\
dataFlow:
  - name: js
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {generate: {mapping: 'root.host = "${HOST}"'}}
        pipeline: {processors: [{tag_processor: {defaults: "msg.payload = `${HOST} ${x}`; return msg;"}}]}
        output: {drop: {}}
"""
    )
    assert found.errors == ()
    flow = json.dumps(found.flows[0].flow)
    assert "`${HOST} ${x}`" in flow
    assert 'root.host = \\"plc-1\\"' in flow


BRIDGE = """\
protocolConverter:
  - name: plc
    desiredState: active
    protocolConverterServiceConfig:
      variables: {IP: "${HOST}", SECRET: "${PLC_PASSWORD}", ODD: "${BRACES}"}
      config:
        connection: {nmap: {target: "{{ .IP }}", port: "${PORT}"}}
        dataflowcomponent_write:
          source: {topics: "umh.v1.a"}
          destination:
            protocol: http_client
            code: |
              url: "http://{{ .IP }}/${HOST}"
              basic_auth: {enabled: true, username: x, password: "${WRITE_PW:write-default}"}
"""


def test_references_reach_variables_and_yaml_inside_of_a_text() -> None:
    """And are replaced before templates are rendered, so that no value becomes a template."""
    for memo in (None, Memo()):
        for _ in range(2):
            found = read(BRIDGE, memo=memo)
            assert found.errors == (), [str(error) for error in found.errors]
            bridge = found.bridges[0]
            assert (bridge.target, bridge.port) == ("plc-1", 502)
            assert bridge.write is not None
            sink = bridge.write["output"]["http_client"]
            assert sink["url"] == "http://plc-1/plc-1"
            assert sink["basic_auth"]["password"] == "write-default"
            assert {"hunter2-plc", "write-default"} <= found.secrets
            assert "plc-1" not in found.secrets
    with_braces = read(BRIDGE.replace('target: "{{ .IP }}"', 'target: "{{ .IP }}${BRACES}"'))
    assert "cannot stand in a template" in str(with_braces.errors[0])


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("password: ${HOST}", True),
        ("tokens: [x, '${HOST}']", True),
        ("url: mqtt://user:${HOST}@broker", True),
        ("url: http://x/?sig=${HOST}", True),
        ("url: http://${HOST}/", False),
        ("target: ${HOST}", False),
        ("x: ${DB_PW:-plc-1}", True),
    ],
)
def test_what_is_secret_is_known_by_its_name_its_key_or_its_place(text: str, secret: bool) -> None:
    """A host is none: reasons must be able to name it."""
    root, _ = compose(text)
    assert root is not None
    references = References(ENV)
    references.replaced(root, Place(Report("x")))
    assert ("plc-1" in references.secrets) is secret


def test_no_message_shows_what_was_secret() -> None:
    """However wrong the place is in which it stands."""
    body = BRIDGE.replace("${PORT}", "${PLC_PASSWORD}").replace('"{{ .IP }}"', '"a b ${PLC_PASSWORD}"')
    found = read(body)
    assert found.errors
    assert "hunter2" not in "".join(map(str, found.problems))


def test_every_worker_knows_what_to_hide() -> None:
    """Where the config refers to a secret; else nothing is added."""
    assert all("hunter2-plc" in spec.variables["setpoint_secrets"] for spec in tree_of(read(BRIDGE), Windows()))
    assert not any(spec.variables for spec in tree_of(read(""), Windows()))


@given(st.text(st.sampled_from("${}:-?ABfile/ x"), max_size=40))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    """Braces, dollars and names in any order: text, or an error with a place."""
    assert value(json.dumps(text)) is not None


def test_a_running_agent_writes_a_secret_nowhere(tmp_path: Path) -> None:
    """Not where it keeps things, not in what it tells of itself, not in the reason of a failure that quotes it."""
    secret = "Zq7-hunter2-in-a-path"
    (tmp_path / "secret").write_text(f"{secret}\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""\
agent: {{location: {{0: acme}}}}
dataFlow:
  - name: leaky
    desiredState: active
    dataFlowComponentConfig:
      benthos:
        input: {{generate: {{mapping: 'root.n = counter()', interval: 50ms}}}}
        output: {{file: {{path: "/proc/nowhere/${{file:{tmp_path}/secret}}/x"}}}}
"""
    )
    data = tmp_path / "data"
    told = asyncio.run(_told(config, data))
    assert "[redacted]" in told
    assert secret not in told
    kept = [path for path in data.rglob("*") if path.is_file()]
    assert kept
    assert [path.name for path in kept if secret.encode() in unpacked(path)] == []
    assert any(b"/proc/nowhere/[redacted]" in unpacked(path) for path in kept)


def unpacked(path: Path) -> bytes:
    """What is in a file; the recording is packed."""
    content = path.read_bytes()
    return zlib.decompressobj(31).decompress(content) if content.startswith(b"\x1f\x8b") else content


async def _told(config: Path, data: Path) -> str:
    """All that the agent says of the flow, once that has failed."""
    agent = Agent(config, data=data, env={})
    await agent.start()
    try:
        path = "agent/flows/leaky"
        failed = await agent.supervisor.until(
            lambda supervisor: any(w.path == path and "/proc/nowhere" in w.reason for w in supervisor.workers()), 20.0
        )
        assert failed, [(worker.path, worker.state, worker.reason) for worker in agent.supervisor.workers()]
        detail = agent.supervisor.worker(path)
        why = agent.supervisor.explain(path)
        assert any("/proc/nowhere" in line for line in why.lines())
        return msgspec.json.encode([detail, why, agent.config_status()], enc_hook=str).decode()
    finally:
        await agent.stop()
