"""``setpoint letters``: what flows could not handle, as a stranger looks at it."""

from __future__ import annotations

import json

import pytest
from tests.cli.cli_shop import Running, run_cli, running_shop

from setpoint.flows.component import Msg
from setpoint.flows.letters import Letter, LetterFile


def failed(running: Running, flow: str, *values: object, at: float = 1_700_000_000.0) -> None:
    """Have a flow fail on these values."""
    file = LetterFile(running.shop.letters, flow, clock=lambda: at)
    file.keep([Letter(Msg(value, {"umh_topic": "umh.v1.acme._raw.t"}), "output", "not a number") for value in values])


def test_letters_are_shown_with_where_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first; a part of the path chooses a flow; JSON for programs; none is no fault."""
    with running_shop() as running:
        assert "no message failed" in run_cli(capsys, "letters", "--url", running.url).err
        failed(running, "agent/bridges/press-7/read", "x", "y")
        failed(running, "agent/flows/orders", {"id": 1}, at=1_700_000_100.0)
        out = run_cli(capsys, "letters", "--url", running.url).out
        assert out.index("agent/flows/orders") < out.index("agent/bridges/press-7/read")
        assert "output: not a number" in out
        assert "umh.v1.acme._raw.t" in out
        (letter,) = json.loads(run_cli(capsys, "letters", "press-7", "-n", "1", "--json", "--url", running.url).out)
        assert (letter["flow"], letter["payload"]) == ("agent/bridges/press-7/read", "x")
        none = run_cli(capsys, "letters", "nowhere", "--url", running.url)
        assert (none.code, none.out) == (0, "")
        assert "in a flow with 'nowhere' in its path" in none.err


def test_a_line_that_a_crash_broke_off_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor do texts from outside play with the terminal."""
    with running_shop() as running:
        failed(running, "f", "\x1b[2J fine")
        file = next(running.shop.letters.iterdir())
        file.write_bytes(file.read_bytes() + b'{"at": 17, "flow"\n[]\n{"at": "then", "flow": 1}\n')
        out = run_cli(capsys, "letters", "--url", running.url).out
    assert "fine" in out
    assert "\x1b" not in out
