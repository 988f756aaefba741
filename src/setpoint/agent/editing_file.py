"""Writing a config file by program: nothing that a person or another program wrote is ever lost.

An `Edit` begins with what is in the file and ends with a new text in its place, in one step: whoever reads the file, also after ``kill
-9`` or a power cut, finds the old text or the new one, whole. Before that the old text is put into the file's backups. A file that
somebody changed since it was read is left alone. Programs that write at the same moment take turns by a lock on the folder of backups
(flock(2)); the kernel takes it back from whoever dies, and no lock file is left anywhere. Mode and owner of the file stay; of a link,
what it leads to is written.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from setpoint.agent.editing_backups import Backup, Backups
from setpoint.agent.loading import MAX_BYTES
from setpoint.services.swap import candidate, swap

LOCK_S: Final = 10.0
"""Seconds to wait for another program that writes the same file."""
_PAUSE_S: Final = 0.02


class NotWritten(Exception):
    """The file is as it was. The message says why; `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Edit:
    """The text of a file as it was when the edit began, and its digest (SHA-256, in hexadecimal, as the agent tells it).

    Raises `NotWritten` for a file that cannot be read, or is no text."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._real = file.resolve(strict=True)
            content = _content(self._real)
            self.text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NotWritten(f"{file} is not UTF-8 text: byte {error.start}", "save it as UTF-8") from None
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            why = getattr(error, "strerror", None) or str(error)
            raise NotWritten(
                f"{file} cannot be read: {why}", "name a config with --file, or write one with 'setpoint init'"
            ) from None
        self.digest = hashlib.sha256(content).hexdigest()

    @property
    def backups(self) -> Backups:
        """Those of this file: one folder, whichever links lead to it."""
        return Backups(self._real)

    def write(self, text: str) -> Backup | None:
        """Put this text in the place of the one that was read. Returns the backup of that one; None where the text is the same.

        Raises `NotWritten` where the file was changed meanwhile, or cannot be written; then it is as it was."""
        content = text.encode("utf-8")
        if len(content) > MAX_BYTES:
            raise NotWritten(
                f"the file would be larger than {MAX_BYTES // 1_000_000} MB, which no agent reads", "split it up"
            )
        if text == self.text:
            return None
        try:
            with self._alone():
                kept = self.backups.keep(self._unchanged())
                fresh = candidate(self._real, content)
                _alike(fresh, self._real)
                swap(fresh, self._real)
        except OSError as error:
            raise self._failed(error) from None
        self.text, self.digest = text, hashlib.sha256(content).hexdigest()
        return kept

    def keep(self) -> Backup:
        """Put what is in the file into its backups. Raises `NotWritten`."""
        try:
            with self._alone():
                return self.backups.keep(self._unchanged())
        except OSError as error:
            raise self._failed(error) from None

    def _unchanged(self) -> bytes:
        content = _content(self._real)
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise NotWritten(
                f"{self.file} was changed meanwhile; nothing was written", "look at the change, and do it again"
            )
        return content

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """As the only program that writes this file in this way."""
        folder = os.open(self.backups.made(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            until = time.monotonic() + LOCK_S
            while not _locked(folder):
                if time.monotonic() > until:
                    raise NotWritten(f"another program is writing {self.file}", "try again when it is done")
                time.sleep(_PAUSE_S)
            yield
        finally:
            os.close(folder)

    def _failed(self, error: OSError) -> NotWritten:
        hint = "its folder must be writable and have room"
        if error.errno == errno.EBUSY:  # the file itself is mounted, as containers do it, and cannot be exchanged
            hint = "the file itself is mounted; mount its folder instead"
        return NotWritten(f"{self.file} cannot be written: {error.strerror or error}; nothing was changed", hint)


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(file: Path) -> bytes:
    """Raises `OSError`, also for what is no regular file, or larger than a config may be."""
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(0, "it is not a regular file")
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(0, f"it is larger than {MAX_BYTES // 1_000_000} MB")
    return content


def _alike(fresh: Path, file: Path) -> None:
    """Give the new file owner and mode of the old one. Raises `OSError`, and removes the new one, where they cannot be kept."""
    known = file.stat()
    try:
        made = fresh.stat()
        if (made.st_uid, made.st_gid) != (known.st_uid, known.st_gid):
            os.chown(fresh, known.st_uid, known.st_gid)
        os.chmod(fresh, stat.S_IMODE(known.st_mode))
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
