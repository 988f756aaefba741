"""The printer of labels.yaml: a job takes a moment."""

import asyncio


async def print_label(record: dict) -> None:
    await asyncio.sleep(0.05)
    record["printed"] = True
