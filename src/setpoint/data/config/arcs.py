"""Arcs in the forms people write them: in a state, at the network's level with ``from`` and ``to``, or as ``on_error: …``.

    arcs: [{target: done, condition: amount > 3, transform: round_it, priority: 5}]
    arcs: [{from: received, to: done}]             also from: [received, checked]
    arcs: [{target: done, event: approved}]        taken when that event is sent to the run; after: 60 when so many seconds have passed
    on_complete: done                              on_complete, on_error, on_timeout, on_dropped: a target, an arc, or a list of arcs

A push arc has `target_network` (``network`` or ``network:state``), and may have `return_state`, `data_mapping`, `result_mapping` and
`data_isolation`. `on_error` and `on_timeout` mean what they say: such an arc is taken when the state failed or ran out of time, never on
the way forward.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from setpoint.configfile import Fields, Mapping, Mark, Node, Place, Scalar, Sequence, found
from setpoint.data import definition as d
from setpoint.data.config import words
from setpoint.data.config.references import References, place_of

ON: Final[dict[str, d.ArcKind]] = {
    "on_complete": "way",
    "on_error": "error",
    "on_timeout": "timeout",
    "on_dropped": "dropped",
}
_PUSH: Final = ("return_state", "data_mapping", "result_mapping", "data_isolation")


class Loose(NamedTuple):
    """An arc of a network with the names of the states it starts from, where those stand, and the path of keys to it."""

    sources: list[tuple[str, Mark]]
    arc: d.ArcDef
    place: Place


def arc_of(fields: Fields, references: References, kind: d.ArcKind = "way", *, loose: bool = False) -> d.ArcDef:
    """One arc. A fault leaves a part out; the caller looks at the report."""
    key = fields.either("target", "to")
    push = _push(fields, references)
    needed = "" if push and push.return_state else "the state that the arc leads to"
    target = fields.text(key, required=needed)
    references.link("state", target, fields.place.at(key), fields.mark_of(key))
    word = words.one_of(fields, "kind", words.KINDS)
    arc = d.ArcDef(
        target=target or (push.return_state if push else ""),
        name=fields.text("name"),
        kind=word or kind,  # type: ignore[arg-type]
        event=fields.text("event"),
        after=fields.number("after", above=True),
        condition=_condition(fields, references),
        transforms=references.many(fields, fields.either("transform", "transforms"), "transform"),
        priority=fields.integer("priority", low=-(2**31), high=2**31),
        push=push,
        retry=words.retry(fields),
        resources=words.resources(fields),
        metadata=fields.data("metadata"),
        place=place_of(fields.mark, fields.place),
    )
    fields.refuse(
        words.REFUSED_IN_ARC if loose else {**words.REFUSED_IN_ARC, "from": "an arc in a state starts from that state"}
    )
    return arc


def _condition(fields: Fields, references: References) -> d.FunctionRef | None:
    key = fields.either("condition", "pre_test", "when")
    node = fields.get(key)
    if node is None:
        return None
    place = fields.place.at(key)
    if key == "pre_test" and isinstance(node, Mapping) and list(node.items) == ["test"]:
        node, place = node.items["test"], place.at("test")
    return references.one(node, place, "condition")


def _push(fields: Fields, references: References) -> d.Push | None:
    where = fields.text("target_network")
    if not where:
        for key in _PUSH:
            if fields.has(key):
                hint = "add target_network, the network that the record goes through"
                fields.place.at(key).error(
                    fields.mark_of(key), "means nothing on an arc that pushes into no network", hint
                )
            fields.get(key)
        return None
    network, _, state = where.partition(":")
    references.link("network", where, fields.place.at("target_network"), fields.mark_of("target_network"))
    references.link(
        "state", fields.text("return_state"), fields.place.at("return_state"), fields.mark_of("return_state")
    )
    isolation = words.one_of(fields, "data_isolation", words.ISOLATIONS) or "copy"
    return d.Push(
        network=network,
        state=state,
        return_state=fields.text("return_state"),
        data_mapping=words.texts_by_name(fields, "data_mapping"),
        result_mapping=words.texts_by_name(fields, "result_mapping"),
        isolation=isolation,  # type: ignore[arg-type]
        place=place_of(fields.mark_of("target_network"), fields.place),
    )


def arcs_of(fields: Fields, references: References) -> list[d.ArcDef]:
    """The arcs of a state: those under `arcs`, then those under `on_complete` and its like."""
    arcs = [_one(node, place, references, "way") for node, place in fields.sequence("arcs")]
    for key, kind in ON.items():
        under = fields.get(key)
        if under is not None:
            place = fields.place.at(key)
            listed = under.items if isinstance(under, Sequence) else None
            entries = [(under, place)] if listed is None else [(each, place.at(n)) for n, each in enumerate(listed)]
            arcs += [_one(child, at, references, kind) for child, at in entries]
    return arcs


def _one(node: Node, place: Place, references: References, kind: d.ArcKind) -> d.ArcDef:
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.text:
        references.link("state", node.text, place, node.mark)
        return d.ArcDef(target=node.text, kind=kind, place=place_of(node.mark, place))
    with words.part(node, place, "an arc: target, condition, transform") as fields:
        return arc_of(fields, references, kind)


def loose_arcs(fields: Fields, references: References) -> list[Loose]:
    """The arcs of a network that say themselves where they start."""
    arcs = []
    for node, place in fields.sequence("arcs"):
        with words.part(node, place, "an arc: from, to, condition, transform") as inner:
            if inner.present:
                sources = _sources(inner)
                arcs.append(Loose(sources, arc_of(inner, references, loose=True), place))
    return arcs


def _sources(fields: Fields) -> list[tuple[str, Mark]]:
    key = fields.either("from", "source")
    node = fields.get(key, required="the state that the arc starts from")
    entries = node.items if isinstance(node, Sequence) else [node] if node is not None else []
    names = []
    for entry in entries:
        if isinstance(entry, Scalar) and entry.value is not None:
            names.append((entry.text, entry.mark))
        elif not entry.flawed:
            fields.place.at(key).error(entry.mark, f"expected the name of a state, found {found(entry)}")
    return names
