"""Machines for records as drawings."""

from __future__ import annotations

from pathlib import Path

import pytest

from setpoint.cli.main import app
from setpoint.cli.trouble import Trouble

TEXT = """
name: order desk
networks:
  - name: orders
    states:
      received in full:
        arcs:
          - {target: priced, condition: amount > 3}
          - {target: priced, target_network: pricing}
          - {target: received in full, name: again}
          - {target: done, event: cancelled}
          - {target: done, after: 60}
        on_error: failed
      priced: {on_complete: done}
      done: {final: true}
      failed: {final: true}
  - name: pricing
    states: {taxed: {final: true}}
"""


def test_arcs_have_the_words_people_know_them_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Conditions, events, times, errors, and the network that an arc leads through; names with spaces are made drawable."""
    file = tmp_path / "orders.yaml"
    file.write_text(TEXT)
    with pytest.raises(SystemExit):
        app(["draw", str(file)])
    drawn = capsys.readouterr().out
    for line in (
        "n_received_in_full --> priced : then [amount #62; 3]<br/>via_pricing",
        "n_received_in_full --> done : cancelled<br/>then after 60 s",
        "n_received_in_full --> failed : on_error",
        "priced --> done",
    ):
        assert line in drawn, drawn
    with pytest.raises(SystemExit):
        app(["draw", str(file), "--network", "pricing"])
    assert "[*] --> taxed" in capsys.readouterr().out


def test_a_network_there_is_not_is_said(tmp_path: Path) -> None:
    """With those that there are."""
    file = tmp_path / "orders.yaml"
    file.write_text(TEXT)
    with pytest.raises(Trouble, match="no network 'prices'"):
        app(["draw", str(file), "--network", "prices"])
