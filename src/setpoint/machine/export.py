"""Exporting: a machine as plain data, in the one form that `load` reads back.

    name, version, hash, doc?     what it is
    initial                       where it begins
    states                        a list of {name, phase, act?, final?, signal?, reason?, doc?}; phase is null in a data machine
    arcs                          a list of {event, source, target, when, after?, resume?, priority?, reason?}
    guards                        the Python guards it asks, by name, each with what it means
    wanted?                       the names of those marked ``wanted=True``

Keys with a question mark are left out where there is nothing to say. `when` is the guard as text: ``wanted and not alive``,
``held(no_data, idle_window_s=30)``, ``always``. Seconds that an instance may set are ``{"setting": "idle_window_s", "default": 30}``. A
reason that is a function is ``{"function": its name}``. Functions are named, not exported: `load` takes them again.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from setpoint.machine.guards import ALWAYS, Named
from setpoint.machine.model import Arc, Machine, Reason, State
from setpoint.machine.seconds import Seconds, Setting


def to_dict(machine: Machine) -> dict[str, Any]:
    """The machine as data that JSON can carry."""
    leaves = {node.name: node for arc in machine.arcs for node in arc.when.walk() if isinstance(node, Named)}
    guards = [leaves[name] for name in sorted(leaves) if leaves[name] != ALWAYS]
    data = {
        "name": machine.name,
        "version": machine.version,
        "hash": content_hash(machine),
        "doc": machine.doc,
        "initial": machine.initial,
        "states": [_state(state) for state in machine.states],
        "arcs": [_arc(arc) for arc in machine.arcs],
        "guards": {guard.name: guard.doc for guard in guards},
        "wanted": [guard.name for guard in guards if guard.wanted],
    }
    return _without_empty(data, "doc", "wanted")


def to_json(machine: Machine) -> str:
    """The machine as JSON."""
    return json.dumps(to_dict(machine), indent=2, ensure_ascii=False) + "\n"


def to_yaml(machine: Machine) -> str:
    """The machine as YAML."""
    import yaml

    return yaml.safe_dump(to_dict(machine), sort_keys=False, allow_unicode=True, width=120)


def content_hash(machine: Machine) -> str:
    """16 hexadecimal digits that stand for what the machine does: the beginning of a SHA-256 over its name, states and arcs.

    Texts for people (docs, reasons) and the version do not count, nor does the order of states, nor that of arcs from different states.
    The order in which the arcs of one state are tried does. The same in every process; Python code behind guards is not looked at.
    """
    content = {
        "name": machine.name,
        "initial": machine.initial,
        "states": sorted(_behaviour(state) for state in machine.states),
        "arcs": [
            (
                arc.event,
                arc.source.name,
                arc.target.name,
                str(arc.when),
                "" if arc.after is None else _seconds(arc.after),
                *(() if arc.resume == "deadline" else (arc.resume,)),
            )
            for name in sorted(machine.by_name)
            for arc in machine.outgoing(name)
        ],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _behaviour(state: State) -> tuple[Any, ...]:
    """What counts of a state. A later addition counts where it is used, so that the hashes of machines without it stay."""
    signal = (state.signal,) if state.signal else ()
    return (state.name, state.phase or "", state.act, state.final, *signal)


def _state(state: State) -> dict[str, Any]:
    data = {
        "name": state.name,
        "phase": None if state.phase is None else state.phase.value,
        "act": state.act,
        "final": state.final,
        "signal": state.signal,
        "reason": _reason(state.reason),
        "doc": state.doc,
    }
    return _without_empty(data, "act", "final", "signal", "reason", "doc")


def _arc(arc: Arc) -> dict[str, Any]:
    data = {
        "event": arc.event,
        "source": arc.source.name,
        "target": arc.target.name,
        "when": str(arc.when),
        "after": None if arc.after is None else _seconds(arc.after),
        "resume": "" if arc.resume == "deadline" else arc.resume,
        "priority": arc.priority,
        "reason": _reason(arc.reason),
    }
    if arc.after is None:
        del data["after"]
    return _without_empty(data, "resume", "priority", "reason")


def _seconds(seconds: Seconds) -> Any:
    """Whole numbers as such, so that 5 and 5.0 are one thing in files and hashes."""
    if isinstance(seconds, Setting):
        return {"setting": seconds.name, "default": _seconds(seconds.default)}
    return int(seconds) if seconds == int(seconds) else float(seconds)


def _reason(reason: Reason) -> Any:
    return {"function": getattr(reason, "__name__", type(reason).__name__)} if callable(reason) else reason


def _without_empty(data: dict[str, Any], *optional: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value or key not in optional}
