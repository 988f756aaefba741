"""Messages between an instance and a relay, both ways, through everything that goes wrong on the way.

The relay is a mock; what talks to it is not: over HTTP on this machine, or, on virtual time, the same calls in process. Where time is
real, a second of the protocol lasts a twentieth: a token lives 3 s, and five minutes of being left alone are 15 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from pydantic import SecretStr

from setpoint.control import ChildSpec, Limits, Registry, Supervisor
from setpoint.testing.scenarios.scene import Scenario, Scene
from setpoint.testing.scenarios.sync.lanes import POLL, Pull, Push
from setpoint.testing.scenarios.sync.relay import POISON, Fault, Relay, reached
from setpoint.testing.scenarios.sync.session import Outbox, Session
from setpoint.testing.scenarios.sync.transport import Transport, TransportSpec

AUTH_TOKEN = "correct horse battery staple"
TOKEN_LIFE = 60.0
OUTBOX, INBOX = 1_000, 200
REAL_PACE = 0.05
"""How long a second of the protocol lasts in real time."""

CHALLENGE = "<html><title>Just a moment...</title></html>"
ERRORS: list[tuple[str, Fault, tuple[float, ...]]] = [
    ("a server error", Fault(502, "bad gateway"), (2.0, 4.0, 8.0)),
    ("no answer", Fault(0), (2.0, 4.0)),
    ("an answer that is lost", Fault(0, taken=True), (2.0,)),
    ("a rate limit", Fault(429), (30.0, 60.0)),
    ("a rate limit that says for how long", Fault(429, headers={"retry-after": "7"}), (7.0,)),
    ("the page of a challenge", Fault(429, CHALLENGE), (60.0,)),
    ("the page of a filtering proxy, as a success", Fault(200, "<h1>Access Denied</h1> your web filter"), (60.0,)),
    ("a deleted instance", Fault(404), (300.0,)),
]
"""What the relay says to a push, and for how many seconds it must be left alone when it says so once, twice, …"""


class Courier:
    """The story's own hands: the relay, the boxes, and what was read from the inbox."""

    def __init__(self, scene: Scene, relay: Relay, pace: float) -> None:
        self.scene, self.relay, self.pace = scene, relay, pace
        self.outbox = Outbox(OUTBOX)
        self.inbox: asyncio.Queue[Any] = asyncio.Queue(INBOX)
        self.read: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[Any] = []

    async def consume(self) -> None:
        """Read the inbox, except while told not to."""
        while True:
            content = await self.inbox.get()
            await self.reads.wait()
            self.read.append(content)

    async def send(self, contents: Iterable[Any]) -> None:
        """Put messages into the outbox, waiting for room."""
        for content in contents:
            await self.outbox.put(content)
            self.sent.append(content)

    async def arrives(self, text: str, *, within: float) -> None:
        """Everything sent so far arrives, each message once, in order."""
        await self.scene.until(
            text, lambda: len(self.outbox) == 0, within=within * self.pace, found=lambda: f"{len(self.outbox)} wait"
        )
        arrived = [content for content in self.sent if content != POISON]
        if self.relay.received != arrived:
            self.scene.expect(
                f"{text}: each message once, in order", False, f"{len(self.relay.received)} of {len(arrived)}"
            )

    async def is_online(self, *, within: float = 20) -> None:
        await self.scene.settles("edge/transport", "online", within=within * self.pace)


async def story(scene: Scene) -> None:
    pace = 1.0 if scene.virtual else REAL_PACE
    relay = Relay(auth_token=AUTH_TOKEN, token_life=TOKEN_LIFE * pace, poll=POLL * pace)
    url, client = await scene.cleanup.enter_async_context(reached(relay, in_process=scene.virtual))
    courier = Courier(scene, relay, pace)
    scene.spawn(courier.consume())
    registry = Registry(session=Session(client, pace), pace=pace, outbox=courier.outbox, inbox=courier.inbox)
    registry.add("transport", Transport)
    registry.add("push", Push)
    registry.add("pull", Pull)
    supervisor = scene.supervise(registry, root="edge", limits=Limits(retry_first=pace, action_timeout=60 * pace))

    await logs_in(courier, supervisor, url)
    await moves_both_ways(courier)
    await renews_its_token(courier)
    await leaves_the_relay_alone(courier)
    await survives_an_outage(courier)
    await drops_only_what_is_to_blame(courier)
    await stops_pulling_when_full(courier)
    abandons_nothing(courier)
    keeps_its_secrets(courier)


async def logs_in(courier: Courier, supervisor: Supervisor, url: str) -> None:
    """Wrong credentials are tried once, not again and again; other ones at once."""
    scene, relay = courier.scene, courier.relay

    def want(auth_token: str) -> None:
        spec = TransportSpec(url=url, auth_token=SecretStr(auth_token))
        supervisor.want([ChildSpec("transport", "transport", spec)])

    scene.say("the user has mistyped the auth token")
    want("incorrect")
    await scene.reaches("edge/transport", "refused", within=10 * courier.pace)
    await scene.sleep(100 * courier.pace)
    scene.expect("refused credentials are not tried again", len(relay.asked) == 1, f"{len(relay.asked)} logins")
    scene.say("the user corrects it")
    want(AUTH_TOKEN)
    await scene.reaches("edge/transport", "online", within=10 * courier.pace, text="corrected ones are tried at once")


async def moves_both_ways(courier: Courier) -> None:
    await courier.send(f"out {number}" for number in range(200))
    courier.relay.send([f"in {number}" for number in range(200)])
    await courier.arrives("200 messages go out", within=20)
    await courier.scene.until("200 come in", lambda: len(courier.read) == 200, within=20 * courier.pace)
    courier.scene.expect("they came in order", courier.read == [f"in {number}" for number in range(200)])


async def renews_its_token(courier: Courier) -> None:
    """The token is renewed before it expires, and the lanes do not notice; one that is revoked is replaced."""
    scene, relay = courier.scene, courier.relay
    logins, moves = (
        len(relay.times("login")),
        [*scene.visited("edge/transport/push"), *scene.visited("edge/transport/pull")],
    )
    await scene.sleep(2.5 * TOKEN_LIFE * courier.pace)
    scene.expect("the token was renewed before each expiry", len(relay.times("login")) >= logins + 2)
    scene.expect("no call was ever made with an expired one", 401 not in [asked.status for asked in relay.asked[1:]])
    now = [*scene.visited("edge/transport/push"), *scene.visited("edge/transport/pull")]
    scene.expect("the lanes did not move for it", now == moves)
    scene.say("the relay revokes the token")
    relay.revoke()
    await courier.send(["after the revocation"])
    await courier.arrives("a revoked token is replaced", within=20)
    await courier.is_online(within=70)


async def leaves_the_relay_alone(courier: Courier) -> None:
    """After each kind of error for as long as that asks for: not less, and not much more."""
    scene, relay, pace = courier.scene, courier.relay, courier.pace
    for words, fault, delays in ERRORS:
        asked = len(relay.times("push"))
        relay.faults.extend([fault] * len(delays))
        await courier.send([f"through {words}"])
        await courier.arrives(f"after {words} ({len(delays)} ×) the message arrives", within=sum(delays) + 90)
        silence = 0 if fault.status else 10  # it was asked, and did not answer for so long
        times = relay.times("push")[asked:]
        waited = [(later - earlier) / pace - silence for earlier, later in pairwise(times)]
        scene.expect(
            f"the relay was left alone for {' and '.join(f'{delay:g}' for delay in delays)} s, less up to a quarter",
            len(waited) >= len(delays)
            and all(0.74 * delay <= found <= delay + 4 for delay, found in zip(delays, waited, strict=False)),
            ", ".join(f"{seconds:.1f} s" for seconds in waited),
        )
        await courier.is_online()
    scene.expect("what arrived twice was taken once", relay.again == 1, f"{relay.again} messages came again")


async def survives_an_outage(courier: Courier) -> None:
    """Far more messages than there is room for: whoever sends waits, nothing is lost, and the relay is not hammered."""
    scene, relay, pace = courier.scene, courier.relay, courier.pace
    scene.say("the relay's backend is down")
    relay.outage, asked = True, {word: len(relay.times(word)) for word in ("push", "pull")}
    before = len(courier.sent)
    sender = scene.spawn(courier.send(f"during the outage {number}" for number in range(1_500)))
    await scene.sleep(240 * pace)
    scene.expect("the outbox never holds more than it may", courier.outbox.most == OUTBOX, f"{courier.outbox.most}")
    scene.expect(
        "who sends more waits", not sender.done(), f"{before + 1_500 - len(courier.sent)} messages wait outside"
    )
    tries = [len(relay.times(word)) - before for word, before in asked.items()]
    scene.expect(
        "four minutes of outage are at most ten attempts of each lane",
        all(5 <= count <= 10 for count in tries),
        " and ".join(map(str, tries)),
    )
    scene.expect(
        "it says why", "503 no backend" in scene.where("edge/transport/push"), scene.where("edge/transport/push")
    )
    scene.say("it is back")
    relay.outage = False
    await scene.until("all messages are sent", sender.done, within=120 * pace)
    await courier.arrives("and all of them arrive", within=60)
    scene.expect("a congested lane went on pushing", "congested" in scene.visited("edge/transport/push"))
    await courier.is_online(within=70)


async def drops_only_what_is_to_blame(courier: Courier) -> None:
    await courier.send(["before", POISON, "after"])
    await courier.arrives("a message that the relay refuses does not hold up the others", within=20)
    courier.scene.expect("it is kept apart and counted", list(courier.outbox.dropped) == [POISON])


async def stops_pulling_when_full(courier: Courier) -> None:
    scene, pace = courier.scene, courier.pace
    scene.say("whoever reads the inbox is busy")
    courier.reads.clear()
    courier.relay.send([f"late {number}" for number in range(500)])
    await scene.reaches("edge/transport/pull", "full", within=40 * pace)
    await scene.sleep(20 * pace)
    scene.expect(
        "it pulls no more, and stays so",
        scene.state("edge/transport/pull") == "full",
        scene.where("edge/transport/pull"),
    )
    courier.reads.set()
    await scene.until("read again, all messages come in", lambda: len(courier.read) == 700, within=60 * pace)
    scene.expect("in order", courier.read[200:] == [f"late {number}" for number in range(500)])
    await courier.is_online()


def abandons_nothing(courier: Courier) -> None:
    """Errors of the relay are news, not failures of an action; a call that waits for messages is given the time it needs."""
    scene = courier.scene
    failed = {
        path: {name: calls.failed for name, calls in scene.supervisor.worker(path).tally.actions.items()}
        for path in ("edge/transport", "edge/transport/push", "edge/transport/pull")
    }
    scene.expect(
        "no action failed or was abandoned", not any(sum(counts.values()) for counts in failed.values()), failed
    )


def keeps_its_secrets(courier: Courier) -> None:
    scene = courier.scene
    known = repr([scene.stored(), *(record.observed for record in scene.supervisor.records.values())])
    scene.expect(
        "no token is in any observation, reason or history", AUTH_TOKEN not in known and "session-" not in known
    )


SCENARIO = Scenario(
    "communicator", "messages to and from a relay: login, renewal, every kind of error, backpressure", story, 56
)
