"""Text to a tree of nodes: YAML with its places kept, its traps refused and all its faults collected.

A syntax error ends the reading, and so do the limits: what is larger than any honest config, nested deeper than any flow, or grows
beyond measure through its aliases. Everything else, such as a key given twice or an alias without an anchor, is noted as a fault and
marks its node as `flawed`, so that the rest of the file is still read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

from setpoint.configfile.node import Mapping, Mark, Node, Scalar, Sequence
from setpoint.configfile.syntax import UNQUOTED, Fault, explain
from setpoint.templates.scalars import resolve

MAX_CHARACTERS: Final = 10_000_000
MAX_DEPTH: Final = 80
MAX_VALUES: Final = 250_000
"""Values in a file, aliases and merge keys written out."""

MAX_BLANKS: Final = 2_000
"""Spaces, or empty lines, in a row. After a long run libyaml clears a buffer of that length at every word."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow as they are."""
_CORE: Final = "tag:yaml.org,2002:"
_TAGS: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
    "merge": (str,),
}


class _GivenUp(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def compose(text: str, file: str = "") -> tuple[Node | None, list[Fault]]:
    """The root of the document and its faults. The root is None when the text is empty or could not be read to its end.

    `file` goes into every mark: the name of a file other than the one that the report is about.
    """
    composer = _Composer(text, file)
    try:
        return composer.document(), composer.faults
    except _GivenUp as error:
        return None, [*composer.faults, error.fault]
    except yaml.YAMLError as error:
        return None, [*composer.faults, _within(explain(error, text), file)]


def _within(fault: Fault, file: str) -> Fault:
    return fault._replace(mark=fault.mark._replace(file=file)) if file else fault


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.text = text.removeprefix("\ufeff")
        self.faults: list[Fault] = []
        self.anchors: dict[str, Node] = {}
        self.open_anchors: set[str] = set()
        self.path: list[str | int] = []
        self.values = 0
        self.events: Iterator[yaml.Event] = iter(())

    def document(self) -> Node | None:
        self._check_characters()
        self.events = iter(yaml.parse(self.text, Loader=_LOADER))
        next(self.events)  # start of the stream
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        root = self.node(next(self.events))
        next(self.events)  # end of the document
        following = next(self.events)
        if not isinstance(following, yaml.StreamEndEvent):
            hint = "keep one document and remove the '---' that starts the second"
            raise _GivenUp(Fault(self._mark(following), "a second document in the same file", hint))
        if isinstance(root, Scalar) and root.value is None:
            return None
        return root

    def _check_characters(self) -> None:
        if len(self.text) > MAX_CHARACTERS:
            message = f"the file has {len(self.text):,} characters; at most {MAX_CHARACTERS:,} are read"
            raise _GivenUp(
                Fault(Mark(1, 1, self.file), message, "split the configuration, or move large texts out of it")
            )
        if found := UNPRINTABLE.search(self.text):
            before = self.text[: found.start()]
            mark = Mark(before.count("\n") + 1, found.start() - before.rfind("\n"), self.file)
            message = f"a character that YAML does not allow: U+{ord(found.group()):04X}"
            raise _GivenUp(Fault(mark, message, "remove it; it is invisible in most editors"))
        if (line := _long_blank(self.text)) is not None:
            message = f"more than {MAX_BLANKS:,} spaces or empty lines in a row"
            raise _GivenUp(Fault(Mark(line, 1, self.file), message, "remove them"))

    def node(self, event: yaml.Event) -> Node:
        self._count(1, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        assert isinstance(event, yaml.NodeEvent)
        anchor = event.anchor
        if anchor:
            self.open_anchors.add(anchor)
        node = self._content(event)
        if anchor:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = node
        return node

    def _content(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if len(self.path) >= MAX_DEPTH:
            hint = "check the indentation and the brackets of this place"
            raise _GivenUp(Fault(self._mark(event), f"nested deeper than {MAX_DEPTH} levels", hint))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event)
        assert isinstance(event, yaml.MappingStartEvent)
        return self._mapping(event)

    def _alias(self, event: yaml.AliasEvent) -> Node:
        name = event.anchor or ""
        if node := self.anchors.get(name):
            self._count(node.size, event)
            return node
        if name in self.open_anchors:
            message, hint = f"*{name} contains itself", "an alias cannot stand inside its own anchor"
        else:
            message, hint = f"*{name} has no anchor", f"define &{name} above this line, or quote the value"
        self._fault(self._mark(event), message, hint)
        return Scalar(self._mark(event), None, "", flawed=True)

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        scalar = Scalar(self._mark(event), event.value, event.value, literal=event.style == "|")
        scalar.dynamic = "{{" in event.value
        if event.tag is None:
            if event.implicit[0]:
                scalar.value = resolve(event.value)
        elif not self._tag(event.tag, scalar):
            scalar.flawed = True
        return scalar

    def _tag(self, tag: str, scalar: Scalar) -> bool:
        kind = tag.removeprefix(_CORE)
        if tag == "!" or kind == "str":
            return True
        scalar.value = resolve(scalar.text)
        if type(scalar.value) in _TAGS.get(kind, ()):
            return True
        self._fault(scalar.mark, f"{scalar.text[:60]!r} has the tag {tag[:60]!r}, which does not fit", "remove the tag")
        return False

    def _sequence(self, event: yaml.SequenceStartEvent) -> Sequence:
        sequence = Sequence(self._mark(event))
        self._check_collection_tag(event.tag, sequence, "seq")
        self.path.append(0)
        while not isinstance(entry := next(self.events), yaml.SequenceEndEvent):
            self.path[-1] = len(sequence.items)
            child = self.node(entry)
            sequence.items.append(child)
            _adopt(sequence, child)
        self.path.pop()
        return sequence

    def _mapping(self, event: yaml.MappingStartEvent) -> Mapping:
        mapping, merged = Mapping(self._mark(event)), list[tuple[Mark, Node]]()
        self._check_collection_tag(event.tag, mapping, "map")
        self.path.append("")
        while not isinstance(entry := next(self.events), yaml.MappingEndEvent):
            self._entry(mapping, merged, entry)
        for mark, node in merged:
            self._merge(mapping, mark, node)
        self.path.pop()
        return mapping

    def _entry(self, mapping: Mapping, merged: list[tuple[Mark, Node]], event: yaml.Event) -> None:
        self.path[-1] = "?"
        key = self.node(event)
        name = key.text if isinstance(key, Scalar) else None
        self.path[-1] = "?" if name is None else name[:100]
        value = self.node(next(self.events))
        if name is None:
            self._complex_key(mapping, key, event)
        elif name == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            merged.append((key.mark, value))
        elif name in mapping.items:
            first = mapping.keys[name][0]
            self._fault(key.mark, f"the key {name[:60]!r} is given twice, first in line {first}", "keep one of them")
            mapping.flawed = True
        else:
            mapping.items[name], mapping.keys[name] = value, key.mark
            mapping.dynamic |= "{{" in name
            mapping.flawed |= key.flawed
            _adopt(mapping, value)

    def _complex_key(self, mapping: Mapping, key: Node, event: yaml.Event) -> None:
        mapping.flawed = True
        index = event.start_mark.index if event.start_mark else 0
        if not index or self.text[index - 1 : index + 1] != "{{":
            self._fault(
                key.mark, "a key must be a single value, not a list or mapping", "put it in quotes if it is text"
            )
        elif not self.faults or self.faults[-1].mark[0] != mapping.mark[0]:
            self._fault(mapping.mark, *UNQUOTED, up=True)

    def _merge(self, mapping: Mapping, mark: Mark, node: Node) -> None:
        sources = node.items if isinstance(node, Sequence) else [node]
        for source in sources:
            if not isinstance(source, Mapping):
                if not source.flawed:
                    self._fault(mark, "'<<' needs a mapping or a list of mappings", "write <<: *anchor of a mapping")
                mapping.flawed = True
                continue
            mapping.flawed |= source.flawed
            self.values += len(source.items)
            for name, value in source.items.items():
                if name not in mapping.items:
                    mapping.items[name], mapping.keys[name] = value, source.keys[name]
                    _adopt(mapping, value)
                    mapping.dynamic |= "{{" in name

    def _check_collection_tag(self, tag: str | None, node: Sequence | Mapping, kind: str) -> None:
        if tag not in (None, "!", _CORE + kind):
            self._fault(node.mark, f"the tag {tag!r} does not fit here", "remove the tag")
            node.flawed = True

    def _count(self, values: int, event: yaml.Event) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values, aliases written out"
            raise _GivenUp(
                Fault(self._mark(event), message, "use fewer aliases of aliases, or split the configuration")
            )

    def _mark(self, event: yaml.Event) -> Mark:
        mark = event.start_mark
        return Mark(mark.line + 1, mark.column + 1, self.file) if mark else Mark(1, 1, self.file)

    def _fault(self, mark: Mark, message: str, hint: str, *, up: bool = False) -> None:
        self.faults.append(Fault(mark, message, hint, tuple(self.path[:-1] if up else self.path)))


def _long_blank(text: str) -> int | None:
    """The line of a run of spaces or line breaks that is too long."""
    position = text.replace("\t", " ").find(" " * MAX_BLANKS)
    if position >= 0:
        return text.count("\n", 0, position) + 1
    breaks = text
    for blank in " \t\r":
        breaks = breaks.replace(blank, "")
    for other in "\x85\u2028\u2029":
        breaks = breaks.replace(other, "\n")
    position = breaks.find("\n" * MAX_BLANKS)
    return None if position < 0 else breaks.count("\n", 0, position) + 1


def _adopt(parent: Sequence | Mapping, child: Node) -> None:
    parent.size += child.size
    parent.dynamic |= child.dynamic
    parent.flawed |= child.flawed
