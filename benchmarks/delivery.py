"""Delivery under faults: numbered messages through an agent while something breaks; what was lost, doubled, set aside, and what it said.

    python benchmarks/delivery.py [--messages 2000] [--kills 20] [--only NAME ...] [--json] [--check]

Each case runs `setpoint up` as a process. Brokers and databases are real ones, started by the case; a case whose part is missing is left
out, and that is said. *Lost* is what neither arrived nor was set aside with its reason. *Doubled* is allowed: delivery is at least once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import delivery_faults as faults
from benchmarks import delivery_peers as peers
from benchmarks.delivery_agent import Missing, Outcome

CASES: dict[str, Callable[..., Outcome]] = {
    "device": peers.device_restarted,
    "mosquitto": peers.mosquitto_restarted,
    "kafka": peers.kafka_killed,
    "postgres": peers.postgres_restarted,
    "kill": faults.killed,
    "webhook": faults.webhook_killed,
    "disk": faults.disk_full,
    "clock": faults.clock_stepped,
    "loops": faults.script_that_loops,
    "throws": faults.script_that_throws,
    "nonsense": faults.script_of_nonsense,
    "large": peers.large_payload,
    "topics": faults.illegal_topics,
}


def run(name: str, count: int, kills: int) -> Outcome:
    """One case in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix=f"setpoint-delivery-{name}-"))
    try:
        more = {"kills": kills} if name in ("kill", "webhook") else {}
        return CASES[name](folder, count, **more)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--check", action="store_true", help="exit code 1 where something was lost, or nothing was said"
    )
    asked = parser.parse_args()
    rows: list[Outcome] = []
    if not asked.json:
        print(f"{'':<38} {'sent':>6} {'arrived':>7} {'lost':>5} {'doubled':>7} {'set aside':>9}", flush=True)
    for name in asked.only:
        try:
            row = run(name, asked.messages, asked.kills)
        except Missing as why:
            print(f"{name}: left out: {why}", file=sys.stderr)
            continue
        rows.append(row)
        if not asked.json:
            print(f"{row.case:<38} {row.sent:>6} {row.arrived:>7} {row.lost:>5} {row.doubled:>7} {row.set_aside:>9}")
            print(f"    {row.told}" + (f"\n    {row.note}" if row.note else ""), flush=True)
    if asked.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    if asked.check and not all(row.good for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
