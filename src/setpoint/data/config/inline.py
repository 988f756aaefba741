"""Inline Python of other tools, read as an expression where it is one.

Nearly all of their one-line conditions are of the form ``data["amount"] > 3`` or ``lambda data: data["amount"] > 3``. As an expression
over the record's fields that is ``amount > 3``, which needs no trust, is checked when it is loaded and can be looked into by the checker.
"""

from __future__ import annotations

import ast
import keyword
import re
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


_DATA: Final = re.compile(r"\bdata\b")


class _Fields(ast.NodeTransformer):
    """Replaces ``data['field']`` and ``state.data['field']`` by ``field``, and ``data`` alone by ``record``; `name` stands for `data`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        match node:
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(field))) if self._is_record(owner):
                if (
                    field.isidentifier()
                    and not keyword.iskeyword(field)
                    and not field.startswith("_")
                    and field != "record"
                ):
                    return ast.Name(field, ast.Load())
        self.generic_visit(node)
        return node

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
