"""Half of a plant, as a process that can be killed: publishes numbered messages through `KafkaBroker`, or reads them as a group.

python kafka_passer.py produce SERVERS TOPIC FILE COUNT     begins behind the last number in FILE, where it writes what was acknowledged
python kafka_passer.py consume SERVERS TOPIC FILE COUNT     appends the numbers it read to FILE, commits, ends when it has read the last
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from setpoint.namespace import BrokerError, Message
from setpoint.namespace.kafka.broker import KafkaBroker
from setpoint.namespace.kafka.client import Access

BATCH = 100
KEYS = 50


def message(number: int) -> Message:
    return Message(f"umh.v1.acme.line-{number % KEYS}._raw.n", b"%d" % number, {"bridged_by": "test"})


def acknowledged(file: Path) -> int:
    return int(file.read_text()) if file.exists() else -1


def there(file: Path, number: int) -> bool:
    return str(number).encode() in file.read_bytes().split()


async def produce(broker: KafkaBroker, file: Path, count: int) -> None:
    begin = acknowledged(file) + 1
    while begin < count:
        batch = [message(number) for number in range(begin, min(begin + BATCH, count))]
        try:
            await broker.publish(batch)
        except BrokerError as error:
            print(error, file=sys.stderr)
            await asyncio.sleep(0.1)
            continue
        begin += len(batch)
        beside = file.with_suffix(".new")
        beside.write_text(str(begin - 1))
        beside.rename(file)


async def consume(broker: KafkaBroker, file: Path, count: int) -> None:
    subscription = broker.subscribe("readers")
    with file.open("ab", buffering=0) as found:
        last = -1
        while last < count - 1:
            with contextlib.suppress(BrokerError):
                messages = await subscription.read(500, timeout=5.0)
                found.write(b"".join(one.payload + b"\n" for one in messages))
                last = max([last, *(int(one.payload) for one in messages)])
                if messages:
                    await subscription.commit(messages[-1].offset)
                elif there(file, count - 1):
                    return


async def main(what: str, servers: str, topic: str, file: str, count: str) -> None:
    access = Access(servers=tuple(servers.split(",")))
    while True:
        try:
            broker = KafkaBroker(access, topic=topic, open_timeout=5.0)
            await broker.open()
            break
        except BrokerError as error:
            print(error, file=sys.stderr)
    async with broker:
        await (produce if what == "produce" else consume)(broker, Path(file), int(count))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
