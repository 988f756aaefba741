"""What carrying records costs: trivial chains, a branching machine, single calls, asynchronous functions, and building.

The workloads are those of the published comparison (three states with two transforms; ten states with conditions, of which a record passes
four or five). Every figure is the best of several rounds in CPU time on one core, results kept, and what came out is checked. Run
``python benchmarks/data.py``, with ``--json`` for a machine to read; ``--check`` fails where a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from setpoint.data import ArcDef, DataMode, Definition, NetworkDef, Plan, Result, Retry, StateDef
from setpoint.data.fsm import SimpleFSM

Record = dict[str, Any]


class Figure(NamedTuple):
    """One result: in records or transitions a second, or in microseconds or milliseconds, with its target."""

    name: str
    value: float
    unit: str
    target: float

    @property
    def reached(self) -> bool:
        """Whether the target is met; rates are met from above, times from below."""
        return self.value >= self.target if self.unit.endswith("/s") else self.value <= self.target


def total(record: Record) -> Record:
    record["total"] = record["qty"] * record["price"]
    return record


def label(record: Record) -> Record:
    record["label"] = "big" if record["total"] >= 100 else "small"
    return record


async def total_later(record: Record) -> Record:
    return total(record)


async def label_later(record: Record) -> Record:
    return label(record)


def chain(mode: DataMode, first: Any = total, second: Any = label, **more: Any) -> Definition:
    """Three states, a transform on each arc."""
    states = (
        StateDef(name="intake", arcs=(ArcDef(target="priced", transforms=(first,)),), **more),
        StateDef(name="priced", arcs=(ArcDef(target="labelled", transforms=(second,)),)),
        StateDef(name="labelled", final=True),
    )
    return Definition(name="linear3", networks=(NetworkDef(name="main", states=states),), data_mode=mode)


def branching(mode: DataMode) -> Definition:
    """Ten states: a classification into four lanes, a merge, an audit for some."""

    def lane(low: int, high: int) -> Callable[[Record], bool]:
        return lambda record: low <= record["score"] < high

    def stamp(tag: str) -> Callable[[Record], None]:
        return lambda record: record.__setitem__("lane", tag)

    lanes = {"a": (0, 25), "b": (25, 50), "c": (50, 75), "d": (75, 101)}
    ways = tuple(
        ArcDef(target=f"lane_{tag}", priority=-at, condition=lane(*bounds), transforms=(stamp(tag),))
        for at, (tag, bounds) in enumerate(lanes.items())
    )
    audit = ArcDef(target="audit", priority=5, condition=lambda record: record["score"] % 10 == 3)
    states = (
        StateDef(name="intake", arcs=(ArcDef(target="classify"),)),
        StateDef(name="classify", arcs=ways),
        *(StateDef(name=f"lane_{tag}", arcs=(ArcDef(target="merge"),)) for tag in lanes),
        StateDef(name="merge", arcs=(audit, ArcDef(target="done", condition=lambda record: record["score"] % 10 != 3))),
        StateDef(name="audit", arcs=(ArcDef(target="flagged"),)),
        StateDef(name="done", final=True),
        StateDef(name="flagged", final=True),
    )
    return Definition(name="branch10", networks=(NetworkDef(name="main", states=states),), data_mode=mode)


def long_chain(count: int) -> str:
    """A machine of so many states as a file."""
    states = [f"  - {{name: s{at}{', is_start: true' if not at else ''}}}" for at in range(count - 1)]
    arcs = [f"  - {{from: s{at}, to: s{at + 1}, condition: 'k >= {-at}'}}" for at in range(count - 1)]
    return "\n".join(
        ["name: chain", "states:", *states, f"  - {{name: s{count - 1}, is_end: true}}", "arcs:", *arcs, ""]
    )


def rounds(work: Callable[[Sequence[Record]], Any], records: Sequence[Record], *, count: int = 7) -> float:
    """Seconds of the best of several rounds, each with records of its own."""
    best = float("inf")
    for _ in range(count):
        fresh = [dict(record) for record in records]
        began = time.process_time()
        work(fresh)
        best = min(best, time.process_time() - began)
    return best


def all_of(plan: Plan, records: Sequence[Record]) -> list[Result]:
    """The results of all records, kept."""
    results: list[Result] = []
    plan.run_all(records, results.append)
    return results


def figures(count: int) -> list[Figure]:
    """All of them, over so many records a round."""
    items = [{"seq": at, "qty": at % 17, "price": 7, "note": "abcdefgh"} for at in range(count)]
    scores = [{"seq": at, "score": at * 37 % 101} for at in range(count)]
    found = []
    for mode, target in ((DataMode.DIRECT, 700_000), (DataMode.COPY, 250_000)):
        plan = Plan(chain(mode))
        check = all_of(plan, [dict(items[16])])[0]
        assert (check.final_state, check.data["label"], check.success) == ("labelled", "big", True)
        seconds = rounds(lambda records, plan=plan: all_of(plan, records), items)  # type: ignore[misc]
        found.append(Figure(f"3 states, 2 transforms, {mode}", count / seconds, "records/s", target))
    plan = Plan(branching(DataMode.DIRECT))
    transitions = sum(len(result.path) - 1 for result in all_of(plan, [dict(record) for record in scores]))
    seconds = rounds(lambda records: all_of(plan, records), scores)
    found.append(Figure("10 states, conditions", transitions / seconds, "transitions/s", 1_500_000))
    fsm = SimpleFSM(chain(DataMode.COPY))
    bare = rounds(lambda records: [label(total(record)) for record in records], items)
    single = rounds(lambda records: [fsm.process(record) for record in records], items)
    found.append(Figure("one process call, above its functions", (single - bare) / count * 1e6, "us", 5.0))
    later = Plan(chain(DataMode.DIRECT, total_later, label_later))
    seconds = rounds(lambda records: asyncio.run(_awaited(later, records)), items)
    found.append(Figure("async plan", count / seconds, "records/s", 100_000))
    careful = Plan(chain(DataMode.DIRECT, retry=Retry(attempts=2)))
    seconds = rounds(lambda records: all_of(careful, records), items[: count // 10])
    found.append(Figure("3 states, retries configured", count // 10 / seconds, "records/s", 40_000))
    text = long_chain(100)
    seconds = rounds(lambda _: SimpleFSM(text), [])
    found.append(Figure("100 states from YAML", seconds * 1e3, "ms", 50.0))
    return found


async def _awaited(plan: Plan, records: Sequence[Record]) -> list[Result]:
    return [await plan.arun(record) for record in records]


def main() -> int:
    """Prints the figures. 1 where `--check` finds a target missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--records", type=int, default=50_000)
    options = parser.parse_args()
    found = figures(options.records)
    if options.json:
        print(json.dumps([{**figure._asdict(), "reached": figure.reached} for figure in found], indent=1))
    else:
        for figure in found:
            value = f"{figure.value:,.2f}" if figure.value < 100 else f"{figure.value:,.0f}"
            print(
                f"{figure.name:42} {value:>12} {figure.unit:14} target {figure.target:,.0f}{'' if figure.reached else '  MISSED'}"
            )
    return int(options.check and not all(figure.reached for figure in found))


if __name__ == "__main__":
    sys.exit(main())
