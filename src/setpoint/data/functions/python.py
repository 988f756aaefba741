"""Functions written in Python in the configuration itself, for callers that trust the file: such code can do anything.

It is compiled once, when the machine is loaded, and never guessed at: what it is follows from its syntax tree.

    a lambda, or functions    the lambda, or the last function defined; beside functions only imports and assignments are allowed
    one expression            its value is what the function gives
    statements                the body of a function of ``record`` (also called ``data``) and ``context``, with its own ``return``

In a body, ``await`` makes the function async. A transform that returns nothing has changed the record in place. Functions that are
registered can be called by their names. Tracebacks show the lines of the file that the code stands in.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Mapping
from typing import Any

from setpoint.data.definition import Code, Function, Place, Role, Unresolved
from setpoint.data.functions.fields import kind_of

_NAME = "inline"
_BESIDE = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)


def by_python(code: Code, role: Role, names: Mapping[str, Any]) -> Function:
    """The function that trusted code stands for in this role. Raises `Unresolved` for code that does not parse or makes none."""
    text, before = _without_margin(code.text)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = (
            f" (line {error.lineno + before} of the code)" if isinstance(error, SyntaxError) and error.lineno else ""
        )
        raise Unresolved(f"the Python cannot be read: {getattr(error, 'msg', error)}{where}") from None
    if not tree.body:
        raise Unresolved("the Python is empty")
    name = _shape(tree, role)
    filename = _placed(tree, code, before)
    return _made(tree, name, filename, dict(names))


def _shape(tree: ast.Module, role: Role) -> str:
    """Makes a module that defines the function out of the code, and gives the function's name."""
    last = tree.body[-1]
    if any(isinstance(one, _DEFS) for one in tree.body):
        if odd := next((one for one in tree.body if not isinstance(one, _BESIDE) and not _is_text(one)), None):
            raise Unresolved(f"beside a function the Python may only import and assign (line {odd.lineno} of the code)")
        return next(one.name for one in reversed(tree.body) if isinstance(one, _DEFS))
    if isinstance(last, ast.Expr) and len(tree.body) == 1:
        if isinstance(last.value, ast.Lambda):
            tree.body = [_assigned(last.value)]
            return _NAME
        tree.body = [ast.copy_location(ast.Return(last.value), last)]
    elif role is not Role.TRANSFORM and not any(isinstance(one, ast.Return) for one in _own_nodes(tree.body)):
        raise Unresolved(f"the Python never returns, so it says neither yes nor no: a {role} returns True or False")
    tree.body = [_function(tree.body)]
    return _NAME


def _assigned(value: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Assign([ast.copy_location(ast.Name(_NAME, ast.Store()), value)], value), value)


def _function(body: list[ast.stmt]) -> ast.stmt:
    waits = any(isinstance(one, ast.Await | ast.AsyncFor | ast.AsyncWith) for one in _own_nodes(body))
    asks = any(isinstance(node, ast.Name) and node.id == "context" for one in body for node in ast.walk(one))
    head = ast.parse(f"{'async ' * waits}def {_NAME}(record{', context' * asks}):\n data = record").body[0]
    assert isinstance(head, _DEFS)
    for node in ast.walk(head):
        if "lineno" in node._attributes:
            ast.copy_location(node, body[0])
    head.body += body
    return head


def _own_nodes(body: Iterable[ast.AST]) -> Iterable[ast.AST]:
    """All nodes of the body but those in functions and classes within."""
    for node in body:
        yield node
        if not isinstance(node, (*_DEFS, ast.Lambda, ast.ClassDef)):
            yield from _own_nodes(ast.iter_child_nodes(node))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _made(tree: ast.Module, name: str, filename: str, names: dict[str, Any]) -> Function:
    module = names | {"__name__": f"<{filename}>"}
    try:
        exec(compile(ast.fix_missing_locations(tree), filename, "exec"), module)
    except SyntaxError as error:
        raise Unresolved(f"the Python cannot be read: {error.msg}") from None
    except Exception as error:
        raise Unresolved(f"the Python fails before any record: {type(error).__name__}: {error}") from error
    made = module[name]
    if not callable(made):
        raise Unresolved(f"the Python makes {kind_of(made)}, not a function")
    function: Function = made
    return function


def _without_margin(text: str) -> tuple[str, int]:
    """The code without the margin that all its lines share, and how many empty lines were before it."""
    lines = text.rstrip().split("\n")
    before = next((number for number, line in enumerate(lines) if line.strip()), 0)
    lines = lines[before:]
    first = lines[0] if lines else ""
    margin = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(margin) for line in lines), before


def _placed(tree: ast.Module, code: Code, before: int) -> str:
    """Moves the tree to its lines in the file, and gives the name under which tracebacks find them."""
    line = _first_line(code.place, code.text)
    if line:
        ast.increment_lineno(tree, line - 1)
        return code.place.file
    ast.increment_lineno(tree, before)
    filename = f"<{code.place} {hash(code.text):x}>"
    lines = [f"{one}\n" for one in code.text.split("\n")]
    linecache.cache[filename] = (len(code.text), None, lines, filename)
    return filename


def _first_line(place: Place, text: str) -> int:
    """The line of the file in which the code really begins: that of its place, or a following one for a block; 0 if it is not there."""
    first = text.strip().split("\n", 1)[0].strip()
    if not place.file or not place.line:
        return 0
    return next((line for line in range(place.line, place.line + 4) if first in linecache.getline(place.file, line)), 0)
