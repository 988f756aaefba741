"""From what was seen to what the machine asks: each answer in the words of the contract."""

from __future__ import annotations

from setpoint.services.benthos import (
    Connection,
    Counters,
    FlowFacts,
    LogErrors,
    LogFacts,
    Metrics,
    Scan,
    Traffic,
    facts_of,
)
from setpoint.services.benthos.facts import (
    connected,
    duration,
    log_trouble,
    metrics_trouble,
    not_loaded,
    not_remained,
    unhealthy,
)

WELL = Scan("flow", ready=True, version="1.20.0", metrics=Metrics(counters=Counters(input_received=5, output_sent=5)))


def seen(scan: Scan = WELL, log: LogErrors | None = None, *, uptime_s: float = 20.0) -> FlowFacts:
    """After one look, at 1000 s of every clock."""
    return facts_of(scan, Traffic(), log or LogErrors(), pid=1, uptime_s=uptime_s, now=1000.0, log_now=1000.0)


def test_a_flow_that_is_well_has_no_trouble() -> None:
    """Every question is answered with nothing."""
    facts = seen()
    assert [not_loaded(facts), unhealthy(facts), not_remained(facts), metrics_trouble(facts)] == [""] * 4
    assert log_trouble(facts, 1000.0) == ""
    assert (facts.moving, facts.port_lost, facts.other_config) == (True, "", False)
    assert (facts.in_per_s, facts.out_per_s) == (0.2, 0.2)
    assert connected(facts, "input")
    assert connected(facts, "output")


def test_the_gates_say_how_long_it_has_been_up() -> None:
    """5 s until the config counts as loaded, 10 s until it is called up, or what a flow says itself."""
    young = seen(uptime_s=4.4)
    assert not_loaded(young) == "uptime 4 s (< 5 s threshold)"
    assert not_remained(young) == "uptime 4 s (< 10 s threshold)"
    assert not_loaded(seen(uptime_s=5.0)) == not_remained(seen(uptime_s=10.0)) == ""
    assert not_loaded(young, config_loading_s=0.0) == not_remained(young, remain_running_s=1.0) == ""


def test_a_process_that_is_down_is_nothing_else() -> None:
    """What it did before is forgotten, but not what it said last."""
    log = LogErrors()
    log.add("Configuration file read error: a.yaml: (4,1) unable to infer output type", at=990.0)
    traffic = Traffic()
    traffic.add(Counters(input_received=9), pid=1, now=999.0, uptime_s=1.0)
    facts = facts_of(WELL, traffic, log, pid=None, uptime_s=0.0, now=1000.0, log_now=1000.0)
    assert not_remained(facts) == "the process is not running"
    assert not_loaded(facts) == "Configuration file read error: a.yaml: (4,1) unable to infer output type"
    assert (facts.moving, traffic.moving, facts.scan) == (False, False, Scan())


def test_health_shows_its_flags_and_why() -> None:
    """Live and ready, with what the flow or the network said."""
    waiting = Scan("flow", not_ready="input not connected", metrics=Metrics())
    assert unhealthy(seen(waiting)) == "healthchecks did not pass: live=true, ready=false (input not connected)"
    silent = Scan(problem="nothing listens on 127.0.0.1:20000")
    assert unhealthy(seen(silent)) == (
        "healthchecks did not pass: live=false, ready=false (nothing listens on 127.0.0.1:20000)"
    )


def test_errors_in_the_metrics_are_counted() -> None:
    """Outputs first, as the contract has it; one is not several."""
    scan = Scan("flow", ready=True, metrics=Metrics(counters=Counters(output_error=3, processor_error=1)))
    assert metrics_trouble(seen(scan)) == "benthos reported 3 output errors, benthos reported 1 processor error"


def test_metrics_that_cannot_be_read_are_trouble() -> None:
    """Nobody can say whether anything fails."""
    assert (
        metrics_trouble(seen(Scan("flow", ready=True, metrics_problem="/metrics answers 404")))
        == "/metrics answers 404"
    )


def test_an_error_in_the_log_says_when_it_clears() -> None:
    """The last one, and not those from before the process began."""
    log = LogErrors()
    log.add("level=error msg=early path=root.input", at=975.0)
    assert log_trouble(seen(log=log), 1000.0) == ""
    log.add("level=error msg=first path=root.input", at=985.0)
    log.add("level=error msg=boom path=root.input", at=990.0)
    facts = seen(log=log)
    assert log_trouble(facts, 1000.0) == "found error (clears in 9m50s): root.input: boom"
    assert log_trouble(facts, 1580.0) == "found error (clears in 10s): root.input: boom"
    assert facts == seen(log=log)


def test_an_error_of_the_config_goes_before_what_follows_from_it() -> None:
    """Benthos says afterwards that it shuts down: that is no reason."""
    log = LogErrors()
    log.add('level=error msg="Config lint error" lint="(1,37) expected query"', at=995.0)
    log.add('level=error msg="Shutting down due to linter errors"', at=995.0)
    facts = seen(log=log)
    assert facts.log.config_error == facts.log.error == "Config lint error: (1,37) expected query"
    assert not_loaded(facts) == facts.log.config_error


def test_a_port_that_is_lost_is_known_from_either_side() -> None:
    """A stranger answers on it, or the flow itself says that it could not have it."""
    taken = Scan("stranger", problem="port 20000 is held by another program")
    assert seen(taken).port_lost == "port 20000 is held by another program"
    log = LogErrors()
    log.add('level=error msg="HTTP Server error: listen tcp 127.0.0.1:20000: bind: address already in use"', at=999.0)
    assert seen(Scan(problem="nothing"), log).port_lost.startswith("HTTP Server error: listen tcp")
    assert seen(Scan("other config", problem="x")).other_config


def test_connections_are_known_by_what_the_flow_tells() -> None:
    """By name where it names them, else by its counters; nothing is connected of one that does not answer."""
    named = Scan(
        "flow", connections=(Connection("", "input", True), Connection("", "output.broker.outputs.0", False, "refused"))
    )
    assert (connected(seen(named), "input"), connected(seen(named), "output")) == (True, False)
    counted = Scan("flow", not_ready="input not connected", metrics=Metrics(unconnected=("input press",)))
    assert (connected(seen(counted), "input"), connected(seen(counted), "output")) == (False, True)
    assert not connected(seen(Scan()), "input")


def test_a_look_without_metrics_moves_nothing() -> None:
    """Nobody answered: what came in before is not news again."""
    traffic, log = Traffic(), LogErrors()
    first = facts_of(WELL, traffic, log, pid=1, uptime_s=1.0, now=1.0, log_now=1.0)
    second = facts_of(Scan(), traffic, log, pid=1, uptime_s=2.0, now=2.0, log_now=2.0)
    assert (first.moving, second.moving) == (True, False)


def test_durations_are_written_as_the_contract_does() -> None:
    """Minutes and seconds; never less than none."""
    assert [duration(seconds) for seconds in (-5, 0, 59.6, 61, 600)] == ["0s", "0s", "1m0s", "1m1s", "10m0s"]


def test_nothing_seen_yet() -> None:
    """The facts of a flow nobody has looked at are those of one that does not run."""
    facts = FlowFacts()
    assert (facts.running, facts.scan.live, facts.log) == (False, False, LogFacts())
