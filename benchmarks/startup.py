"""How long a command takes to begin: `import setpoint.cli.main` and `setpoint --help`, as whole processes with compiled bytecode.

Reported are the median and the spread (least, greatest) of `--runs` runs in milliseconds, after one that is not counted.

    python benchmarks/startup.py [--runs 15] [--json]
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import setpoint

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import setpoint": [sys.executable, "-c", "import setpoint"],
    "import the machine model": [sys.executable, "-c", "import setpoint.machine"],
    "import the command line": [sys.executable, "-c", "import setpoint.cli.main"],
    "setpoint --help": [str(Path(sys.executable).with_name("setpoint")), "--help"],
}


def milliseconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(setpoint.__file__).parent, quiet=2)
    for name, command in COMMANDS.items():
        milliseconds(command)
        runs = [milliseconds(command) for _ in range(options.runs)]
        row = {
            "what": name,
            "median_ms": round(statistics.median(runs)),
            "min_ms": round(min(runs)),
            "max_ms": round(max(runs)),
        }
        print(
            json.dumps(row) if options.json else f"{name:26} {row['median_ms']} ms  ({row['min_ms']}-{row['max_ms']})"
        )


if __name__ == "__main__":
    main()
