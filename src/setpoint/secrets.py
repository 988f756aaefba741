"""What a secret looks like: the one set of rules for everything that leaves the process or outlives it, logs and store alike.

A secret is known

- by its name (`hides`, `names_a_secret`): ``db_password``, ``API-Key``, ``clientSecret``, ``SMTP_PASS``. ``key`` alone is too common
  a word: what goes by it is a secret only where it looks like nothing a person would write (bytes, long hexadecimal, capitals, small
  letters and digits mixed). A number is one unless its name says what it measures (``token_expires_at``), or is no name at all
  (``held(token_valid, 5 s)``);
- by where it stands in a text (`without_secrets`): the password in ``scheme://user:password@host``, a lone user that is as long as a token
  or stands in an address of the web, the value in ``password=…``, ``"token": "…"`` or ``name: TOKEN, value: …``, the rest of a line that
  begins with ``password:``, the word after ``--api-key``, the password of ``-u user:password``, signatures and keys in queries, the rest of
  an ``Authorization:`` or ``Cookie:`` line, bearer and basic credentials, a JSON web token, a private key in PEM form;
- by its value, where that is told: what variables with the name of a secret hold (`secrets_among`) is hidden wherever it was rendered to.

The rules rather hide too much than too little. A secret that stands in a text without any of these is not recognised: nothing tells it
from a word. Nor is what follows ``-p``, which is a port as often as a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import quote

REDACTED: Final = "[redacted]"
"""What stands in the place of a secret."""
MIN_PART: Final = 4
"""A value that is shorter is hidden only where it is the whole text: it would be found in every other word."""
MAX_DEPTH: Final = 64
MAX_PASSES: Final = 10

_NAMES: Final = (
    r"pass[-_ ]?(?:word|wd|phrase|code|key)|pwd|secret|token|authori[sz]ation|credential|cookie"
    r"|(?:api|access|account|private|signing|encryption|shared|master)[-_ ]?key"
)
_SHORT: Final = r"pass|pw|psk"  # only as a whole word: there are compasses
_NAME: Final = re.compile(_NAMES)
_SHORT_NAME: Final = re.compile(rf"(?:(?:\A|[^A-Za-z])(?i:{_SHORT})|[a-z0-9](?:Pass|PASS|Pw|PW|Psk|PSK))[\d_\W]*\Z")
_KEY_NAME: Final = re.compile(r"(?:(?:\A|[^A-Za-z])(?i:key)|[a-z0-9]Key)\Z")
_LOGIN_NAMES: Final = frozenset({"auth", "basicauth", "httpauth", "proxyauth", "userpass"})
_NO_WORD: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[\w+=~!@#$%^&*-]{12,}|[0-9a-fA-F]{32,}")
_PLAIN_NAME: Final = re.compile(r"[\w.-]+")
_LAST_WORD: Final = re.compile(r"[A-Z]?[a-z]+\Z|[A-Z]+\Z")
_MEASURES: Final = frozenset(
    {
        "age",
        "at",
        "attempts",
        "count",
        "days",
        "errors",
        "expires",
        "expiry",
        "failures",
        "hits",
        "hours",
        "in",
        "left",
        "limit",
        "max",
    }
    | {
        "min",
        "minutes",
        "misses",
        "ms",
        "number",
        "rate",
        "refreshes",
        "retries",
        "rotations",
        "s",
        "second",
        "seconds",
        "total",
        "ttl",
    }
    | {"until", "used", "valid"}
)
"""Last words of names under which a number says something about a secret, and not the secret."""

_QUOTED: Final = (
    r"\\{1,8}\"(?:(?!\\{1,8}\").)*(?:\\{1,8}\")?|\\{1,8}'(?:(?!\\{1,8}').)*(?:\\{1,8}')?"  # in text that is itself quoted: \"…\"
    r"|\"(?:\\.|[^\"])*\"?|'(?:\\.|[^'])*'?"  # a quote that nobody closes reaches to the end
)
_MARK: Final = r"\\{0,8}[\"']"
# Every repetition is bounded, or can begin in few places only: the texts come from anybody, and shall not cost more than their length.
_IN_TEXT: Final = re.compile(
    r"(?P<lone>://)[^\s/?#@:\"'<>]{16,200}(?::[^\s/@\"'<>]{0,200})?(?=@)"
    r"|(?P<web>(?:https?|wss?)://)[^\s/?#@:\"'<>]{1,200}(?=@)"
    r"|(?P<user>://[^/\s:]*:)(?!\d{1,5}(?:[/?#]|\s|\Z))(?:(?!://)[^\s\"'<>])*(?=@)"  # host:port/… is no user:password
    r"|(?P<header>(?:authori[sz]ation|cookie)\\{0,8}[\"']?\s*[:=](?!\s*\[redacted])\s*)[^\r\n]+"
    rf"|(?P<entry>\b(?:name|key|header)(?:{_MARK})?\s{{0,64}}[:=]\s{{0,64}}(?:{_MARK})?"
    rf"(?:[\w.-]{{0,32}}(?:{_NAMES})[\w.-]{{0,32}}|(?:[\w.-]{{0,32}}[_.-])?(?:{_SHORT}))"
    rf"(?:{_MARK})?\s{{0,64}},?\s{{0,64}}(?:{_MARK})?value(?:{_MARK})?\s{{0,64}}[:=]\s{{0,64}}(?!\[redacted]))(?:{_QUOTED}|[^\s,;)}}\]]+)"
    rf"|(?P<line>^[ \t]*(?:-[ \t]+)?(?:[\w.-]{{0,32}}(?:{_NAMES})[\w.-]{{0,32}}|(?:[\w.-]{{0,32}}[_.-])?(?:{_SHORT})\d{{0,4}}):[ \t]+"
    r"(?!\[redacted]))(?:[|>][-+\d]{0,2}[ \t]*(?:\r?\n[ \t]+[^\r\n]*)+|(?!\\{0,8}[\"'])[^\s][^\r\n]*)"
    rf"|(?P<name>(?:{_NAMES})[\w.-]{{0,32}}\\{{0,8}}[\"']?\s*(?:=>|[:=](?!=\s))(?!\s*\[redacted])\s*)(?:{_QUOTED}|[^\s&;]+)"
    rf"|(?P<short>(?:(?<![a-z])|(?-i:(?<=[a-z0-9])(?=P)))(?:{_SHORT})\d{{0,4}}"
    rf"(?:{_MARK}\s{{0,64}}[:=]\s{{0,64}}|\s{{0,64}}=(?!=\s)\s{{0,64}}|:(?=[^\s/]))(?!\[redacted]))(?:{_QUOTED}|[^\s&;]+)"
    rf"|(?P<clear>(?:(?<![a-z])(?:pw|psk)|(?:(?<=[_.-])|(?-i:(?<=[a-z0-9])(?=P)))pass)\d{{0,4}}\s{{0,64}}[:=](?!=\s)\s{{0,64}}(?!\[redacted]))"
    rf"(?:{_QUOTED}|[^\s&;]+)"
    rf"|(?P<pair>(?:[(\[]b?[\"']|[\"']--?)(?:[\w-]{{0,32}}(?:{_NAMES})[\w-]{{0,32}}|(?:[\w-]{{0,32}}[_-])?(?:{_SHORT}))"
    rf"[\"'],\s{{0,64}}b?(?=[\"']))(?:{_QUOTED})"
    rf"|(?P<option>(?<![\w-])--?(?:[\w-]{{0,32}}(?:{_NAMES})[\w-]{{0,32}}|(?:[\w-]{{0,32}}-)?(?:{_SHORT}))\s+)(?:{_QUOTED}|[^\s\"'-]\S*)"
    r"|(?P<login>(?<![\w-])(?:-u|--(?:proxy-)?user)(?:[\"'],\s{0,64}|\s{1,64}|=)[\"']?[^\s:\"']{1,64}:)(?!//|\d{1,10}(?:[\s\"']|\Z))[^\s\"']+"
    r"|(?P<query>[?&;](?:x-(?:amz|goog)-)?sig(?:nature)?=)[^&#\s\"'<>]+"
    r"|(?P<asked>[?&;](?:key|auth|code)=)[^&#\s\"'<>]{16,}"
    r"|(?P<bearer>\bbearer\s+)[\w.~+/=-]{16,}"
    r"|(?P<basic>\bbasic\s+)(?=[a-z+/]{0,80}[\d=])[\w+/=]{16,}"
    r"|(?<![\w.-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_MARKS: Final = (
    *(
        "pass",
        "pw",
        "secret",
        "token",
        "authori",
        "credential",
        "cookie",
        "key",
        "psk",
        "bearer",
        "basic",
        "eyj",
        "://",
    ),
    *("-u", "--user", "-user", "sig", "auth=", "code="),
)
"""In small letters: one of these is in every text in which there is anything to hide. Looking for them is cheap."""
_JOINT: Final = re.compile(r"[:=,\s]|eyj", re.IGNORECASE)
"""One of these is there, too; most texts are single words."""
_OPTION: Final = re.compile(
    rf"--?(?:[\w-]{{0,32}}(?:{_NAMES})[\w-]{{0,32}}|(?:[\w-]{{0,32}}-)?(?:{_SHORT}))", re.IGNORECASE
)
LOGIN_OPTIONS: Final = frozenset({"-u", "--user", "--proxy-user"})
"""Arguments of a command after which there is a user, perhaps with a password."""
_LOGIN: Final = re.compile(r"([^:\s]{1,200}:)(?!//|\d{1,10}\Z).+", re.DOTALL)

_Kind = Literal["", "secret", "measure", "key", "login"]


@lru_cache(maxsize=4096)
def _kind(name: str) -> _Kind:
    """What a name says of what goes by it."""
    together = "".join(c for c in name.lower() if c.isalnum())
    if _NAME.search(together) is not None:
        return "measure" if _measures(name) else "secret"
    if _SHORT_NAME.search(name) is not None:
        return "secret"
    if _KEY_NAME.search(name) is not None:
        return "key"
    return "login" if together in _LOGIN_NAMES else ""


def _measures(name: str) -> bool:
    """Whether a number by this name is a measure, or a clock of a guard, rather than a secret."""
    last = _LAST_WORD.search(name[-32:])
    return _PLAIN_NAME.fullmatch(name) is None or (last is not None and last[0].lower() in _MEASURES)


def names_a_secret(name: str) -> bool:
    """Whether what goes by this name is a secret, whatever its case and however its words are joined."""
    return _kind(name) in ("secret", "measure")


def names_a_login(name: str) -> bool:
    """Whether what goes by this name may be a user with a password: ``auth``, ``basic_auth``."""
    return _kind(name) == "login"


def hides(name: str, value: object) -> bool:
    """Whether the value is a secret because of the name that it goes by. That one is missing, or whether there is one, is none."""
    kind = _kind(name)
    if not kind or kind == "login" or value is None or isinstance(value, bool) or value == "":
        return False
    if kind == "key":
        return isinstance(value, bytes) or (isinstance(value, str) and _NO_WORD.fullmatch(value[:200]) is not None)
    return kind == "secret" or not isinstance(value, int | float)


def asks_for_a_secret(argument: str) -> bool:
    """Whether this argument of a command says that the next one is a secret: ``--password``, ``-api-key``."""
    return argument.startswith("-") and _OPTION.fullmatch(argument) is not None


def without_password(login: Any) -> Any:
    """``user:password`` without the password; anything else, such as ``1000:1000`` or an address, as it is."""
    found = _LOGIN.fullmatch(login) if isinstance(login, str) else None
    return found[1] + REDACTED if found else login


def secrets_among(variables: Mapping[str, Any]) -> frozenset[str]:
    """The texts that must be hidden because variables, at any depth, hold them under the name of a secret; also as they are written in an
    address or in JSON. For `without_secrets`, `setpoint.store.redacted` and `Store.put`."""
    found: set[str] = set()
    for value in _held(variables, secret=False, depth=0):
        found |= {value, quote(value, safe="", errors="replace"), json.dumps(value)[1:-1]}
    return frozenset(text for text in found if text and text not in REDACTED)


def _held(value: Any, *, secret: bool, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH or value is None or isinstance(value, bool):
        return
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _held(part, secret=secret or hides(str(name), part), depth=depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _held(part, secret=secret, depth=depth + 1)
    elif hasattr(value, "get_secret_value"):  # pydantic's
        yield from _held(value.get_secret_value(), secret=True, depth=depth + 1)
    elif secret:
        yield value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def without_secrets(text: str, secrets: Collection[str] = ()) -> str:
    """The text with `REDACTED` in the place of each secret that the rules find in it, and of each of these texts (see `secrets_among`)."""
    if secrets and (spans := _spans(text, secrets)):
        text = _hidden(text, spans)
    if _JOINT.search(text) is None:
        return text
    small = text.lower()
    for mark in _MARKS:
        if mark in small:
            return _by_the_rules(text)
    return text


def _by_the_rules(text: str) -> str:
    """Until nothing changes any more: what was hidden may have been between a name and more of its value."""
    for _ in range(MAX_PASSES):
        before = text
        text = _IN_TEXT.sub(lambda found: (found[found.lastgroup] if found.lastgroup else "") + REDACTED, text)
        if text == before:
            break
    return text


def _spans(text: str, secrets: Collection[str]) -> list[tuple[int, int]]:
    """Where there is anything to hide; nothing when none of the known secrets is in the text."""
    if text in secrets:
        return [(0, len(text))]
    spans: list[tuple[int, int]] = []
    for secret in secrets:
        start = text.find(secret) if len(secret) >= MIN_PART else -1
        while start >= 0:
            spans.append((start, start + len(secret)))
            start = text.find(secret, start + len(secret))
    if spans:
        for found in _IN_TEXT.finditer(text):
            spans.append((found.end(found.lastgroup) if found.lastgroup else found.start(), found.end()))
    return spans


def _hidden(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not parts:
            parts += [text[end:start], REDACTED]
        end = max(end, stop)
    return "".join([*parts, text[end:]])
