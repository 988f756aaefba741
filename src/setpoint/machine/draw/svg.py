"""SVG: a drawing that a browser shows as it is, with no other program and nothing loaded from anywhere.

It follows the reader's light or dark scheme. States carry ``data-state``, so that a page can mark them. Every box has a tooltip with
what the drawing has no room for: meanings, guards and waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from html import escape
from typing import Final

from setpoint.machine.draw.edges import COLOURS, condition, one_line
from setpoint.machine.draw.layout import LINE, Box, Layout, Line, layout
from setpoint.machine.draw.markdown import meaning
from setpoint.machine.model import Arc, Machine, State

STYLE: Final = """
.sp-machine{--sp-ink:#1f2937;--sp-soft:#6b7280;--sp-paper:#ffffff;max-width:100%;height:auto}
.sp-machine text{font:13px ui-sans-serif,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--sp-ink);text-anchor:middle}
.sp-machine .sp-small{font-size:11px;fill:var(--sp-soft)}
.sp-machine path{fill:none;stroke:var(--sp-soft);stroke-width:1.3}
.sp-machine .sp-head,.sp-machine .sp-dot{fill:var(--sp-soft);stroke:none}
.sp-machine .sp-pill rect{fill:var(--sp-paper);stroke:var(--sp-soft);stroke-dasharray:4 3}
.sp-machine .sp-state rect{stroke-width:1.5}
.sp-machine .sp-state text{font-weight:600}
.sp-machine .sp-state .sp-small{font-weight:400}
.sp-machine .sp-here .sp-box{stroke-width:4}
"""
FAR: Final = 160
DARK: Final = ".sp-machine{--sp-ink:#e5e7eb;--sp-soft:#9ca3af;--sp-paper:#111827}"


def svg(machine: Machine, at: str | None = None) -> str:
    """The machine as an SVG document, which can also stand within HTML."""
    placed = layout(machine)
    ports = _ports(placed)
    start = next(box for box in placed.boxes if box.name == machine.initial)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="sp-machine" role="img" width="{placed.width:.0f}" '
        f'height="{placed.height:.0f}" viewBox="0 0 {placed.width:.0f} {placed.height:.0f}">',
        f"<title>{_plain(f'{machine.name}: {machine.doc}' if machine.doc else machine.name)}</title>",
        f"<style>{STYLE}{_colours(machine)}</style>",
        *(part for line in placed.lines for part in _line(line, ports)),
        *_start(start),
        *(_box(box, machine, here=box.name == at) for box in placed.boxes if box.kind != "bend"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _colours(machine: Machine) -> str:
    """The colours of the phases in use. In the dark a phase's text and area change places."""
    phases = dict.fromkeys(state.phase for state in machine.states)
    light = [
        _rules(phase or "step", COLOURS[phase].fill, COLOURS[phase].stroke, COLOURS[phase].text) for phase in phases
    ]
    dark = [
        _rules(phase or "step", COLOURS[phase].text, COLOURS[phase].stroke, COLOURS[phase].fill) for phase in phases
    ]
    return f"{''.join(light)}@media (prefers-color-scheme:dark){{{DARK}{''.join(dark)}}}"


def _rules(name: str, fill: str, stroke: str, text: str) -> str:
    return (
        f".sp-machine .sp-{name} rect{{fill:{fill};stroke:{stroke}}}"
        f".sp-machine .sp-{name} text,.sp-machine .sp-{name} .sp-small{{fill:{text}}}\n"
    )


def _box(box: Box, machine: Machine, *, here: bool) -> str:
    if box.kind != "state":
        frame = _rect(box, 14) if box.kind == "pill" else ""
        return (
            f'<g class="sp-{box.kind}"><title>{_plain(*map(_told, box.arcs))}</title>{frame}{"".join(_texts(box))}</g>'
        )
    state = machine.by_name[box.name]
    marks = f"sp-state sp-{state.phase or 'step'}{' sp-here' if here else ''}"
    inner = _rect(box, 5, inset=4) if state.final else ""
    current = ' aria-current="true"' if here else ""
    return (
        f'<g class="{marks}" data-state="{state.name}"{current}><title>{_plain(_titled(state))}</title>'
        f"{_rect(box, 8)}{inner}{''.join(_texts(box))}</g>"
    )


def _rect(box: Box, radius: int, *, inset: float = 0) -> str:
    return (
        f'<rect class="sp-box" x="{box.x - box.width / 2 + inset:.1f}" y="{box.y + inset:.1f}" '
        f'width="{box.width - 2 * inset:.1f}" height="{box.height - 2 * inset:.1f}" rx="{radius}"/>'
    )


def _texts(box: Box) -> Iterator[str]:
    """The lines of a box, the small ones below."""
    y = box.y + (box.height - LINE * len(box.lines) - 14 * len(box.small)) / 2 + 12
    for line in box.lines:
        yield f'<text x="{box.x:.1f}" y="{y:.1f}">{_plain(line)}</text>'
        y += LINE
    for line in box.small:
        yield f'<text class="sp-small" x="{box.x:.1f}" y="{y - 1:.1f}">{_plain(line)}</text>'
        y += 14


def _start(box: Box) -> Iterator[str]:
    """The dot from which an arrow leads to the initial state."""
    x, y = box.x - box.width / 2, box.y + box.height / 2
    yield f'<circle class="sp-dot" cx="{x - 26:.1f}" cy="{y:.1f}" r="5"/>'
    yield f'<path d="M{x - 26:.1f} {y:.1f}H{x - 7:.1f}"/>'
    yield f'<path class="sp-head" d="M{x:.1f} {y:.1f}l-8 -4v8z"/>'


Ports = dict[tuple[int, int, bool], float]
"""Where a line meets a box: x by line, box and whether at its top."""


def _ports(placed: Layout) -> Ports:
    """Spread the lines that meet at one side of a state, in the order of where they come from."""
    sides: dict[tuple[int, bool], list[tuple[float, Line]]] = defaultdict(list)
    boxes = {id(box): box for box in placed.boxes}
    for line in placed.lines:
        for box, other in ((line.boxes[0], line.boxes[1]), (line.boxes[-1], line.boxes[-2])):
            sides[id(box), other.row < box.row].append((other.x, line))
    ports: Ports = {}
    for (box_id, top), lines in sides.items():
        box = boxes[box_id]
        step = min(20, (box.width - 24) / max(1, len(lines) - 1))
        for place, (_, line) in enumerate(sorted(lines, key=lambda pair: pair[0])):
            ports[id(line), box_id, top] = box.x + (place - (len(lines) - 1) / 2) * step
    return ports


def _line(line: Line, ports: Ports) -> Iterator[str]:
    """The line of an edge and its head. Between rows it is a curve that leaves and arrives upright."""
    pieces: list[str] = []
    x, y, down = 0.0, 0.0, True
    for box, following in zip(line.boxes, line.boxes[1:], strict=False):
        down = following.row > box.row
        start_x = ports.get((id(line), id(box), not down), box.x)
        x = ports.get((id(line), id(following), down), following.x)
        start_y = box.y + box.height if down else box.y
        y = following.y if down else following.y + following.height
        pieces.append(f"{'L' if pieces and box.kind == 'bend' else 'M'}{start_x:.1f} {start_y:.1f}")
        pieces.append(_curve(start_x, start_y, x, y))
    yield f'<path d="{"".join(pieces)}"/>'
    yield f'<path class="sp-head" d="M{x:.1f} {y:.1f}l-4 {-8 if down else 8}h8z"/>'


def _curve(start_x: float, start_y: float, x: float, y: float) -> str:
    """From row to row: a curve, or, where it is far, level between the rows with round corners."""
    middle, corner = (start_y + y) / 2, 12 if x > start_x else -12
    if abs(x - start_x) < FAR:
        return f"C{start_x:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {y:.1f}"
    return (
        f"Q{start_x:.1f} {middle:.1f} {start_x + corner:.1f} {middle:.1f}H{x - corner:.1f}"
        f"Q{x:.1f} {middle:.1f} {x:.1f} {y:.1f}"
    )


def _titled(state: State) -> str:
    text = meaning(state)
    return f"{state.name}: {text}" if text else state.name


def _told(arc: Arc) -> str:
    return f"{arc}: {condition(arc)}"


def _plain(*lines: str) -> str:
    """Text for an element: no character of it is markup, and none is one that XML forbids."""
    return escape("\n".join(one_line(line) for line in lines))
