"""The examples in the documentation run as they are printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_every_python_block_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page, in order and in one namespace, except those marked ``python no-run``. An error shows the page's own line."""
    text = path.read_text(encoding="utf-8")
    module = ModuleType(f"docs_{path.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block[1], str(path), "exec"), module.__dict__)


def test_there_are_examples_to_run() -> None:
    """The pattern above finds what it looks for, and leaves what is marked."""
    assert [
        block[1] for block in BLOCK.finditer("a\n```python\nx = 1\n```\n```python no-run\ny\n```\n```\nz\n```\n")
    ] == ["x = 1\n"]
    assert BLOCK.search((DOCS / "machine.md").read_text(encoding="utf-8"))
