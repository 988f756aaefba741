"""What a secret looks like: the one set of rules for everything that leaves the process or outlives it, logs and store alike.

A secret is known by its name (`names_a_secret`: ``db_password``, ``API-Key``, ``clientSecret``) or by where it stands in a text
(`without_secrets`): the password in ``scheme://user:password@host``, the value in ``password=…`` or ``"token": "…"``, the word after
``--api-key``, the rest of an ``Authorization:`` or ``Cookie:`` line, a bearer token, a JSON web token, a private key in PEM form. The rules
rather hide too much than too little. A secret that stands in a text without any of these is not recognised: nothing tells it from a word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

REDACTED: Final = "[redacted]"
"""What stands in the place of a secret."""

_NAMES: Final = (
    r"pass[-_ ]?(?:word|wd|phrase|code)|pwd|secret|token|authori[sz]ation|credential|cookie"
    r"|(?:api|access|account|private)[-_ ]?key"
)
_NAME: Final = re.compile(_NAMES)
_QUOTED: Final = (
    r"\\{1,8}\"(?:(?!\\{1,8}\").)*(?:\\{1,8}\")?|\\{1,8}'(?:(?!\\{1,8}').)*(?:\\{1,8}')?"  # in text that is itself quoted: \"…\"
    r"|\"(?:\\.|[^\"])*\"?|'(?:\\.|[^'])*'?"  # a quote that nobody closes reaches to the end
)
# Every repetition is bounded, or can begin in few places only: the texts come from anybody, and shall not cost more than their length.
_IN_TEXT: Final = re.compile(
    r"(?P<user>://[^/\s:]*:)(?!\d{1,5}(?:[/?#]|\s|\Z))(?:(?!://)[^\s\"'<>])*(?=@)"  # host:port/… is no user:password
    r"|(?P<header>(?:authori[sz]ation|cookie)\\{0,8}[\"']?\s*[:=](?!\s*\[redacted])\s*)[^\r\n]+"
    rf"|(?P<name>(?:{_NAMES})[\w.-]{{0,32}}\\{{0,8}}[\"']?\s*(?:=>|[:=])(?!\s*\[redacted])\s*)(?:{_QUOTED}|[^\s&;]+)"
    rf"|(?P<option>(?<![\w-])--?[\w-]{{0,32}}(?:{_NAMES})[\w-]{{0,32}}\s+)[^\s-]\S*"
    r"|(?P<bearer>\bbearer\s+)[\w.~+/=-]{16,}"
    r"|(?<![\w.-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_MARKS: Final = ("pass", "pwd", "secret", "token", "authori", "credential", "cookie", "key", "bearer", "eyj", "://")
"""In small letters: one of these is in every text in which there is anything to hide. Looking for them is cheap."""
_OPTION: Final = re.compile(rf"--?[\w-]{{0,32}}(?:{_NAMES})[\w-]{{0,32}}", re.IGNORECASE)


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """Whether what goes by this name is a secret, whatever its case and however its words are joined."""
    return _NAME.search("".join(c for c in name.lower() if c.isalnum())) is not None


def asks_for_a_secret(argument: str) -> bool:
    """Whether this argument of a command says that the next one is a secret: ``--password``, ``-api-key``."""
    return _OPTION.fullmatch(argument) is not None


def without_secrets(text: str) -> str:
    """The text with `REDACTED` in the place of each secret that the rules find in it."""
    small = text.lower()
    for mark in _MARKS:
        if mark in small:
            return _IN_TEXT.sub(lambda found: (found[found.lastgroup] if found.lastgroup else "") + REDACTED, text)
    return text
