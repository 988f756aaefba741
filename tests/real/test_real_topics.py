"""The topics page in a real browser: the tree, live values, one topic in full, looking for topics, and what happens without the browser."""

from collections.abc import Iterator

import pytest
from tests.cli.cli_shop import Running, running_shop
from tests.real.real_browser import Browser, browser, missing

from setpoint.namespace import Message, encode_time_series
from setpoint.namespace.browser import Limits

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(missing()), reason=missing())]

PRESS = "umh.v1.acme.cologne.press-1._raw.motor.speed"
ESCAPE = "\ue00c"


def publish(agent: Running, name: str, *values: object, **headers: str) -> None:
    messages = [
        Message(name, encode_time_series(value, 1_700_000_000_000 + at), headers) for at, value in enumerate(values)
    ]  # type: ignore[arg-type]
    agent.do(agent.shop.broker.publish(messages))


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def agent(page: Browser) -> Iterator[Running]:
    """An agent whose topics are followed, and its page opened at them."""
    with running_shop() as running:
        running.do(running.shop.browser.begin(Limits()))
        page.until(lambda: running.shop.browser.following)  # what was there before it followed has no history
        publish(running, PRESS, 1, 4, 2, bridged_by="press-1", unit="rpm")
        publish(running, "umh.v1.acme.cologne.press-2._raw.motor.speed", 7)
        publish(running, "umh.v1.acme.bonn.oven._raw.<b>heat</b>", "<i>hot</i>")
        page.open("about:blank")
        page.open(f"{running.url}/#/topics")
        page.until(lambda: "speed" in page.text("#topic-rows"))
        yield running
        complaints = [
            entry for entry in page.log() if not any(text in entry["message"] for text in ("ERR_", "503", " 400 "))
        ]
        assert not complaints, complaints


def rows(page: Browser) -> list[str]:
    found: list[str] = page.js("return [...document.querySelectorAll('#topic-rows tr')].map(r => r.dataset.path)")
    return found


def find(page: Browser, text: str) -> None:
    script = (
        "const f = document.querySelector('#find-topic'); f.value = arguments[0]; f.dispatchEvent(new Event('input'))"
    )
    page.js(script, text)


def test_the_tree_opens_and_closes_and_shows_text_as_text(page: Browser, agent: Running) -> None:
    """Places that have one place below them share a row; what is closed stays closed while values come."""
    assert rows(page) == [
        "acme",
        "acme.bonn.oven._raw.<b>heat</b>",
        "acme.cologne",
        "acme.cologne.press-1._raw.motor.speed",
        "acme.cologne.press-2._raw.motor.speed",
    ]
    assert "<i>hot</i>" in page.text("#topic-rows")
    page.click("[data-fold='acme.cologne']")
    page.until(lambda: len(rows(page)) == 3)
    publish(agent, "umh.v1.acme.bonn.oven._raw.<b>heat</b>", "cold")
    page.until(lambda: "cold" in page.text("#topic-rows"))
    assert len(rows(page)) == 3
    page.click("[data-fold='acme.cologne']")
    page.until(lambda: len(rows(page)) == 5)


def test_values_change_without_a_reload_and_new_topics_appear(page: Browser, agent: Running) -> None:
    """The row stays the same element; a change is there long before the tree is asked for again."""
    row = f"tr[data-path='{PRESS.removeprefix('umh.v1.')}']"
    page.js("document.querySelector(arguments[0]).kept = true", row)
    seen: set[str] = set()

    def often() -> bool:
        publish(agent, PRESS, 4711 + len(seen))
        seen.add(page.js("return document.querySelector(arguments[0] + ' .value').innerText", row))
        return len(seen) > 5

    page.until(often, 8.0)
    assert page.js("return document.querySelector(arguments[0]).kept", row)
    assert "/s" in page.text(row)
    publish(agent, "umh.v1.berlin._raw.new", 1)
    page.until(lambda: "berlin._raw.new" in rows(page))


def test_one_topic_is_shown_in_full(page: Browser, agent: Running) -> None:
    """Producer, contract, metadata, the last values and their course; the address is that of the topic; Escape closes it."""
    page.click(f"[data-topic='{PRESS}']")
    page.until(lambda: "Last 3 values" in page.text("#topic-panel"))
    for text in ("_raw", "press-1", "unit", "rpm"):
        assert text in page.text("#topic-panel"), text
    assert (
        page.js("return document.querySelector('#topic-panel polyline').getAttribute('points').split(' ').length") == 3
    )
    assert page.js("return location.hash") == f"#/topics/{PRESS}"
    publish(agent, PRESS, 99)
    page.until(lambda: page.text("#topic-panel .now") == "99")
    page.press(ESCAPE)
    page.until(lambda: page.js("return document.querySelector('#topic-panel').hidden"))
    assert page.js("return location.hash") == "#/topics"


def test_topics_are_looked_for_by_text_pattern_and_metadata(page: Browser, agent: Running) -> None:
    """What was typed decides which; a pattern that is none is said to be so."""
    for text, left in (
        ("press-2", "press-2"),
        ("acme.*.press-1.**", "press-1"),
        ("unit=rpm", "press-1"),
        ("speed bridged_by=press-1", "press-1"),
    ):
        find(page, text)
        page.until(lambda left=left: rows(page) == [f"acme.cologne.{left}._raw.motor.speed"])
    find(page, "nothing")
    page.until(lambda: "No topic is meant" in page.text("#no-topics"))
    find(page, "a.b**")
    page.until(lambda: "whole segments" in page.text("#topic-count"))
    find(page, "")
    page.until(lambda: len(rows(page)) == 5)


def test_without_the_topic_browser_values_still_come(page: Browser, agent: Running) -> None:
    """The broker is asked now and then."""
    agent.do(agent.shop.browser.end())
    publish(agent, PRESS, 815)
    page.until(lambda: "815" in page.text("#topic-rows"))
