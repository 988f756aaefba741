"""Cutting a flow that takes both engines: what runs where, what neither can run, and how the parts are seen as one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.flows import FlowConfigError, FlowEngine
from setpoint.namespace import EmbeddedBroker
from setpoint.services.benthos.flows import Link
from setpoint.services.benthos.program import Programs
from setpoint.workers.flow import REJECTED, FlowObserved, FlowSpec, engine_for
from setpoint.workers.flow.parts import as_one
from setpoint.workers.flow.split import OURS, Cut, benthos_of, cut_of, front_of, rest_of

ENGINE = FlowEngine(EmbeddedBroker(os.devnull))
GENERATE = {"generate": {"mapping": "root.n = counter()", "interval": "1s"}}
NATS = {"nats": {"urls": ["nats://127.0.0.1:1"], "subjects": ["a"]}}
HASH = {"mapping": 'root = content().hash("md5")'}
PLAIN = {"mapping": "root = this"}
TAG = {"tag_processor": {"defaults": "return msg;"}}
UNS: dict[str, Any] = {"uns": {}}
S3 = {"aws_s3": {"bucket": "b"}}
STDOUT: dict[str, Any] = {"stdout": {}}


def flow(source: Any, *processors: Any, sink: Any = UNS, **sections: Any) -> dict[str, Any]:
    """A flow of these components."""
    return {"input": source, "pipeline": {"processors": list(processors)}, "output": sink, **sections}


def kinds(part: Mapping[str, Any] | None) -> list[str]:
    """The components of a part in their order."""
    if part is None:
        return []
    sections = [part.get("input"), *part["pipeline"]["processors"], part.get("output")]
    return [next(key for key in one if key != "label") for one in sections if one and "noop" not in one]


def parts(made: Cut) -> list[list[str]]:
    """The components of each part."""
    return [kinds(part) for part in (made.front, made.benthos, made.rest)]


CUTS = [
    (flow(GENERATE, HASH, TAG), [[], ["generate", "mapping"], ["tag_processor", "uns"]]),
    (flow(NATS, TAG), [[], ["nats"], ["tag_processor", "uns"]]),
    (flow(NATS, PLAIN, TAG, PLAIN), [[], ["nats", "mapping"], ["tag_processor", "mapping", "uns"]]),
    (flow(NATS), [[], ["nats"], ["uns"]]),
    (flow(UNS, HASH, sink=STDOUT), [["uns"], ["mapping", "stdout"], []]),
    (flow(UNS, TAG, sink=S3), [["uns", "tag_processor"], ["aws_s3"], []]),
    (flow(UNS, PLAIN, HASH, TAG), [["uns"], ["mapping", "mapping"], ["tag_processor", "uns"]]),
    (flow(NATS, HASH, sink=STDOUT), [[], ["nats", "mapping", "stdout"], []]),
    (flow(GENERATE, {"switch": [{"processors": [TAG]}]}, sink=S3), [["generate", "switch"], ["aws_s3"], []]),
    (flow(GENERATE, PLAIN, TAG), [[], ["generate", "mapping"], ["tag_processor", "uns"]]),
    (flow(UNS, TAG, PLAIN), [["uns", "tag_processor"], ["mapping"], ["uns"]]),
    (flow(GENERATE, PLAIN, TAG, metrics={"json_api": {}}), [[], ["generate", "mapping"], ["tag_processor", "uns"]]),
]


@pytest.mark.parametrize(("config", "expected"), CUTS, ids=[str(expected) for _, expected in CUTS])
def test_benthos_runs_what_only_it_has_and_what_stands_beside(
    config: dict[str, Any], expected: list[list[str]]
) -> None:
    """The part on Benthos ends where a component begins that only Setpoint has. Those of the agent compile."""
    made = cut_of(config, ENGINE)
    assert parts(made) == expected


NOBODYS = [
    (flow(NATS, {"tag_procesor": {}}, TAG), "tag_procesor", "tag_processor"),
    (flow({"htp_client": {}}, TAG), "htp_client", "http_client"),
    (flow(NATS, {"tag_processor": {"defalts": ""}}), "defalts", "defaults"),
    (flow(NATS, {"switch": [{"processors": [TAG, HASH]}]}), "hash", "'tag_processor', which only Setpoint has"),
    (flow(NATS, TAG, HASH), "hash", "'tag_processor' stands between"),
    (flow(NATS, TAG, sink=S3), "aws_s3", "'tag_processor' stands between"),
    (flow(NATS, TAG, dead_letter={"nats": {}}), "dead_letter", ""),
    (flow(UNS, TAG, metrics={}), "metrics", ""),
]


@pytest.mark.parametrize(("config", "name", "hint"), NOBODYS, ids=[name for _, name, _ in NOBODYS])
def test_what_neither_can_run_is_an_error_by_name(config: dict[str, Any], name: str, hint: str) -> None:
    """It says which component, and what to do; nothing else is blamed."""
    with pytest.raises(FlowConfigError) as error:
        cut_of(config, ENGINE)
    assert len(error.value.problems) == 1
    assert name in str(error.value)
    assert hint in str(error.value)


def test_a_flow_without_benthos_says_what_to_install() -> None:
    """The check of a file names the component, also where the rest could run."""
    programs = Programs(env={"PATH": "/nonexistent"})
    with pytest.raises(FlowConfigError, match="no Benthos is installed"):
        engine_for(FlowSpec(config=flow(NATS, TAG)), ENGINE, programs)


STEPS = st.sampled_from([HASH, PLAIN, TAG, {"nodered_js": {"code": "return msg;"}}, {"jq": {"query": "."}}])


@given(st.sampled_from([GENERATE, NATS, UNS]), st.lists(STEPS, max_size=6), st.sampled_from([UNS, S3, STDOUT]))
def test_a_cut_keeps_all_components_in_their_order(source: Any, steps: list[Any], sink: Any) -> None:
    """Whatever the flow: the parts in a row are the flow, Benthos gets none of Setpoint's, and what only Benthos has is there."""
    config = flow(source, *steps, sink=sink)
    try:
        made = cut_of(config, ENGINE)
    except FlowConfigError:
        return
    front, middle, rest = parts(made)
    assert front + middle + rest == kinds(config)
    assert made.benthos is not None
    if not made.whole:
        assert OURS.isdisjoint(middle)
    ran = made.benthos["pipeline"]["processors"]
    assert all(step in ran for step in steps if step not in (PLAIN, TAG) and "nodered_js" not in step)


def test_each_part_has_the_sections_it_can_use() -> None:
    """Resources go to both sides as far as they are known, dead letters and the buffer to the agent, the rest to Benthos."""
    known, foreign = {"label": "seen", "memory": {}}, {"label": "far", "redis": {"url": "redis://127.0.0.1"}}
    config = flow(
        NATS,
        TAG,
        dead_letter={"file": {"path": "failed.jsonl"}},
        buffer={"memory": {"messages": 5}},
        cache_resources=[known, foreign],
        metrics={"json_api": {}},
    )
    made = cut_of(config, ENGINE)
    assert made.rest is not None
    assert made.benthos is not None
    assert made.rest.keys() == {"pipeline", "output", "dead_letter", "buffer", "cache_resources"}
    assert made.rest["cache_resources"] == [known]
    assert made.benthos.keys() == {"input", "pipeline", "cache_resources", "metrics"}
    assert made.benthos["cache_resources"] == [known, foreign]
    sqlite = cut_of(config | {"buffer": {"sqlite": {"path": "b.db"}}}, ENGINE)
    assert sqlite.benthos is not None
    assert sqlite.benthos["buffer"] == {"sqlite": {"path": "b.db"}}


def test_places_and_names_are_those_of_the_whole_flow() -> None:
    """What Benthos or the agent says of a processor is said of the one that is written there."""
    made = cut_of(flow(UNS, TAG, HASH, TAG, TAG | {"label": "last"}), ENGINE)
    assert made.benthos is not None
    assert made.rest is not None
    assert made.benthos["pipeline"] == {"threads": 1, "processors": [{"noop": {}}, HASH]}
    assert [one["label"] for one in made.rest["pipeline"]["processors"]] == ["tag_processor_2", "last"]


def test_a_part_that_is_replaced_sends_to_nobody_else() -> None:
    """Where it sends depends on what the part is that sends, and not on the part behind it."""

    def path(config: dict[str, Any]) -> str:
        rest = rest_of(cut_of(config, ENGINE), Link(1, "t"))
        assert rest is not None
        return str(rest["input"]["http_server"]["path"])

    assert path(flow(NATS, HASH, TAG)) == path(flow(NATS, HASH, TAG, PLAIN))
    assert path(flow(NATS, HASH, TAG)) != path(flow(NATS, PLAIN, TAG))


def test_both_ends_of_a_way_agree() -> None:
    """The side that takes listens where the other sends, on loopback, and for the same token."""
    made = cut_of(flow(UNS, HASH, TAG), ENGINE)
    into, out = Link(20001, "secret-in"), Link(20002, "secret-out")
    front, middle, rest = front_of(made, into), benthos_of(made, into, out), rest_of(made, out)
    assert front is not None
    assert middle is not None
    assert rest is not None
    takes, sends = middle["input"]["http_server"], front["output"]["http_client"]
    assert sends["url"] == f"http://{takes['address']}{takes['path']}"
    assert takes["address"] == "127.0.0.1:20001"
    assert sends["headers"]["Authorization"] in middle["input"]["processors"][0]["mapping"]
    takes, sends = rest["input"]["http_server"], middle["output"]["http_client"]
    assert sends["url"] == f"http://{takes['address']}{takes['path']}"
    assert sends["headers"]["Authorization"] == f"Bearer {takes['bearer_token']}"


def up(**changes: Any) -> FlowObserved:
    """A part that runs well."""
    good = {"up": True, "current": True, "uptime_s": 9.0, "input_connected": True, "output_connected": True}
    return FlowObserved(**(good | changes))


def test_parts_are_seen_as_one_flow() -> None:
    """It is up when all are, connected at its ends and within, and says which part is in trouble."""
    whole = as_one({"on Benthos": up(in_per_s=5.0, moving=True), "behind Benthos": up(out_per_s=4.0, uptime_s=3.0)})
    assert (whole.engine, whole.up, whole.current, whole.uptime_s) == ("split", True, True, 3.0)
    assert (whole.in_per_s, whole.out_per_s, whole.moving) == (5.0, 4.0, True)
    closed = as_one({"on Benthos": up(), "behind Benthos": up(output_connected=False, fault="no broker")})
    assert (closed.input_connected, closed.output_connected, closed.fault) == (True, False, "behind Benthos: no broker")
    deaf = as_one({"on Benthos": up(), "behind Benthos": up(input_connected=False, fault="cannot listen")})
    assert not deaf.output_connected
    half = as_one({"on Benthos": up(), "behind Benthos": FlowObserved(fault="not started")})
    assert (half.up, half.partly) == (False, True)
    refused = as_one({"on Benthos": FlowObserved(fault=f"{REJECTED}x"), "behind Benthos": FlowObserved(fault="y")})
    assert refused.fault == f"{REJECTED}x"


def test_the_input_of_a_part_on_benthos_may_end() -> None:
    """The flow has ended then, though the part behind it goes on listening."""
    ended = up(finished=True, ended_after=5, input_connected=False, output_connected=False)
    whole = as_one({"on Benthos": ended, "behind Benthos": up()})
    assert whole.finished
    assert whole.ended_after == 5
    assert whole.output_connected
