"""From an edit of the config file to the applied desired state, with many bridges running.

One agent in this process runs a file with `--bridges` bridges (stopped ones by default, so that the figure is that of the edit and not of
a device simulator on the same two cores; `--active` runs them all against one real Modbus server in a process of its own). Each edit
gives one bridge another port and is written as editors do, by a rename. Reported is the time from the rename to the moment the bridge's
new desired state is in force: p50, p99 and the greatest, in milliseconds.

    python benchmarks/reload.py [--bridges 200] [--edits 100] [--active] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import tempfile
import time
from pathlib import Path

import structlog
from configs import config
from modbus_server import modbus_server

from setpoint.agent import Agent
from setpoint.cli.memory import settle


async def measure(bridges: int, edits: int, *, active: bool, port: int) -> list[float]:
    """Milliseconds of each edit."""
    desired = "active" if active else "stopped"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(config(bridges, port, desired=desired))
        agent = Agent(file, data=Path(folder) / "data", env={})
        await agent.start()
        await agent.supervisor.until(
            lambda s: s.core.fact(f"agent/bridges/machine-{bridges - 1}").state != "missing", 30
        )
        await settle(15.0 if active else 3.0)  # as `setpoint up` does
        took = []
        for edit in range(edits):
            number = edit % bridges
            path = f"agent/bridges/machine-{number}"
            target = 20_000 + edit
            text = config(bridges, port, moved={number: target}, desired=desired)
            (Path(folder) / "next.yaml").write_text(text)
            started = time.perf_counter()
            (Path(folder) / "next.yaml").rename(file)
            applied = await agent.supervisor.until(
                lambda s, path=path, target=target: s.core.family.table[path].desired.port == target, 10
            )
            took.append((time.perf_counter() - started) * 1000 if applied else float("inf"))
            await asyncio.sleep(0.15)
        await agent.stop()
        return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bridges", type=int, default=200)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--active", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with modbus_server() as port:
        took = sorted(asyncio.run(measure(options.bridges, options.edits, active=options.active, port=port)))
    figures = {
        "bridges": options.bridges,
        "active": options.active,
        "edits": len(took),
        "p50_ms": round(statistics.median(took), 1),
        "p99_ms": round(took[min(len(took) - 1, int(len(took) * 0.99))], 1),
        "max_ms": round(took[-1], 1),
    }
    print(json.dumps(figures) if options.json else "\n".join(f"{name:10} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
