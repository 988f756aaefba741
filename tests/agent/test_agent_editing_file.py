"""Writing a config file by program: the old text or the new one, never another, and nothing that somebody wrote is lost."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import time
from pathlib import Path

import pytest

from setpoint.agent import editing_backups
from setpoint.agent.editing_backups import FOLDER, MOST
from setpoint.agent.editing_file import Edit, NotWritten


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\n")
    return path


def test_the_old_text_is_kept_and_the_new_one_takes_its_place(file: Path) -> None:
    """In one step; the digest is the one that an agent tells of the text."""
    edit = Edit(file)
    assert edit.digest == hashlib.sha256(b"a: 1\n").hexdigest()
    kept = edit.write("a: 2\n")
    assert kept is not None
    assert (kept.text(), file.read_text(), edit.text) == ("a: 1\n", "a: 2\n", "a: 2\n")
    assert edit.write("a: 2\n") is None
    assert sorted(path.name for path in file.parent.iterdir()) == [FOLDER, "config.yaml"]


def test_a_file_that_was_changed_meanwhile_is_left_alone(file: Path) -> None:
    """Also when size and time are as they were."""
    edit = Edit(file)
    known = file.stat()
    file.write_text("a: 9\n")
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))
    with pytest.raises(NotWritten, match="changed meanwhile"):
        edit.write("a: 2\n")
    with pytest.raises(NotWritten, match="changed meanwhile"):
        edit.keep()
    assert file.read_text() == "a: 9\n"
    file.unlink()
    with pytest.raises(NotWritten, match="No such file"):
        edit.write("a: 2\n")


def test_mode_and_owner_stay_and_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    """What the link leads to is written, and its backups are the same by whichever way."""
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 12, 34)
    before = file.stat()
    link = tmp_path / "elsewhere" / "link.yaml"
    link.parent.mkdir()
    link.symlink_to(file)
    Edit(link).write("a: 2\n")
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert link.is_symlink()
    assert file.read_text() == "a: 2\n"
    assert len(Edit(file).backups.all()) == 1
    assert not (link.parent / FOLDER).exists()


def test_backups_are_their_owners_and_no_more_than_a_hundred(file: Path) -> None:
    """The oldest go. Their names sort by age."""
    for number in range(MOST + 5):
        Edit(file).write(f"a: {number + 2}\n")
    kept = Edit(file).backups.all()
    assert len(kept) == MOST
    assert kept[0].text() == f"a: {MOST + 5}\n"
    assert [backup.name for backup in kept] == sorted((backup.name for backup in kept), reverse=True)
    assert {stat.S_IMODE(backup.path.stat().st_mode) for backup in kept} == {0o600}
    assert stat.S_IMODE(kept[0].path.parent.stat().st_mode) == 0o700


def test_a_text_is_kept_once_and_is_the_newest_when_it_comes_again(file: Path) -> None:
    """So that the first backup is always what the file said before the last write."""
    for text in ("a: 2\n", "a: 1\n", "a: 2\n"):
        Edit(file).write(text)
        assert Edit(file).backups.all()[0].text() == {"a: 2\n": "a: 1\n", "a: 1\n": "a: 2\n"}[text]
    assert len(Edit(file).backups.all()) == 2
    assert Edit(file).keep() == Edit(file).keep()


def test_a_clock_that_was_set_back_does_not_disorder_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is later than the one before."""
    Edit(file).write("a: 2\n")
    monkeypatch.setattr(editing_backups.time, "time_ns", lambda: 10**18)
    Edit(file).write("a: 3\n")
    assert [backup.text() for backup in Edit(file).backups.all()] == ["a: 2\n", "a: 1\n"]


def test_a_backup_is_found_by_its_number_or_its_name(file: Path) -> None:
    """1 is the newest; the beginning of a name will do where only one begins so."""
    for number in range(3):
        Edit(file).write(f"a: {number + 2}\n")
    backups = Edit(file).backups
    newest, *_, oldest = backups.all()
    assert backups.find("1") == newest
    assert backups.find("3") == backups.find(oldest.name) == backups.find(f"{oldest.name}.yaml") == oldest
    assert backups.find("0") is backups.find("4") is backups.find("2026x") is backups.find("20") is None


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "bytes", "circle", "large"])
def test_what_cannot_be_read_is_told_and_nothing_hangs(tmp_path: Path, kind: str) -> None:
    """A pipe that nobody writes to, bytes that are no text, links in a circle, a file larger than an agent reads."""
    path = tmp_path / "config.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "bytes":
        path.write_bytes(b"a: \xff\n")
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "large":
        path.write_bytes(b"#" * 10_000_001)
    with pytest.raises(NotWritten, match=r"config\.yaml (cannot be read|is not UTF-8)"):
        Edit(path)


def test_a_full_disk_leaves_the_file_as_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing lies about."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotWritten, match="No space left on device; nothing was changed"):
        Edit(file).write("a: 2\n")
    assert file.read_text() == "a: 1\n"
    assert [path.name for path in file.parent.rglob("*.part")] == []


def test_programs_that_write_at_the_same_time_lose_nothing(file: Path) -> None:
    """Each tries again when another was first; every change of every one is there in the end."""
    writers = [_forked(lambda number=number: _append(file, number)) for number in range(4)]
    for pid in writers:
        assert os.waitpid(pid, 0)[1] == 0
    assert sorted(file.read_text().splitlines()[1:]) == sorted(f"w{n}x{m}: 1" for n in range(4) for m in range(10))


def _append(file: Path, number: int) -> None:
    for turn in range(10):
        while True:
            edit = Edit(file)
            try:
                edit.write(f"{edit.text}w{number}x{turn}: 1\n")
                break
            except NotWritten:
                continue


def test_kill_9_at_any_moment_leaves_the_old_text_or_the_new_one(file: Path) -> None:
    """Whole, with its backups whole too; the next write goes ahead at once and clears away what the dead one left."""
    seeded = random.Random(7)
    file.write_text(_large(0))
    for _ in range(40):
        pid = _forked(lambda: _write_for_ever(file))
        time.sleep(seeded.uniform(0.0, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        text = file.read_text()
        assert text == _large(int(text[3 : text.index("\n")]))
        for backup in Edit(file).backups.all():
            assert backup.text() == _large(int(backup.text()[3 : backup.text().index("\n")]))
    assert int(file.read_text()[3 : file.read_text().index("\n")]) > 40, "hardly any write was met"
    started = time.monotonic()
    Edit(file).write(_large(-1))
    assert time.monotonic() - started < 5
    assert list(file.parent.rglob("*.part")) == list(file.parent.rglob("*.lock")) == []


def _large(number: int) -> str:
    return f"a: {number}\n" * 5_000


def _write_for_ever(file: Path) -> None:
    while True:
        edit = Edit(file)
        edit.write(_large(int(edit.text[3 : edit.text.index("\n")]) + 1))


def _forked(work: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        assert callable(work)
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)
