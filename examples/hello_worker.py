"""Hello, worker: keeps a candle burning, with a smaller one as its child. Ctrl-C lets them burn down."""

from asyncio import get_running_loop

from setpoint.control import ChildSpec, Observation, Worker, wanted
from setpoint.control.running import supervise
from setpoint.machine import Phase, State, expression


class Seen(Observation, frozen=True):
    burning: bool


class Candle(Worker[int, int, Seen]):
    out = State(Phase.STOPPED)
    lighting = State(Phase.STARTING, act="light")
    burning = State(Phase.HEALTHY)
    smoking = State(Phase.DEGRADED, act="light")
    lit = expression("observed.burning")
    arcs = [
        out.to(lighting, on="start", when=wanted),
        (lighting | smoking).to(burning, on="lit", when=lit),
        burning.to(smoking, on="burnt_down", when=~lit & wanted),
        (lighting | smoking | burning).to(out, on="stop", when=~lit & ~wanted),
    ]
    burns_until = 0.0

    async def collect_observed_state(self, seconds: int) -> Seen:
        return Seen(get_running_loop().time() < self.burns_until)

    async def light(self, seconds: int) -> None:
        self.burns_until = get_running_loop().time() + seconds

    def children(self, seconds: int, state: str) -> list[ChildSpec]:
        return [ChildSpec("small", "candle", seconds // 2)] if seconds > 1 else []


if __name__ == "__main__":
    supervise([ChildSpec("hello", "candle", 2)], {"candle": Candle})
