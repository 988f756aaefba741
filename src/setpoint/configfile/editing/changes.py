"""Changes of a text of YAML that leave every other character as it is: comments, order, quotes, indentation, line ends.

Each takes the text and gives the new one. The new text is read again before it is given out: its values must be those of the old one with
just this change. Where a text is written in a way that this cannot be done with, it is refused by `NotEditable`, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from setpoint.configfile.compose import compose
from setpoint.configfile.editing.lines import (
    above,
    after,
    begins_line,
    blanks_before,
    blanks_behind,
    column,
    cut,
    line_end,
    line_start,
    put,
)
from setpoint.configfile.editing.paths import Path, Way, path_text, refuse_inside, refuse_needed, refuse_shared, way_to
from setpoint.configfile.editing.spans import Entry, NotEditable, Span, spans
from setpoint.configfile.editing.writing import behind_key, entry, inline, item, key_text
from setpoint.configfile.node import plain

_NOTHING: Any = object()


def with_value(text: str, path: Path, value: Any) -> str:
    """The text with this value at a path; what leads there is made where it is missing.

    Raises `NotEditable`."""
    return _either_way(text, lambda quoted: _value_put(text, path, value, quoted=quoted))


def _value_put(text: str, path: Path, value: Any, *, quoted: bool) -> str:
    root = spans(text)
    way = way_to(root, path)
    refuse_shared(root, way, path)
    if not way.rest:
        new = _replaced(text, way, value, quoted=quoted)
    elif way.node.kind == "sequence":
        raise NotEditable(f"{path_text(path)}: there is no {way.rest[0]!r} in this list", "name one that is there")
    else:
        for step in reversed(way.rest[1:]):
            value = {step: value}
        new = _with_entry(text, way, entry(way.rest[0], value, quoted=quoted), value, path)
        path = path[: len(path) - len(way.rest) + 1]
    return _as_meant(text, new, path, value)


def with_item(text: str, path: Path, value: Any) -> str:
    """The text with one more entry at the end of the list at a path, which is made where it is missing. Raises `NotEditable`."""
    return _either_way(text, lambda quoted: _item_put(text, path, value, quoted=quoted))


def _item_put(text: str, path: Path, value: Any, *, quoted: bool) -> str:
    root = spans(text)
    way = way_to(root, path)
    refuse_inside(root, way.nodes, path)
    if way.rest:
        return _value_put(text, path, [value], quoted=quoted)
    if not way.node.entries:
        return _as_meant(text, _first_entry(text, way, item(value, quoted=quoted)), path, [value])
    if way.node.kind != "sequence":
        raise NotEditable(f"{path_text(path)} is no list")
    last, count = way.node.entries[-1], len(way.node.entries)
    if way.node.flow:
        new = f"{text[: last.value.end]}, {inline(value)}{text[last.value.end :]}"
    else:
        indent = column(text, last.start)
        end = after(text, last.value.end, indent)
        gap = [""] if count > 1 and blanks_before(text, above(text, last.start)) < above(text, last.start) else []
        lines = [" " * indent + line for line in item(value, deeper=_deeper(text, last), quoted=quoted)]
        new = put(text, end, [*gap, *(line.rstrip(" ") if not line.strip() else line for line in lines)])
    return _as_meant(text, new, (*path, str(count)), value)


def without(text: str, path: Path) -> str:
    """The text without what is at a path: a key with its value, or an entry of a list. Raises `NotEditable`."""
    return _either_way(text, lambda ended: _cut_out(text, path, ended=ended))


def _cut_out(text: str, path: Path, *, ended: bool) -> str:
    root = spans(text)
    way = way_to(root, path)
    if way.rest:
        raise NotEditable(f"there is no {path_text(path)}", "see what there is with 'setpoint config get'")
    refuse_shared(root, way, path)
    gone, home = way.taken[-1], way.nodes[-2]
    if len(home.entries) == 1 and len(way.taken) > 1:
        new = _emptied(text, way)
        if home.kind == "sequence" and new is None:
            return _cut_out(text, path[:-1], ended=ended)
    else:
        new = _cut_flow(text, home, gone) if home.flow else _cut_lines(text, home, gone, path, ended=ended)
    return _as_meant(text, new if new is not None else text, path, _NOTHING)


def with_key(text: str, path: Path, name: str) -> str:
    """The text with another name for the key at a path. Raises `NotEditable`."""
    root = spans(text)
    way = way_to(root, path)
    refuse_inside(root, way.nodes[:-1], path)
    if way.rest or way.nodes[-2].kind != "mapping":
        raise NotEditable(f"there is no key {path_text(path)}")
    if way.nodes[-2].entry(name) is not None:
        raise NotEditable(f"there is a {path_text((*path[:-1], name))} already", "choose another name")
    at = way.taken[-1]
    written = text[at.start : at.key_end]
    quoted = inline(name, style=written[0]) if written[:1] in ("'", '"') else key_text(name)
    new = text[: at.start] + quoted + text[at.key_end :]
    before, meant = _values(text), _values(new)
    home = _at(before, path[:-1])
    home[name] = home.pop(path[-1])
    return _same(new, meant, before)


def text_of(text: str, path: Path) -> str:
    """What stands at a path, as it is written, its lines moved to the left; an entry of a list without its dash.

    Raises `NotEditable`."""
    way = way_to(spans(text), path)
    if way.rest:
        raise NotEditable(f"there is no {path_text(path)}", "see what there is with 'setpoint config get'")
    node = way.node
    if node.flow or node.kind in ("scalar", "alias"):
        return text[node.start : node.end]
    start, indent = _content(text, node), column(text, _content(text, node))
    end = after(text, node.end, max(indent - 1, 0))
    lines = (" " * indent + text[start:end]).splitlines()
    return "\n".join(line[indent:] if not line[:indent].strip() else line for line in lines) + "\n"


def with_text(text: str, path: Path, written: str) -> str:
    """The text with the entry of a list in blocks written anew, as `text_of` gave it. Raises `NotEditable`."""
    root = spans(text)
    way = way_to(root, path)
    if way.rest or not way.taken:
        raise NotEditable(f"there is no {path_text(path)}")
    if not written.strip():
        raise NotEditable(f"nothing would be left of {path_text(path)}", "to remove it, say so")
    refuse_inside(root, way.nodes[:-1], path)
    gone, home = way.taken[-1], way.nodes[-2]
    if home.kind != "sequence" or home.flow or way.node.flow:
        raise NotEditable(f"{path_text(path)} is written in one line")
    start = _content(text, way.node)
    indent = column(text, start)
    end = after(text, way.node.end, column(text, gone.start))
    lines = [" " * indent + line if line.strip() else "" for line in written.rstrip().splitlines()]
    lines[0] = text[line_start(text, start) : start] + lines[0].lstrip(" ")
    new = put(cut(text, line_start(text, start), end), line_start(text, start), lines)
    found, meant, number = _values(new), _values(text), home.entries.index(gone)
    entries, known = _at(found, path[:-1]), _at(meant, path[:-1])
    if isinstance(entries, list) and len(entries) == len(known):
        typed, faults = compose(written)
        known[number] = entries[number] if faults or typed is None else plain(typed)
    if _comparable(found) != _comparable(meant):
        refuse_needed(root, way.node, path)
    return _same(new, found, meant)


def _either_way(text: str, change: Callable[[bool], str]) -> str:
    """The change, or where it cannot be made, the other way to make it.

    A text whose last line does not end cannot end with a block of text, nor can a block that becomes the last thing lose its line break."""
    try:
        return change(False)
    except NotEditable:
        if text.endswith(("\n", "\r")):
            raise
    return change(True)


def _replaced(text: str, way: Way, value: Any, *, quoted: bool) -> str:
    """Another value in the place of one: in one line where that was in one, else in blocks."""
    node, at = way.node, way.taken[-1]
    if node.kind == "alias" or node.flow or (node.kind == "scalar" and node.style not in ("|", ">")):
        start = _behind_anchor(text, node)
        space = " " if node.empty and not text[start - 1 : start].isspace() else ""
        style = node.style if isinstance(value, str) else ""
        return text[:start] + space + inline(value, style=style) + text[node.end :]
    if way.nodes[-2].kind != "mapping":
        raise NotEditable("an entry of a list cannot be replaced as a whole", "change what is in it")
    begin, indent = line_start(text, at.start), column(text, at.start)
    lines = behind_key(value, quoted=quoted)
    lines[0] = text[begin : text.index(":", at.key_end)] + lines[0]
    lines[1:] = [" " * indent + line if line else "" for line in lines[1:]]
    return put(cut(text, begin, after(text, node.end, indent)), begin, lines)


def _with_entry(text: str, way: Way, lines: list[str], value: Any, path: Path) -> str:
    """One more key, as these lines, in the mapping at the end of a way."""
    node = way.node
    if node.kind != "mapping":
        if _is_nothing(node):
            return _first_entry(text, way, lines)
        raise NotEditable(f"{path_text(path)}: what is above it is no mapping")
    if node.flow and not node.entries and way.taken:
        return _first_entry(text, way, lines)
    if node.flow:
        last = node.entries[-1].value.end if node.entries else node.end - 1
        return f"{text[:last]}{', ' if node.entries else ''}{key_text(way.rest[0])}: {inline(value)}{text[last:]}"
    if not way.taken:  # a section of the file: at its end, behind all comments
        return put(text, len(text), ["", *lines])
    indent = column(text, node.entries[-1].start)
    return put(text, after(text, node.entries[-1].value.end, indent), [" " * indent + line for line in lines])


def _is_nothing(node: Span) -> bool:
    return node.empty or (node.kind == "scalar" and not node.style and node.text in ("~", "null"))


def _first_entry(text: str, way: Way, lines: list[str]) -> str:
    """The first lines below a key that had nothing, or empty brackets, behind it."""
    node = way.node
    if not (_is_nothing(node) or node.flow) or not way.taken or node.anchor or way.nodes[-2].flow:
        raise NotEditable("what stands there is neither a mapping nor a list")
    if way.nodes[-2].kind != "mapping":
        raise NotEditable("an empty entry of a list stands there")
    indent = column(text, way.taken[-1].start) + 2
    key = text[: node.start].rstrip(" ")
    bare = key + text[node.end :]
    return put(bare, line_end(bare, len(key) - 1), [" " * indent + line if line else "" for line in lines])


def _emptied(text: str, way: Way) -> str | None:
    """What is left where the last entry goes: nothing behind the key, brackets in brackets.

    None: the key of the list goes as well, unless a comment above it tells what belongs there."""
    home, at = way.nodes[-2], way.taken[-2]
    if home.flow:
        return text[: _behind_anchor(text, home)] + ("[]" if home.kind == "sequence" else "{}") + text[home.end :]
    if way.nodes[-3].kind != "mapping" or way.nodes[-3].flow:
        raise NotEditable("nothing would be left of an entry of a list", "remove that entry")
    commented = above(text, at.start) < line_start(text, at.start)
    if home.kind == "sequence" and len(way.taken) == 2 and not commented:
        return None
    bare = cut(text, line_start(text, home.start), after(text, home.end, column(text, at.start)))
    behind = bare.index(":", at.key_end) + 1
    return bare[:behind] + " []" + bare[behind:] if home.kind == "sequence" else bare


def _cut_flow(text: str, home: Span, gone: Entry) -> str:
    number = home.entries.index(gone)
    if number:
        return text[: home.entries[number - 1].value.end] + text[gone.value.end :]
    return text[: gone.start] + text[home.entries[1].start :]


def _cut_lines(text: str, home: Span, gone: Entry, path: Path, *, ended: bool) -> str:
    number = home.entries.index(gone)
    if not begins_line(text, gone.start):
        raise NotEditable(f"{path_text(path)} shares its line with what it is in")
    indent = column(text, gone.start)
    start, end = (
        (above(text, gone.start) if number else line_start(text, gone.start)),
        after(text, gone.value.end, indent),
    )
    if home.kind == "sequence":
        start, end = (blanks_before(text, start), end) if number else (start, blanks_behind(text, end))
    elif indent == 0 and number:
        start = blanks_before(text, start, most=1)
    return cut(text, start, end, ended=ended)


def _content(text: str, node: Span) -> int:
    """Where the first thing in a node in blocks stands."""
    return node.entries[0].start if node.entries else _behind_anchor(text, node)


def _behind_anchor(text: str, node: Span) -> int:
    """Where the value itself begins: an anchor stays with the place."""
    if not node.anchor or node.kind == "alias":
        return node.start
    position = node.start + len(node.anchor) + 1
    return position + len(text[position : node.end]) - len(text[position : node.end].lstrip())


def _deeper(text: str, last: Entry) -> int:
    """By how many columns the content of a list's entries is indented behind the dash."""
    first = (
        last.value.entries[0].start
        if last.value.kind == "mapping" and last.value.entries and not last.value.flow
        else 0
    )
    same_line = first and line_start(text, first) == line_start(text, last.start)
    return max(2, column(text, first) - column(text, last.start)) if same_line else 2


def _values(text: str) -> Any:
    root, faults = compose(text)
    if faults:
        fault = faults[0]
        raise NotEditable(f"line {fault.mark.line}: {fault.message}", fault.hint or "correct this line")
    return plain(root) if root is not None else None


def _at(values: Any, path: Path) -> Any:
    for step in path:
        values = values[_index(values, step)]
    return values


def _index(values: Any, step: str) -> Any:
    if isinstance(values, dict):
        return step
    named = [n for n, each in enumerate(values) if isinstance(each, dict) and str(each.get("name")) == step]
    return named[0] if named else int(step)


def _as_meant(text: str, new: str, path: Path, value: Any) -> str:
    """The new text, if it says what the old one did with this value at the path, or without it, and nothing else."""
    meant = _values(text)
    home = _at(meant, path[:-1])
    if value is _NOTHING:
        del home[_index(home, path[-1])]
    elif isinstance(home, list) and path[-1] == str(len(home)):
        home.append(value)
    else:
        home[_index(home, path[-1])] = value
    return _same(new, _values(new), meant)


def _same(new: str, found: Any, meant: Any) -> str:
    if _comparable(found) != _comparable(meant):
        hint = (
            "edit the file by hand"
            if new.endswith(("\n", "\r"))
            else "end the last line of the file first, or edit it by hand"
        )
        raise NotEditable("the file is written in a way that something else would change with it", hint)
    return new


def _comparable(value: Any) -> Any:
    """With texts for keys, and nothing where nothing is left: an empty list says as much as a key without a value."""
    if isinstance(value, dict):
        kept = {str(key): _comparable(part) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part is not None} or None
    if isinstance(value, list):
        return [_comparable(part) for part in value] or None
    return None if value is None else (type(value).__name__, value)
