"""A supervisor as a process of its own, for `test_real_kill` to kill: it keeps OS processes that outlive it.

Each is detached and known by its pid file and by its environment. It says itself, when it begins, whether another of its name is there.
Orders come in as JSON lines, news goes out as JSON lines. An order is acknowledged once it is on the disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from setpoint.control import ChildSpec, Observation, Registry, Snapshot, Supervisor, Worker, wanted
from setpoint.machine import Phase, State, guard
from setpoint.store import SqliteStore

MARK = "SETPOINT_KEPT"
TAKES = 0.1
"""Seconds before and after what an action does."""
KEPT = f"""
mkdir -p "${MARK}.all"
: > "${MARK}.all/$$"
for other in "${MARK}.all"/*; do
    pid=${{other##*/}}
    [ "$pid" = $$ ] && continue
    state=
    {{ read -r state < "/proc/$pid/stat"; }} 2> /dev/null
    case "$state" in
        "" | *") Z "*) rm -f "$other" ;;
        *) echo "$$ beside $pid" >> "${MARK}.twice" ;;
    esac
done
echo $$ > "${MARK}.$$"
mv "${MARK}.$$" "${MARK}.pid"
exec sleep 60
"""


def kept(name: Path) -> int:
    """The pid of the living process of this name; 0 when there is none."""
    try:
        pid = int(name.with_suffix(".pid").read_text())
        return pid if f"{MARK}={name}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes() else 0
    except (OSError, ValueError):
        return 0


class Wish(BaseModel):
    """What is wanted of a keeper."""

    desired_state: Literal["running", "stopped"] = "running"
    helper: bool = False


class Seen(Observation, frozen=True):
    """Which process there is."""

    pid: int = 0


@guard
def alive(s: Snapshot[Wish, Seen]) -> bool:
    "its process is there"
    return s.observed.pid > 0


class Keeper(Worker[Wish, Wish, Seen]):
    "Keeps one detached OS process."

    stopped = State(Phase.STOPPED)
    starting = State(Phase.STARTING, act="start")
    running = State(Phase.HEALTHY)
    stopping = State(Phase.STOPPING, act="stop")
    arcs = [
        stopped.to(starting, on="start", when=wanted),
        (starting | running).to(stopping, on="stop", when=~wanted),
        starting.to(running, on="start_done", when=alive),
        running.to(starting, on="crashed", when=~alive),
        stopping.to(stopped, on="stop_done", when=~alive),
    ]
    interval = 0.1

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> Path:
        return self.folder / self.context.path.replace("/", "-")

    def children(self, desired: Wish, state: str) -> list[ChildSpec]:
        return [ChildSpec("helper", "keeper", Wish())] if desired.helper else []

    async def collect_observed_state(self, desired: Wish) -> Seen:
        await asyncio.sleep(TAKES / 2)
        return Seen(kept(self.name))

    async def start(self, desired: Wish) -> None:
        await asyncio.sleep(TAKES)
        if not kept(self.name):
            quiet = subprocess.DEVNULL
            environment = {**os.environ, MARK: str(self.name)}
            subprocess.Popen(  # noqa: ASYNC220 - asyncio would end it together with the loop
                ["sh", "-c", KEPT], start_new_session=True, env=environment, stdin=quiet, stdout=quiet, stderr=quiet
            )
        while not kept(self.name):  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.005)
        await asyncio.sleep(TAKES)

    async def stop(self, desired: Wish) -> None:
        await asyncio.sleep(TAKES)
        while pid := kept(self.name):
            os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(0.01)
        await asyncio.sleep(TAKES)


def say(**news: Any) -> None:
    print(json.dumps(news), flush=True)


async def main(folder: Path) -> None:
    store = SqliteStore(folder / "store.sqlite")
    registry = Registry(folder=folder)
    registry.add("keeper", Keeper)
    supervisor = Supervisor(registry, root="top", store=store)
    supervisor.listen(lambda record, move: say(path=record.path, state=move.target) if move else None)
    supervisor.want([ChildSpec("a", "keeper", Wish(helper=True)), ChildSpec("b", "keeper", Wish())])
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        order = json.loads(line)
        if order["verb"] == "stop":
            left = await supervisor.stop(10.0)
            store.close()
            say(stopped=left)
            return
        supervisor.tell(**order)
        assert await asyncio.to_thread(store.flush)
        say(told=order["verb"])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
