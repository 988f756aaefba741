"""The folders of the examples, for the tests of the patterns: copied, with their modules importable, and their services running."""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

PATTERNS = Path(__file__).parents[2] / "examples" / "patterns"


def enter(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, which is the present folder and the first where modules are looked for."""
    folder = tmp_path / name
    shutil.copytree(PATTERNS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for file in folder.glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    return folder


def module(name: str) -> ModuleType:
    """A module of the folder that was entered."""
    return importlib.import_module(name)


@contextmanager
def serving(server: HTTPServer) -> Iterator[HTTPServer]:
    """The server, answering."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
