"""What holds for every text whatever: a configuration comes out, quickly, and every problem points into the file."""

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.agent.config import read_config
from setpoint.agent.config.memo import Memo

EXAMPLE = """\
agent: {location: {0: acme}}
templates:
  protocolConverter:
    t: &t
      connection: {nmap: {target: "{{ .IP }}", port: "{{ .PORT }}"}}
      dataflowcomponent_read: {benthos: {input: {modbus: {controller: "tcp://{{ .IP }}"}}}}
protocolConverter:
  - name: a
    desiredState: active
    protocolConverterServiceConfig: {templateRef: t, variables: {IP: h, PORT: "502"}, location: {1: x}}
  - name: b
    desiredState: stopped
    protocolConverterServiceConfig: {config: {<<: *t}, variables: {IP: h, PORT: 502}}
dataFlow:
  - {name: f, desiredState: active, dataFlowComponentConfig: {benthos: {input: {stdin: {}}}}}
internal: {redpanda: {desiredState: active}}
"""

_TEXT = """agent location templates protocolConverter dataFlow name desiredState active stopped protocolConverterServiceConfig config
connection nmap target port benthos input output pipeline processors variables templateRef internal redpanda historian timescale
dataModels version structure streamProcessor user global dataflowcomponent_write source topics destination code extra 502 v1 a-b _raw
null true -1 1e9 &a *a <<"""
_WORDS = [*_TEXT.split(), '"{{ .IP }}"', '"{{ .x"', '"{{ range 9999999999 }}x{{ end }}"']
_SIGNS = [
    ": ",
    ":",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "  - ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "'",
    '"',
    "|\n",
    "\t",
    "#",
    "---\n",
    "? ",
    "!!int ",
    "%",
    "\ufeff",
    "é",
]


def check(text: str) -> None:
    begun = time.process_time()
    configuration = read_config(text)
    assert time.process_time() - begun < 2
    lines = len(text.splitlines()) + 1
    for problem in configuration.problems:
        assert 1 <= problem.line <= lines, str(problem)
        assert problem.column >= 1
        assert problem.message
    if not configuration.usable:
        assert configuration.errors
        assert not configuration.bridges
        assert not configuration.flows
    kept = {bridge.name for bridge in configuration.bridges}
    assert not kept & {problem.item for problem in configuration.errors if problem.key.startswith("protocolConverter")}


@given(st.text())
def test_any_text_gives_a_configuration(text: str) -> None:
    """Also control characters, lone surrogates and nothing at all."""
    check(text)


@given(st.lists(st.sampled_from([*_WORDS, *_SIGNS, " "]), max_size=60).map("".join))
def test_any_text_that_looks_like_yaml_gives_a_configuration(text: str) -> None:
    """Made of the words and signs of real files, it gets past the parser more often."""
    check(text)


@given(st.data())
def test_any_damage_to_a_good_file_gives_a_configuration(data: st.DataObject) -> None:
    """A piece cut out, doubled or replaced: what editors and broken transfers do."""
    begin = data.draw(st.integers(0, len(EXAMPLE)))
    end = data.draw(st.integers(begin, min(len(EXAMPLE), begin + 80)))
    piece = data.draw(
        st.one_of(
            st.just(""), st.just(EXAMPLE[begin:end] * 2), st.sampled_from([*_WORDS, *_SIGNS]), st.text(max_size=5)
        )
    )
    check(EXAMPLE[:begin] + piece + EXAMPLE[end:])


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(_WORDS), st.text(max_size=8))
_KEYS = st.sampled_from([word for word in _WORDS if word[0].isalpha()])
_TREES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(_KEYS, below, max_size=4)),
    max_leaves=25,
)
_SERVICE = st.fixed_dictionaries({}, optional={
    "config": st.fixed_dictionaries({"connection": _TREES}, optional={"dataflowcomponent_read": _TREES, "dataflowcomponent_write": _TREES}),
    "variables": _TREES, "location": _TREES, "templateRef": st.sampled_from(["t", "u"]),
})  # fmt: skip
_ITEM = st.fixed_dictionaries(
    {
        "name": _SCALARS,
        "desiredState": st.sampled_from(["active", "stopped", 1]),
        "protocolConverterServiceConfig": _SERVICE,
    }
)


@settings(max_examples=60)
@given(st.fixed_dictionaries({}, optional={"agent": _TREES, "dataFlow": _TREES, "internal": _TREES, "dataModels": _TREES,
                                           "templates": _TREES, "protocolConverter": st.lists(_ITEM, max_size=3)}))  # fmt: skip
def test_any_tree_under_the_known_sections_gives_a_configuration(tree: dict[str, Any]) -> None:
    """The right keys with anything below them."""
    check(yaml.safe_dump(tree))


@given(st.text(max_size=20), st.sampled_from(["name", "templateRef", "IP"]))
def test_reading_is_pure(text: str, where: str) -> None:
    """The same text gives an equal configuration, with the same problems."""
    damaged = EXAMPLE.replace(where, text, 1)
    first, second = read_config(damaged), read_config(damaged)
    assert first == second


def test_the_problems_of_one_bridge_do_not_change_what_another_is() -> None:
    """Every bridge of a file comes out the same whether the others are right or wrong."""
    good = read_config(EXAMPLE).bridges
    damaged = read_config(EXAMPLE.replace("name: a\n    desiredState: active", "name: a\n    desiredState: x"))
    assert damaged.bridges == good[1:]
    assert damaged.rejected == {"a"}


MANY = {
    "unknown keys": "".join(f"key{n}: 1\n" for n in range(50_000)),
    "unknown templates": "protocolConverter:\n"
    + "".join(
        f"- {{name: b{n}, desiredState: active, protocolConverterServiceConfig: {{templateRef: t{n}}}}}\n"
        for n in range(8_000)
    ),
    "loops": "protocolConverter:\n"
    + "".join(
        f"- {{name: b{n}, desiredState: active, protocolConverterServiceConfig: {{config: "
        '{connection: {nmap: {target: "{{ range 99999 }}{{ end }}x", port: 1}}}}}\n'
        for n in range(1_000)
    ),
    "actions": "protocolConverter:\n- {name: b, desiredState: active, "
    "protocolConverterServiceConfig: {config: {connection: {nmap: {target: '" + "{{ 1 }}" * 500_000 + "'}}}}}\n",
}


@pytest.mark.parametrize("kind", MANY)
def test_a_file_full_of_mistakes_is_read_quickly(kind: str) -> None:
    """Work that nobody would read the result of is not done, and templates share a budget."""
    begun = time.process_time()
    assert read_config("agent: {location: {0: acme}}\n" + MANY[kind]).errors
    assert time.process_time() - begun < 5


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["PORT", "IP", "name", "level", "key", "template"])), max_size=6
    )
)
def test_reading_with_a_memory_gives_what_reading_without_gives(edits: list[tuple[int, str]]) -> None:
    """After any series of edits, good and bad, the result is the same as that of a reader that never read before."""
    memo = Memo()
    lines = BRIDGES.splitlines()
    for number, kind in edits:
        at = [index for index, line in enumerate(lines) if kind in line]
        if at:
            line = at[number % len(at)]
            lines[line] = lines[line] + "0" if number % 2 else lines[line].replace("1", "2")
        text = "\n".join(lines)
        assert read_config(text, memo=memo) == read_config(text)
        assert read_config(text, memo=memo).nodes.keys() == read_config(text).nodes.keys()


BRIDGES = """\
agent: {location: {0: acme}}
templates:
  protocolConverter:
    one:
      connection: {nmap: {target: "{{ .IP }}", port: "{{ .PORT }}"}}
      dataflowcomponent_read:
        benthos:
          input: {generate: {mapping: 'root.template = "{{ .location_path }}"'}}
protocolConverter:
  - name: bridge-1
    desiredState: active
    protocolConverterServiceConfig:
      templateRef: one
      location: {1: level-1}
      variables: {IP: 10.0.0.1, PORT: "501"}
  - name: bridge-21
    desiredState: active
    protocolConverterServiceConfig:
      templateRef: one
      location: {1: level-2}
      variables: {IP: 10.0.0.2, PORT: "502"}
"""
