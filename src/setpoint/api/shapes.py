"""Shapes: what the answers of the interface look like, and how they become bytes.

Times leave as RFC 3339 texts in UTC with milliseconds, durations as seconds. Every struct here is what a client sees, field by field;
how the runtime keeps the same facts is its own business.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from setpoint.agent import ConfigStatus, ProblemView
from setpoint.control import WorkerView
from setpoint.control.tally import Counted
from setpoint.control.views import Condition
from setpoint.machine import Explanation
from setpoint.machine.guards import Judged
from setpoint.store import Transition

_encoder = msgspec.json.Encoder(enc_hook=str)


def encode(value: Any) -> bytes:
    """JSON. What JSON does not know is written as text; integers of any size and texts that are no valid Unicode pass."""
    try:
        return _encoder.encode(value)
    except (OverflowError, UnicodeError):  # one odd value must not hide all others
        return json.dumps(msgspec.to_builtins(value, enc_hook=str)).encode()


class Json(Response):
    """An answer in JSON, made by msgspec."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode(content)


def rfc3339(seconds: float) -> str:
    """A moment, in seconds since the epoch, as ``2026-01-31T12:00:00.123Z``; "" for one no calendar has."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Worker(msgspec.Struct, frozen=True):
    """One worker in the list."""

    path: str
    type: str
    state: str
    phase: str
    reason: str
    since: str
    desired: str


def worker(view: WorkerView) -> Worker:
    return Worker(view.path, view.type, view.state, view.phase, view.reason, rfc3339(view.since), view.desired)


class Detail(msgspec.Struct, frozen=True):
    """One worker in full. `age` is that of the last good observation, in seconds; None before the first. `transitions` and `starts` are
    counted over the life of the store, `restarts` are starts that follow upon one another just now."""

    path: str
    type: str
    machine: str
    state: str
    phase: str
    reason: str
    since: str
    desired: str
    ready: Condition
    reconciling: Condition
    stalled: Condition
    generation: int
    seen_generation: int
    transitions: int
    starts: int
    restarts: int
    observed: Any
    age: float | None
    error: str
    acting: list[str]
    children: list[str]
    tally: Counted


class Move(msgspec.Struct, frozen=True):
    """One transition of a worker."""

    path: str
    at: str
    event: str
    source: str
    target: str
    reason: str


def move(transition: Transition) -> Move:
    return Move(
        transition.path,
        rfc3339(transition.at),
        transition.event,
        transition.source,
        transition.target,
        transition.reason,
    )


class Guard(msgspec.Struct, frozen=True):
    """A guard as it was answered: `kind` is leaf, all, any, not or held; `because` is the fact behind the answer."""

    kind: str
    text: str
    ok: bool
    doc: str
    because: str
    parts: list[Guard]


class Way(msgspec.Struct, frozen=True):
    """One way out of the present state. `opens_in` is how long its `after` still takes, in seconds; None where it has none."""

    event: str
    target: str
    open: bool
    opens_in: float | None
    guard: Guard


class Explained(msgspec.Struct, frozen=True):
    """Why a worker is where it is and what would move it.

    `wakes_in`: seconds until time alone could change the decision. `holding`: the children that are not yet where this worker waits for
    them. `history`: its last transitions, oldest first. A worker that is not alive yet has no ways.
    """

    worker: Detail
    ways: list[Way]
    next: str
    acts: list[str]
    wakes_in: float | None
    holding: list[Worker]
    history: list[Move]


def ways(explanation: Explanation, now: float) -> list[Way]:
    """The ways out, with times relative to `now` on the clock of the explanation."""
    return [
        Way(
            way.event,
            way.target,
            way.open,
            None if way.opens_at is None else max(0.0, way.opens_at - now),
            _guard(way.guard),
        )
        for way in explanation.ways
    ]


def _guard(node: Judged) -> Guard:
    doc = "" if node.doc == node.text else node.doc
    return Guard(node.kind, node.text, node.ok, doc, node.because, [_guard(part) for part in node.parts])


class Config(msgspec.Struct, frozen=True):
    """What became of the config file. `applied` says what runs, `applied_digest` of which text; a time is "" where there was none yet."""

    file: str
    ok: bool
    applied: str
    read_at: str
    applied_at: str
    digest: str
    applied_digest: str
    problems: list[ProblemView]


def config(status: ConfigStatus) -> Config:
    return Config(
        status.file,
        status.ok,
        status.applied,
        rfc3339(status.read_at) if status.read_at else "",
        rfc3339(status.applied_at) if status.applied_at else "",
        status.digest,
        status.applied_digest,
        status.problems,
    )


class Topic(msgspec.Struct, frozen=True):
    """The last message of a topic. `value` is decoded; `problem` says why where it cannot be, and `value` then is None.

    `timestamp` is that of the value where it carries one, else that of the message, `written` always that of the message. `count`: messages
    in all; `rate`: messages a second lately, None where nobody follows the topic. `metadata`: the headers of the message.
    """

    topic: str
    kind: Literal["time_series", "relational", ""]
    value: Any
    timestamp: str
    count: int
    producer: str
    problem: str = ""
    contract: str = ""
    rate: float | None = None
    metadata: dict[str, str] = {}
    written: str = ""


class TopicValue(msgspec.Struct, frozen=True):
    """One of the last values of a topic; its fields are those of `Topic`."""

    kind: Literal["time_series", "relational", ""]
    value: Any
    timestamp: str
    written: str
    problem: str = ""


class TopicDetail(Topic, frozen=True, kw_only=True):
    """A topic with its last values, oldest first; the last of them is its value."""

    history: list[TopicValue]


class TopicNode(msgspec.Struct, frozen=True):
    """A place in the namespace. `path` is without ``umh.v1.``; `topics` counts those at it and below it, `topic` is the one at it.

    `children` is None where they were not asked for; where there are too many to tell, some are missing.
    """

    name: str
    path: str
    kind: Literal["location", "contract", "path", "topic"]
    topics: int
    topic: Topic | None
    children: list[TopicNode] | None


class Failure(msgspec.Struct, frozen=True):
    """What every answer that is not a success looks like."""

    error: str
    hint: str = ""
