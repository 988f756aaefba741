"""Rendering: walking the tree of a template with the variables of one item.

A template that is a single action gives the value itself, a number, a list or a mapping as much as a text; every other template gives
a text. Everything that is evaluated is paid for from the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setpoint.templates.functions import FUNCTIONS, Budget, FunctionError, kind, shown, truth
from setpoint.templates.lexer import MissingVariable, TemplateError
from setpoint.templates.parser import Block, Operand, Output, Pipeline, Text, TreeNode


class Template:
    """A parsed template."""

    def __init__(self, text: str, tree: tuple[TreeNode, ...]) -> None:
        self.text = text
        self._tree = tree

    def render(self, variables: Mapping[str, Any], budget: Budget) -> Any:
        """The text, or for a single action the value. Raises `MissingVariable` and `TemplateError`."""
        run = _Run(dict(variables), budget)
        match self._tree:
            case (Output(pipeline),) if not pipeline.targets:
                return run.pipeline(pipeline, run.root)
        run.nodes(self._tree, run.root)
        return "".join(run.written)


class _Run:
    def __init__(self, root: dict[str, Any], budget: Budget) -> None:
        self.root = root
        self.budget = budget
        self.written: list[str] = []
        self.variables: list[tuple[str, Any]] = [("$", root)]

    def nodes(self, nodes: tuple[TreeNode, ...], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._charged(0, lambda text=node.text: self.budget.write(len(text)))
                self.written.append(node.text)
            elif isinstance(node, Output):
                value = self.pipeline(node.pipeline, dot)
                if not node.pipeline.targets:
                    offset = node.pipeline.offset
                    self.written.append(self._charged(offset, lambda value=value: shown(value, self.budget)))
            else:
                self.block(node, dot)

    def block(self, block: Block, dot: Any) -> None:
        depth = len(self.variables)
        if block.kind == "range":
            self._range(block, dot)
        else:
            value = self.pipeline(block.pipeline, dot)
            inner = value if block.kind == "with" and truth(value) else dot
            self.nodes(block.body if truth(value) else block.otherwise, inner)
        del self.variables[depth:]

    def _range(self, block: Block, dot: Any) -> None:
        pipeline = block.pipeline
        value = self.evaluate(pipeline, dot)
        entries = self._entries(value, block.offset)
        depth = len(self.variables)
        for key, item in entries:
            self._charged(block.offset, self.budget.step)
            names = pipeline.targets
            self.keep(
                names, (item,) if len(names) == 1 else (key, item), declares=pipeline.declares, offset=block.offset
            )
            self.nodes(block.body, item)
            del self.variables[depth:]
        if not entries:
            self.nodes(block.otherwise, dot)

    def _entries(self, value: Any, offset: int) -> list[tuple[Any, Any]]:
        if isinstance(value, dict | list):
            self._charged(offset, lambda: self.budget.step(len(value)))
        if isinstance(value, dict):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, list):
            return list(enumerate(value))
        if type(value) is int:
            self._charged(offset, lambda: self.budget.step(max(value, 0)))
            return [(number, number) for number in range(value)]
        if value is None:
            return []
        raise TemplateError(f"range needs a list, a mapping or a number, not {kind(value)}", offset=offset)

    def pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value = self.evaluate(pipeline, dot)
        if pipeline.targets:
            self.keep(pipeline.targets, (value,), declares=pipeline.declares, offset=pipeline.offset)
        return value

    def keep(self, names: tuple[str, ...], values: tuple[Any, ...], *, declares: bool, offset: int) -> None:
        for name, value in zip(names, values, strict=False):
            if declares:
                self.variables.append((name, value))
                continue
            for position in range(len(self.variables) - 1, -1, -1):
                if self.variables[position][0] == name:
                    self.variables[position] = (name, value)
                    break
            else:
                raise TemplateError(f"{name} is not declared", offset=offset, hint=f"declare it with {name} := …")

    def evaluate(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = None
        for position, command in enumerate(pipeline.commands):
            self._charged(pipeline.offset, self.budget.step)
            piped = (value,) if position else ()
            first = command[0]
            if first.kind == "function":
                value = self.call(str(first.value), command[1:], piped, dot, first.offset)
            elif piped:
                hint = "only a function can stand after '|'"
                raise TemplateError("a value cannot be called like a function", offset=first.offset, hint=hint)
            else:
                value = self.operand(first, dot)
        return value

    def call(self, name: str, operands: tuple[Operand, ...], piped: tuple[Any, ...], dot: Any, offset: int) -> Any:
        fewest, most, function = FUNCTIONS[name]
        count = len(operands) + len(piped)
        if not fewest <= count <= most:
            needs = f"{fewest}" if most == fewest else f"{fewest} or more"
            raise TemplateError(f"{name} needs {needs} values, not {count}", offset=offset)
        values: list[Any] = []
        for operand in operands:
            values.append(self.operand(operand, dot))
            if (name == "and" and not truth(values[-1])) or (name == "or" and truth(values[-1])):
                return values[-1]
        return self._charged(offset, lambda: function(self.budget, *values, *piped))

    def operand(self, operand: Operand, dot: Any) -> Any:
        value: Any = dot
        if operand.kind == "value":
            return operand.value
        if operand.kind == "function":
            return self.call(str(operand.value), (), (), dot, operand.offset)
        if operand.kind == "variable":
            value = self._variable(str(operand.value), operand.offset)
        elif isinstance(operand.value, Pipeline):
            value = self.evaluate(operand.value, dot)
        return self._chain(value, operand) if operand.chain else value

    def _variable(self, name: str, offset: int) -> Any:
        for known, value in reversed(self.variables):
            if known == name:
                return value
        raise TemplateError(f"{name} is not declared", offset=offset, hint=f"declare it with {name} := …")

    def _chain(self, value: Any, operand: Operand) -> Any:
        for position, name in enumerate(operand.chain):
            within = ".".join(operand.chain[:position])
            if not isinstance(value, dict):
                what = within or str(operand.value or "the value here")
                raise TemplateError(f"{what} is {kind(value)} and has no {name!r}", offset=operand.offset)
            if name not in value:
                path = ".".join(operand.chain[: position + 1])
                raise MissingVariable(path, offset=operand.offset, known=value, within=within)
            value = value[name]
        return value

    def _charged(self, offset: int, work: Any) -> Any:
        try:
            return work()
        except FunctionError as error:
            raise TemplateError(str(error), offset=offset) from None
