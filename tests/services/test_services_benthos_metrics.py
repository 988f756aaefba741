"""What a flow counts: read out of text, and turned into what happened lately."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.services.benthos import Counters, Latency, NotPrometheus, Traffic
from setpoint.services.benthos.metrics import read

BENTO = """
# HELP input_connection_lost Bento Counter metric
# TYPE input_connection_lost counter
input_connection_lost{label="",path="root.input.broker.inputs.0"} 1
input_connection_lost{label="two",path="root.input.broker.inputs.1"} 0
input_connection_up{label="",path="root.input.broker.inputs.0"} 1
input_connection_up{label="two",path="root.input.broker.inputs.1"} 1
input_latency_ns{label="",path="root.input.broker.inputs.0",quantile="0.5"} NaN
input_latency_ns{label="two",path="root.input.broker.inputs.1",quantile="0.5"} 2e+06
input_latency_ns{label="two",path="root.input.broker.inputs.1",quantile="0.99"} 4e+06
input_latency_ns_sum{label="two",path="root.input.broker.inputs.1"} 9e+06
input_latency_ns_count{label="two",path="root.input.broker.inputs.1"} 3
input_received{label="",path="root.input.broker.inputs.0"} 31
input_received{label="two",path="root.input.broker.inputs.1"} 1.2e+01
output_sent{label="a \\"}{b",path="root.output"} 7 1395066363000
output_error{label="",path="root.output"} 3
processor_error{label="",path="root.pipeline.processors.0"} 5
unrelated_total{x="y"} 99
go_goroutines 12
"""
"""As Bento 1.20 writes it, with one label of an enemy and one time stamp."""


def test_counters_are_summed_over_components() -> None:
    """Each input and output has a line of its own; what we do not know is not read."""
    counters = read(BENTO).counters
    assert (counters.input_received, counters.output_sent) == (43, 7)
    assert (counters.output_error, counters.processor_error) == (3, 5)
    assert (counters.input_connection_up, counters.input_connection_lost) == (2, 1)
    assert counters.processor_received == 0


def test_latencies_are_milliseconds_of_the_slowest() -> None:
    """What was not measured is None, also where it is written as NaN."""
    metrics = read(BENTO)
    assert metrics.input_latency == Latency(p50=2.0, p90=None, p99=4.0, mean=3.0)
    assert metrics.output_latency == Latency()


def test_components_that_are_not_connected_are_named() -> None:
    """By label or path: those that came up no oftener than they were lost."""
    assert read(BENTO).unconnected == ("input root.input.broker.inputs.0",)


def test_a_missing_counter_is_said() -> None:
    """A `metrics.mapping` may have renamed it: it is not taken for zero without a word."""
    assert read('input_received{path="root.input"} 1\n').missing == ("output_sent",)
    assert read("# TYPE input_received counter\n").missing == ("input_received", "output_sent")


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"input_received{path=\\"root.input\\"}":0}',
        "<html>hello</html>",
        "\x00\x01",
        "input_received{ 5",
        "input_received{} x",
    ],
)
def test_what_is_not_prometheus_is_refused(text: str) -> None:
    """Other kinds of metrics, and pages of strangers, with how they begin."""
    with pytest.raises(NotPrometheus, match="not in the Prometheus format: they begin with"):
        read(text)


@given(st.text() | st.lists(st.sampled_from(BENTO.splitlines())).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else happens, whatever answers on the port."""
    try:
        counters = read(text).counters
    except NotPrometheus:
        return
    assert counters.input_received >= 0


def counted(received: int, sent: int = 0, *, processor: int = 0, output: int = 0) -> Counters:
    return Counters(input_received=received, output_sent=sent, processor_error=processor, output_error=output)


def test_rates_are_means_over_the_window() -> None:
    """Messages a second over the last minute, or since the start where that is less."""
    traffic = Traffic()
    for second in range(1, 11):
        traffic.add(counted(10 * second, 5 * second), pid=1, now=float(second), uptime_s=float(second))
    assert traffic.per_second(10.0) == (10.0, 5.0)
    assert traffic.moving
    for second in range(11, 200):
        traffic.add(counted(100, 50), pid=1, now=float(second), uptime_s=float(second))
    assert traffic.per_second(199.0) == (0.0, 0.0)
    assert not traffic.moving


def test_what_an_old_process_did_before_we_looked_does_not_count() -> None:
    """An agent that comes back finds a million messages and three errors of yesterday: neither is news."""
    traffic = Traffic()
    traffic.add(counted(1_000_000, output=3), pid=1, now=5.0, uptime_s=90_000.0)
    assert (traffic.moving, traffic.per_second(5.0), traffic.errors(5.0)) == (False, (0.0, 0.0), (0, 0))
    traffic.add(counted(1_000_010, output=4), pid=1, now=6.0, uptime_s=90_001.0)
    assert (traffic.moving, traffic.errors(6.0)) == (True, (0, 1))


def test_what_a_young_process_did_before_we_looked_counts() -> None:
    """Errors of its first second are not lost because the first look came after it."""
    traffic = Traffic()
    traffic.add(counted(4, processor=2), pid=1, now=100.0, uptime_s=1.0)
    assert (traffic.moving, traffic.errors(100.0)) == (True, (2, 0))


def test_a_counter_that_went_back_is_a_new_process() -> None:
    """All that it says came in since; nothing is negative and nothing counted twice."""
    traffic = Traffic()
    traffic.add(counted(100), pid=1, now=1.0, uptime_s=500.0)
    traffic.add(counted(103), pid=1, now=2.0, uptime_s=501.0)
    traffic.add(counted(4, output=1), pid=1, now=3.0, uptime_s=0.5)
    assert traffic.latest == counted(4, output=1)
    assert traffic.errors(3.0) == (0, 1)
    assert traffic.per_second(3.0) == (3.5, 0.0)


def test_errors_clear_when_their_window_has_passed() -> None:
    """One bad message does not degrade a flow for ever."""
    traffic = Traffic(error_window_s=10.0)
    traffic.add(counted(0), pid=1, now=0.0, uptime_s=0.0)
    traffic.add(counted(1, processor=1), pid=1, now=1.0, uptime_s=1.0)
    for second in range(2, 15):
        traffic.add(counted(second, processor=1), pid=1, now=float(second), uptime_s=float(second))
        assert traffic.errors(float(second)) == ((1, 0) if second < 11 else (0, 0))


def test_a_flow_that_was_stopped_is_forgotten() -> None:
    """The next process begins with nothing."""
    traffic = Traffic()
    traffic.add(counted(5, output=2), pid=1, now=1.0, uptime_s=1.0)
    traffic.forget()
    assert (traffic.moving, traffic.errors(1.0), traffic.per_second(1.0)) == (False, (0, 0), (0.0, 0.0))


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=59))
def test_nothing_is_lost_or_counted_twice(steps: list[tuple[int, bool]]) -> None:
    """Within the window the rate is all that came in, however often the process began anew and however much it counts by then."""
    traffic = Traffic()
    traffic.add(counted(0), pid=0, now=0.0, uptime_s=0.0)
    total = value = pid = 0
    for second, (came, anew) in enumerate(steps, 1):
        value = came if anew else value + came
        pid += anew
        total += came
        traffic.add(counted(value), pid=pid, now=float(second), uptime_s=float(second))
    assert traffic.per_second(float(len(steps)))[0] == round(total / len(steps), 1)
