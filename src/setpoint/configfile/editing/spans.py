"""Where everything stands in a text of YAML, character by character: what an edit needs, and the reader of values does not keep.

A `Span` is one node as it is written: where it begins and ends, whether it is in blocks or in brackets, and its anchor or alias. Aliases
are left as aliases. The end of a node in blocks is the end of the last thing in it; comments are nobody's here (see
`setpoint.configfile.editing.lines`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import yaml

from setpoint.configfile.compose import compose

Kind = Literal["scalar", "mapping", "sequence", "alias"]
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NotEditable(ValueError):
    """The text cannot be changed as asked. The message says why; `hint` what to do."""

    def __init__(self, message: str, hint: str = "edit the file by hand") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(slots=True, eq=False)
class Entry:
    """One key of a mapping with its value, or one value of a list (its key is "", `start` that of its dash or of the value in brackets)."""

    start: int
    key: str
    key_end: int
    value: Span


@dataclass(slots=True, eq=False)
class Span:
    """One node as it is written. `style` is that of a scalar: "", ', \", | or >; `anchor` the name it defines, or that an alias names."""

    start: int
    end: int
    kind: Kind
    flow: bool = False
    anchor: str = ""
    text: str = ""
    style: str = ""
    entries: list[Entry] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Nothing is written here: ``key:`` and no value."""
        return self.kind == "scalar" and self.start == self.end

    def entry(self, key: str) -> Entry | None:
        """The entry of a key that stands in this very mapping; those that are merged in do not."""
        return next((entry for entry in self.entries if entry.key == key), None)

    def below(self) -> Iterator[Span]:
        """This node and all that is written below it."""
        yield self
        for entry in self.entries:
            yield from entry.value.below()


def spans(text: str) -> Span:
    """The root of the document. Raises `NotEditable` for a text that is no valid YAML, or says nothing."""
    root, faults = compose(text)
    if faults:
        fault = faults[0]
        raise NotEditable(
            f"line {fault.mark.line}, column {fault.mark.column}: {fault.message}",
            fault.hint or "correct this line first",
        )
    if root is None:
        raise NotEditable("the file is empty", "write one with 'setpoint init'")
    mark = text.startswith("\ufeff")
    return _Reader(text, offset=1 if mark else 0).document()


class _Reader:
    def __init__(self, text: str, *, offset: int) -> None:
        self.text = text
        self.offset = offset
        self.events: Iterator[yaml.Event] = iter(yaml.parse(text[offset:], Loader=_LOADER))

    def document(self) -> Span:
        next(self.events)  # the stream
        next(self.events)  # the document
        return self.node(next(self.events))

    def node(self, event: yaml.Event) -> Span:
        start, end = self._start(event), self._end(event)
        if isinstance(event, yaml.AliasEvent):
            return Span(start, end, "alias", anchor=event.anchor or "")
        if isinstance(event, yaml.ScalarEvent):
            style = event.style or ""
            if style in "|>" and style and "+" not in self.text[start:end].partition("\n")[0]:
                end = start + len(self.text[start:end].rstrip())
            return Span(start, end, "scalar", anchor=event.anchor or "", text=event.value, style=style)
        assert isinstance(event, yaml.CollectionStartEvent)
        kind: Kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
        span = Span(start, end, kind, flow=bool(event.flow_style), anchor=event.anchor or "")
        (self._mapping if kind == "mapping" else self._sequence)(span)
        if not span.flow:
            span.end = span.entries[-1].value.end if span.entries else start
        return span

    def _mapping(self, span: Span) -> None:
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event)
            value = self.node(next(self.events))
            span.entries.append(Entry(key.start, key.text, key.end, value))
        span.end = self._end(event)

    def _sequence(self, span: Span) -> None:
        behind = span.start
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            value = self.node(event)
            start = value.start if span.flow else self._dash(behind, value.start)
            span.entries.append(Entry(start, "", start, value))
            behind = value.end
        span.end = self._end(event)

    def _dash(self, position: int, limit: int) -> int:
        """Where the next dash is: between the end of the entry before and the value there are blanks, comments, and an anchor at most."""
        while position < limit:
            character = self.text[position]
            if character == "-":
                return position
            if character == "#":
                position = self.text.find("\n", position) % (limit + 1)
            elif character in "&!":
                while position < limit and not self.text[position].isspace():
                    position += 1
            else:
                position += 1
        raise NotEditable("a list is written in a way that is not understood here")

    def _start(self, event: yaml.Event) -> int:
        return self.offset + (event.start_mark.index if event.start_mark else 0)

    def _end(self, event: yaml.Event) -> int:
        return self.offset + (event.end_mark.index if event.end_mark else 0)
