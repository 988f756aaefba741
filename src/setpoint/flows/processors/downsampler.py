"""`downsampler`: lets only those points of a time series pass that say something new. Without configuration it passes everything.

Two algorithms, each with a `threshold` in units of the value and a `max_time` after which a point passes in any case:

`deadband`       a point passes when it differs from the last one that passed by the threshold or more.
`swinging_door`  a point is held back as long as a straight line from the last one that passed to it stays within the threshold of every
                 point between; when a point breaks that, the one before it passes. So each point left out lies within the threshold of
                 the line between the points that passed around it.

Truth values and texts pass when they change. Messages that are no time series pass as they are. A point older than one already seen is
late: it passes marked with meta `late_oos` = true, or is dropped (`late_policy`). Fields as documented for benthos-umh: `default`, and
`overrides` by exact `topic` or by `pattern` (wildcards, or a regular expression found anywhere in the topic); the first override that
matches counts.

Memory is bounded: of the topics beyond 10,000 the one longest unseen is forgotten, and the point held for it passes.
"""

from __future__ import annotations

import fnmatch
import re
from collections import OrderedDict
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from setpoint.data import Several
from setpoint.flows.component import Context, Duration, Msg, structured
from setpoint.flows.component import Fields as ComponentFields

MAX_TOPICS: Final = 10_000


class Algorithm(ComponentFields):
    """Parameters of either algorithm: threshold in units of the value, longest time between points."""

    threshold: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_time: Duration | None = None


class LatePolicy(ComponentFields):
    """What becomes of a point older than one already seen."""

    late_policy: Literal["passthrough", "drop"] = "passthrough"


class Rule(ComponentFields):
    """How to treat a topic. With both algorithms given, deadband counts."""

    deadband: Algorithm | None = None
    swinging_door: Algorithm | None = None
    late_policy: LatePolicy | None = None


class Override(Rule):
    """A rule for the topics that are `topic` or match `pattern`."""

    topic: str = ""
    pattern: str = ""

    @model_validator(mode="after")
    def _names_topics(self) -> Self:
        if bool(self.topic) == bool(self.pattern):
            raise ValueError("an override needs either topic or pattern")
        if self.pattern and not self.pattern.startswith("*"):
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(
                    f"pattern {self.pattern!r} is neither a wildcard nor a regular expression: {error}"
                ) from None
        return self

    def matches(self, topic: str) -> bool:
        """Whether this rule is for that topic."""
        if self.topic:
            return topic == self.topic
        if fnmatch.fnmatchcase(topic, self.pattern):
            return True
        try:
            return re.search(self.pattern, topic) is not None
        except re.error:  # a wildcard such as *.temperature
            return False


class _Series:
    """What is remembered of one topic: its rule, the last point that passed, the one held back, and the slopes still possible."""

    __slots__ = ("drop_late", "held", "high", "last", "low", "max_ms", "seen", "swinging", "threshold")

    def __init__(self, rule: Rule, default: Rule) -> None:
        door, band = rule.swinging_door or default.swinging_door, rule.deadband or default.deadband
        swinging = rule.deadband is None and (rule.swinging_door is not None or (band is None and door is not None))
        chosen, general = (door, default.swinging_door) if swinging else (band, default.deadband)
        self.swinging = swinging
        given = [section for section in (chosen, general) if section]
        self.threshold = next((section.threshold for section in given if section.threshold is not None), 0.0)
        longest = next((section.max_time for section in given if section.max_time), float("inf"))
        self.max_ms = longest * 1000
        policy = rule.late_policy or default.late_policy
        self.drop_late = policy is not None and policy.late_policy == "drop"
        self.last: tuple[int, Any] | None = None
        self.held: tuple[int, float, Msg] | None = None
        self.seen = -1
        self.open_door()

    def open_door(self) -> None:
        self.low, self.high = float("-inf"), float("inf")

    def passed(self, timestamp_ms: int, value: Any) -> None:
        self.last, self.held = (timestamp_ms, value), None
        self.open_door()


class Downsampler:
    """Thins time series, each topic by itself."""

    class Fields(ComponentFields):
        default: Rule = Rule()
        overrides: tuple[Override, ...] = ()

    def __init__(self, fields: Fields, context: Context) -> None:
        self._default = fields.default
        self._overrides = fields.overrides
        default = fields.default
        self._passes_all = not fields.overrides and default.deadband is None and default.swinging_door is None
        self._series: OrderedDict[str, _Series | None] = OrderedDict()

    def __call__(self, msg: Msg) -> Any:
        """The message, the points it lets pass, or None."""
        if self._passes_all:
            return msg
        payload = structured(msg.payload)
        if not (isinstance(payload, dict) and payload.keys() == {"timestamp_ms", "value"}):
            return msg
        stamp, value = payload["timestamp_ms"], payload["value"]
        if type(stamp) is not int or value != value:  # NaN
            return msg
        series, evicted = self._of(msg.meta.get("umh_topic", ""))
        passing = [msg] if series is None else self._judge(series, stamp, value, msg)
        passing = [*evicted, *passing]
        return passing[0] if len(passing) == 1 else Several(passing)

    def flush(self) -> list[Msg]:
        """The points held back: they end their series when the flow stops."""
        held = [series.held[2] for series in self._series.values() if series and series.held]
        self._series.clear()
        return held

    def _of(self, topic: str) -> tuple[_Series | None, list[Msg]]:
        """What is remembered of the topic (None: no rule, all pass), and the point held for a topic forgotten instead."""
        if topic in self._series:
            self._series.move_to_end(topic)
            return self._series[topic], []
        rule: Rule = next((rule for rule in self._overrides if rule.matches(topic)), self._default)
        ruled = any((rule.deadband, rule.swinging_door, self._default.deadband, self._default.swinging_door))
        series = self._series[topic] = _Series(rule, self._default) if ruled else None
        if len(self._series) <= MAX_TOPICS:
            return series, []
        _, old = self._series.popitem(last=False)
        return series, [old.held[2]] if old and old.held else []

    def _judge(self, series: _Series, stamp: int, value: Any, msg: Msg) -> list[Msg]:
        if stamp < series.seen or (series.swinging and stamp == series.seen):
            return [] if series.drop_late else [Msg(msg.payload, {**msg.meta, "late_oos": "true"})]
        series.seen = stamp
        if isinstance(value, bool) or not isinstance(value, int | float) or series.last is None:
            return self._discrete(series, stamp, value, msg)
        if isinstance(series.last[1], bool) or not isinstance(series.last[1], int | float):
            series.passed(stamp, value)
            return [msg]
        judge = self._swinging if series.swinging else self._deadband
        return judge(series, stamp, value, msg)

    @staticmethod
    def _discrete(series: _Series, stamp: int, value: Any, msg: Msg) -> list[Msg]:
        """Truth values, texts and first points: they pass when they differ from the last one, or when that was long ago."""
        held = [series.held[2]] if series.held else []
        last = series.last
        if last and type(last[1]) is type(value) and last[1] == value and stamp - last[0] < series.max_ms:
            return []
        series.passed(stamp, value)
        return [*held, msg]

    @staticmethod
    def _deadband(series: _Series, stamp: int, value: float, msg: Msg) -> list[Msg]:
        assert series.last is not None
        at, last = series.last
        if abs(value - last) < series.threshold and stamp - at < series.max_ms:
            return []
        series.passed(stamp, value)
        return [msg]

    def _swinging(self, series: _Series, stamp: int, value: float, msg: Msg) -> list[Msg]:
        assert series.last is not None
        passing = []
        at, base = series.last
        if series.held and not series.low <= (value - base) / (stamp - at) <= series.high:
            at, base, previous = series.held
            series.passed(at, base)
            passing.append(previous)
        if stamp - at >= series.max_ms or series.threshold == 0:
            series.passed(stamp, value)
            return [*passing, msg]
        series.low = max(series.low, (value - series.threshold - base) / (stamp - at))
        series.high = min(series.high, (value + series.threshold - base) / (stamp - at))
        series.held = (stamp, value, msg)
        return passing
