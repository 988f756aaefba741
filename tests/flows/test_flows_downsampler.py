"""`downsampler`: what passes, what does not, and how far what is left out lies from what was kept."""

from typing import Any

from flows_plant import context
from hypothesis import given
from hypothesis import strategies as st

from setpoint.data import Several
from setpoint.flows.component import Msg
from setpoint.flows.processors.downsampler import MAX_TOPICS, Downsampler


def sampler(**fields: Any) -> Downsampler:
    return Downsampler(Downsampler.Fields.model_validate(fields), context())


def point(stamp: int, value: Any, topic: str = "umh.v1.a._raw.x") -> Msg:
    return Msg({"timestamp_ms": stamp, "value": value}, {"umh_topic": topic})


def passing(subject: Downsampler, points: list[Msg]) -> list[Msg]:
    """All that passes of the points, in order, without what is held back at the end."""
    found: list[Msg] = []
    for msg in points:
        out = subject(msg)
        found += out if isinstance(out, Several) else [out]
    return found


def values(subject: Downsampler, series: list[tuple[int, Any]]) -> list[Any]:
    return [msg.payload["value"] for msg in passing(subject, [point(*one) for one in series])]


def test_without_configuration_everything_passes() -> None:
    """The sampler that every bridge gets does not change what goes through it."""
    subject = sampler()
    points = [point(n, 1) for n in range(5)] + [Msg("text", {})]
    assert passing(subject, points) == points


def test_deadband_keeps_changes_of_the_threshold_or_more() -> None:
    """The first point passes; others when they differ enough from the last that passed."""
    series = [(0, 10.0), (1, 10.3), (2, 10.5), (3, 10.1), (4, 10.0), (5, 10.9)]
    assert values(sampler(default={"deadband": {"threshold": 0.5}}), series) == [10.0, 10.5, 10.0, 10.9]


def test_max_time_lets_a_point_pass_in_any_case() -> None:
    """A steady value shows up again after max_time, by the time in the messages."""
    series = [(0, 1), (500, 1), (999, 1), (1000, 1), (1500, 1), (2000, 1)]
    assert len(values(sampler(default={"deadband": {"threshold": 5, "max_time": "1s"}}), series)) == 3
    assert len(values(sampler(default={"swinging_door": {"threshold": 5, "max_time": "1s"}}), series)) == 3


def test_truth_values_and_texts_pass_when_they_change() -> None:
    """Also between types: true is not 1."""
    series = [(0, True), (1, True), (2, 1), (3, "on"), (4, "on"), (5, "off"), (6, 3), (7, 3)]
    for kind in ("deadband", "swinging_door"):
        assert values(sampler(default={kind: {"threshold": 1}}), series) == [True, 1, "on", "off", 3]


def test_late_points_are_marked_or_dropped() -> None:
    """A point older than one already seen does not disturb the algorithm."""
    series = [point(10, 1.0), point(5, 9.0), point(11, 1.0)]
    marked = passing(sampler(default={"deadband": {"threshold": 2}}), series)
    assert [(msg.payload["value"], msg.meta.get("late_oos")) for msg in marked] == [(1.0, None), (9.0, "true")]
    dropping = {"deadband": {"threshold": 2}, "late_policy": {"late_policy": "drop"}}
    assert len(passing(sampler(default=dropping), series)) == 1


def test_overrides_by_topic_wildcard_and_expression() -> None:
    """The first override that matches counts and takes what it does not say from the default."""
    subject = sampler(
        default={"deadband": {"threshold": 10, "max_time": "1h"}},
        overrides=[
            {"topic": "umh.v1.a._raw.exact", "deadband": {"threshold": 1}},
            {"pattern": "*.temperature", "deadband": {"threshold": 2}},
            {"pattern": "_count(er)?$", "swinging_door": {"threshold": 0}},
        ],
    )
    for topic, kept in (("exact", 3), ("temperature", 2), ("x_counter", 3), ("other", 1)):
        assert len(passing(subject, [point(n, n * 1.0, f"umh.v1.a._raw.{topic}") for n in range(3)])) == kept, topic


def test_topics_do_not_mix() -> None:
    """Each topic has its own last point."""
    subject = sampler(default={"deadband": {"threshold": 5}})
    assert len(passing(subject, [point(n, n % 2 * 100.0, f"umh.v1.a._raw.t{n % 2}") for n in range(10)])) == 2


def test_memory_is_bounded_and_forgetting_loses_no_point() -> None:
    """Of too many topics the one longest unseen is forgotten; the point held for it passes."""
    subject = sampler(default={"swinging_door": {"threshold": 5}})
    passing(subject, [point(0, 1.0, "first"), point(1, 1.5, "first")])
    out = passing(subject, [point(0, 1.0, f"t{n}") for n in range(MAX_TOPICS)])
    assert [msg.payload["value"] for msg in out if msg.meta["umh_topic"] == "first"] == [1.5]
    assert len(subject._series) == MAX_TOPICS


def test_what_is_held_back_comes_out_at_the_end() -> None:
    """Flushing ends each series with its last point."""
    subject = sampler(default={"swinging_door": {"threshold": 1}})
    assert values(subject, [(0, 0.0), (1, 0.5), (2, 0.9)]) == [0.0]
    assert [msg.payload["value"] for msg in subject.flush()] == [0.9]
    assert subject.flush() == []


series_of_points = st.lists(st.tuples(st.integers(1, 1000), st.integers(-100, 100)), min_size=1, max_size=60)


@given(series_of_points, st.integers(1, 20))
def test_what_the_swinging_door_leaves_out_lies_close_to_the_line(steps: list[tuple[int, int]], threshold: int) -> None:
    """Each point left out is within the threshold of the line between the points kept before and after it."""
    at, series = 0, []
    for gap, value in steps:
        at += gap
        series.append((at, float(value)))
    subject = sampler(default={"swinging_door": {"threshold": threshold}})
    kept = [
        (msg.payload["timestamp_ms"], msg.payload["value"]) for msg in passing(subject, [point(*one) for one in series])
    ]
    kept += [(msg.payload["timestamp_ms"], msg.payload["value"]) for msg in subject.flush()]
    assert kept[0] == series[0]
    assert kept[-1] == series[-1]
    assert kept == sorted(kept)
    for stamp, value in series:
        before = max(one for one in kept if one[0] <= stamp)
        after = min(one for one in kept if one[0] >= stamp)
        share = (stamp - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
        assert abs(value - (before[1] + share * (after[1] - before[1]))) <= threshold + 1e-6


@given(series_of_points, st.integers(1, 50))
def test_what_the_deadband_leaves_out_is_close_to_the_last_kept(steps: list[tuple[int, int]], threshold: int) -> None:
    """Each point left out differs from the last one kept by less than the threshold."""
    subject = sampler(default={"deadband": {"threshold": threshold}})
    last = None
    for stamp, (_, value) in enumerate(steps):
        out = subject(point(stamp, value))
        if isinstance(out, Msg):
            last = value
        assert last is not None
        assert abs(value - last) < threshold
