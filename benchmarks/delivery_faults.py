"""Cases of `delivery.py` in which the agent's own world breaks: it is killed, its disk is full, its clock jumps, a user's script is bad."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.delivery_agent import (
    PACE,
    TAG,
    UNS,
    Missing,
    Outcome,
    Running,
    counter,
    flow,
    lines,
    logged,
    outcome,
    values,
)
from benchmarks.delivery_peers import publishing, session
from tests.real.ports import free_port
from tests.real.real_mosquitto import mosquitto, no_mosquitto


def killed(folder: Path, count: int, *, kills: int) -> Outcome:
    """Somebody publishes numbers, the agent carries them into its namespace and from there into a file, and is killed again and again."""
    if missing := no_mosquitto():
        raise Missing(missing)
    into, dice, ready = folder / "out.jsonl", random.Random(1), 0.0
    with mosquitto(folder / "mosquitto") as broker:
        flows = [
            flow("in", session(broker), UNS, tag=TAG),
            flow("keep", {"uns": {"consumer_group": "keep"}}, {"file": {"path": str(into)}}),
        ]
        with Running(folder, flows) as agent:
            agent.until(lambda: agent.figures("flows/in").get("input_connected"))
            with publishing(broker, "n", count) as sent:
                for _ in range(kills):
                    time.sleep(dice.uniform(0.3, 1.0))
                    agent.kill()
                    begun = time.monotonic()
                    agent.start()
                    before = into.stat().st_size if into.exists() else 0
                    agent.until(lambda before=before: into.exists() and into.stat().st_size > before)  # type: ignore[misc]
                    ready = max(ready, time.monotonic() - begun)
            agent.settled(lambda: len(set(values(into))), len(sent), 60)
            told = agent.state("flows/in")
            agent.stop()
    note = f"{kills} kills; at work again within {ready:.1f} s"
    return outcome(f"agent killed with -9, {kills} times", sent, values(into), told=told, note=note)


def webhook_killed(folder: Path, count: int, *, kills: int) -> Outcome:
    """Somebody posts numbers to a webhook, each until it is answered with 200, and the agent is killed again and again."""
    port, dice = free_port(), random.Random(2)
    hook = {"http_server": {"address": f"127.0.0.1:{port}"}}
    with Running(folder, [flow("in", hook, UNS, tag=TAG)]) as agent, posting(port, count) as answered:
        for _ in range(kills):
            time.sleep(dice.uniform(0.3, 1.0))
            agent.kill()
            agent.start()
            before = len(answered)
            agent.until(lambda before=before: len(answered) > before)  # type: ignore[misc]
        agent.until(lambda: len(answered) >= count)
        told = agent.state("flows/in")
        agent.stop()
    return outcome(f"agent killed behind a webhook, {kills} times", answered, logged(agent.data), told=told)


@contextmanager
def posting(port: int, least: int) -> Iterator[list[int]]:
    """Posts numbers one after the other while the block runs and until there are so many; those answered with 200."""
    answered: list[int] = []
    done = threading.Event()

    def post() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
            while not done.is_set():
                with suppress(httpx.HTTPError):
                    number = len(answered) + 1
                    if client.post("/post", json={"n": number}).status_code == 200:
                        answered.append(number)
                        continue
                time.sleep(0.02)

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield answered
    finally:
        done.set()
        thread.join()


def disk_full(folder: Path, count: int) -> Outcome:
    """The disk below the data directory is full for a while. Messages have 20 kB of meta that do not compress, so that they need room."""
    noise = "Array.from({length: 2000}, () => Math.random().toString(36).slice(2)).join('')"
    padded = TAG.replace("return msg;", f"msg.meta.pad = {noise};\nreturn msg;")
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        raise Missing("a small disk cannot be mounted: run as root, where mounting is allowed")
    try:
        with Running(folder, [flow("in", counter(count, PACE), UNS, tag=padded)], data=disk / "data") as agent:
            agent.watch("flows/in")
            agent.working("flows/in")
            agent.until(lambda: agent.count() > count // 5)
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(b"x" * 4096)
            agent.until(lambda: agent.trouble("output uns", "full"), 60)
            full = agent.state("broker")
            (disk / "filler").unlink()
            agent.settled(agent.count, count)
            agent.stop()
            told = agent.trouble("output uns", "full")
        found = logged(agent.data)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    return outcome("disk full under the log", range(1, count + 1), found, told=told, note=f"broker {full}")


def clock_stepped(folder: Path, count: int) -> Outcome:
    """The clock is set back by an hour while a flow writes into the namespace and another reads it."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        raise Missing("no libfaketime is installed: apt-get install faketime")
    shift, into = folder / "shift", folder / "out.jsonl"
    shift.write_text("+0")
    env = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    flows = [
        flow("in", counter(count, PACE), UNS, tag=TAG),
        flow("keep", {"uns": {"consumer_group": "keep"}}, {"file": {"path": str(into)}}),
    ]
    with Running(folder, flows, env=env) as agent:
        agent.until(lambda: agent.count() > count // 5)
        shift.write_text("-3600")
        agent.watch("flows/in")
        agent.settled(lambda: len(set(values(into))), count)
        told = agent.told[-1]
        agent.stop()
    times = [line["timestamp_ms"] for line in lines(into)]
    stepped = sum(after < before - 3_000_000 for before, after in pairwise(times))
    return outcome(
        "clock stepped back an hour",
        range(1, count + 1),
        values(into),
        told=told,
        note=f"{stepped} step back in the timestamps",
    )


def script(case: str, code: str, folder: Path, count: int, *, good: Callable[[int], bool], words: str) -> Outcome:
    """A tag processor with this code, and beside it a flow that must not suffer. Those that are not `good` are to be set aside."""
    flows = [
        flow("in", counter(count, "8ms"), UNS, tag=code),
        flow("neighbour", counter(10**9, "10ms"), {"file": {"path": str(folder / "neighbour.jsonl")}}),
    ]
    with Running(folder, flows) as agent:
        agent.watch("flows/in")
        begun = time.monotonic()
        agent.until(lambda: agent.figures("flows/in").get("finished"), 120)
        took = time.monotonic() - begun
        written = len(lines(folder / "neighbour.jsonl"))
        agent.stop()
        told = agent.trouble(words)
    found = logged(agent.data)
    missed = sorted(n for n in found if not good(n))
    note = f"a neighbour at 100/s wrote {written / took:.0f}/s meanwhile" + (
        f"; not expected: {missed[:5]}" if missed else ""
    )
    return outcome(case, range(1, count + 1), found, told=told, set_aside=agent.letters(), note=note)


def script_that_loops(folder: Path, count: int) -> Outcome:
    """It never returns: each message costs its time limit, and is set aside."""
    return script(
        "tag_processor that loops for ever",
        "while (true) {}",
        folder,
        min(count, 20),
        good=lambda n: False,
        words="processor",
    )


def script_that_throws(folder: Path, count: int) -> Outcome:
    """On every tenth message."""
    code = "if (msg.payload.n % 10 === 0) throw new Error('the tenth');" + TAG
    return script(
        "tag_processor that throws, 1 in 10",
        code,
        folder,
        min(count, 500),
        good=lambda n: n % 10 != 0,
        words="the tenth",
    )


def script_of_nonsense(folder: Path, count: int) -> Outcome:
    """It returns what is no message, each time something else."""
    code = "return [42, 'x', [[1]], {payload: 1}, {meta: 3}, true][msg.payload.n % 6];"
    return script(
        "tag_processor that returns nonsense", code, folder, min(count, 50), good=lambda n: False, words="processor"
    )


def illegal_topics(folder: Path, count: int) -> Outcome:
    """Every fifth message has a topic that cannot be."""
    wrong = "msg.meta.location_path = ['_acme.x', 'a b', 'acme.#', '.', 'ä/ö', 'acme.' + 'x'.repeat(5000)][(msg.payload.n / 5) % 6];"
    code = TAG.replace("msg.payload = ", f"if (msg.payload.n % 5 === 0) {{ {wrong} }}\nmsg.payload = ")
    return script(
        "topics with illegal segments, 1 in 5",
        code,
        folder,
        min(count, 250),
        good=lambda n: n % 5 != 0,
        words="topic to build",
    )
