"""The life cycle around every machine: how a worker comes and goes. A removal always passes through a graceful stop first."""

from __future__ import annotations

from setpoint.machine import Machine, Phase, State, guard


@guard
def observed_once(s: object) -> bool:
    "there is a first good observation"
    return True  # decided by the core, which owns the life cycle; drawn and explained from here


@guard
def at_rest(s: object) -> bool:
    "it is no longer wanted, it is stopped, and its children are gone"
    return True


_new = State(name="to_be_created", doc="named in a spec; not made yet")
_creating = State(name="creating", doc="made; waits for its first observation")
_own = State(Phase.STOPPED, name="stopped", doc="the machine's own states; it begins in its initial state")
_removing = State(name="removing", doc="stopped and on its way out")
_removed = State(name="removed", doc="gone", final=True)

LIFECYCLE = Machine(
    "lifecycle",
    [_new, _creating, _own, _removing, _removed],
    [
        _new.to(_creating, on="create"),
        _creating.to(_own, on="create_done", when=observed_once),
        _own.to(_removing, on="remove", when=at_rest),
        _removing.to(_removed, on="remove_done"),
    ],
    doc="How every worker comes and goes.",
)
