"""Streams: records from a source through a plan to a sink, chunk by chunk, in bounded memory, to be resumed where they broke off."""

from setpoint.data.stream.dead import Letter
from setpoint.data.stream.named import open_sink, open_source, register_sink, register_source
from setpoint.data.stream.parts import (
    AsyncSink,
    AsyncSource,
    Chunk,
    Counts,
    Malformed,
    Mark,
    Position,
    Refused,
    Sink,
    Source,
)
from setpoint.data.stream.report import StreamError, StreamReport, TooManyErrors
from setpoint.data.stream.run import AUTO, arun_stream, run_stream

__all__ = [
    "AUTO",
    "AsyncSink",
    "AsyncSource",
    "Chunk",
    "Counts",
    "Letter",
    "Malformed",
    "Mark",
    "Position",
    "Refused",
    "Sink",
    "Source",
    "StreamError",
    "StreamReport",
    "TooManyErrors",
    "arun_stream",
    "open_sink",
    "open_source",
    "register_sink",
    "register_source",
    "run_stream",
]
