"""The guarantee: when wishes and environment stop changing, every worker reaches its target and keeps it, or says stalled and why."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.control.samples import Process, Spec, supervisor

from setpoint.control import ChildSpec
from setpoint.testing import run

NAMES = ["a", "b", "c"]

steps = st.one_of(
    st.tuples(st.just("want"), st.lists(st.sampled_from(NAMES), unique=True)),
    st.tuples(st.just("stop"), st.sampled_from(NAMES)),
    st.tuples(st.just("crash"), st.sampled_from(NAMES)),
    st.tuples(st.just("blind"), st.sampled_from(NAMES)),
    st.tuples(st.just("see"), st.sampled_from(NAMES)),
    st.tuples(st.just("refuse"), st.sampled_from(NAMES)),
    st.tuples(st.just("slow"), st.sampled_from(NAMES)),
    st.tuples(st.just("wait"), st.floats(0.0, 40.0)),
)


@settings(max_examples=150, deadline=None)
@given(script=st.lists(steps, max_size=25))
def test_after_any_history_every_worker_comes_to_rest_where_it_is_wanted(script: list[tuple[str, object]]) -> None:
    """Random wishes, crashes, blindness, refusals and delays; then the world behaves, and all is as wanted within the backoff cap."""

    async def main() -> None:
        s = supervisor()
        wanted: dict[str, ChildSpec] = {}
        for what, argument in script:
            if what == "wait":
                await asyncio.sleep(float(argument))  # type: ignore[arg-type]
            elif what == "want":
                wanted = {name: ChildSpec(name, "process", Spec(children=["k"])) for name in argument}  # type: ignore[attr-defined]
                s.want(list(wanted.values()))
            elif what == "stop" and argument in wanted:
                wanted[str(argument)] = ChildSpec(str(argument), "process", Spec(desired_state="stopped"))
                s.want(list(wanted.values()))
            else:
                _disturb(s.core.family.table.get(f"top/{argument}"), what)
        for record in list(s.core.family.table.values()):
            _heal(record.worker)
        await asyncio.sleep(200)
        assert {view.path for view in s.workers() if view.path.count("/") == 1} == {f"top/{name}" for name in wanted}
        for view in s.workers():
            detail = s.worker(view.path)
            assert detail.ready.ok, detail
            assert detail.state == ("running" if detail.desired == "running" else "stopped")
        moves = [s.worker(view.path).transitions for view in s.workers()]
        await asyncio.sleep(120)
        assert moves == [s.worker(view.path).transitions for view in s.workers()]
        assert await s.stop() == []

    run(main())


def _disturb(record: object, what: str) -> None:
    worker = getattr(record, "worker", None)
    if not isinstance(worker, Process):
        return
    if what == "crash":
        worker.world.running = False
    elif what == "blind":
        worker.world.observe_fails = "blind"
    elif what == "see":
        worker.world.observe_fails = ""
    elif what == "refuse":
        worker.world.start_fails = "refused"
    elif what == "slow":
        worker.world.takes, worker.world.observing_takes = 4.0, 1.9


def _heal(worker: object) -> None:
    if isinstance(worker, Process):
        worker.world.observe_fails = worker.world.start_fails = ""
        worker.world.takes, worker.world.observing_takes = 0.1, 0.0
