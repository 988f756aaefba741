"""Topics: the addresses of the unified namespace.

A topic says where a value belongs, what agreement it follows and what it is called::

    umh.v1.<location_path>.<contract>[.<virtual_path>].<name>
    umh.v1.acme.cologne.press-shop._raw.motor.temperature

Location levels run from the enterprise downwards; there is at least one. The contract is the first segment that
starts with ``_``, which is why no location level may. Between contract and name any number of segments (the virtual
path) may group what belongs together; there an underscore in front has no meaning and is allowed. A segment is made
of ASCII letters, digits, ``-`` and ``_``.

Topics repeat: a plant has thousands of them and sends millions of messages. Parsing, building and filtering therefore
remember what they decided, in caches of bounded size.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

PREFIX: Final = "umh.v1."
MAX_TOPIC_LENGTH: Final = 1024
"""Longest topic in characters; keeps the caches, keyed by topic, bounded in bytes as well."""

CACHE_SIZE: Final = 65_536
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+")
_LEVEL: Final = re.compile(r"[A-Za-z0-9-][A-Za-z0-9_-]*")
_CONTRACT: Final = re.compile(r"_[A-Za-z0-9_-]*[A-Za-z0-9][A-Za-z0-9_-]*")
_LEGAL: Final = "letters, digits, '-' and '_'"
_SHAPE: Final = "umh.v1.<location_path>.<contract>[.<virtual_path>].<name>"


class TopicError(ValueError):
    """The topic or the pattern is not valid: says which part, where, and what is expected."""


class Topic(msgspec.Struct, frozen=True, gc=False):
    """One address, taken apart. Get one from `parse` or `build`, which check it; `str` gives the text back."""

    location: tuple[str, ...]
    contract: str
    virtual_path: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return PREFIX + ".".join((*self.location, self.contract, *self.virtual_path, self.name))

    @property
    def location_path(self) -> str:
        """The location levels joined with dots, as users write them: ``acme.cologne``."""
        return ".".join(self.location)

    @staticmethod
    def parse(text: str) -> Topic:
        """The topic written as `text`. Raises `TopicError`, which names the offending part."""
        return _parse(text)

    @staticmethod
    def build(*, location_path: str, contract: str, virtual_path: str = "", name: str) -> Topic:
        """The topic of these parts; `location_path` and `virtual_path` are dotted, the latter may be empty. Raises `TopicError`."""
        return _build(location_path, contract, virtual_path, name)


@lru_cache(CACHE_SIZE)
def _parse(text: str) -> Topic:
    if len(text) > MAX_TOPIC_LENGTH:
        raise TopicError(f"topic {text[:60]!r}… has {len(text)} characters; at most {MAX_TOPIC_LENGTH} are allowed")
    if not text.startswith(PREFIX):
        raise TopicError(f"topic {text!r} does not start with {PREFIX!r}; expected {_SHAPE}")
    segments = text.removeprefix(PREFIX).split(".")
    split = next((index for index, segment in enumerate(segments) if segment.startswith("_")), None)
    where = f"topic {text!r}"
    if split is None:
        raise TopicError(f"{where} has no contract: no segment starts with '_'; expected {_SHAPE}")
    if split == 0:
        raise TopicError(f"{where} has no location before {segments[0]!r}; at least one location level is needed")
    if split == len(segments) - 1:
        raise TopicError(f"{where} has no name after the contract {segments[split]!r}; expected {_SHAPE}")
    parts = Topic(tuple(segments[:split]), segments[split], tuple(segments[split + 1 : -1]), segments[-1])
    _check(parts, where)
    return parts


@lru_cache(CACHE_SIZE)
def _build(location_path: str, contract: str, virtual_path: str, name: str) -> Topic:
    virtual = tuple(virtual_path.split(".")) if virtual_path else ()
    topic = Topic(tuple(location_path.split(".")), contract, virtual, name)
    _check(topic, "topic to build")
    if len(str(topic)) > MAX_TOPIC_LENGTH:
        raise TopicError(f"topic to build has {len(str(topic))} characters; at most {MAX_TOPIC_LENGTH} are allowed")
    return topic


def _check(topic: Topic, where: str) -> None:
    """Raises for the first segment, from the left, that is not what its place allows."""
    for index, level in enumerate(topic.location):
        _check_segment(level, f"{where}: location level {index}", _LEVEL, f"{_LEGAL}, not starting with '_'")
    _check_segment(topic.contract, f"{where}: contract", _CONTRACT, f"'_' followed by {_LEGAL}, such as '_raw'")
    for index, segment in enumerate(topic.virtual_path):
        _check_segment(segment, f"{where}: virtual path segment {index}", _SEGMENT, _LEGAL)
    _check_segment(topic.name, f"{where}: name", _SEGMENT, _LEGAL)


def _check_segment(segment: str, what: str, pattern: re.Pattern[str], expected: str) -> None:
    if pattern.fullmatch(segment):
        return
    if not segment:
        raise TopicError(f"{what} is empty; expected {expected}")
    wrong = _SEGMENT.sub("", segment)
    because = f" because of {wrong[0]!r}" if wrong else ""
    raise TopicError(f"{what} {segment!r} is not valid{because}; expected {expected}")


class TopicFilter:
    """Which topics are wanted: those that match, from their start, any of the regular expressions (Python's `re` syntax).

    A pattern need not reach the end of the topic: ``umh\\.v1\\.acme`` takes all of acme. Raises `TopicError` for a
    pattern that does not compile, and for no patterns at all, which would never match.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        if isinstance(patterns, str):
            raise TopicError(f"topic patterns must be a list of texts, not the single text {patterns!r}")
        if not patterns:
            raise TopicError("no topic pattern given; write at least one, such as 'umh\\.v1\\..*'")
        self.patterns = tuple(patterns)
        compiled = tuple(_compile(pattern) for pattern in self.patterns)
        self.matches = lru_cache(CACHE_SIZE)(lambda topic: any(pattern.match(topic) for pattern in compiled))

    def __repr__(self) -> str:
        return f"TopicFilter({list(self.patterns)!r})"


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", FutureWarning
            )  # POSIX classes such as [[:alpha:]] mean something else to Python
            return re.compile(pattern)
    except (re.error, FutureWarning) as fault:
        raise TopicError(f"topic pattern {pattern!r} is not a valid regular expression: {fault}") from fault
    except TypeError as fault:
        raise TopicError(f"topic pattern {pattern!r} must be a text, not {type(pattern).__name__}") from fault
