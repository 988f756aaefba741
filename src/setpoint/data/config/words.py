"""What all parts of a machine have in common: retries, times, resources by role, and the keys of others that mean nothing here."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import Final, get_args

from setpoint.configfile import Fields, Mapping, Node, Place, Scalar, Sequence, found
from setpoint.data import definition as d
from setpoint.data.config.references import place_of

BACKOFFS: Final[tuple[d.Backoff, ...]] = get_args(d.Backoff)
ISOLATIONS: Final[tuple[d.Isolation, ...]] = get_args(d.Isolation)
KINDS: Final[tuple[d.ArcKind, ...]] = get_args(d.ArcKind)
TRANSACTIONS: Final[tuple[d.Transactions, ...]] = get_args(d.Transactions)
MODES: Final = tuple(mode.value for mode in d.DataMode)
STRATEGIES: Final = tuple(strategy.value for strategy in d.Strategy)
LONGEST_NAME: Final = 200

_RETRY: Final = "write retry: {attempts: 3, backoff: exponential, delay: 1}"
REFUSED_IN_MACHINE: Final = {
    "transaction": "write transactions: record, batch or manual",
    "execution": "write execution_strategy, max_transitions and timeout at the top of the file",
    "max_retries": f"retries belong to a state or an arc: {_RETRY}",
    "retry": f"retries belong to a state or an arc: {_RETRY}",
    "streaming": "give chunk_size to process_stream()",
    "hash": "remove it; the version is checked where another file uses this one",
}
REFUSED_IN_NETWORK: Final = {
    "streaming": "give chunk_size and workers to process_stream(), or to setpoint run --stream",
    "data_mode": "write data_mode at the top of the file, or in a state",
    "version": "it belongs to the machine, or beside use: the version of the other file's machine",
}
REFUSED_IN_STATE: Final = {
    "retry_count": _RETRY,
    "retry_delay": _RETRY,
    "max_retries": _RETRY,
    "end_test_function": "make the state final, and let the conditions of the arcs into it decide",
    "end_test": "make the state final, and let the conditions of the arcs into it decide",
    "streaming": "give chunk_size to process_stream()",
    "type": "write start: true or final: true",
    "target_network": "it belongs to an arc of the state",
    "wait": "write event: NAME on the arcs that it opens",
}
REFUSED_IN_ARC: Final = {
    "pass_context": "nothing is needed: functions of the other network share the run's variables",
    "max_retries": _RETRY,
    "retry_count": _RETRY,
    "timeout": "a state has a timeout; an arc's functions count as part of the state it leaves",
    "pre_validators": "they belong to the state that the arc leads to",
    "validators": "they belong to the state that the arc leads to",
}
REFUSED_IN_MODE: Final = {
    key: "remove it: a mode has no settings" for key in ("copy_config", "reference_config", "direct_config")
}


def part(node: Node, place: Place, what: str) -> Fields:
    """The fields of an entry of a list, which cannot be empty as a whole."""
    if isinstance(node, Scalar) and node.value is None and node.native is None and not node.flawed:
        place.error(node.mark, "is empty", f"expected {what}")
    return Fields(node, place, what=what)


def name_of(fields: Fields, what: str) -> str:
    """The name under the key `name`; empty, and a problem, where there is none that can be used."""
    name = fields.text("name", required=f"the name of the {what}")
    missing = not fields.has("name")
    return name if missing or check_name(name, fields.place.at("name"), fields.mark_of("name")) else ""


def same_name(fields: Fields, given: str) -> None:
    """Report a `name` in something that already has another one, as the key it stands under."""
    name = fields.text("name", default=given)
    if name != given:
        message = f"{name[:60]!r} is not the name it stands under, {given[:60]!r}"
        fields.place.at("name").error(fields.mark_of("name"), message, "keep one of them")


def check_name(name: str, place: Place, mark: object) -> bool:
    """Whether this can be a name; a problem where it cannot."""
    if name and len(name) <= LONGEST_NAME and name.isprintable() and ":" not in name and name == name.strip():
        return True
    hint = f"at most {LONGEST_NAME} printable characters, no ':' and no spaces around it"
    place.error(mark, f"{name[:60]!r} cannot be a name", hint)  # type: ignore[arg-type]
    return False


def seconds(fields: Fields) -> float | None:
    """The time-out, under either of its names."""
    return fields.number(fields.either("timeout", "timeout_seconds"), above=True)


def doc(fields: Fields) -> str:
    """What it is, in words, under either of its names."""
    return fields.text(fields.either("description", "doc"))


def one_of(fields: Fields, key: str, words: tuple[str, ...]) -> str | None:
    """One of a few words under a key; None where there is none, or another, which is reported."""
    word = fields.choice(key, words, default="-")
    return None if word == "-" else word


def mode(fields: Fields, key: str = "data_mode") -> d.DataMode | None:
    """A data mode under a key."""
    word = one_of(fields, key, MODES)
    return d.DataMode(word) if word else None


def retry(fields: Fields) -> d.Retry | None:
    """The retries under the key `retry`: a number of attempts, or all the settings."""
    node = fields.get("retry")
    if node is None:
        return None
    place = fields.place.at("retry")
    if isinstance(node, Scalar):
        return d.Retry(attempts=fields.integer("retry", default=1, low=1, high=1000), place=place_of(node.mark, place))
    with Fields(node, place, what="retries: attempts, backoff, delay") as inner:
        key = inner.either("attempts", "max_attempts")
        return d.Retry(
            attempts=inner.integer(key, default=1, low=1, high=1000, required="how often it is tried, 1 to 1000"),
            backoff=one_of(inner, "backoff", BACKOFFS) or "fixed",  # type: ignore[arg-type]
            delay=inner.number("delay", default=0.0) or 0.0,
            factor=inner.number("factor", default=2.0, low=1.0) or 2.0,
            max_delay=_number(inner, "max_delay", 60.0),
            jitter=_fraction(inner, "jitter"),
            on=_exceptions(inner),
            place=place_of(node.mark, place),
        )


def _exceptions(fields: Fields) -> tuple[str, ...]:
    node = fields.get("on")
    if isinstance(node, Scalar):
        return (fields.text("on"),)
    return tuple(fields.texts("on")) if node is not None else ()


def _number(fields: Fields, key: str, default: float) -> float:
    number = fields.number(key, default=default)
    return default if number is None else number


def _fraction(fields: Fields, key: str) -> float:
    number = _number(fields, key, 0.0)
    if number > 1:
        fields.place.at(key).error(fields.mark_of(key), f"expected a number from 0 to 1, found {number:g}")
        return 0.0
    return number


def resources(fields: Fields) -> dict[str, str]:
    """Names of resources by role: a list of names, which are their own roles, or a mapping."""
    node = fields.get("resources")
    if node is None or node.flawed:
        return {}
    place = fields.place.at("resources")
    if isinstance(node, Sequence):
        entries: list[tuple[str, Node, Place]] = [
            (child.text if isinstance(child, Scalar) else "", child, place.at(number))
            for number, child in enumerate(node.items)
        ]
    elif isinstance(node, Mapping):
        entries = [(role, child, place.at(role)) for role, child in node.items.items()]
    else:
        place.error(node.mark, f"expected names of resources, found {found(node)}", "write [name] or {role: name}")
        return {}
    return {role: name for role, child, at in entries if (name := _resource(child, at))}


def _resource(node: Node, place: Place) -> str:
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.text:
        return node.text
    if not node.flawed:
        place.error(
            node.mark,
            f"expected the name of a resource, found {found(node)}",
            "resources are described at the top of the file",
        )
    return ""


def texts_by_name(fields: Fields, key: str) -> MappingOf[str, str]:
    """A mapping of names to names, such as a data mapping."""
    texts: dict[str, str] = {}
    for name, node, place in fields.entries(key):
        if isinstance(node, Scalar) and node.value is not None:
            texts[name] = node.text
        elif not node.flawed:
            place.error(node.mark, f"expected the name of a field, found {found(node)}")
    return texts
