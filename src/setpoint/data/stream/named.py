"""Sources and sinks by what they are called: a path, a folder, ``-``, a URL, or something in the program.

Formats go by extension, below an optional ``.gz``: ``.jsonl`` and ``.ndjson``, ``.json`` (an array), ``.csv``, ``.tsv``, ``.txt``,
``.text`` and ``.log``; ``format=`` says it otherwise. Standard input and output are JSON Lines unless `format` says otherwise. Further
options go to the source or sink itself. A path out with ``{state}`` in it is a file for each end of the machine.

Schemes of URLs are registered: SQL, HTTP and WebSocket here, brokers by whoever has a client for them.
"""

from __future__ import annotations

import glob
import inspect
import os
from collections.abc import AsyncIterable, Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from setpoint.data.stream.array import JsonArray, JsonArrayFormat
from setpoint.data.stream.delimited import Delimited, DelimitedFormat
from setpoint.data.stream.files import FileSink, PipeSink
from setpoint.data.stream.folder import Folder
from setpoint.data.stream.jsonl import JsonLines, JsonLinesFormat
from setpoint.data.stream.memory import AsyncCalled, AsyncRecords, Called, Collected, Nowhere, Records
from setpoint.data.stream.parts import AnySink, AnySource
from setpoint.data.stream.states import HOLDER, StateFiles
from setpoint.data.stream.text import TextFormat, TextLines

Into = str | os.PathLike[str] | AnySource | Iterable[Any] | AsyncIterable[Any]
Out = str | os.PathLike[str] | AnySink | list[Any] | Callable[[Any], Any] | None

EXTENSIONS: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".text": "text",
    ".log": "text",
}
_READERS: Final[dict[str, Callable[..., Any]]] = {
    "jsonl": JsonLines,
    "json": JsonArray,
    "csv": Delimited,
    "tsv": lambda where, **options: Delimited(where, **{"delimiter": "\t", **options}),
    "text": TextLines,
}
_FORMATS: Final[dict[str, Callable[..., Any]]] = {
    "jsonl": JsonLinesFormat,
    "json": JsonArrayFormat,
    "csv": DelimitedFormat,
    "tsv": lambda **options: DelimitedFormat(**{"delimiter": "\t", **options}),
    "text": TextFormat,
}
_SQL: Final = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle")
_HOMES: Final = {
    **dict.fromkeys(_SQL, ("setpoint.data.stream.sql", "SqlSource", "SqlSink")),
    **dict.fromkeys(("http", "https"), ("setpoint.data.stream.http", "HttpSource", "HttpSink")),
    **dict.fromkeys(("ws", "wss"), ("setpoint.data.stream.websocket", "WebSocketSource", "WebSocketSink")),
}
_sources: dict[str, Callable[..., AnySource]] = {}
_sinks: dict[str, Callable[..., AnySink]] = {}


def register_source(scheme: str, make: Callable[..., AnySource]) -> None:
    """Have ``scheme://…`` read by what `make` gives for the URL and the options."""
    _sources[scheme] = make


def register_sink(scheme: str, make: Callable[..., AnySink]) -> None:
    """Have ``scheme://…`` written by what `make` gives for the URL and the options."""
    _sinks[scheme] = make


def open_source(source: Into, **options: Any) -> AnySource:
    """The source that is meant. Raises `ValueError` for what cannot be one, `OSError` for a file that cannot be read."""
    if not isinstance(source, str | os.PathLike):
        return _source_object(source)
    where = os.fspath(source)
    if "://" in where:
        found: AnySource = _of_scheme(where, _sources, 1)(where, **options)
        return found
    chosen = options.pop("format", None)
    if where != "-" and (os.path.isdir(where) or (glob.has_magic(where) and not os.path.exists(where))):
        return Folder(where, lambda path: _READERS[chosen or format_of(path)](path, **options))
    reader: AnySource = _READERS[_known(chosen or ("jsonl" if where == "-" else format_of(where)))](where, **options)
    return reader


def open_sink(sink: Out, **options: Any) -> AnySink:
    """The sink that is meant. Raises `ValueError` for what cannot be one."""
    if not isinstance(sink, str | os.PathLike):
        return _sink_object(sink)
    where = os.fspath(sink)
    if "://" in where:
        found: AnySink = _of_scheme(where, _sinks, 2)(where, **options)
        return found
    chosen, mode = options.pop("format", None), options.pop("mode", "replace")
    if HOLDER in where:
        return StateFiles(where, lambda: _FORMATS[_known(chosen or format_of(where))](**options), mode=mode)
    form = _FORMATS[_known(chosen or ("jsonl" if where == "-" else format_of(where)))](**options)
    return PipeSink(form) if where == "-" else FileSink(where, form, mode=mode)


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's name says. Raises `ValueError` where it says none."""
    name = os.fspath(path).removesuffix(".gz")
    extension = Path(name).suffix.lower()
    try:
        return EXTENSIONS[extension]
    except KeyError:
        raise ValueError(
            f"{os.fspath(path)}: the format cannot be told from the name: end it in .jsonl, .json, .csv, .tsv or .txt, or say format=…"
        ) from None


def _known(name: str) -> str:
    if name not in _READERS:
        raise ValueError(f"format {name!r} is unknown; there are {', '.join(_READERS)}")
    return name


def _of_scheme(where: str, registered: dict[str, Callable[..., Any]], which: int) -> Callable[..., Any]:
    scheme = where.partition("://")[0].partition("+")[0]
    if scheme in registered:
        return registered[scheme]
    if scheme in _HOMES:
        home = _HOMES[scheme]
        return getattr(import_module(home[0]), home[which])  # type: ignore[no-any-return]  # by name
    known = sorted({*registered, *_HOMES})
    raise ValueError(f"{where.partition('://')[0]}:// is not known here; there are {', '.join(known)}")


def _source_object(source: Any) -> AnySource:
    if hasattr(source, "read") and hasattr(source, "seek") and hasattr(source, "acknowledge"):
        return source  # type: ignore[no-any-return]  # has what a source has
    if isinstance(source, AsyncIterable):
        return AsyncRecords(source)
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | dict):
        return Records(source)
    raise ValueError(
        f"records cannot be read from {type(source).__name__}: give a path, a URL, an iterable or a source"
    )


def _sink_object(sink: Any) -> AnySink:
    if sink is None:
        return Nowhere()
    if hasattr(sink, "write") and hasattr(sink, "commit") and hasattr(sink, "keeps_mark"):
        return sink  # type: ignore[no-any-return]  # has what a sink has
    if isinstance(sink, list):
        return Collected(sink)
    if callable(sink):
        called = getattr(sink, "__call__", None)  # noqa: B004  # an object with an async __call__ counts too
        is_async = inspect.iscoroutinefunction(sink) or inspect.iscoroutinefunction(called)
        return AsyncCalled(sink) if is_async else Called(sink)
    raise ValueError(
        f"records cannot be written to {type(sink).__name__}: give a path, a URL, a list, a function or a sink"
    )
