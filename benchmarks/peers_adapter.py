"""Our adapter for the scripts that measure dataknobs-fsm on fixed work (``--adapter peers_adapter:Adapter``, with this folder on the path).

Its configs are taken as they are. Results are turned into the mappings that the scripts look at, which is part of our time.
"""

from __future__ import annotations

from typing import Any

from setpoint import __version__
from setpoint.data.fsm import SimpleFSM


class Adapter:
    """The five calls that the scripts need."""

    name = "setpoint"
    version = __version__

    def build(self, config: Any, functions: Any = None) -> SimpleFSM:
        return SimpleFSM(config, functions=functions or {}, trust=True)

    def process(self, fsm: SimpleFSM, record: Any) -> dict[str, Any]:
        result = fsm.process(record)
        return {"success": result.success, "data": result.data, "final_state": result.final_state, "path": result.path}

    def process_batch(self, fsm: SimpleFSM, records: Any, workers: int, batch_size: int = 100) -> list[dict[str, Any]]:
        return [{"success": one.success, "data": one.data} for one in fsm.process_batch(records, max_workers=workers)]

    def process_stream(
        self, fsm: SimpleFSM, src: str, dst: str, chunk_size: int, use_streaming: bool
    ) -> dict[str, Any]:
        report = fsm.process_stream(src, dst, chunk_size=chunk_size)
        written = sum(report.emitted.values())
        return {
            "success": report.success,
            "total_processed": report.read,
            "successful": written,
            "failed": report.read - written,
        }

    def close(self, fsm: SimpleFSM) -> None:
        fsm.close()
