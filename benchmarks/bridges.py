"""What embedded bridges cost: memory and processor of the whole agent process, for 1, 100 and 1,000 bridges at one value a second each
(or `--values`).

Each size runs `setpoint up` in a process of its own against a real Modbus TCP server in another; each message is checked against a data
contract. After `--settle` seconds the agent's processor time, memory and written messages are taken over `--seconds` seconds. Reported:
bridges active at the end, messages a second, share of one core, how late the runtime was at 99 of 100 timers (upper bound of a bucket), how
old values of every hundredth bridge were when another flow had read them from the namespace (from reading the device on), resident and
proportional memory (PSS) in MB, and memory for one more bridge against the smallest size.

    python benchmarks/bridges.py [--sizes 1,100,1000] [--settle 30] [--seconds 60] [--json]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from configs import config
from modbus_server import modbus_server

Figures = dict[str, float]


def api(url: str, path: str) -> list[dict[str, object]]:
    answer: list[dict[str, object]] = httpx.get(f"{url}/api/v1/{path}", timeout=30.0).raise_for_status().json()
    return answer


def written(url: str) -> int:
    """Messages in all topics so far."""
    return sum(int(str(topic["count"])) for topic in api(url, "topics?limit=100000"))


def lag(url: str) -> dict[float, float]:
    """How many timers the runtime has looked at no later than so many seconds, by seconds."""
    text = httpx.get(f"{url}/metrics", timeout=30.0).text
    rows = re.findall(r'setpoint_tick_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    return {float(bound.replace("+Inf", "inf")): float(count) for bound, count in rows}


def p99(before: dict[float, float], after: dict[float, float]) -> float:
    """The smallest bound, in milliseconds, that 99 of 100 timers kept to."""
    counts = {bound: after[bound] - before[bound] for bound in after}
    return next(bound * 1000 for bound, count in sorted(counts.items()) if count >= 0.99 * counts[float("inf")])


def measure(bridges: int, port: int, *, values: int, settle: float, seconds: float) -> Figures:
    """Run one size."""
    with tempfile.TemporaryDirectory() as folder:
        file, latencies = Path(folder) / "config.yaml", Path(folder) / "latencies"
        file.write_text(config(bridges, port, values=values, latencies=str(latencies)))
        own_port = 18080
        command = [sys.executable, "-m", "setpoint.cli.main", "up", str(file), "--data", f"{folder}/data"]
        agent = subprocess.Popen([*command, "--port", str(own_port), "--log-level", "error"], stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{own_port}"
        try:
            time.sleep(settle)
            process = psutil.Process(agent.pid)
            begun, count = time.perf_counter(), written(url)
            late = lag(url)  # after the count, which is work for the agent itself
            skip = latencies.stat().st_size
            cpu, started = sum(process.cpu_times()[:2]), time.perf_counter()
            time.sleep(seconds)
            took = time.perf_counter() - started
            cpu = sum(process.cpu_times()[:2]) - cpu
            ages = sorted(map(int, latencies.read_bytes()[skip:].split()[1:-1]))
            lag_p99_ms = p99(late, lag(url))
            counted = time.perf_counter() - begun
            messages = written(url) - count
            memory = process.memory_full_info()
            states = [worker["state"] for worker in api(url, "workers") if worker["type"] == "bridge"]
        finally:
            stopping = time.perf_counter()
            agent.terminate()
            agent.wait(timeout=60)
            stopping = time.perf_counter() - stopping
    return {
        "bridges": bridges,
        "active": states.count("active"),
        "messages_per_s": round(messages / counted, 1),
        "cores": round(cpu / took, 3),
        "lag_p99_ms_at_most": lag_p99_ms,
        "end_to_end_p50_ms": ages[len(ages) // 2] if ages else -1,
        "end_to_end_p99_ms": ages[len(ages) * 99 // 100] if ages else -1,
        "rss_mb": round(memory.rss / 1e6, 1),
        "pss_mb": round(memory.pss / 1e6, 1),
        "stop_s": round(stopping, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,100,1000")
    parser.add_argument("--values", type=int, default=1, help="values of each bridge, read once a second (at most 100)")
    parser.add_argument("--settle", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with modbus_server() as port:
        for size in (int(text) for text in options.sizes.split(",")):
            row = measure(size, port, values=options.values, settle=options.settle, seconds=options.seconds)
            if rows:
                more = row["bridges"] - rows[0]["bridges"]
                row["mb_per_bridge"] = round((row["pss_mb"] - rows[0]["pss_mb"]) / more, 3)
            rows.append(row)
            print(
                json.dumps(row) if options.json else "  ".join(f"{name}={value}" for name, value in row.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
