"""Editing a file of YAML by program: a change of its text that leaves every other character as it was. See `changes`.

The text is never written anew from its values, as a round trip through a YAML library would: what that library does not keep (the spaces in
``{ name: x }``, the width of lines, where comments stand) would change all over the file with every edit.
"""

from setpoint.configfile.editing.changes import text_of, with_item, with_key, with_text, with_value, without
from setpoint.configfile.editing.paths import Path, all_below, name_of, parse_path, path_text, way_to
from setpoint.configfile.editing.spans import NotEditable, Span, spans
from setpoint.configfile.editing.writing import block

__all__ = [
    "NotEditable",
    "Path",
    "Span",
    "all_below",
    "block",
    "name_of",
    "parse_path",
    "path_text",
    "spans",
    "text_of",
    "way_to",
    "with_item",
    "with_key",
    "with_text",
    "with_value",
    "without",
]
