"""Values as YAML, the way people write them: blocks, two spaces deeper each, text of several lines as a block of its own.

Whatever is no plain word is quoted: versions of YAML read ``0o17``, ``1_000``, ``yes`` and ``12:30`` differently, and a quote makes all of
them agree.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any, Final

import yaml

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that some version of YAML takes for something else than text, in whatever case."""
_LINE: Final = r"[\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_BLOCK: Final = re.compile(rf"(?!\s){_LINE}+\n(?:{_LINE}|\n)*(?!\s){_LINE}\n?")
"""Several lines that read the same whoever reads them."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """Lists stand two spaces deeper than their key, as all else."""
        return super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if _BLOCK.fullmatch(text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _is_word(text) else '"')


_Dumper.add_representer(str, _text)


def _is_word(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


class _Quoting(_Dumper):
    """Without blocks of text."""


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, None if _is_word(text) else '"')
)


def block(value: Any, *, quoted: bool = False) -> list[str]:
    """The value as lines of its own. Keys keep their order. `quoted`: text of several lines as well."""
    written = yaml.dump(
        value, Dumper=_Quoting if quoted else _Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize
    )
    return written.removesuffix("\n...\n").rstrip("\n").split("\n")


def inline(value: Any, *, style: str = "") -> str:
    """The value in one line; a text in these quotes, where it can be written in them."""
    if isinstance(value, str):
        if style == "'" and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        return value if not style and _is_word(value) else _quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_text(str(key))}: {inline(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(part) for part in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return json.dumps(value)


def _quoted(text: str) -> str:
    """In double quotes: as in JSON, with what cannot be seen as an escape of YAML."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in written)


def key_text(key: str) -> str:
    """A key as it is written: a number such as a level of a location is one."""
    return key if _is_word(key) or re.fullmatch(r"0|[1-9][0-9]{0,8}", key) else _quoted(key)


def entry(key: str, value: Any, *, quoted: bool = False) -> list[str]:
    """A key and its value as lines."""
    return [key_text(key) + line if n == 0 else line for n, line in enumerate(behind_key(value, quoted=quoted))]


def behind_key(value: Any, *, quoted: bool = False) -> list[str]:
    """What stands behind a key, colon and all, as lines; those below it are indented from the key on."""
    if isinstance(value, dict | list) and value:
        return [":", *(f"  {line}" if line else line for line in block(value, quoted=quoted))]
    if isinstance(value, str) and _BLOCK.fullmatch(value) and not quoted:
        lines = block({"k": value})
        return [lines[0].removeprefix("k"), *lines[1:]]
    return [f": {inline(value)}"]


def item(value: Any, *, deeper: int = 2, quoted: bool = False) -> list[str]:
    """An entry of a list as lines: behind a dash, the rest indented by so many columns."""
    lines = block(value, quoted=quoted) if isinstance(value, dict | list) and value else [inline(value)]
    lead = "-".ljust(deeper)
    return [lead + lines[0], *(" " * deeper + line if line else line for line in lines[1:])]
