"""The options that every end has, whatever it is an end of.

format        json, text or bytes: what payloads are (`form`)
topic_field   the field of the record in which the topic stands
meta_field    the field of the record in which the meta stand
retry_for     how long a connection that broke may stay away: 5m (`adapters`)
idle          sources: end after so long without a message; by default they go on for ever
"""

from __future__ import annotations

from typing import Any, Final, get_args

from setpoint.flows.component import seconds
from setpoint.flows.ends.adapters import RETRY_FOR
from setpoint.flows.ends.form import Form, Format
from setpoint.flows.ends.where import Where

_FORM: Final = {"format": "json", "topic_field": "", "meta_field": ""}


def source_options(place: Where, *, topic_meta: str, exactly: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keyword arguments of a source (`form`, `idle`, `retry_for`), and the rest of the query.

    With `exactly` there must be no rest. Raises `ValueError`.
    """
    own, rest = place.taken({**_FORM, "idle": None, "retry_for": RETRY_FOR})
    _nothing(rest, own, exactly)
    idle = None if own["idle"] is None else _seconds("idle", own["idle"])
    return {"form": _form(own, topic_meta), "idle": idle, "retry_for": _seconds("retry_for", own["retry_for"])}, rest


def sink_options(place: Where, *, topic_meta: str, exactly: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of a sink: `form` and `retry_for`."""
    own, rest = place.taken({**_FORM, "retry_for": RETRY_FOR})
    _nothing(rest, own, exactly)
    return {"form": _form(own, topic_meta), "retry_for": _seconds("retry_for", own["retry_for"])}, rest


def _form(own: dict[str, Any], topic_meta: str) -> Form:
    if own["format"] not in get_args(Format):
        raise ValueError(f"format={own['format']}: there are {', '.join(get_args(Format))}")
    fields = own["topic_field"], own["meta_field"]
    if fields[0] and fields[0] == fields[1]:
        raise ValueError(f"topic_field and meta_field are both {fields[0]!r}: give them two names")
    if fields[0] and not topic_meta:
        raise ValueError("topic_field: messages of this kind have no topic")
    return Form(topic_meta=topic_meta, topic_field=fields[0], meta_field=fields[1], format=own["format"])


def _seconds(name: str, value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    try:
        return seconds(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _nothing(rest: dict[str, Any], own: dict[str, Any], exactly: bool) -> None:
    if exactly and rest:
        raise ValueError(f"{', '.join(rest)}: not an option here; there are {', '.join(own)}")
