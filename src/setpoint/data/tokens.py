"""A run as it stands between two visits: the tokens on their way, those that wait, and the ends of the others.

A record that fails is not done with: the run may be tried again (`Progress.again`). So each token notes what it was `before` the last visit
in which something went wrong, also where an arc caught that, since such an arc often leads to an end that is a failure; and the run notes
for each end that is one which token to go back to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from setpoint.data.context import Progress, Token
from setpoint.data.result import Result, joined
from setpoint.data.site import Outcome, Parted


class Tokens:
    """Where the records of a run are. With `fans` those that come of a visit queue up behind the others, else before them.

    `notes`: whether somebody keeps the run, so that it matters what a record was before it failed.
    """

    __slots__ = ("_failed", "_fans", "_lost", "_notes", "ends", "queue", "split", "waiting")

    def __init__(self, progress: Progress, tokens: Iterable[Token], *, fans: bool, notes: bool) -> None:
        self.queue = deque(tokens)
        self.ends, self.split = list(progress.ends), progress.split
        self.waiting: list[Token] = []
        self._failed = list(progress.failed)
        self._lost = False  # whether a record failed that was kept elsewhere, or not alone, when the run was kept last
        self._fans, self._notes = fans, notes

    def __len__(self) -> int:
        """How many records it is."""
        return len(self.queue) + len(self.ends) + len(self.waiting)

    def came(self, token: Token | None, outcome: Outcome) -> None:
        """This came of a visit of the token; None for one that began elsewhere."""
        if isinstance(outcome, Result):
            self._ended(token, outcome)
            return
        parts: Parted = [outcome] if isinstance(outcome, Token) else outcome
        if isinstance(outcome, list) and self.split is None:
            self.split = parts[0].path
        if token is not None and self._notes and (before := _before(token, parts[0])) is not None:
            parts = [replace(part, before=before) for part in parts]
        if isinstance(outcome, Token) and outcome.since:
            self.waiting += parts
        elif self._fans:
            self.queue.extend(parts)
        else:
            self.queue.extendleft(reversed(parts))

    def give_up(self, ends: Sequence[Result]) -> None:
        """All that are on their way end so, each as it stands."""
        self.ends += ends
        self._failed += self.queue if self._notes else ()
        self._lost = True
        self.queue.clear()

    def worth_keeping(self) -> bool:
        """Whether it stands elsewhere than when it was kept last; not so a record that failed for good where it stood."""
        return bool(self.queue or self.waiting) or self._lost

    def progress(self, run: str, variables: dict[str, Any]) -> Progress:
        """As it is kept."""
        still = (tuple(self.queue), tuple(self.ends), self.split, tuple(self.waiting))
        return Progress(run, *still, variables, tuple(self._failed))

    def result(self, *, duration: float) -> Result:
        """What came of the run, all of whose records have ended."""
        return self.ends[0] if self.split is None else joined(self.ends, self.split, duration=duration)

    def _ended(self, token: Token | None, end: Result) -> None:
        self.ends.append(end)
        if token is not None and self._notes and not end.success:
            known = token.failing is not None or (token.handled and token.handled[-1] == end.error)
            again = token.before if known and token.before is not None else token
            self._failed.append(replace(again, before=None) if again.before is not None else again)
            self._lost = again is not token or self.split is not None


def _before(token: Token, after: Token) -> Token | None:
    """What to go back to from there: the token itself where something went wrong in this visit."""
    wrong = len(after.handled) > len(token.handled) or (after.failing is not None and token.failing is None)
    return replace(token, before=None) if wrong else token.before
