"""The lanes of a synchronisation: one pushes, one pulls, both over the session that the transport keeps.

    push    stopped → waiting → running ⇄ congested      resting, retrying: after an error
    pull    stopped → waiting → running ⇄ full           resting, retrying: after an error

A lane that has an error leaves the relay alone for as long as the kind of error asks for, then tries again, for ever. A congested push
goes on pushing: that is what ends it. A full pull pulls no more until there is room again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Literal

from pydantic import BaseModel

from setpoint.control import Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.testing.scenarios.sync.session import Attempts, Outbox, RelayError, Session, Trouble

POLL = 30.0
"""Seconds that the relay may wait for messages to pull."""
BATCH = 50
BATCHES = 20
"""Batches that one action pushes at most, so that what is told to stop does."""
REJECTED_IN_A_ROW = 3
"""Messages that may be dropped one after the other."""
CONGESTED_AT, CALM_BELOW = 100, 50
STOPS_PULLING_BELOW, PULLS_AGAIN_AT = 50, 100
"""Places left in the inbox."""


class LaneSpec(BaseModel):
    """A lane has nothing to be set."""

    desired_state: Literal["running", "stopped"] = "running"


class LaneSeen(Observation, frozen=True):
    """What a lane knows: whether there is a session, how full its box is, and how its latest attempt ended."""

    session: bool = False
    busy: bool = False
    waiting: int = 0
    room: int = 0
    failures: int = 0
    resting: bool = False
    error: str = ""


LaneSnapshot = Snapshot[LaneSpec, LaneSeen]


@guard
def has_session(s: LaneSnapshot) -> bool:
    "there is a session with the relay"
    return s.observed.session


@guard
def must_rest(s: LaneSnapshot) -> Verdict:
    "the relay is left alone for a while after an error"
    return Verdict(s.observed.resting, s.observed.error)


@guard
def works(s: LaneSnapshot) -> Verdict:
    "the latest attempt succeeded"
    return Verdict(s.observed.failures == 0, f"{s.observed.failures} failures in a row")


@guard
def hung_up(s: LaneSnapshot) -> bool:
    "no call is in flight"
    return not s.observed.busy


@guard
def is_congested(s: LaneSnapshot) -> Verdict:
    "too many messages wait"
    return Verdict(s.observed.waiting >= CONGESTED_AT, f"{s.observed.waiting} messages wait")


@guard
def calm(s: LaneSnapshot) -> Verdict:
    "few messages wait"
    return Verdict(s.observed.waiting < CALM_BELOW, f"{s.observed.waiting} messages wait")


@guard
def inbox_full(s: LaneSnapshot) -> Verdict:
    "the inbox has little room left"
    return Verdict(s.observed.room < STOPS_PULLING_BELOW, f"room for {s.observed.room}")


@guard
def inbox_has_room(s: LaneSnapshot) -> Verdict:
    "the inbox has room again"
    return Verdict(s.observed.room >= PULLS_AGAIN_AT, f"room for {s.observed.room}")


class Lane(Worker[LaneSpec, LaneSpec, LaneSeen]):
    "Moves messages in one direction."

    stopped = State(Phase.STOPPED)
    waiting = State(Phase.STARTING)
    running = State(Phase.HEALTHY, act="move")
    resting = State(Phase.DEGRADED, reason=lambda s: f"leaves the relay alone after {s.observed.error}")
    retrying = State(Phase.DEGRADED, act="move", reason="tries again after an error")
    stopping = State(Phase.STOPPING, act="hang_up")

    arcs = [
        stopped.to(waiting, on="start", when=wanted),
        (waiting | running | resting | retrying).to(stopping, on="stop", when=~wanted),
        stopping.to(stopped, on="stop_done", when=hung_up),
        waiting.to(running, on="session_open", when=has_session),
        (running | resting | retrying).to(waiting, on="session_lost", when=~has_session),
        (running | retrying).to(resting, on="fail", when=must_rest),
        resting.to(retrying, on="try_again", when=~must_rest),
        retrying.to(running, on="recover", when=works),
    ]

    def __init__(self, session: Session, pace: float) -> None:
        self.session, self.attempts = session, Attempts(pace)
        self.interval, self.timeout = pace, max(2.2 * pace, 1.0)
        self._call: asyncio.Future[None] | None = None

    async def collect_observed_state(self, desired: LaneSpec) -> LaneSeen:
        """What is known without asking anybody."""
        waiting, room = self.boxes()
        return LaneSeen(
            session=self.session.left > 0,
            busy=self._call is not None,
            waiting=waiting,
            room=room,
            failures=self.attempts.failures,
            resting=self.attempts.resting,
            error=self.attempts.error,
        )

    def boxes(self) -> tuple[int, int]:
        """How many messages wait to go out, and how many may still come in."""
        raise NotImplementedError

    async def once(self) -> None:
        """Move what there is. Raises `RelayError`."""
        raise NotImplementedError

    async def move(self, desired: LaneSpec) -> None:
        """Move what there is, and note how that went."""
        call = self._call = asyncio.ensure_future(self._attempt())
        try:
            await asyncio.wait({call})
            if not call.cancelled():  # hung up
                call.result()
        finally:
            call.cancel()
            self._call = None

    async def hang_up(self, desired: LaneSpec) -> None:
        """End the call in flight; what had not arrived is sent again later."""
        if self._call is not None:
            self._call.cancel()

    async def _attempt(self) -> None:
        try:
            await self.once()
        except RelayError as error:
            self.attempts.failed(error)
        else:
            self.attempts.succeeded()


class Push(Lane):
    "Pushes the messages of the outbox to the relay."

    congested = State(Phase.DEGRADED, act="move")

    arcs = [
        *Lane.arcs,
        congested.to(Lane.stopping, on="stop", when=~wanted),
        congested.to(Lane.waiting, on="session_lost", when=~has_session),
        congested.to(Lane.resting, on="fail", when=must_rest),
        Lane.running.to(congested, on="congest", when=is_congested),
        congested.to(Lane.running, on="calm_down", when=calm),
    ]

    def __init__(self, session: Session, pace: float, outbox: Outbox) -> None:
        super().__init__(session, pace)
        self.outbox = outbox

    def boxes(self) -> tuple[int, int]:
        return len(self.outbox), 0

    async def once(self) -> None:
        """Push in batches; where a batch is rejected, one by one, so that only the message to blame is dropped.

        When several in a row are rejected it is not they who are to blame, and the relay is left alone.
        """
        one_by_one = rejected = 0
        for _ in range(BATCHES):
            batch = self.outbox.first(1 if one_by_one else BATCH)
            if not batch:
                return
            try:
                await self.session.push(batch)
            except RelayError as error:
                if error.trouble is not Trouble.REJECTED:
                    raise
                if len(batch) > 1:
                    one_by_one = len(batch)
                    continue
                rejected += 1
                if rejected > REJECTED_IN_A_ROW:
                    raise
                await self.outbox.drop_first()
            else:
                rejected = 0
                await self.outbox.arrived(len(batch))
            one_by_one = max(0, one_by_one - 1)


class Pull(Lane):
    "Pulls messages from the relay into the inbox, while there is room for them."

    full = State(Phase.DEGRADED, act="deliver")

    arcs = [
        *Lane.arcs,
        full.to(Lane.stopping, on="stop", when=~wanted),
        full.to(Lane.waiting, on="session_lost", when=~has_session),
        Lane.running.to(full, on="fill", when=inbox_full),
        full.to(Lane.running, on="drain", when=inbox_has_room),
    ]

    def __init__(self, session: Session, pace: float, inbox: asyncio.Queue[Any]) -> None:
        super().__init__(session, pace)
        self.inbox = inbox
        self._pulled: deque[Any] = deque()

    def boxes(self) -> tuple[int, int]:
        return 0, self.inbox.maxsize - self.inbox.qsize() - len(self._pulled)

    async def once(self) -> None:
        """Pull, unless what was pulled before has no place yet. The relay forgets what it hands out, so all of it is kept at once."""
        await self.deliver()
        if not self._pulled:
            self._pulled.extend(message["content"] for message in await self.session.pull(POLL))
            await self.deliver()

    async def deliver(self, desired: LaneSpec | None = None) -> None:
        """Move what was pulled into the inbox, as far as there is room."""
        while self._pulled and not self.inbox.full():
            self.inbox.put_nowait(self._pulled.popleft())
