"""The mock cluster inside librdkafka: a Kafka in memory, on loopback, that can be made slow, silent or wrong.

It serves any client over TCP. It knows no administration: topics are made by `topic` here. Its functions are those of ``rdkafka_mock.h``,
called in the library that confluent-kafka brings.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from setpoint.namespace.kafka import feed as kafka_feed

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 2, 3, 8, 9
"""Numbers of requests, as the Kafka protocol has them."""
NOT_LEADER, TIMED_OUT, COORDINATOR_NOT_AVAILABLE, TOO_LARGE = 6, 7, 15, 10
"""Numbers of errors, as the Kafka protocol has them."""


class Mock:
    """One cluster of one broker."""

    def __init__(self) -> None:
        self._lib = _library()
        said = ctypes.create_string_buffer(512)
        settings = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(settings, b"log_level", b"0", None, 0)
        self._client = self._lib.rd_kafka_new(0, settings, said, len(said))
        assert self._client, said.value
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._client, 1)
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def topic(self, name: str, partitions: int = 1) -> None:
        """Have this topic; nothing happens where it is there."""
        self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)

    def answer_with(self, request: int, *errors: int) -> None:
        """The next requests of this kind are answered with these errors, one each."""
        numbers = [ctypes.c_int(error) for error in errors]
        self._lib.rd_kafka_mock_push_request_errors(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), *numbers
        )

    def slow(self, milliseconds: int) -> None:
        """Every answer takes so long."""
        self._lib.rd_kafka_mock_broker_set_rtt(self._cluster, 1, milliseconds)

    def down(self) -> None:
        """The broker refuses connections and drops those it has."""
        self._lib.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self) -> None:
        """It is back."""
        self._lib.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def close(self) -> None:
        """The cluster is gone, with all that was in it."""
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)


@contextmanager
def mock() -> Iterator[Mock]:
    """A cluster of one's own. It does not say at once that there is something new, as a real one does, so consumers ask more often."""
    made = Mock()
    patient = kafka_feed.FETCH.get("fetch.wait.max.ms", 500)
    kafka_feed.FETCH["fetch.wait.max.ms"] = 10
    try:
        yield made
    finally:
        kafka_feed.FETCH["fetch.wait.max.ms"] = patient
        made.close()


def _library() -> Any:
    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    lib = ctypes.CDLL(str(next(folder.glob("librdkafka-*"))))
    pointer = ctypes.c_void_p
    for name, answer, takes in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_char_p, pointer, ctypes.c_size_t]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_new", pointer, [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, ctypes.c_int]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, [pointer]),
        ("rd_kafka_mock_topic_create", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
        ("rd_kafka_mock_broker_set_rtt", ctypes.c_int, [pointer, ctypes.c_int32, ctypes.c_int]),
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, [pointer, ctypes.c_int32]),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = answer, takes
    lib.rd_kafka_mock_push_request_errors.restype = None
    lib.rd_kafka_mock_push_request_errors.argtypes = [pointer, ctypes.c_int16, ctypes.c_size_t]
    return lib
