"""Inline Python of other tools, read as an expression where it is one.

Nearly all of their one-line conditions are of the form ``data["amount"] > 3`` or ``lambda data: data["amount"] > 3``. As an expression
over the record's fields that is ``amount > 3``, which needs no trust, is checked when it is loaded and can be looked into by the checker.
"""

from __future__ import annotations

import ast
import keyword
import re
from textwrap import dedent
from typing import Final

from setpoint.machine.expression import ExpressionError


def as_expression(text: str) -> str:
    """Inline Python as an expression over the record's fields: ``lambda data: data['a'] > 1`` is ``a > 1``; unchanged where it is none.

    Raises `ExpressionError` where it uses the record, or what else a function is given, in a way that expressions have no words for.
    """
    try:
        tree: ast.expr = ast.parse(text, mode="eval").body
        record, given = "data", list[str]()
        if isinstance(tree, ast.Lambda) and tree.args.args:
            record, *given = [argument.arg for argument in tree.args.args]
            tree = tree.body
        elif not _DATA.search(text):
            return text
        fields = ast.unparse(_Fields(record).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in given:
            raise ExpressionError(
                f"{node.id!r} is not a field; in {{expression: …}} every name is one, and 'record' is the record"
            )
    return fields


def slip(text: str, *, tests: bool) -> str:
    """What to do about a text that is no expression and no Python either; empty where it may be Python. `tests`: it says yes or no."""
    try:
        body = ast.parse(dedent(text)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "write 'and', 'or' and 'not'" if _FOREIGN.search(text) else "correct it"
    return "write '==' to compare" if tests and len(body) == 1 and isinstance(body[0], ast.Assign) else ""


_FOREIGN: Final = re.compile(r"&&|\|\||!(?!=)")
_DATA: Final = re.compile(r"\bdata\b")


class _Fields(ast.NodeTransformer):
    """Replaces ``data['field']`` and ``state.data['field']`` by ``field``, ``data.get('field', 0)`` by
    ``field if 'field' in record else 0``, and ``data`` alone by ``record``; `name` stands for `data`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        match node:
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(field))) if self._is_record(owner):
                return self._field(field)
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        match node:
            case ast.Call(ast.Attribute(value=owner, attr="get"), [ast.Constant(value=str(field)) as name, *rest], []):
                if self._is_record(owner) and len(rest) < 2:
                    there = ast.Compare(name, [ast.In()], [ast.Name("record", ast.Load())])
                    return ast.IfExp(there, self._field(field), self.visit(rest[0]) if rest else ast.Constant(None))
        self.generic_visit(node)
        return node

    def _field(self, field: str) -> ast.expr:
        """A field by its name, where that can be a name in an expression."""
        if field.isidentifier() and not keyword.iskeyword(field) and not field.startswith("_") and field != "record":
            return ast.Name(field, ast.Load())
        return ast.Subscript(ast.Name("record", ast.Load()), ast.Constant(field), ast.Load())

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if self._is_record(node):
            return ast.Name("record", ast.Load())
        if self._is_record(node.value) and self.name == "data":
            return node  # the field `data`, more likely than an attribute of the record
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name("record", ast.Load()) if node.id == self.name else node

    def _is_record(self, node: ast.expr) -> bool:
        match node:
            case ast.Attribute(value=ast.Name(id="state"), attr="data"):
                return True
            case ast.Name(id=name):
                return name == self.name
        return False
