"""A server that speaks the documented formats of Redpanda's admin API, its public metrics and its schema registry."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

METRICS = """\
# HELP redpanda_cluster_topics Number of topics in the cluster
# TYPE redpanda_cluster_topics gauge
redpanda_cluster_topics{} 3.000000
# HELP redpanda_cluster_unavailable_partitions Number of partitions that lack quorum among replicants
# TYPE redpanda_cluster_unavailable_partitions gauge
redpanda_cluster_unavailable_partitions{} 0.000000
# HELP redpanda_cpu_busy_seconds_total Total CPU busy time in seconds
# TYPE redpanda_cpu_busy_seconds_total gauge
redpanda_cpu_busy_seconds_total{shard="0"} 10.500000
redpanda_cpu_busy_seconds_total{shard="1"} 20.000000
# HELP redpanda_kafka_partitions Configured number of partitions for the topic
# TYPE redpanda_kafka_partitions gauge
redpanda_kafka_partitions{redpanda_namespace="kafka",redpanda_topic="umh.messages"} 1.000000
# HELP redpanda_kafka_request_bytes_total Total number of bytes produced per topic
# TYPE redpanda_kafka_request_bytes_total counter
redpanda_kafka_request_bytes_total{redpanda_namespace="kafka",redpanda_request="produce",redpanda_topic="umh.messages"} 1000
redpanda_kafka_request_bytes_total{redpanda_namespace="kafka",redpanda_request="produce",redpanda_topic="b"} 500
redpanda_kafka_request_bytes_total{redpanda_namespace="kafka",redpanda_request="consume",redpanda_topic="b"} 70
redpanda_kafka_request_bytes_total{redpanda_namespace="kafka",redpanda_request="follower_consume",redpanda_topic="b"} 9
# HELP redpanda_storage_disk_free_bytes Disk storage bytes free.
# TYPE redpanda_storage_disk_free_bytes gauge
redpanda_storage_disk_free_bytes{} 333374935040.000000
# HELP redpanda_storage_disk_free_space_alert Status of low storage space alert. 0-OK, 1-Low Space 2-Degraded
# TYPE redpanda_storage_disk_free_space_alert gauge
redpanda_storage_disk_free_space_alert{} 0.000000
# HELP redpanda_storage_disk_total_bytes Total size of attached storage, in bytes.
# TYPE redpanda_storage_disk_total_bytes gauge
redpanda_storage_disk_total_bytes{} 460206137344.000000
"""


class Redpanda:
    """What the server knows, for the test to look at and to change."""

    def __init__(self) -> None:
        self.url = ""
        self.status = "ready"
        self.metrics: str | bytes = METRICS
        self.delay = 0.0
        self.settings: dict[str, Any] = {"log_retention_ms": 604800000, "other": "an operator's", "cluster_id": "c"}
        self.sticky: set[str] = set()
        """Keys that are accepted and keep their value."""
        self.restart = False
        self.puts: list[dict[str, Any]] = []
        self.subjects: dict[str, list[str]] = {}
        self.incompatible: set[str] = set()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, str | bytes]:
        """The status and body of an answer."""
        time.sleep(self.delay)
        if path.startswith("/subjects"):
            return self._registry(method, path.strip("/").split("/"), body)
        if path == "/v1/status/ready":
            return (200 if self.status == "ready" else 503), json.dumps({"status": self.status})
        if path == "/public_metrics":
            return 200, self.metrics
        if path == "/v1/cluster_config/status":
            return 200, json.dumps(
                [{"node_id": 0, "restart": self.restart, "config_version": 5, "invalid": [], "unknown": []}]
            )
        if path == "/v1/cluster_config" and method == "PUT":
            return self._put(body)
        if path == "/v1/cluster_config":
            return 200, json.dumps(self.settings)
        return 404, json.dumps({"message": "Not found", "code": 404})

    def _put(self, body: Any) -> tuple[int, str]:
        self.puts.append(body)
        unknown = [key for key in body["upsert"] if key.startswith("unknown")]
        if unknown:
            return 400, json.dumps({unknown[0]: "Unknown property"})
        self.settings.update({key: value for key, value in body["upsert"].items() if key not in self.sticky})
        return 200, json.dumps({"config_version": 5})

    def _registry(self, method: str, parts: list[str], body: Any) -> tuple[int, str]:
        if len(parts) == 1:
            return 200, json.dumps(list(self.subjects))
        subject = parts[1]
        if method == "POST":
            if subject in self.incompatible:
                return 409, json.dumps({"error_code": 409, "message": "Schema being registered is incompatible"})
            self.subjects.setdefault(subject, []).append(body["schema"])
            return 200, json.dumps({"id": 1})
        if subject not in self.subjects:
            return 404, json.dumps({"error_code": 40401, "message": f"Subject '{subject}' not found."})
        if method == "DELETE":
            return 200, json.dumps(list(range(1, len(self.subjects.pop(subject)) + 1)))
        return 200, json.dumps({"subject": subject, "version": 1, "id": 1, "schema": self.subjects[subject][-1]})


@contextmanager
def redpanda(port: int = 0) -> Iterator[Redpanda]:
    """A server on loopback, on a free port where none is given."""
    state = Redpanda()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = state.answer(self.command, self.path, body)
            data = answer.encode() if isinstance(answer, str) else answer
            with suppress(ConnectionError):  # who asked has given up
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
