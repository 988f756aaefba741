"""What to do when something fails: undo it in reverse, try again, leave it alone, take another source, send away what does not fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.patterns.patterns_folder import enter, module, serving

from setpoint.data.fsm import SimpleFSM


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAUSE", "0.001")
    return enter("recovery", tmp_path, monkeypatch)


@pytest.fixture
def agency(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with serving(module("agency").Agency()) as running:
        monkeypatch.setenv("AGENCY", running.url)  # type: ignore[attr-defined]
        monkeypatch.setenv("BANK", running.url)  # type: ignore[attr-defined]
        yield running


def trip() -> Any:
    with SimpleFSM("trip.yaml", trust=True) as fsm:
        return fsm.process({"trip": "t1", "to": "Oslo"})


def test_all_three_are_booked(agency: Any) -> None:
    """In their order, each with the number it was given."""
    result = trip()
    assert (result.final_state, result.success, result.handled) == ("booked", True, ())
    assert agency.asked == ["PUT /flights/t1", "PUT /hotels/t1", "PUT /cars/t1"]
    assert [result.data[what] for what in ("flights", "hotels", "cars")] == [
        "/flights/t1-1",
        "/hotels/t1-2",
        "/cars/t1-3",
    ]


def test_when_the_third_is_refused_the_others_are_cancelled_in_reverse(agency: Any) -> None:
    """Hotel, then flight; nothing is booked any more, and the result says why."""
    agency.faults["PUT /cars/t1"] = [409]
    result = trip()
    assert agency.asked[3:] == ["DELETE /hotels/t1", "DELETE /flights/t1"]
    assert (result.final_state, result.success, agency.booked) == ("not_booked", True, {})
    assert [(error.state, error.type) for error in result.handled] == [("car", "HTTPStatusError")]
    assert result.data == {"trip": "t1", "to": "Oslo"}


@pytest.mark.parametrize(
    ("what", "undone"),
    [
        ("flights", ["DELETE /flights/t1"]),
        ("hotels", ["DELETE /hotels/t1", "DELETE /flights/t1"]),
        ("cars", ["DELETE /cars/t1", "DELETE /hotels/t1", "DELETE /flights/t1"]),
    ],
)
def test_what_gave_no_answer_may_be_booked_and_is_cancelled_too(agency: Any, what: str, undone: list[str]) -> None:
    """The service did book, and hung up: that booking is found and cancelled, too."""
    agency.faults[f"PUT /{what}/t1"] = [0]
    result = trip()
    assert [request for request in agency.asked if request.startswith("DELETE")] == undone
    assert (result.final_state, agency.booked) == ("not_booked", {})
    assert "may be booked" in result.handled[0].message


def test_what_is_refused_at_once_needs_no_cancellation(agency: Any) -> None:
    """The first."""
    agency.faults["PUT /flights/t1"] = [409]
    assert trip().final_state == "not_booked"
    assert agency.asked == ["PUT /flights/t1"]


def test_a_cancellation_is_tried_again(agency: Any) -> None:
    """Three times, then it is done."""
    agency.faults["PUT /cars/t1"] = [409]
    agency.faults["DELETE /hotels/t1"] = [503, 503]
    result = trip()
    assert agency.asked[3:] == ["DELETE /hotels/t1"] * 3 + ["DELETE /flights/t1"]
    assert result.final_state == "not_booked"


def test_a_cancellation_that_fails_is_seen(agency: Any) -> None:
    """The others are cancelled all the same; the run is a failure that names what is still booked, and why."""
    agency.faults["PUT /cars/t1"] = [409]
    agency.faults["DELETE /hotels/t1"] = [503] * 3
    result = trip()
    assert agency.asked[-1] == "DELETE /flights/t1"
    assert (result.final_state, result.success) == ("failed", False)
    assert result.data["still_booked"] == {"hotel": True}
    assert (result.data["hotels"], "flights" in result.data) == ("/hotels/t1-2", False)
    assert [(error.state, error.attempt) for error in result.handled] == [("car", 1), ("hotel_back", 3)]
    assert result.error.state == "hotel_back"


def euros(fsm: SimpleFSM, currency: str = "USD") -> tuple[Any, ...]:
    result = fsm.process({"amount": 100, "currency": currency})
    return result.data.get("source"), result.data.get("euros"), [error.type for error in result.handled]


@pytest.fixture
def rates(agency: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleFSM]:
    monkeypatch.setenv("REST", "0.3")
    with SimpleFSM("rates.yaml", trust=True) as fsm:
        yield fsm


def test_the_bank_is_asked_again_after_a_moment(agency: Any, rates: SimpleFSM) -> None:
    """One failure is nobody's business."""
    agency.faults["GET /rates/USD"] = [503]
    assert euros(rates) == ("bank", 92.0, [])
    assert agency.asked == ["GET /rates/USD"] * 2


def test_where_the_bank_is_down_another_source_answers(agency: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback that is nearest: a second service."""
    with serving(module("agency").Agency()) as spare:
        monkeypatch.setenv("SPARE", spare.url)  # type: ignore[attr-defined]
        agency.faults["GET /rates/USD"] = [500] * 9
        with SimpleFSM("rates.yaml", trust=True) as fsm:
            assert euros(fsm) == ("spare", 92.0, ["HTTPStatusError"])


def test_where_all_are_down_the_last_rate_or_the_table_answers(agency: Any, rates: SimpleFSM) -> None:
    """What was got before is kept; what never was is in the table; what is nowhere is a failure with all its reasons."""
    assert euros(rates, "GBP") == ("bank", 117.0, [])
    agency.faults["GET /rates/GBP"] = [500] * 2
    assert euros(rates, "GBP") == ("cache", 117.0, ["HTTPStatusError", "ConnectError"])
    agency.faults["GET /rates/USD"] = [500]
    assert euros(rates)[:2] == ("bank", 92.0)
    agency.faults["GET /rates/CHF"] = [500] * 2
    result = rates.process({"amount": 1, "currency": "CHF"})
    assert (result.final_state, result.error.state) == ("failed", "from_table")  # type: ignore[union-attr]
    assert [error.type for error in result.handled] == ["HTTPStatusError", "ConnectError", "LookupError"]


def test_a_currency_that_the_bank_does_not_know_is_not_its_fault(agency: Any, rates: SimpleFSM) -> None:
    """It is not asked again for it, and its breaker stays closed however often that happens."""
    for _ in range(6):
        assert euros(rates, "XXX")[2] == ["LookupError", "ConnectError", "LookupError"]
    assert len(agency.asked) == 6
    assert euros(rates)[0] == "bank"


def test_what_nobody_knows_comes_from_the_table(agency: Any, rates: SimpleFSM) -> None:
    """The last of the fallbacks: a value that stands in the file."""
    agency.faults["GET /rates/USD"] = [500] * 2
    assert euros(rates) == ("table", 90.0, ["HTTPStatusError", "ConnectError", "LookupError"])


def test_a_bank_that_is_down_is_left_alone_for_a_while(agency: Any, rates: SimpleFSM) -> None:
    """Four failures open the breaker: no call, no retry; later one call tries, and then it is used again."""
    assert euros(rates)[0] == "bank"
    agency.faults["GET /rates/USD"] = [500] * 4
    assert [euros(rates)[2][0] for _ in range(4)] == ["HTTPStatusError"] * 2 + ["BreakerOpen"] * 2
    assert len(agency.asked) == 5
    ends = time.monotonic() + 5
    while euros(rates)[0] != "bank" and time.monotonic() < ends:
        time.sleep(0.02)
    assert euros(rates) == ("bank", 92.0, [])
    assert len(agency.asked) == 7


def test_the_printer_takes_what_it_can_and_sends_the_rest_away() -> None:
    """Eight jobs at once: two printed, three waiting, three refused at once, visibly; later ones are printed again."""
    with SimpleFSM("labels.yaml", trust=True) as fsm:
        results = fsm.process_batch([{"job": number} for number in range(8)], max_workers=8)
        assert [result.final_state for result in results] == ["printed"] * 5 + ["sent_away"] * 3
        assert {result.handled[0].type for result in results[5:]} == {"ResourceBusy"}
        assert (
            results[7].handled[0].message
            == "labels:print_label is busy: 2 at once, and 3 that wait, are all that it takes"
        )
        assert fsm.process({"job": 9}).final_state == "printed"
