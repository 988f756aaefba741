"""Events: who listens to what happens to records.

A plan has one listener, or none; with none it is not slowed down by anything. `Events` is a listener that passes on to many, each of which
says what it wants to hear: which kinds of events, of which network, state or arc. They are told one after the other, in the order in which
they came, at once and in this thread: the record waits. So a listener is an ordinary function, and quick; one that has more to do puts the
event into a queue, with a copy of its record (`Event`). Coroutine functions are refused.

What a listener raises is its own affair: it is logged once for each kind of event, and changes neither the record nor what others hear.

Records that are carried by other processes are heard of here, too: their events arrive together when their lot is done, those of each
record in order, with records as they were then.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from setpoint.data.context import Event, Kind, Listener
from setpoint.data.faults import meant
from setpoint.data.naming import Named, arcs_named, states_named
from setpoint.data.result import DROPPED, FAILED, SPLIT, WAITING
from setpoint.data.rows import is_async

if TYPE_CHECKING:
    from setpoint.data.plan import Plan

log = logging.getLogger("setpoint.data")

Kinds = str | Kind | Iterable[str | Kind]
ALL: Final = "*"
ENDS: Final = frozenset({FAILED, DROPPED, SPLIT, WAITING})


class Selection(NamedTuple):
    """What somebody wants to hear. None stands for everything."""

    kinds: frozenset[Kind]
    network: str | None = None
    states: Named | None = None
    arcs: Named | None = None

    def has(self, event: Event) -> bool:
        """Whether the event is one of them."""
        return (
            event.kind in self.kinds
            and (self.network is None or event.network == self.network)
            and (self.states is None or (event.network, event.state) in self.states)
            and (self.arcs is None or (event.network, event.arc) in self.arcs)
        )


class _Listening:
    """One listener, what it wants to hear, and the kinds of events at which it failed."""

    def __init__(self, call: Listener, selection: Selection | None) -> None:
        self._call, self._selection = call, selection
        self._failed: set[Kind] = set()

    def tell(self, event: Event) -> None:
        if self._selection is not None and not self._selection.has(event):
            return
        try:
            out = self._call(event)
            if inspect.iscoroutine(out):
                out.close()
                raise TypeError("it gave a coroutine, and listeners are not awaited")
        except Exception:
            if event.kind not in self._failed:
                self._failed.add(event.kind)
                log.exception(
                    "a listener failed at %s of state %s; its failures at %s are not said again",
                    event.kind, event.state, event.kind,
                )  # fmt: skip


class Events:
    """A listener for many. `first` is one that hears everything."""

    def __init__(self, first: Listener | None = None) -> None:
        # replaced, never changed: records may be on their way in other threads
        self._listening: tuple[_Listening, ...] = () if first is None else (_Listening(first, None),)

    def __call__(self, event: Event) -> None:
        for one in self._listening:
            one.tell(event)

    def __len__(self) -> int:
        return len(self._listening)

    def add(self, call: Listener, selection: Selection | None = None) -> Callable[[], None]:
        """From now on `call` hears what the selection has. Returns what ends that. Raises `TypeError` for a coroutine function."""
        if is_async(call):
            raise TypeError(
                f"{getattr(call, '__name__', call)!r} is a coroutine function, and listeners are not awaited: listen with an ordinary "
                "function that puts the event into a queue"
            )
        one = _Listening(call, selection)
        self._listening = (*self._listening, one)

        def off() -> None:
            self._listening = tuple(other for other in self._listening if other is not one)

        return off


def selection(plan: Plan, kinds: Kinds, *, state: str = "", arc: str = "", network: str = "") -> Selection:
    """The events of a plan that these words mean. Raises `ValueError` for a kind, `KeyError` for a state, arc or network there is not."""
    names = [network.name for network in plan.definition.networks]
    if network and network not in names:
        raise KeyError(f"{plan.definition.name!r} has no network {network!r}: {meant(network, names)}")
    return Selection(
        _kinds(kinds), network or None, _states(plan, state) if state else None, arcs_named(plan, arc) if arc else None
    )


def _kinds(kinds: Kinds) -> frozenset[Kind]:
    if kinds == ALL:
        return frozenset(Kind)
    asked = [kinds] if isinstance(kinds, str) else list(kinds)
    known = [kind.value for kind in Kind]
    if wrong := [kind for kind in asked if kind not in known]:
        raise ValueError(f"there are no events {wrong[0]!r}: {meant(str(wrong[0]), known)}")
    return frozenset(map(Kind, asked))


def _states(plan: Plan, state: str) -> Named:
    """Those of that name, and the ends: the event of an end is of no network."""
    main = plan.definition.main_network
    if state in ENDS and (main, state) not in plan.numbers:
        return frozenset({("", state)})
    found = states_named(plan, state)
    return found | {("", name) for network, name in found if network == main}
