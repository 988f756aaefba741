"""Laws: what every worker has to keep, checked in one line.

    def test_press_keeps_the_laws():
        check_worker(Press)

Some laws are checked over many generated snapshots (deciding never raises, says why, and says the same when asked again), others by
running the worker in a real supervisor on virtual time (it stops when told to, comes back after every kind of fault, its actions may be
repeated). A worker that is run needs a world that obeys: give a script (`setpoint.testing.scripted`), or a function that makes the worker
over a stand-in of what it talks to.

Every broken law is reported, each with the smallest example that breaks it. What could not be checked is in the `Report`, with why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from setpoint.control import ChildSpec, Worker
from setpoint.testing.case import Case, Law
from setpoint.testing.live_laws import heeds_cancellation, recovers, repeats, says_what_is_missing, starts_again, stops
from setpoint.testing.pure_laws import decides, derives, names_children, valid, waits
from setpoint.testing.sources import Source


class Report(NamedTuple):
    """The laws that were checked and kept, and those that could not be checked, with why."""

    worker: str
    kept: tuple[str, ...]
    skipped: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"{self.worker} keeps {len(self.kept)} laws", *(f"  ✓ {LAWS[name].says}" for name in self.kept)]
        return "\n".join(
            [*lines, *(f"  – {LAWS[name].says}: not checked: {why}" for name, why in self.skipped.items())]
        )


LAWS: Mapping[str, Law] = {
    "machine": Law("its machine has no error that can be known beforehand", valid),
    "deciding": Law("deciding never raises, always says why, and says the same when asked again", decides),
    "waiting": Law("whatever is wanted, each time that it waits for is a finite number of seconds", waits),
    "deriving": Law("deriving is pure: the same twice, and the spec is left as it was", derives, "made"),
    "children": Law(
        "its children are the same when asked again, and each has a name of its own", names_children, "made"
    ),
    "speaking": Law("made without a spec it runs, or says what is missing", says_what_is_missing, "alive"),
    "stopping": Law(
        "told to stop it comes to a stopped state and stays there; asked for no longer, it goes", stops, "run"
    ),
    "starting": Law("told to run again it comes to where it was", starts_again, "run"),
    "repeating": Law("an action done twice is as good as done once", repeats, "run"),
    "cancelling": Law("looking and acting end when they are cancelled", heeds_cancellation, "run"),
    "recovering": Law("after any fault is over it comes to where it was", recovers, "run"),
}
"""All laws by name."""


def check_worker(
    worker: Source,
    *,
    spec: Any = None,
    desired: Any = None,
    observed: Any = None,
    types: Mapping[str, Source] | None = None,
    peers: Mapping[str, Source | None] | None = None,
    beside: Sequence[ChildSpec] = (),
    reads: Mapping[str, str] | None = None,
    examples: int = 100,
    live: bool = True,
    skip: Collection[str] = (),
) -> Report:
    """Check that a worker keeps every law. Returns which were checked; raises `AssertionError` with all that are broken.

    `worker` is a class, or a function that makes one (a script, a `lambda`). `spec` is what it is run with; without one, a worker
    whose spec needs more than defaults is not run, and none is with ``live=False``. `desired` and `observed` are hypothesis strategies in
    place of those made of the declared types. `types` are its children's classes, `beside` its siblings and `reads` what it sees of them
    when it is run (as in `Stage`); `peers` the names it reads others by, with their classes, for generated snapshots. `examples` is how
    many snapshots are tried; `skip` names laws it need not keep. Needs hypothesis. Raises `ValueError` for a law that does not exist.
    """
    if unknown := set(skip) - LAWS.keys():
        raise ValueError(f"there is no law {sorted(unknown)[0]!r}; there are {', '.join(LAWS)}")
    case = Case(worker, spec, desired, observed, types or {}, peers or {}, beside, reads or {}, examples)
    broken: list[str] = []
    kept: list[str] = []
    skipped: dict[str, str] = {}
    for name, law in LAWS.items():
        why = "the test skips it" if name in skip else _obstacle(case, law, live=live)
        if why:
            skipped[name] = why
            continue
        problems = list(law.check(case))
        broken += [f"{name}: {law.says}\n{_indented(problem)}" for problem in problems]
        kept += [name] if not problems else []
    if broken:
        count = f"{len(broken)} time{'s' * (len(broken) > 1)}"
        raise AssertionError(f"{case.kind.__name__} breaks the laws of workers {count}:\n" + "\n".join(broken))
    return Report(case.kind.__name__, tuple(kept), skipped)


def _obstacle(case: Case, law: Law, *, live: bool) -> str:
    """Why a law cannot be checked; "" when it can."""
    if law.needs in ("alive", "run") and not live:
        return "live=False"
    if law.needs in ("alive", "run"):
        return case.cannot_be_run if law.needs == "run" else case.cannot_be_made
    return case.cannot_be_made if law.needs == "made" and not isinstance(case.source, Worker) else ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
