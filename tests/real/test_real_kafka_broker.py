"""The driver `kafka` on a real Apache Kafka: the conformance suite of brokers, and what a broker process does to it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.broker_conformance import BrokerConformance
from tests.real.real_kafka import Kafka, kafka, no_kafka

from setpoint.namespace import Broker

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install 'setpoint[kafka]'")
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Kafka]:
    if missing := no_kafka():
        pytest.skip(missing)
    with kafka() as one:
        yield one


class TestKafkaBroker(BrokerConformance):
    """The conformance suite on `KafkaBroker`: a directory is a topic."""

    @pytest.fixture(autouse=True)
    def _server(self, server: Kafka) -> None:
        self.server = server

    def broker(self, directory: Path) -> Broker:
        from setpoint.namespace.kafka.broker import KafkaBroker
        from setpoint.namespace.kafka.client import Access

        topic = hashlib.sha256(str(directory).encode()).hexdigest()
        access = Access(servers=(self.server.servers,))
        return KafkaBroker(
            access, topic=topic, index=directory / "index.db", measure=lambda: measured(self.server, topic)
        )


def measured(server: Kafka, topic: str) -> tuple[int, int, int]:
    """What the broker's own disk says."""
    disk = shutil.disk_usage(server.data)
    return sum(file.stat().st_size for file in server.data.glob(f"{topic}-0/*")), disk.free, disk.total
