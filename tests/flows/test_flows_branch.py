"""`branch`: what a message becomes elsewhere, put back into it."""

from typing import Any

import pytest
from flows_walk import Pipeline, problems

from setpoint.flows.component import ConnectError, Fields, Kind, Msg
from setpoint.flows.processors import PROCESSORS


def branch(*processors: Any, **maps: str) -> dict[str, Any]:
    return {"branch": {"processors": list(processors), **maps}}


DOUBLE = {"mapping": 'root.n = this.n * 2\nmeta by = "double"'}


def test_the_answer_goes_into_the_message() -> None:
    """What was sent is made by one map, what is taken of the answer by another; the rest of the message stays, its meta too."""
    flow = Pipeline(
        branch(DOUBLE, request_map="root.n = this.a.b", result_map='root.twice = this.n\nmeta who = meta("by")')
    )
    result = flow.result(b'{"a": {"b": 4}, "k": 1}', {"own": "x"})
    assert result.data == Msg({"a": {"b": 4}, "k": 1, "twice": 8}, {"own": "x", "who": "double"})


def test_without_maps_the_message_goes_there_and_nothing_comes_back() -> None:
    """A branch for what its processors do."""
    assert Pipeline(branch(DOUBLE)).result({"n": 1}, {"m": "1"}).data == Msg({"n": 1}, {"m": "1"})


def test_a_request_that_is_deleted_skips_the_branch() -> None:
    """The message goes on as it is."""
    flow = Pipeline(branch(DOUBLE, request_map="root = if this.n > 1 { deleted() }", result_map="root = this"))
    assert (flow.out({"n": 5}), flow.out({"n": 1})) == ([{"n": 5}], [{"n": 2}])


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        ({"mapping": 'root = throw("hot")'}, "its processors failed: mapping_0: line 1: hot"),
        ({"mapping": "root = deleted()"}, "its processors made no messages of one"),
        ({"unarchive": {"format": "json_array"}}, "its processors made 2 messages of one"),
    ],
)
def test_a_branch_that_gives_no_answer_fails_the_message(processor: Any, said: str) -> None:
    """Which is as it was, and may be caught."""
    flow = Pipeline(
        branch(processor, result_map="root.x = 1"), {"catch": [{"mutation": 'root = {"error": error(), "was": this}'}]}
    )
    assert flow.out([1, 2]) == [{"error": said, "was": [1, 2]}]


def test_switches_and_catches_work_inside() -> None:
    """The names inside are the branch's own."""
    inside = (
        {"switch": [{"check": "this.n == 1", "processors": [{"mapping": 'root = throw("one")'}]}]},
        {"catch": [DOUBLE]},
    )
    flow = Pipeline(DOUBLE, branch(*inside, result_map="root = this"))
    assert (flow.out({"n": 0.5}), flow.out({"n": 2})) == ([{"n": 2}], [{"n": 4}])


def test_processors_that_wait_are_waited_for_and_connected() -> None:
    """A rate limit inside a branch works as outside; connecting and closing reach what is inside."""
    told: list[str] = []

    class Slow:
        def __init__(self, fields: Fields, context: Any) -> None:
            pass

        async def connect(self) -> None:
            told.append("connect")
            if len(told) == 1:
                raise ConnectError("not yet")

        async def close(self) -> None:
            told.append("close")

        async def __call__(self, msg: Msg) -> Msg:
            return Msg({"slow": msg.payload}, msg.meta)

    PROCESSORS["slow"] = Kind(Fields, Slow)
    try:
        flow = Pipeline(branch({"slow": {}}, result_map="root = this"))
    finally:
        del PROCESSORS["slow"]
    assert flow.walk.is_async
    assert flow.out({"n": 1}) == [{"slow": {"n": 1}}]
    step: Any = flow.steps["branch_0"]

    async def life() -> None:
        with pytest.raises(ConnectError):
            await step.connect()
        await step.connect()
        await step.close()

    import asyncio

    asyncio.run(life())
    assert told == ["connect", "connect", "close"]


def test_what_is_wrong_inside_is_named_at_its_place() -> None:
    """Also in the maps; what keeps messages back cannot answer."""
    found = problems(
        branch({"log": {"levl": 1}}, {"maping": ""}, request_map="root = parse", result_map="root = this.parse_csv()")
    )
    assert list(found) == ["0.branch.processors.0.log.levl", "0.branch.processors.1.maping", "0.branch.result_map"]
    assert "batch keeps messages back" in problems(branch({"batch": {"count": 2}}))["0.branch.processors"]
    assert "downsampler keeps" in problems(branch({"try": [{"downsampler": {}}]}))["0.branch.processors"]
    assert (
        "in a `catch` only"
        in problems({"catch": [branch({"mapping": "root = error()"})]})["0.catch.0.branch.processors.0.mapping"]
    )
