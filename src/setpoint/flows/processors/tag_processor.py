"""`tag_processor`: gives each value its place in the unified namespace.

Three stages of JavaScript set `msg.meta` and may change `msg.payload`: `defaults`, then each of `conditions` whose `if` holds, then
`advancedProcessing`. Fields as documented for benthos-umh, and the limits `timeout` and `memoryLimit`. Afterwards the message is made a
time series: payload ``{timestamp_ms, value}``, and `umh_topic` in the meta, from

    location_path, data_contract, tag_name      required
    virtual_path                                optional
    timestamp_ms                                optional: milliseconds since 1970, or RFC 3339; else the present time
    datatype                                    optional: number, string or bool, what the value is made into

Lists and objects become JSON text, since a tag holds one value.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import Field

from setpoint.data import Several
from setpoint.flows.component import Context, MessageError, Meta, Msg, serialized, structured
from setpoint.flows.component import Fields as ComponentFields
from setpoint.flows.javascript import Script, Stage
from setpoint.flows.processors.scripting import Body, Condition, ScriptFields
from setpoint.namespace import Topic, TopicError

REQUIRED = ("location_path", "data_contract", "tag_name")


class When(ComponentFields):
    """One condition: where `if` holds, the body of `then` runs."""

    if_: Condition = Field(alias="if")
    then: Body


class TagProcessor:
    """Names values and stamps them."""

    class Fields(ScriptFields):
        defaults: Body = ""
        conditions: tuple[When, ...] = ()
        advancedProcessing: Body = ""

    def __init__(self, fields: Fields, context: Context) -> None:
        stages = [Stage("defaults", fields.defaults)] if fields.defaults.strip() else []
        stages += [Stage(f"conditions.{n}", case.then, case.if_) for n, case in enumerate(fields.conditions)]
        if fields.advancedProcessing.strip():
            stages.append(Stage("advancedProcessing", fields.advancedProcessing))
        self._script = Script(stages, timeout=fields.timeout, memory=fields.memoryLimit)
        self._clock = context.clock

    def __call__(self, msg: Msg) -> Any:
        """The time series the message stands for. Raises `MessageError` where it has no place or no value."""
        outputs = self._script(structured(msg.payload), msg.meta)
        if len(outputs) == 1:
            return self._series(*outputs[0])
        return Several(self._series(payload, meta) for payload, meta in outputs)

    def _series(self, payload: Any, meta: Meta) -> Msg:
        location, contract, name = meta.get("location_path"), meta.get("data_contract"), meta.get("tag_name")
        if not (location and contract and name):
            raise MessageError(_missing(meta))
        meta["umh_topic"] = meta["topic"] = _topic(location, contract, meta.get("virtual_path", ""), name)
        stamp = meta.get("timestamp_ms")
        timestamp_ms = int(self._clock() * 1000) if not stamp else _milliseconds(stamp)
        return Msg({"timestamp_ms": timestamp_ms, "value": _value(payload, meta.get("datatype"))}, meta)


def _missing(meta: Meta) -> str:
    missing = [name for name in REQUIRED if not meta.get(name)]
    return f"msg.meta lacks {', '.join(missing)}: set {'them' if len(missing) > 1 else 'it'} in defaults"


@lru_cache(65_536)
def _topic(location_path: str, contract: str, virtual_path: str, name: str) -> str:
    """The topic of these parts; doubled and outer dots, which templates leave behind, are taken away."""
    try:
        return str(
            Topic.build(
                location_path=_dotted(location_path), contract=contract, virtual_path=_dotted(virtual_path), name=name
            )
        )
    except TopicError as error:
        raise MessageError(str(error)) from error


def _dotted(path: str) -> str:
    return re.sub(r"\.{2,}", ".", path).strip(".")


def _milliseconds(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise MessageError(
            f"msg.meta.timestamp_ms is {text!r}; expected milliseconds since 1970, or a time such as 2024-03-12T10:00:00Z"
        )
    return round(moment.timestamp() * 1000)


def _value(payload: Any, datatype: str | None) -> bool | int | float | str:
    if payload is None:
        raise MessageError("the payload is null; a tag needs a number, a text or a truth value")
    if isinstance(payload, dict | list):
        payload = serialized(payload).decode()
    if datatype is None:
        return payload  # type: ignore[no-any-return]  # what is left of JSON
    if datatype == "string":
        return payload if isinstance(payload, str) else serialized(payload).decode()
    if datatype == "number":
        return _number(payload)
    if datatype == "bool":
        return _truth(payload)
    raise MessageError(f"msg.meta.datatype is {datatype!r}; expected number, string or bool")


def _number(payload: Any) -> int | float:
    if not isinstance(payload, str):
        return payload + 0  # type: ignore[no-any-return]  # a truth value becomes 0 or 1
    for kind in (int, float):
        try:
            number = kind(payload)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    raise MessageError(f"msg.meta.datatype is number, but {payload[:60]!r} is not one")


def _truth(payload: Any) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    answer = known.get(serialized(payload).decode().strip().lower())
    if answer is None:
        raise MessageError(f"msg.meta.datatype is bool, but {str(payload)[:60]!r} is neither true nor false")
    return answer
