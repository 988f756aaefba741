"""The transport of a synchronisation: keeps a session with the relay, and two lanes open on it.

    stopped → authenticating → opening → online ⇄ degraded      renewing: the token ends soon
                                                                resting: a login failed; refused: these credentials never will do

The token is renewed before it ends; the lanes go on with the old one meanwhile. Credentials that the relay refused are not tried again
until they are others.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, SecretStr

from setpoint.control import ChildSpec, Observation, Snapshot, Worker, wanted
from setpoint.machine import Phase, State, Verdict, guard
from setpoint.testing.scenarios.sync.lanes import LaneSpec
from setpoint.testing.scenarios.sync.session import Attempts, RelayError, Session, Trouble

RENEW_BEFORE = 10.0
"""Seconds before its end at which a token is renewed."""


class TransportSpec(BaseModel):
    """Which relay, and what proves who we are."""

    url: str
    auth_token: SecretStr
    desired_state: Literal["running", "stopped"] = "running"


class TransportSeen(Observation, frozen=True):
    """What is known of the session: never the token itself."""

    valid: bool = False
    fresh: bool = False
    refused: bool = False
    resting: bool = False
    error: str = ""


TransportSnapshot = Snapshot[TransportSpec, TransportSeen]


@guard
def valid(s: TransportSnapshot) -> bool:
    "there is a token that the relay takes"
    return s.observed.valid


@guard
def fresh(s: TransportSnapshot) -> bool:
    "the token is good for a while"
    return s.observed.fresh


@guard
def are_refused(s: TransportSnapshot) -> Verdict:
    "the relay refused exactly these credentials"
    return Verdict(s.observed.refused, s.observed.error)


@guard
def login_rests(s: TransportSnapshot) -> Verdict:
    "the relay is left alone for a while after a login failed"
    return Verdict(s.observed.resting, s.observed.error)


@guard
def lanes_work(s: TransportSnapshot) -> bool:
    "both lanes are healthy"
    return len(s.children) > 0 and s.children.all_healthy


@guard
def lanes_stopped(s: TransportSnapshot) -> bool:
    "both lanes are stopped"
    return s.children.all_stopped


class Transport(Worker[TransportSpec, TransportSpec, TransportSeen]):
    "Keeps a session with the relay, and two lanes open on it."

    stopped = State(Phase.STOPPED)
    authenticating = State(Phase.STARTING, act="authenticate", reason="asks the relay for a token")
    resting = State(Phase.STARTING, reason=lambda s: f"leaves the relay alone after {s.observed.error}")
    opening = State(Phase.STARTING)
    online = State(Phase.HEALTHY)
    renewing = State(Phase.HEALTHY, act="authenticate", reason="renews the token before it ends")
    degraded = State(Phase.DEGRADED)
    refused = State(Phase.FAILED, reason=lambda s: f"waits for other credentials: {s.observed.error}")
    stopping = State(Phase.STOPPING)

    arcs = [
        stopped.to(authenticating, on="start", when=wanted),
        (authenticating | resting | opening | online | renewing | degraded | refused).to(
            stopping, on="stop", when=~wanted
        ),
        stopping.to(stopped, on="stop_done", when=lanes_stopped),
        authenticating.to(opening, on="session_open", when=fresh),
        authenticating.to(refused, on="refuse", when=are_refused),
        authenticating.to(resting, on="fail", when=login_rests),
        resting.to(authenticating, on="try_again", when=~login_rests),
        refused.to(authenticating, on="change", when=~are_refused),
        (opening | online | renewing | degraded).to(authenticating, on="session_lost", when=~valid),
        (opening | online | degraded).to(renewing, on="renew", when=~fresh),
        renewing.to(degraded, on="lane_failed", when=fresh & ~lanes_work),
        (opening | renewing | degraded).to(online, on="lanes_work", when=fresh & lanes_work),
        online.to(degraded, on="lane_failed", when=~lanes_work),
        opening.to(degraded, on="lanes_late", after=10),
    ]

    def __init__(self, session: Session, pace: float) -> None:
        self.session, self.attempts = session, Attempts(pace)
        self.interval, self.timeout = pace, max(2.2 * pace, 1.0)
        self._refused: TransportSpec | None = None

    async def collect_observed_state(self, desired: TransportSpec) -> TransportSeen:
        """What is known of the session without asking anybody."""
        return TransportSeen(
            valid=self.session.left > 0,
            fresh=self.session.left > RENEW_BEFORE,
            refused=self._is_refused(desired),
            resting=self.attempts.resting,
            error=self.attempts.error,
        )

    def children(self, desired: TransportSpec, state: str) -> list[ChildSpec]:
        return [ChildSpec("push", "push", LaneSpec()), ChildSpec("pull", "pull", LaneSpec())]

    async def authenticate(self, desired: TransportSpec) -> None:
        """Get a token, unless there is a good one, the relay has refused these very credentials, or it is to be left alone."""
        if self.session.left > RENEW_BEFORE or self._is_refused(desired) or self.attempts.resting:
            return
        try:
            await self.session.log_in(desired.url, desired.auth_token.get_secret_value())
        except RelayError as error:
            self.attempts.failed(error)
            if error.trouble in (Trouble.INVALID_TOKEN, Trouble.INSTANCE_DELETED):
                self._refused = desired
        else:
            self.attempts.succeeded()
            self._refused = None

    def _is_refused(self, desired: TransportSpec) -> bool:
        refused = self._refused
        return refused is not None and (refused.url, refused.auth_token) == (desired.url, desired.auth_token)
