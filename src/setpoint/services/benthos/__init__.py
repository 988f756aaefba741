"""Flows on the real Benthos: the client that workers use. It starts no process; a process backend does that with `Program.run`.

The way of a flow: `find_program` → `document` (its file, from its config and its port) → `deploy` (judged by the program, swapped in one
step) → the process → `Endpoints.scan` once a second, `LogErrors.add` for each line it writes → `facts_of`, and the questions of
`setpoint.services.benthos.facts`. Only a document with another digest restarts a flow.
"""

from setpoint.services.benthos.config import BenthosConfigError, Document, document
from setpoint.services.benthos.deploy import Deployed, deploy
from setpoint.services.benthos.endpoints import Connection, Endpoints, Scan
from setpoint.services.benthos.facts import FlowFacts, LogFacts, facts_of
from setpoint.services.benthos.lint import lint
from setpoint.services.benthos.logs import LogErrors, LogLine, parse
from setpoint.services.benthos.metrics import Counters, Latency, Metrics, NotPrometheus
from setpoint.services.benthos.program import Found, Program, find_program
from setpoint.services.benthos.traffic import Traffic

__all__ = [
    "BenthosConfigError",
    "Connection",
    "Counters",
    "Deployed",
    "Document",
    "Endpoints",
    "FlowFacts",
    "Found",
    "Latency",
    "LogErrors",
    "LogFacts",
    "LogLine",
    "Metrics",
    "NotPrometheus",
    "Program",
    "Scan",
    "Traffic",
    "deploy",
    "document",
    "facts_of",
    "find_program",
    "lint",
    "parse",
]
