"""Splits a stream of bytes into lines of bounded length."""

from __future__ import annotations

from collections.abc import Callable


class Lines:
    """Takes chunks, gives whole lines without their line ends. A line beyond `longest` bytes is left out and reported."""

    def __init__(self, longest: int, too_long: Callable[[str], None]) -> None:
        self._longest = longest
        self._too_long = too_long
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete with this chunk."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        lines = [line.removesuffix(b"\r") for n, line in enumerate(whole) if self._fits(line, first=n == 0)]
        if len(self._rest) > self._longest:
            if not self._skipping:
                self._report()
            self._rest, self._skipping = b"", True
        return lines

    def end(self) -> list[bytes]:
        """The last line, where the stream ends without a line end."""
        rest, self._rest = self._rest, b""
        skipping, self._skipping = self._skipping, False
        return [rest] if rest and not skipping else []

    def _fits(self, line: bytes, *, first: bool) -> bool:
        if first and self._skipping:
            self._skipping = False
            return False
        if len(line) > self._longest:
            self._report()
            return False
        return True

    def _report(self) -> None:
        self._too_long(f"a line is longer than {self._longest} bytes and was left out; raise max_buffer_size")
