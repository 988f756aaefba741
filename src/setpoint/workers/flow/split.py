"""A flow that takes both engines: which part of it runs where, and how messages go from one part to the next.

Some components only Benthos has, some only Setpoint (`OURS`: those that a stock Benthos lacks, and `uns`, because the namespace is here).
A flow with both is cut::

    input        processors                            output
    http_client  bloblang  catch │ tag_processor       uns        on Benthos, then in the agent
    uns          downsampler     │ bloblang            aws_s3     in the agent, then on Benthos
    opcua      │ bloblang        │ tag_processor       uns        both sides in the agent, the middle on Benthos

Benthos gets one run of components: from what only it has to both sides, up to what only Setpoint has. Where there is no such run, because
they stand in each other's way, the flow is an error with the names.

A cut is a POST over loopback: lines of JSON, each an envelope (`setpoint.flows.processors.envelope`) with payload, meta, and, of a message
that failed, why. Who sends shows a token. Each side answers for a message only when the next one has: a request is answered when all in
it is delivered, and is made again until it is. One is under way at a time, so messages keep their order. Its path is a digest of the part
that sends, so that a part which is being replaced does not send to the receiver of another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal, NamedTuple

import msgspec

from setpoint.flows import FlowConfigError, FlowEngine, FlowProblem
from setpoint.flows.problems import BENTHOS, Path
from setpoint.services.benthos.flows import Link
from setpoint.services.ports import LOOPBACK

Config = Mapping[str, Any]
Place = Literal["agent", "benthos", "either"]

ENDS: Final = ("input", "output")
OURS: Final = frozenset(
    {"uns", "tag_processor", "nodered_js", "downsampler", "stream_processor", "machine", "batch", "envelope"}
)
"""What the agent runs. UMH's Benthos has some of these too; but its `uns` is not this namespace."""
PROTOCOLS: Final = frozenset({"modbus", "opcua", "sparkplug_b"})
"""What a stock Benthos lacks and UMH's has: the agent runs it where it knows all of its fields."""
MESSAGES: Final = 32
"""In one request, at most: so many are worked on in the agent in one go without holding up other flows."""
BYTES: Final = 4_000_000
"""A request with so much in it has no further message."""
ANSWERED_IN: Final = "600s"
"""The longest that a request may wait for its answer; after that it is made again, and what it had may be there twice."""
GIVEN_UP_IN: Final = "610s"


class Cut(msgspec.Struct, frozen=True):
    """The parts of a flow in the order of its messages, each a config that lacks the ends where it was cut; None: there is no such part."""

    front: Config | None = None
    benthos: Config | None = None
    rest: Config | None = None

    @property
    def whole(self) -> bool:
        """Whether it has one part only."""
        return (self.front, self.benthos, self.rest).count(None) == 2


class Element(NamedTuple):
    """An input, a processor or an output of a flow."""

    path: Path
    role: str
    section: Any


def cut_of(config: Config, engine: FlowEngine) -> Cut:
    """How a flow that shall run on Benthos is cut. Raises `FlowConfigError` with what neither engine can run."""
    try:
        engine.compile(config)
        problems = []
    except FlowConfigError as error:
        problems = error.problems
    made = cut(config, problems)
    if not made.whole:
        for part in (front_of(made, Link()), rest_of(made, Link())):
            if part is not None:
                engine.compile(part)
    return made


def cut(config: Config, problems: Sequence[FlowProblem]) -> Cut:
    """The parts of a flow in which the embedded engine finds these problems. Raises `FlowConfigError`.

    Without a component that only Setpoint has all of it is for Benthos, which judges it by itself.
    """
    elements = _elements(config)
    if elements is None or not any(_ours(one.section) for one in elements):
        return Cut(benthos=config)
    if faults := list(_nobodys(elements, problems)):
        raise FlowConfigError(faults)
    places = [_place(one, problems) for one in elements]
    begin, end = _run(elements, places, problems)
    if (begin, end) == (0, len(elements)):
        return Cut(benthos=config)
    before, behind = elements[:begin], elements[end:]
    sections = _for_agent(config, problems)
    buffer = {} if _at(problems, ("buffer",)) or not config.get("buffer") else {"buffer": config["buffer"]}
    front = _agents(before, sections | buffer) if before else None
    rest = _agents(behind, sections if before else sections | buffer) if behind else None
    return Cut(front, _benthos(config, elements, begin, end, without=buffer), rest)


def _elements(config: Config) -> list[Element] | None:
    """Its components in the order of the messages; None where it has not the form of a flow."""
    pipeline = config.get("pipeline") or {}
    processors = pipeline.get("processors") or [] if isinstance(pipeline, Mapping) else None
    if not isinstance(processors, list | tuple) or not all(isinstance(config.get(end), Mapping) for end in ENDS):
        return None
    middle = [Element(("pipeline", "processors", n), "processor", one) for n, one in enumerate(processors)]
    return [Element(("input",), "input", config["input"]), *middle, Element(("output",), "output", config["output"])]


def _at(problems: Sequence[FlowProblem], path: Path) -> list[FlowProblem]:
    return [problem for problem in problems if problem.path[: len(path)] == path]


def _kinds(section: object) -> list[str]:
    return [str(key) for key in section if key != "label"] if isinstance(section, Mapping) else []


def _ours(section: object, known: frozenset[str] = OURS | PROTOCOLS) -> set[str]:
    """The components of Setpoint that a section names, itself or within."""
    return set(known.intersection(_kinds(section))).union(*(_ours(inner, known) for inner in _within(section)))


def _within(section: object) -> Iterator[object]:
    """What may be a component in a section: the items of its lists, and what it calls input or output."""
    if isinstance(section, list | tuple):
        yield from section
    elif isinstance(section, Mapping):
        for key, value in section.items():
            yield from [value] if key in ENDS else _within(value)


def _nobodys(elements: Sequence[Element], problems: Sequence[FlowProblem]) -> Iterator[FlowProblem]:
    """What is wrong with those that neither engine can run, and with what only the embedded one reads."""
    yield from _at(problems, ("dead_letter",))
    for one in elements:
        faults, ours = _at(problems, one.path), sorted(_ours(one.section, OURS))
        if ours:
            hint = f"it stands with {' and '.join(map(repr, ours))}, which only Setpoint has: nothing runs both"
            yield from (_hinted(fault, hint) for fault in faults)
        elif not _known(one.role).intersection(_kinds(one.section)):
            yield from faults


@cache
def _known(role: str) -> frozenset[str]:
    """The components that one of the engines has."""
    from setpoint.flows.inputs import INPUTS
    from setpoint.flows.outputs import OUTPUTS
    from setpoint.flows.processors import PROCESSORS

    here: dict[str, Mapping[str, object]] = {"input": INPUTS, "processor": PROCESSORS, "output": OUTPUTS}
    return frozenset({*here[role], *BENTHOS[role], *(("switch", "try", "catch") if role == "processor" else ())})


def _hinted(fault: FlowProblem, hint: str) -> FlowProblem:
    """The same; with this hint where it would send people to Benthos."""
    return fault._replace(hint=hint) if "engine: benthos" in str(fault) else fault


def _place(one: Element, problems: Sequence[FlowProblem]) -> Place:
    if _at(problems, one.path):
        return "benthos"
    return "agent" if _ours(one.section) else "either"


def _run(elements: Sequence[Element], places: Sequence[Place], problems: Sequence[FlowProblem]) -> tuple[int, int]:
    """What Benthos runs: from which element on, and up to which. Raises `FlowConfigError` where that is not one run."""
    needed = [n for n, place in enumerate(places) if place == "benthos"] or [
        n for n, place in enumerate(places) if place == "either"
    ][:1]
    if not needed:
        message = "all of its components are Setpoint's: Benthos has nothing to run"
        raise FlowConfigError(problems or [FlowProblem(("engine",), message, "leave the engine out, or write auto")])
    begin, end = needed[0], needed[-1] + 1
    between = [elements[n] for n in range(begin, end) if places[n] == "agent"]
    if between:
        name = sorted(_ours(between[0].section))[0]
        hint = f"{name!r} stands between parts that only Benthos has: put all of those before it, or all behind it"
        raise FlowConfigError(_hinted(fault, hint) for fault in _at(problems, elements[end - 1].path))
    while begin and places[begin - 1] == "either":
        begin -= 1
    while end < len(places) and places[end] == "either":
        end += 1
    return begin, end


def _for_agent(config: Config, problems: Sequence[FlowProblem]) -> dict[str, Any]:
    """The sections beside the components that parts in the agent have."""
    found: dict[str, Any] = {"dead_letter": config["dead_letter"]} if config.get("dead_letter") is not None else {}
    for name in ("cache_resources", "rate_limit_resources"):
        items = config.get(name)
        kept = [item for n, item in enumerate(items) if not _at(problems, (name, n))] if isinstance(items, list) else []
        if kept:
            found[name] = kept
    return found


def _agents(part: Sequence[Element], sections: Config) -> Config:
    """A part in the agent. Processors are called what they are called in the whole flow."""
    made = {**sections, "pipeline": {"processors": [_labelled(one) for one in part if one.role == "processor"]}}
    return made | {one.role: one.section for one in part if one.role in ENDS}


def _labelled(one: Element) -> Config:
    section: Config = one.section
    return {"label": f"{_kinds(section)[0]}_{one.path[-1]}", **{k: v for k, v in section.items() if k != "label" or v}}


def _benthos(config: Config, elements: Sequence[Element], begin: int, end: int, *, without: Config) -> Config:
    """The part on Benthos, with a processor that does nothing for each before it: what Benthos says of places is then true of the flow.

    Without a number of threads it has one: more would change the order of messages.
    """
    processors = [one.section for one in elements[begin:end] if one.role == "processor"]
    padding: list[Config] = [{"noop": {}}] * (begin - 1)
    pipeline = {"threads": 1, **(config.get("pipeline") or {}), "processors": [*padding, *processors]}
    made = {key: value for key, value in config.items() if key not in (*ENDS, "dead_letter", *without)}
    return made | {"pipeline": pipeline} | {one.role: one.section for one in elements[begin:end] if one.role in ENDS}


def front_of(made: Cut, link: Link) -> Config | None:
    """The part before Benthos; it sends over this link."""
    if made.front is None or made.benthos is None:
        return made.front
    output = {
        "url": f"http://{LOOPBACK}:{link.port or 1}{_path(made.front)}",
        "headers": {"Authorization": f"Bearer {link.token}"},
        "body": "lines",
        "timeout": GIVEN_UP_IN,
    }
    return _sealing(made.front) | {"output": {"label": "to_benthos", "http_client": output}}


def _sealing(front: Config) -> dict[str, Any]:
    seal = {"label": "to_benthos_sealed", "envelope": {"do": "seal"}}
    return {**front, "pipeline": {"processors": [*front["pipeline"]["processors"], seal]}}


def benthos_of(made: Cut, into: Link, out: Link) -> Config | None:
    """The part on Benthos; it is sent to over the one link, and sends over the other."""
    if made.benthos is None:
        return None
    if made.whole:
        return made.benthos
    config = dict(made.benthos)
    if made.front is not None:
        config["input"] = _received(into, _path(made.front))
    if made.rest is not None:
        config["output"] = _sent(out, _path(made.benthos))
    return config


def _received(link: Link, path: str) -> Config:
    shown = json.dumps(f"Bearer {link.token}")
    return {
        "label": "from_agent",
        "http_server": {
            "address": f"{LOOPBACK}:{link.port}",
            "path": path,
            "allowed_verbs": ["POST"],
            "timeout": ANSWERED_IN,
        },
        "processors": [
            {"mapping": f"root = if @Authorization != {shown} {{ deleted() }}"},
            {"unarchive": {"format": "json_documents"}},
            {"mapping": 'meta = this.meta\nroot = this.payload.decode("base64")'},
        ],
    }


def _sent(link: Link, path: str) -> Config:
    return {
        "label": "to_agent",
        "http_client": {
            "url": f"http://{LOOPBACK}:{link.port}{path}",
            "verb": "POST",
            "headers": {"Authorization": f"Bearer {link.token}", "Content-Type": "application/x-ndjson"},
            "timeout": GIVEN_UP_IN,
            "retries": 1_000_000_000,
            "retry_period": "250ms",
            "max_retry_backoff": "2s",
            "backoff_on": [429, 503],
            "max_in_flight": 1,
            "batching": {
                "count": MESSAGES,
                "byte_size": BYTES,
                "period": "10ms",
                "processors": [{"archive": {"format": "lines"}}],
            },
        },
        "processors": [{"mapping": 'root = {"payload": content().encode("base64"), "meta": @, "error": error()}'}],
    }


def rest_of(made: Cut, link: Link) -> Config | None:
    """The part behind Benthos; it is sent to over this link."""
    if made.rest is None or made.benthos is None:
        return made.rest
    fields = {
        "address": f"{LOOPBACK}:{link.port}",
        "path": _path(made.benthos),
        "bearer_token": link.token,
        "timeout": ANSWERED_IN,
        "max_body_size": 1_000_000_000,
    }
    opening = [
        {"label": "from_benthos_lines", "unarchive": {"format": "lines"}},
        {"label": "from_benthos_opened", "envelope": {"do": "open"}},
    ]
    pipeline = {"processors": [*opening, *made.rest["pipeline"]["processors"]]}
    return {**made.rest, "input": {"label": "from_benthos", "http_server": fields}, "pipeline": pipeline}


def _path(part: Config) -> str:
    """Where what this part sends is taken."""
    text = json.dumps(part, sort_keys=True, default=str)
    return f"/{hashlib.sha256(text.encode()).hexdigest()[:16]}"
