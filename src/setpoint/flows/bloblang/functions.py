"""The functions of Bloblang that are translated: each takes its arguments, and gives what is evaluated for a message."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from setpoint.flows.bloblang.run import Node, Run, Value, World
from setpoint.flows.bloblang.values import (
    DELETED,
    NOTHING,
    MappingError,
    inner,
    is_number,
    readable,
    text_of,
    written,
)
from setpoint.flows.component import serialized

Given = Mapping[str, Node]


class Function(NamedTuple):
    """A function: the names of its arguments, how many are required, and what makes it of them and of the place of its call."""

    names: tuple[str, ...]
    required: int
    make: Callable[[Given, int], Value]
    reads: str = ""
    """What of the message it reads: payload, meta or error."""


def _counter(given: Given, place: int) -> Value:
    def count(run: Run, this: Any) -> int:
        run.kept[place] = run.kept.get(place, 0) + 1
        return int(run.kept[place])

    return count


def _random_int(given: Given, place: int) -> Value:
    low, high, seed = (given[name].value if name in given else None for name in ("min", "max", "seed"))

    def bounds(run: Run, this: Any) -> tuple[int, int]:
        least, most = _whole(low(run, this)) if low else 0, _whole(high(run, this)) if high else 2**53 - 1
        if most < least:
            raise MappingError(f"random_int: min {least} is above max {most}")
        return least, most

    if all(node.constant for name, node in given.items() if name != "seed"):
        bounds(Run(World()), None)  # what is wrong with it would be wrong for every message

    def draw(run: Run, this: Any) -> int:
        least, most = bounds(run, this)
        chance = run.world.random
        if seed is not None:
            if place not in run.kept:
                run.kept[place] = random.Random(_whole(seed(run, this)))
            chance = run.kept[place].random
        return least + int(chance() * (most - least + 1))

    return draw


def _whole(value: Any) -> int:
    if not is_number(value) or int(value) != value:
        raise MappingError("random_int needs whole numbers")
    return int(value)


def _now(run: Run, this: Any) -> str:
    return datetime.fromtimestamp(run.world.clock(), UTC).isoformat().replace("+00:00", "Z")


def _meta(given: Given, place: int) -> Value:
    """The meta of the message as it came."""
    if "key" not in given:
        return lambda run, this: dict(run.read)
    key = given["key"].value
    return lambda run, this: run.read.get(text_of(key(run, this)))


def _json(given: Given, place: int) -> Value:
    path = given["path"].value if "path" in given else None

    def read(run: Run, this: Any) -> Any:
        found = readable(run.this())
        for name in text_of(path(run, this)).split(".") if path else ():
            found = inner(found, name)
        return found

    return read


def _throw(given: Given, place: int) -> Value:
    why = given["why"].value

    def throw(run: Run, this: Any) -> Any:
        raise MappingError(written(why(run, this)))

    return throw


def _plain(value: Value, reads: str = "") -> Function:
    return Function((), 0, lambda given, place: value, reads)


FUNCTIONS: Final[dict[str, Function]] = {
    "content": _plain(lambda run, this: serialized(run.payload), "payload"),
    "counter": Function((), 0, _counter),
    "deleted": _plain(lambda run, this: DELETED),
    "error": _plain(lambda run, this: run.error or None, "error"),
    "errored": _plain(lambda run, this: bool(run.error), "error"),
    "json": Function(("path",), 0, _json, "payload"),
    "meta": Function(("key",), 0, _meta, "meta"),
    "metadata": Function(("key",), 0, _meta, "meta"),
    "nothing": _plain(lambda run, this: NOTHING),
    "now": _plain(_now),
    "random_int": Function(("seed", "min", "max"), 0, _random_int),
    "throw": Function(("why",), 1, _throw),
    "timestamp_unix": _plain(lambda run, this: int(run.world.clock())),
    "timestamp_unix_micro": _plain(lambda run, this: int(run.world.clock() * 1_000_000)),
    "timestamp_unix_milli": _plain(lambda run, this: int(run.world.clock() * 1000)),
    "timestamp_unix_nano": _plain(lambda run, this: int(run.world.clock() * 1_000_000) * 1000),
    "uuid_v4": _plain(lambda run, this: str(uuid.uuid4())),
}
