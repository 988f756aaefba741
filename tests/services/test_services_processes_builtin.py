"""The built-in process backend keeps every promise of the interface. What takes longer is in tests/real."""

from __future__ import annotations

from tests.conformance.process_conformance import ProcessConformance


class TestBuiltin(ProcessConformance):
    kind = "builtin"
