"""Loads the orders of the shop into the warehouse.

python load.py full|incremental|upsert|append SOURCE-URL TARGET-URL

full           the table becomes what the shop has, in one transaction: rows that are gone there are gone here
incremental    what is new or has changed since the last load; how far that came is kept in the target, with the rows
upsert         all rows: new ones are inserted, those that are there are updated, none is deleted
append         rows with new ids are inserted; what is there is never touched
"""

import sys
from pathlib import Path

from setpoint.data.fsm import SimpleFSM
from setpoint.data.stream import StreamError, StreamReport, open_sink, open_source

WRITES = {"full": "replace", "incremental": "upsert", "upsert": "upsert", "append": "insert"}


def load(mode: str, source: str, target: str, **options) -> StreamReport:
    """What came of it. Raises `StreamError` where an end broke, or more than a quarter of the rows was rejected."""
    key = ["updated_at", "id"] if mode == "incremental" else ["id"]
    return SimpleFSM(Path(__file__).with_name("orders.yaml")).process_stream(
        open_source(source, table="orders_to_load", key=key),
        open_sink(target, table="orders", mode=WRITES[mode], stream=f"orders, {mode}"),
        resume=mode in ("incremental", "append"),
        **{"dead_letters": "rejected.jsonl", "error_threshold": 0.25, **options},
    )


if __name__ == "__main__":
    try:
        report = load(*sys.argv[1:])
    except StreamError as error:
        sys.exit(str(error))
    print(f"{report.read} read, {sum(report.emitted.values())} loaded, {sum(report.failed.values())} rejected")
    for letter in report.first:
        print(letter)
