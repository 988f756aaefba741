"""Finding Benthos, and asking it whether a file is good: programs that are missing, hang, lie or flood are reasons."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from setpoint.configfile import compose
from setpoint.services.benthos import Document, Found, Program, deploy, document, find_program
from setpoint.services.benthos.lint import place
from setpoint.services.benthos.outside import ANSWER_BYTES, ask

FLOW: dict[str, Any] = {"input": {"generate": {"mapping": "root = 1"}}, "output": {"drop": {}}}
SAYS_VERSION = 'echo "Version: v9.9"; echo "Date: today"'


def script(path: Path, body: str) -> Path:
    """A program that is a few lines of shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def find(configured: str = "", *, folder: Path | None = None) -> Found:
    env = None if folder is None else {"PATH": f"{folder}{os.pathsep}/nowhere"}
    return asyncio.run(find_program(configured, env=env))


def judged(tmp_path: Path, lint: str) -> Program:
    """A Benthos whose opinion of a file is this script; the file is ``$2``."""
    return Program((str(script(tmp_path / "bin" / "bento", lint)),), "bento", "1")


def wanted(text: str = "root = 1") -> Document:
    return document({**FLOW, "input": {"generate": {"mapping": text}}}, port=20_000)


def test_the_first_that_answers_is_taken(tmp_path: Path) -> None:
    """By name, in the order of the list; the version is what it says."""
    script(tmp_path / "redpanda-connect", SAYS_VERSION)
    script(tmp_path / "bento", SAYS_VERSION)
    found = find(folder=tmp_path)
    assert found.program == Program((str(tmp_path / "bento"),), "bento", "v9.9")
    assert found.reason == ""


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("benthos", "benthos", ["-c"]),
        ("bento", "bento", ["-c"]),
        ("bento-1.20.0", "bento", ["-c"]),
        ("redpanda-connect", "redpanda-connect", ["run"]),
        ("rpk", "rpk connect", ["connect", "run"]),
        ("my-build", "benthos", ["-c"]),
    ],
)
def test_each_kind_is_told_in_its_own_way_to_run_a_file(tmp_path: Path, name: str, kind: str, words: list[str]) -> None:
    """A program of one's own is taken for a Benthos; rpk has Connect as a part."""
    path = script(tmp_path / name, SAYS_VERSION)
    program = find(str(path)).program
    assert program is not None
    assert program.kind == kind
    assert program.run(Path("x.yaml")) == (str(path), *words, "x.yaml")
    assert program.lint(Path("x.yaml")) == (str(path), *words[:-1], "lint", "x.yaml")


def test_none_at_all_says_what_to_install(tmp_path: Path) -> None:
    """The names to look for are in the reason."""
    assert "install bento, benthos or redpanda-connect" in find(folder=tmp_path).reason


def test_one_that_does_not_work_is_passed_over_with_its_reason(tmp_path: Path) -> None:
    """When no other works, the reason is what was wrong with it."""
    script(tmp_path / "rpk", "echo 'unknown command connect'; exit 1")
    assert find(folder=tmp_path).reason == (
        f"{tmp_path}/rpk connect is no Benthos: --version ends with 1 and says 'unknown command connect'"
    )


def test_a_configured_path_that_is_no_program_is_a_reason(tmp_path: Path) -> None:
    """Not there, a directory, a file without the right, something else: each says what to do."""
    plain = tmp_path / "plain"
    plain.write_text("no program")
    assert find(str(tmp_path / "x")).reason.endswith("/x does not exist; correct the path")
    assert find(str(tmp_path)).reason.endswith("is a directory; name the program in it")
    assert find(str(plain)).reason.endswith("may not be executed; chmod +x it, or correct the path")
    assert find("no-such-benthos").reason.endswith("is not in PATH; give its whole path")
    plain.chmod(0o755)
    assert "cannot be run: Exec format error" in find(str(plain)).reason
    silent = script(tmp_path / "silent", "exit 0")
    assert find(str(silent)).reason.endswith("is no Benthos: --version ends with 0 and says nothing")


def test_a_program_that_hangs_is_killed_with_what_it_started() -> None:
    """The answer is that there was none; nothing of it goes on."""
    started = time.monotonic()
    answer = asyncio.run(ask(["sh", "-c", "sleep 1234.5 & sleep 1234.5"], timeout=0.2))
    assert answer.problem == "sh -c sleep 1234.5 & sleep 1234.5 gave no answer within 0.2 s and was killed"
    assert time.monotonic() - started < 5
    assert _gone(b"1234.5")


def test_what_outlives_its_program_is_ended_too() -> None:
    """The program ends, but something it started goes on and keeps the pipe: it is not waited for beyond the timeout."""
    assert "gave no answer" in asyncio.run(ask(["sh", "-c", "sleep 4321.5 & exit 0"], timeout=0.2)).problem
    assert _gone(b"4321.5")


def _gone(words: bytes) -> bool:
    """Whether no process of that command is left; one that was killed may take a moment to go."""
    deadline = time.monotonic() + 10
    while [one for one in Path("/proc").glob("[0-9]*/cmdline") if words in _read(one)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_program_that_floods_is_read_to_its_end_and_cut() -> None:
    """It can end, and costs a bounded amount of memory."""
    answer = asyncio.run(ask(["sh", "-c", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3"]))
    assert (answer.code, len(answer.stdout), len(answer.stderr)) == (3, ANSWER_BYTES, ANSWER_BYTES)


def test_a_good_file_is_put_in_its_place_once(tmp_path: Path) -> None:
    """For its owner only; the same again is not even judged; a change by hand is undone."""
    path = tmp_path / "flows" / "a.yaml"
    program = judged(tmp_path, f"echo judged >> {tmp_path}/log")
    assert asyncio.run(deploy(wanted(), path, program)).outcome == "written"
    assert asyncio.run(deploy(wanted(), path, program)).outcome == "unchanged"
    assert path.read_text() == wanted().text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("by hand")
    assert asyncio.run(deploy(wanted(), path, program)).outcome == "written"
    assert (tmp_path / "log").read_text().count("judged") == 2
    assert [one.name for one in path.parent.iterdir()] == ["a.yaml"]


def test_a_file_that_is_refused_leaves_the_old_one(tmp_path: Path) -> None:
    """With the program's own words and the keys they are about."""
    path = tmp_path / "a.yaml"
    asyncio.run(deploy(wanted(), path, judged(tmp_path, "exit 0")))
    line = wanted("root = 2").text.splitlines().index('    mapping: "root = 2"') + 1
    says = f'echo "$2({line},1) expected query\n\n$2(1,1) variables were not set: [A]" >&2; exit 1'
    deployed = asyncio.run(deploy(wanted("root = 2"), path, judged(tmp_path, says)))
    assert deployed.outcome == "refused"
    assert deployed.reason == "flow: input.generate.mapping: expected query; flow: variables were not set: [A]"
    assert path.read_text() == wanted().text
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["a.yaml"]


@pytest.mark.parametrize(
    ("lint", "reason"),
    [
        ("echo 'Lint paths error: $2' >&2; exit 1", "flow: lint ended with 1: Lint paths error"),
        ("exit 2", "flow: lint ended with 2: it says nothing"),
        ("kill -9 $$", "flow: lint ended with -9: it says nothing"),
    ],
)
def test_an_opinion_that_nobody_understands_is_a_refusal(tmp_path: Path, lint: str, reason: str) -> None:
    """What was not judged good does not replace what runs."""
    deployed = asyncio.run(deploy(wanted(), tmp_path / "a.yaml", judged(tmp_path, lint)))
    assert deployed.outcome == "refused"
    assert deployed.reason.startswith(reason)
    assert not (tmp_path / "a.yaml").exists()


def test_a_program_that_is_gone_refuses(tmp_path: Path) -> None:
    """It was uninstalled between two starts: a reason."""
    gone = Program((str(tmp_path / "bento"),), "bento", "1")
    assert asyncio.run(deploy(wanted(), tmp_path / "a.yaml", gone)).reason == (
        f"flow: {tmp_path}/bento cannot be run: No such file or directory"
    )


def test_a_directory_that_cannot_be_written_refuses(tmp_path: Path) -> None:
    """A reason that names the file and what to do."""
    (tmp_path / "flows").write_text("a file where the directory would be")
    deployed = asyncio.run(deploy(wanted(), tmp_path / "flows" / "a.yaml", judged(tmp_path, "exit 0")))
    assert deployed.outcome == "refused"
    assert "flows/a.yaml cannot be written: " in deployed.reason
    assert deployed.reason.endswith("the data directory must be writable and have space left")


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    """Candidates of the same file only."""
    for name in (".a.yaml.abcdefgh.part.yaml", ".a.b.yaml.abcdefgh.part.yaml"):
        (tmp_path / name).write_text("half")
    asyncio.run(deploy(wanted(), tmp_path / "a.yaml", judged(tmp_path, "exit 0")))
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == [".a.b.yaml.abcdefgh.part.yaml", "a.yaml"]


def test_a_place_in_our_file_is_a_place_in_the_config() -> None:
    """By line: keys and list entries that stand there, and the line within a text of several lines."""
    inputs = "    - label: a\n    - file:\n        mapping: |\n          one\n          two\n"
    tree, _ = compose(f"# head\ninput:\n  broker:\n    inputs:\n{inputs}output:\n  drop: {{}}\n")
    assert [place(tree, line) for line in (1, 2, 5, 7, 9, 10, 11, 99)] == [
        ("", 0),
        ("input", 0),
        ("input.broker.inputs[0].label", 0),
        ("input.broker.inputs[1].file.mapping", 0),
        ("input.broker.inputs[1].file.mapping", 2),
        ("output", 0),
        ("output.drop", 0),
        ("output.drop", 0),
    ]
    assert place(None, 3) == ("", 0)
