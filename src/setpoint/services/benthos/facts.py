"""From what was seen of a Benthos flow to what its machine asks: pure functions, so that a worker's guards only look.

Each question answers with why not, in the words of the contract (UMH Core's machine `benthos_flow`), and with "" when nothing is wrong:
``healthchecks did not pass: live=true, ready=false (input not connected)``, ``benthos reported 3 output errors``,
``found error (clears in 9m40s): root.input: Failed to connect``.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from setpoint.services.benthos.endpoints import Scan
from setpoint.services.benthos.limits import CONFIG_LOADING_S, REMAIN_RUNNING_S
from setpoint.services.benthos.logs import LogErrors
from setpoint.services.benthos.traffic import Traffic

_SHOWN: Final = 500


class LogFacts(msgspec.Struct, frozen=True):
    """What counts in a log. `clears_at` is by the clock of its time stamps, so that equal facts stay equal while time passes."""

    error: str = ""
    """That about the config where there is one, since others follow from it; else the last."""
    clears_at: float = 0.0
    """When the last error counts no more."""
    config_error: str = ""
    """Why the config cannot work: starting it again does not help."""
    port_error: str = ""
    """Why its HTTP server does not listen; Benthos goes on without it, unseen."""


class FlowFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a flow after one look."""

    running: bool = False
    """Its process is up, says the backend. Everything else it says itself."""
    uptime_s: float = 0.0
    scan: Scan = Scan()
    log: LogFacts = LogFacts()
    moving: bool = False
    """Messages came in or went out since the look before."""
    in_per_s: float = 0.0
    out_per_s: float = 0.0
    processor_errors: int = 0
    output_errors: int = 0
    """Messages that failed within the error window."""

    @property
    def other_config(self) -> bool:
        """A Benthos answers with a config that is not the one wanted: this flow's own before a restart, or another flow's."""
        return self.scan.answered == "other config"

    @property
    def port_lost(self) -> str:
        """Why the port is not this flow's: another has it. It must move to another port, and be restarted. "" when it is."""
        return self.scan.problem if self.scan.answered == "stranger" else self.log.port_error


def facts_of(
    scan: Scan, traffic: Traffic, log: LogErrors, *, pid: int | None, uptime_s: float, now: float, log_now: float
) -> FlowFacts:
    """The facts after one look, which is added to `traffic`. `pid` is None when the process is not running.

    `now` is monotonic, as for `Traffic`; `log_now` is the clock of the log's time stamps. Both say when the process began, `uptime_s` ago:
    errors in the log from before do not count. Of a process that is not running they do: they may say why.
    """
    if pid is None:
        traffic.forget()
        return FlowFacts(log=log_facts(log, now=log_now))
    if scan.metrics is not None:
        traffic.add(scan.metrics.counters, pid=pid, now=now, uptime_s=uptime_s)
    in_per_s, out_per_s = traffic.per_second(now)
    processor_errors, output_errors = traffic.errors(now)
    return FlowFacts(
        running=True,
        uptime_s=uptime_s,
        scan=scan,
        log=log_facts(log, now=log_now, since=log_now - uptime_s),
        moving=scan.metrics is not None and traffic.moving,
        in_per_s=in_per_s,
        out_per_s=out_per_s,
        processor_errors=processor_errors,
        output_errors=output_errors,
    )


def log_facts(log: LogErrors, *, now: float, since: float = float("-inf")) -> LogFacts:
    """What counts in the log now, of what was written since then."""
    found = log.found(now=now, since=since)
    if not found:
        return LogFacts()
    config = next((line for _, line in found if line.config_error), None)
    port = next((line for _, line in reversed(found) if line.port_error), None)
    at, last = found[-1]
    return LogFacts(
        error=str(config or last)[:_SHOWN],
        clears_at=log.clears_at(at),
        config_error=config.message[:_SHOWN] if config else "",
        port_error=port.message[:_SHOWN] if port else "",
    )


def not_loaded(facts: FlowFacts, *, config_loading_s: float = CONFIG_LOADING_S) -> str:
    """Why the config does not count as loaded yet."""
    return facts.log.config_error or _too_young(facts, config_loading_s)


def unhealthy(facts: FlowFacts) -> str:
    """Why it is not both live and ready. That this must last is the machine's matter."""
    scan = facts.scan
    if scan.live and scan.ready:
        return ""
    why = scan.problem or scan.not_ready
    flags = f"live={str(scan.live).lower()}, ready={str(scan.live and scan.ready).lower()}"
    return f"healthchecks did not pass: {flags}{f' ({why})' if why else ''}"


def not_remained(facts: FlowFacts, *, remain_running_s: float = REMAIN_RUNNING_S) -> str:
    """Why it has not remained running for long enough."""
    return _too_young(facts, remain_running_s)


def _too_young(facts: FlowFacts, threshold: float) -> str:
    if not facts.running:
        return "the process is not running"
    return "" if facts.uptime_s >= threshold else f"uptime {facts.uptime_s:.0f} s (< {threshold:g} s threshold)"


def log_trouble(facts: FlowFacts, log_now: float) -> str:
    """The error in the log that still counts, and when it clears, seen from `log_now`."""
    if not facts.log.error:
        return ""
    return f"found error (clears in {duration(facts.log.clears_at - log_now)}): {facts.log.error}"


def metrics_trouble(facts: FlowFacts) -> str:
    """What failed within the error window, or why nobody can say."""
    told = [
        f"benthos reported {count} {side} error{'' if count == 1 else 's'}"
        for side, count in (("output", facts.output_errors), ("processor", facts.processor_errors))
        if count
    ]
    return ", ".join(told) or facts.scan.metrics_problem


def connected(facts: FlowFacts, side: Literal["input", "output"]) -> bool:
    """Whether all inputs, or all outputs, are connected: as ``/ready`` says of each where it does, else as their counters say."""
    scan = facts.scan
    if not scan.live or scan.ready:
        return scan.live
    told = [one.connected for one in scan.connections if one.path.removeprefix("root.").startswith(side)]
    if told:
        return all(told)
    return scan.metrics is not None and not any(name.startswith(side) for name in scan.metrics.unconnected)


def duration(seconds: float) -> str:
    """``9m40s``, ``12s``: as the contract writes it."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
