"""The tutorial begins with the example as it is, and the example is what it claims to be."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "hello_worker.py"


def test_the_tutorial_begins_with_the_example() -> None:
    """Its first block is the file, letter by letter."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    first = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert first is not None
    assert first[1] == HELLO.read_text(encoding="utf-8")


def test_the_example_is_one_file_of_less_than_40_lines() -> None:
    """Blank lines and imports included."""
    assert len(HELLO.read_text(encoding="utf-8").splitlines()) < 40


def test_the_links_of_the_two_pages_lead_somewhere() -> None:
    """To files that are there."""
    for page in ("tutorial.md", "testing.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / "docs" / target).exists(), f"{page} links to {target}"
