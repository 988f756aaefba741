"""Python in a file: refused without trust; with it, compiled once to what its syntax says, with the file's lines in tracebacks."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from pathlib import Path
from typing import Any

import pytest

from setpoint.data.context import Context
from setpoint.data.definition import NOWHERE, Code, Place, Role, Unresolved
from setpoint.data.functions import Functions
from setpoint.data.rows import asks_context, is_async


def of(text: str, role: Role = Role.TRANSFORM, place: Place = NOWHERE, **functions: Any) -> Any:
    return Functions(functions, trust=True).resolve(Code(text, "python", place), role)


def call(function: Any, record: Any) -> Any:
    out = function(record, Context(state="here")) if asks_context(function) else function(record)

    async def wait() -> Any:
        return await out

    return asyncio.run(wait()) if is_async(function) else out


def test_it_is_refused_without_trust_and_runs_nothing(tmp_path: Path) -> None:
    """The refusal names the line and says what to do; not even code at its top has run."""
    touched = tmp_path / "touched"
    code = Code(f"open({str(touched)!r}, 'w').close()", "python", Place("etl.yaml", 12, 9))
    with pytest.raises(Unresolved, match=r"etl.yaml:12:9: Python in a file runs only where the file is trusted"):
        Functions().resolve(code, Role.TRANSFORM)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("text", "record", "expected"),
    [
        ("lambda record: record + 1", 1, 2),
        ("lambda data, ctx: (data, ctx.state)", 1, (1, "here")),
        ("dict(data, q=1)", {"a": 1}, {"a": 1, "q": 1}),
        ("{'k': data['a']}", {"a": 1}, {"k": 1}),
        ("record['a'] = record['a'] > 1", {"a": 2}, None),
        ("return {'a': context.state}", {}, {"a": "here"}),
        ("for i in range(2):\n    record['a'] += i\nreturn record", {"a": 1}, {"a": 2}),
        ("  x = 1\n  return x", {}, 1),
        ("\n\nimport math\nreturn math.floor(record)\n", 1.5, 1),
        ("def helper(x):\n    return x * 2\ndef main(record):\n    return helper(record)", 2, 4),
        ("def main(record):\n    return helper(record)\ndef helper(x):\n    return x * 2", 2, 4),
        ("import asyncio\nasync def f(record):\n    await asyncio.sleep(0)\n    return record + 1", 1, 2),
        ("import asyncio\nawait asyncio.sleep(0)\nreturn record + 1", 1, 2),
        ("double(record)", 2, 4),
        ("return [x for x in (lambda y: y)(record)]", (1, 2), [1, 2]),
        ("'text; with = signs'", {}, "text; with = signs"),
    ],
)
def test_trusted_code_is_what_its_syntax_says(text: str, record: Any, expected: Any) -> None:
    """A lambda, functions, one expression, or the body of a function; registered functions are there by name."""
    made = of(text, double=lambda record: record * 2)
    assert call(made, record) == expected


def test_a_condition_is_an_expression_or_returns() -> None:
    """Without a marker and with: what is one expression is its value."""
    for text in ("data['ok']", "bool(data['ok'])", "isinstance(data['ok'], int) and data['ok']", "return data['ok']"):
        assert call(of(text, Role.CONDITION), {"ok": 1})
        assert not call(of(text, Role.CONDITION), {"ok": 0})


@pytest.mark.parametrize(
    ("text", "role", "says"),
    [
        ("record[", Role.TRANSFORM, "cannot be read: '.' was never closed .line 1 of the code"),
        ("x = 1\ny = = 2", Role.TRANSFORM, "line 2 of the code"),
        ("", Role.TRANSFORM, "is empty"),
        ("record['a'] = 1", Role.CONDITION, "never returns"),
        ("def f(x): return x\nprint(1)", Role.TRANSFORM, "may only import and assign .line 2 of the code"),
        (
            "import nothing_like_this\ndef f(x): return x",
            Role.TRANSFORM,
            "fails before any record: ModuleNotFoundError",
        ),
        ("def f(): return 1", Role.TRANSFORM, "takes no positional parameter"),
        ("lambda a, b, c: 1", Role.TRANSFORM, "needs the params c"),
        ("break", Role.TRANSFORM, "cannot be read: 'break' outside loop"),
        ("\x00", Role.TRANSFORM, "cannot be read"),
        ("(" * 500, Role.TRANSFORM, "cannot be read"),
    ],
)
def test_wrong_code_is_found_at_load(text: str, role: Role, says: str) -> None:
    """Code that does not parse, makes no function, or can give no answer is refused before any record; it never becomes another."""
    with pytest.raises(Unresolved, match=says):
        of(text, role)


FILE = """\
states:
  - name: a
    transforms:
      - python: |
          x = record["n"]
          return {"n": 1 / x}
      - {python: 'record["missing"]'}
"""


@pytest.mark.parametrize(
    ("place", "text", "line", "source"),
    [
        (4, 'x = record["n"]\nreturn {"n": 1 / x}\n', 6, 'return {"n": 1 / x}'),
        (7, 'record["missing"]', 7, "- {python: 'record[\"missing\"]'}"),
    ],
)
def test_a_traceback_shows_the_file(tmp_path: Path, place: int, text: str, line: int, source: str) -> None:
    """File, line and text are those of the file, for a block and for a value on one line."""
    path = tmp_path / "machine.yaml"
    path.write_text(FILE)
    function = of(text, place=Place(str(path), place, 9))
    with pytest.raises((ZeroDivisionError, KeyError)) as caught:
        call(function, {"n": 0})
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno, last.line) == (str(path), line, source)


def test_a_traceback_shows_the_code_where_there_is_no_file() -> None:
    """Code of a definition in memory has its own lines."""
    function = of("x = record\nreturn 1 / x")
    with pytest.raises(ZeroDivisionError) as caught:
        call(function, 0)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.lineno, last.line) == (2, "return 1 / x")


def test_code_that_does_not_await_is_not_async() -> None:
    """What is asynchronous within an inner function does not make the outer one so."""
    assert not is_async(of("class Inner:\n    async def f(self):\n        await self\nreturn 1"))
    assert inspect.iscoroutinefunction(of("await record()\nreturn 1"))
