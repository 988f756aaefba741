"""The latest values of the sources of a stream processor, and which messages are too late to change them.

A source has one latest value: the one with the newest time. Of two with the same time it is the one that came later. A message with an
older time is *late* and changes nothing, so that what comes out does not depend on how messages of different sources mix, and going
through a stretch of the log a second time ends where the first time did.

A clock that was set back must not silence a source until it has caught up, nor must one message from the year 2099 do so for ever. So a
message is late only if it was written to the log within `LATE_WITHIN_MS` of the latest value, before it or after (the clock of the log may
be the one that was set back). Otherwise its time is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

LATE_WITHIN_MS: Final = 60_000
MADE_OF: Final = "made_of"
"""The header in which each message that was made says of which values: ``{topic: [timestamp_ms, value, written_ms]}``."""
MOST_TEXT: Final = 200
"""Characters of a text that is said in the header; longer ones, and objects, are left out."""


class Reading(NamedTuple):
    """A value, the time it is of and the time at which it was written to the log (ms since 1970)."""

    timestamp_ms: int
    value: Any
    written_ms: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, tuple[int, bool | int | float | str, int]])


class Latest:
    """The latest reading of each topic."""

    def __init__(self) -> None:
        self.of: dict[str, Reading] = {}

    def take(self, topic: str, reading: Reading) -> bool:
        """Takes the reading as the latest of its topic; False when it is late."""
        known = self.of.get(topic)
        if (
            known is not None
            and reading.timestamp_ms < known.timestamp_ms
            and abs(reading.written_ms - known.written_ms) <= LATE_WITHIN_MS
        ):
            return False
        self.of[topic] = reading
        return True

    def told(self, topics: Iterable[str]) -> str:
        """The readings of these topics, for the header; "" for none."""
        said = {topic: self.of[topic] for topic in topics if _short(self.of[topic].value)}
        return _encoder.encode(said).decode() if said else ""

    def remember(self, headers: Mapping[str, str], topics: Iterable[str]) -> None:
        """Takes what a message that was made is said to be made of, as far as it is about these topics, for the latest.

        What was made later was made of later values, so such messages are to be remembered in their order.
        """
        try:
            said = _decoder.decode(headers.get(MADE_OF, "{}"))
        except (msgspec.MsgspecError, ValueError):  # somebody else's header of that name
            return
        for topic in topics:
            if topic in said:
                self.of[topic] = Reading(*said[topic])


def _short(value: Any) -> bool:
    return len(value) <= MOST_TEXT if isinstance(value, str) else isinstance(value, bool | int | float)
