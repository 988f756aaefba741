"""Neighbours: which workers belong together, so that it is known who may feel a fault.

A family is a worker at the top of the tree with all below it. What befalls one of a family may be felt by all of it, and by the families
that read, need or wait for one of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from setpoint.control.record import Record
from setpoint.testing.simulation.laws import Around, Watch


class Neighbours:
    """The simulator's books on all workers, by path and by family. They outlive the agent."""

    def __init__(self, root: str, tops: Iterable[str], now: Callable[[], float]) -> None:
        self.root = root
        self.watches: dict[str, Watch] = {}
        self._tops = frozenset(tops)
        self._now = now
        self._families: dict[str, Around] = {}
        self._felt_by: Mapping[str, set[str]] | None = None

    def watch(self, path: str) -> Watch:
        """The book on the worker at a path."""
        found = self.watches.get(path)
        if found is None:
            found = self.watches[path] = Watch(path, self._family(self.top_of(path)), self._now())
        return found

    def top_of(self, path: str) -> str:
        """The name at the top of the tree that the path belongs to."""
        name = below = path.removeprefix(f"{self.root}/")
        while name and name not in self._tops:
            name = name.rpartition("/")[0]
        return name or below

    def _family(self, top: str) -> Around:
        return self._families.setdefault(top, Around(self._now()))

    def all(self) -> list[Around]:
        return list(self._families.values())

    def tree_changed(self) -> None:
        """Who looks at whom has to be found out again."""
        self._felt_by = None

    def around(self, paths: Iterable[str], table: Mapping[str, Record]) -> list[Around]:
        """The families that may feel what happens at these paths."""
        paths = list(paths)
        if self.root in paths:
            return self.all()
        if self._felt_by is None:
            self._felt_by = self._who_feels_whom(table)
        felt = list(dict.fromkeys(self.top_of(path) for path in paths))
        for top in felt:
            felt += [other for other in sorted(self._felt_by.get(top, ())) if other not in felt]
        return [self._family(top) for top in felt]

    def _who_feels_whom(self, table: Mapping[str, Record]) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for record in table.values():
            top = self.top_of(record.path)
            for other in (*record.watched(), *record.given.needs):
                found.setdefault(self.top_of(other), set()).add(top)
        return found
