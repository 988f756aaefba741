"""Drawing: every state and arc is there, the present state is marked, and hostile text stays text."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.machine.samples import BRIDGE, alive, brief, machines, process, thorough

from setpoint.machine import Machine, Phase, State, draw, expression, held, load
from setpoint.machine.draw import Format
from setpoint.machine.draw.layout import layout

FORMATS: tuple[Format, ...] = ("mermaid", "dot", "svg", "markdown")
HOSTILE = "</text><script>alert(1)</script> \" ' \\ ` | ; : # % {{x}} %%{init}%% --> [*] \n\r\u2028 end note &amp; <br/> ]]> \x00\x1b"
SVG = "{http://www.w3.org/2000/svg}"


def hostile(text: str) -> Machine:
    """A machine with the text wherever there can be one."""
    a = State(Phase.HEALTHY, name="a", doc=text, reason=text)
    b = State(Phase.FAILED, name="b", reason=text)
    return Machine(
        "m", [a, b], [a.to(b, on="x", when=expression(f"name == {text!r}"), reason=text)], version=text, doc=text
    )


def boxes(svg: str) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    return {group.attrib["data-state"]: group for group in root.iter(f"{SVG}g") if "data-state" in group.attrib}


@brief
@given(machines(), st.sampled_from(FORMATS))
def test_every_state_and_event_is_drawn(machine: Machine, form: Format) -> None:
    """In every format, for every machine."""
    drawing = draw(machine, form, at=machine.initial)
    for name in [*machine.by_name, *(arc.event for arc in machine.arcs)]:
        assert name in drawing
    assert draw(machine, form, at=machine.initial) == drawing


@brief
@given(machines())
def test_an_svg_is_well_formed_and_its_boxes_do_not_overlap(machine: Machine) -> None:
    """A layout leaves room for everything it places."""
    assert set(boxes(draw(machine, "svg"))) == set(machine.by_name)
    placed = [box for box in layout(machine).boxes if box.kind != "bend"]
    for number, one in enumerate(placed):
        for other in placed[number + 1 :]:
            beside = abs(one.x - other.x) >= (one.width + other.width) / 2
            assert beside or one.y + one.height <= other.y or other.y + other.height <= one.y
    room = layout(machine)
    assert all(box.x - box.width / 2 >= 0 and box.x + box.width / 2 <= room.width for box in room.boxes)


@thorough
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@example(HOSTILE)
def test_hostile_text_stays_text_in_svg(text: str) -> None:
    """It parses, has no element that we did not draw, and refers to nothing outside."""
    root = ElementTree.fromstring(draw(hostile(text), "svg"))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "title",
        "style",
        "g",
        "rect",
        "text",
        "path",
        "circle",
    }
    assert not any(key.startswith("on") or "href" in key for element in root.iter() for key in element.attrib)
    style = root.find(f"{SVG}style")
    assert style is not None
    assert "url(" not in (style.text or "")
    assert "@import" not in (style.text or "")


@thorough
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@example(HOSTILE)
def test_hostile_text_stays_text_in_the_other_formats(text: str) -> None:
    """It starts no line, ends no quote or cell, and is no markup."""
    plain = {form: draw(hostile("text"), form).count("\n") for form in FORMATS}
    for form in ("mermaid", "dot", "markdown"):
        assert draw(hostile(text or "text"), form).count("\n") == plain[form] or (
            form == "markdown" and not text.strip()
        )
    for line in draw(hostile(text), "dot").splitlines():
        unescaped = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
        assert '"' not in unescaped
    for line in draw(hostile(text), "mermaid").splitlines():
        if "-->" in line and " : " in line:
            label = line.split(" : ", 1)[1]
            assert re.fullmatch(r"(?:[\w ().,=+*/'\[\]-]|#\d+;)*", label)
    for line in draw(hostile(text), "markdown").splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) in (4, 5)
        assert "<script" not in re.sub(r"`+[^`].*?`+", "", line)


def test_the_present_state_is_marked_in_every_format() -> None:
    """And no other is."""
    assert "class running here" in draw(process(), "mermaid", at="running")
    assert "**`running` ← here**" in draw(process(), "markdown", at="running")
    bold = [line for line in draw(process(), "dot", at="running").splitlines() if "penwidth" in line]
    assert [line.split()[0] for line in bold] == ['"running"']
    marked = {
        name
        for name, group in boxes(draw(process(), "svg", at="running")).items()
        if "sp-here" in group.attrib["class"]
    }
    assert marked == {"running"}


def test_a_state_or_format_that_is_not_there_is_refused_by_name() -> None:
    """With what there is."""
    with pytest.raises(ValueError, match="has no state 'gone'; it has stopped, starting"):
        draw(process(), at="gone")
    wrong: Any = "png"
    with pytest.raises(ValueError, match="unknown format 'png'; there are mermaid, dot, svg, markdown"):
        draw(process(), wrong)


def test_mermaid_is_what_it_is() -> None:
    """A whole small machine."""
    assert draw(process(), "mermaid").splitlines()[:8] == [
        "stateDiagram-v2",
        "    %% process 1",
        "    [*] --> stopped",
        "    stopped --> starting : start [wanted]",
        "    starting --> stopping : stop [not wanted]",
        "    running --> stopping : stop [not wanted]",
        "    starting --> running : start_done [alive]",
        "    running --> starting : crashed [not alive]",
    ]


def test_states_called_by_words_of_mermaid_get_other_identifiers() -> None:
    """`end` or `state` as an identifier would break the diagram, and so would what every JavaScript object has."""
    end, end_, state = State(name="end"), State(name="end_"), State(name="State")
    drawing = draw(Machine("m", [end, end_, state], [end.to(state, on="x"), end_.to(end, on="y")]), "mermaid")
    assert 'state "end" as end__' in drawing
    assert "end__ --> State_ : x" in drawing
    assert "end_ --> end__ : y" in drawing
    assert 'state "toString" as toString_' in draw(Machine("m", [State(name="toString")]), "mermaid")


def test_parallel_arcs_are_one_edge_and_waits_are_shown() -> None:
    """Two events between the same states share an edge."""
    a, b = State(name="a"), State(name="b", final=True)
    machine = Machine("m", [a, b], [a.to(b, on="x", when=alive), a.to(b, on="y", when=held(alive, 2.5), after=5)])
    assert "    a --> b : x [alive]<br/>y [held(alive, 2.5)] after 5 s" in draw(machine, "mermaid").splitlines()
    assert draw(machine, "dot").count("->") == 2
    assert "| `y` | `a` | `b` | `held(alive, 2.5) after 5 s` |" in draw(machine, "markdown")
    assert "`b` (final)" in draw(machine, "markdown")


def test_a_table_merges_the_sources_of_one_arc() -> None:
    """One row for an event that leads from many states to one."""
    (row,) = [line for line in draw(load(BRIDGE), "markdown").splitlines() if line.startswith("| `stop` |")]
    assert row.count("`") == 2 * (11 + 3)  # sources; event, target and guard
    assert "| `starting_dfc` | starting | starting: flow not running |" in draw(load(BRIDGE), "markdown")


def test_many_sources_are_drawn_as_one_pill() -> None:
    """The bridge's 47 arcs become few enough lines to be read; sources are named by phase where all of one are meant."""
    svg = draw(load(BRIDGE), "svg")
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert texts.count("from any healthy, any degraded") == 4
    assert "from any starting, any failed," in texts
    assert texts.count("stop") == 1
    assert len(layout(load(BRIDGE)).lines) == 16


def test_ways_back_run_outside() -> None:
    """The long way from stopping back to stopped passes no box: its lane lies to the right of all."""
    placed = layout(load(BRIDGE))
    lane = {box.x for box in placed.boxes if box.kind == "bend" and box.outside}
    assert len(lane) == 1
    assert lane.pop() > max(box.x + box.width / 2 for box in placed.boxes if box.kind != "bend")


def test_the_shorter_of_two_ways_back_runs_further_in() -> None:
    """So that the one does not cross the other."""
    states = [State(name=name) for name in "abcde"]
    arcs = [source.to(target, on="go", when=alive) for source, target in pairwise(states)]
    back = [states[4].to(states[0], on="far"), states[3].to(states[1], on="near")]
    lines = {line.arcs[0].event: line for line in layout(Machine("m", states, [*arcs, *back])).lines}
    far, near = ({box.x for box in lines[event].boxes if box.kind == "bend"} for event in ("far", "near"))
    assert len(far) == len(near) == 1
    assert max(near) < min(far)


def test_a_large_machine_is_drawn_in_time() -> None:
    """150 states with ways across do not hang the page that shows them."""
    states = [State(name=f"s{number}") for number in range(150)]
    arcs = [
        states[number].to(states[(number * step + 1) % 150], on=f"x{step}", when=expression(f"level > {number}"))
        for number in range(150)
        for step in (1, 7)
        if number != (number * step + 1) % 150
    ]
    start = time.process_time()
    assert draw(Machine("large", states, dict.fromkeys(arcs)), "svg").startswith("<svg")
    assert time.process_time() - start < 20
