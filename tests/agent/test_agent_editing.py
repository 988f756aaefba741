"""What an edit of a config means: bridges by name, templates with roots and children, and how a config is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.agent.editing import Wanted, changed, children, names, renamed, with_bridge, with_flow, without_item
from setpoint.agent.editing_check import checked
from setpoint.agent.editing_shown import CHANGED, MARK, difference, shown
from setpoint.agent.editing_sources import SOURCES, Login, read_flow
from setpoint.configfile import compose
from setpoint.configfile.editing import NotEditable

PLANT = (Path(__file__).parents[2] / "examples" / "plant" / "config.yaml").read_text()
FAMILY = """\
agent: {location: {0: acme}}
templates:
  protocolConverter:
    # what a press is
    press:   # the template
      connection: {nmap: {target: "{{ .IP }}", port: "502"}}
    other:
      connection: {nmap: {target: "{{ .HOST }}.plant", port: "{{.P}}"}}
protocolConverter:
  - name: press   # the root
    desiredState: active
    protocolConverterServiceConfig: {templateRef: press, variables: {IP: a}}
  - name: press-2
    desiredState: active
    protocolConverterServiceConfig:
      templateRef: "press"   # a child
      variables:
        user: {IP: b}
  - name: press-3
    desiredState: active
    protocolConverterServiceConfig: {templateRef: press, variables: {IP: c}}
  - name: lone
    desiredState: active
    protocolConverterServiceConfig: {templateRef: other, variables: {HOST: d, P: "1"}}
"""
DEVICE = Wanted(target="10.0.0.5", port=502, read=read_flow("modbus"))


def errors(text: str, env: dict[str, str] | None = None) -> list[str]:
    return [str(error) for error in checked(text, Path("config.yaml"), env or {}).errors]


@pytest.mark.parametrize("kind", list(SOURCES))
@pytest.mark.parametrize("template", ["", "new"])
def test_a_new_bridge_is_one_that_the_agent_takes(kind: str, template: str) -> None:
    """Of every kind of source, with its own config or as the root of a template of its own; removed, it leaves no trace."""
    login = None if kind in ("modbus", "generate") else Login("me", "${PLC_PASSWORD}")
    wanted = Wanted(
        target="10.0.0.5", port=4840, read=read_flow(kind, login), location={3: "new"}, variables={"X": "1"}
    )
    text = with_bridge(PLANT, "new", wanted, template=template)
    assert errors(text, {"PLC_PASSWORD": "x"}) == []
    found = {bridge.name: bridge for bridge in checked(text, Path("c"), {}).configuration.bridges}["new"]
    assert (found.target, found.port, found.location_path) == ("10.0.0.5", 4840, "acme.cologne.press-shop.new")
    assert found.template == (template or None)
    assert without_item(text, "bridge", "new") == PLANT


def test_a_variable_that_only_the_agent_has_is_a_warning() -> None:
    """The one who edits has another environment; everything else is checked all the same."""
    wanted = Wanted(target="h", port=1, read=read_flow("mqtt", Login("me", "${PLC_PASSWORD}")))
    found = checked(with_bridge(PLANT, "new", wanted), Path("c"), {})
    assert found.errors == []
    assert [(problem.severity, problem.message) for problem in found.problems] == [
        ("warning", "PLC_PASSWORD is not set here")
    ]
    broken = with_bridge(PLANT, "new", wanted).replace("topics:", "topic:")
    assert any("did you mean 'topics'" in error for error in errors(broken))


def test_a_child_gets_its_address_in_the_variables_that_the_template_names() -> None:
    """What the template itself says of the address cannot be given."""
    text = with_bridge(FAMILY, "press-4", Wanted(target="10.0.0.9", location={2: "x"}), template="press")
    assert errors(text) == []
    found = checked(text, Path("c"), {}).configuration.bridges[-1]
    assert (found.name, found.target, found.port, found.template) == ("press-4", "10.0.0.9", 502, "press")
    assert with_bridge(FAMILY, "press-4", Wanted(), template="press") != FAMILY
    for template, wanted, said in (
        ("press", Wanted(target="a", port=5), "has its own port: 502"),
        ("other", Wanted(target="a"), "has its own target"),
        ("pres", Wanted(), "did you mean 'press'|there is no template"),
        ("press", DEVICE, "reads what the template says"),
    ):
        with pytest.raises(NotEditable, match=said):
            with_bridge(FAMILY, "new", wanted, template=template)


def test_a_root_with_children_stays_and_says_who_they_are() -> None:
    """Without them it goes, and its template with it."""
    assert children(FAMILY, "press") == ["press-2", "press-3"]
    with pytest.raises(NotEditable, match="press-2, press-3"):
        without_item(FAMILY, "bridge", "press")
    text = FAMILY
    for name in ("press-2", "press-3", "press"):
        text = without_item(text, "bridge", name)
    assert "# what a press is" not in text or "other:" in text
    assert errors(text) == []
    assert names(text, "bridge") == ["lone"]
    assert "press" not in {key.strip(": ") for key in text.splitlines()}
    assert "other:" in without_item(text, "bridge", "lone")  # its template has another name: it was no root


def test_a_root_takes_its_template_and_children_along_to_a_new_name() -> None:
    """Comments and quotes stay where they are; a child takes nobody along."""
    text = renamed(FAMILY, "bridge", "press", "stamp")
    assert "    stamp:   # the template" in text
    assert "  - name: stamp   # the root" in text
    assert '      templateRef: "stamp"   # a child' in text
    assert errors(text) == []
    assert children(text, "stamp") == ["press-2", "press-3"]
    assert renamed(text, "bridge", "stamp", "press") == FAMILY
    assert children(renamed(FAMILY, "bridge", "press-2", "p2"), "press") == ["p2", "press-3"]
    with pytest.raises(NotEditable, match="already"):
        renamed(FAMILY, "bridge", "press", "lone")
    with pytest.raises(NotEditable, match=r"templates\.protocolConverter\.other already"):
        renamed(FAMILY, "bridge", "press", "other")


def test_an_address_is_changed_where_the_connection_says() -> None:
    """In a variable of the bridge; in the config; in the template where the bridge is its root; nowhere where it is a child."""
    assert "user: {IP: x}" in changed(FAMILY, "press-2", Wanted(target="x"))
    assert "{templateRef: press, variables: {IP: x}}" in changed(FAMILY, "press", Wanted(target="x"))
    assert "port: 99}}" in changed(FAMILY, "press", Wanted(port=99)).partition("other:")[0]
    assert 'PORT: "99"' in changed(PLANT, "furnace-1", Wanted(port=99))
    with pytest.raises(NotEditable, match="variables and a location of its own alone"):
        changed(FAMILY, "press-2", Wanted(port=99))
    with pytest.raises(NotEditable, match="made of more than a variable"):
        changed(FAMILY, "lone", Wanted(target="x"))
    with pytest.raises(NotEditable, match="variables and a location of its own alone"):
        changed(FAMILY, "press-2", Wanted(read=read_flow("modbus")))


def test_the_other_wishes_of_a_bridge_are_single_values() -> None:
    """State, variables, levels of the location, and what it reads."""
    text = changed(PLANT, "press-1", Wanted(state="stopped", variables={"SPEED": "5"}, location={4: "cell"}))
    assert errors(text) == []
    assert "desiredState: stopped # or: stopped" in text
    assert '        PORT: "5020"\n        SPEED: "5"\n' in text
    assert "        3: press-1 # the level below the agent's\n        4: cell\n" in text
    assert "4: cell" not in changed(text, "press-1", Wanted(location={4: ""}))
    text = changed(PLANT, "furnace-1", Wanted(read=read_flow("opcua")))
    assert errors(text) == []
    assert "opc.tcp://{{ .IP }}:{{ .PORT }}" in text


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "../x", "a.b", "ä"])
def test_a_name_is_letters_digits_and_dashes(name: str) -> None:
    """As it becomes part of paths and topics."""
    for make in (lambda: with_bridge(PLANT, name, DEVICE), lambda: renamed(PLANT, "bridge", "press-1", name)):
        with pytest.raises(NotEditable, match="not a valid name"):
            make()


def test_a_name_is_there_once_and_one_that_is_not_there_is_named() -> None:
    """With the nearest that is."""
    with pytest.raises(NotEditable, match="already"):
        with_bridge(PLANT, "press-1", DEVICE)
    with pytest.raises(NotEditable, match="no bridge 'pres-1'") as error:
        without_item(PLANT, "bridge", "pres-1")
    assert error.value.hint == "did you mean 'press-1'?"


def test_a_flow_comes_and_goes() -> None:
    """With a section of its own."""
    flow = {"input": {"generate": {"mapping": "root.n = counter()"}}, "output": {"drop": {}}}
    text = with_flow(PLANT, "counter", flow)
    assert errors(text) == []
    assert without_item(text, "flow", "counter") == PLANT


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([PLANT, FAMILY, FAMILY.replace("\n", "\r\n"), PLANT.rstrip(), "agent: {location: {0: acme}}"]),
    st.from_regex(r"new-[a-zA-Z0-9_-]{0,10}[a-zA-Z0-9]", fullmatch=True),
    st.sampled_from(["", "root"]),
    st.dictionaries(st.integers(1, 6), st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)),
    st.dictionaries(st.from_regex(r"V[A-Za-z0-9_]{0,8}", fullmatch=True), st.text(max_size=10)),
)
def test_adding_and_removing_a_bridge_gives_the_file_back(
    text: str, name: str, template: str, location: dict[int, str], variables: dict[str, str]
) -> None:
    """Byte for byte, templates and all."""
    wanted = Wanted("10.0.0.5", 502, read_flow("modbus"), variables, location)
    added = with_bridge(text, name, wanted, template=name if template else "")
    assert names(added, "bridge")[-1] == name
    assert without_item(added, "bridge", name) == text


SECRETS = """\
# token: hunter2-comment
agent:
  communicator: {apiUrl: "https://u:hunter2-url@x", authToken: hunter2-token}   # keep
historian:
  timescale:
    password: "hunter2-quoted"
    host: h
internal:
  services:
    - env: [{name: DB_PASSWORD, value: hunter2-pair}, {name: PLAIN, value: seen}]
      key: |
        -----BEGIN PRIVATE KEY-----
        hunter2
        -----END PRIVATE KEY-----
x:
  password: ${PLC_PASSWORD}
  secret: "${file:/run/secrets/plc}"
  token: "{{ .TOKEN }}"
  passphrase: ${NONE:-hunter2-default}
"""


def test_no_secret_is_shown_and_all_else_is_as_it_is_written() -> None:
    """By key, in a URL, in a pair of name and value, in a comment; a reference to one is none."""
    text = shown(SECRETS)
    assert "hunter2" not in text
    assert compose(text)[1] == []
    for line in (
        "  password: ${PLC_PASSWORD}",
        '  secret: "${file:/run/secrets/plc}"',
        '  token: "{{ .TOKEN }}"',
        "value: seen",
    ):
        assert line in text
    assert f"authToken: {MARK}}}   # keep" in text
    assert shown(PLANT) == PLANT


def test_a_file_that_cannot_be_parsed_is_shown_without_secrets_as_well() -> None:
    """As a backup of a bad edit may be."""
    assert "hunter2" not in shown("a: [\npassword: hunter2-x\n")


def test_a_difference_shows_that_a_secret_changed_and_not_to_what() -> None:
    """Neither the old one nor the new one."""
    new = SECRETS.replace("hunter2-quoted", "hunter3-other").replace("host: h", "host: i")
    lines = difference(SECRETS, new, names=("old", "new"))
    assert "hunter" not in "".join(lines)
    assert [line for line in lines if line.startswith(("-  ", "+  "))] == [
        f"-    password: {MARK}",
        "-    host: h",
        f"+    password: {CHANGED}",
        "+    host: i",
    ]
    assert difference(SECRETS, SECRETS, names=("old", "new")) == []
    assert "only how they end" in difference("a: 1\n", "a: 1\r\n", names=("o", "n"))[-1]
