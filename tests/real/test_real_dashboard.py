"""The dashboard in a real browser, before a real server."""

from collections.abc import Iterator

import pytest
from tests.api.api_shop import PressSeen
from tests.cli.cli_shop import Running, running_shop
from tests.real.real_browser import Browser, browser, missing

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(missing()), reason=missing())]

PRESS = "agent/press-1"
ROW = f"[data-path='{PRESS}']"
ESCAPE, ENTER, DOWN, LEFT, RIGHT = "\ue00c", "\ue007", "\ue015", "\ue012", "\ue014"


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def agent(page: Browser) -> Iterator[Running]:
    with running_shop("press-1", "press-2") as running:
        page.open("about:blank")
        page.open(f"{running.url}/")
        page.until(lambda: page.text("#link") == "live" and len(rows(page)) == 4)
        yield running
        complaints = [entry for entry in page.log() if "ERR_CONNECTION" not in entry["message"]]
        assert not complaints, complaints


def rows(page: Browser) -> list[str]:
    """The paths of the rows that can be seen."""
    found: list[str] = page.js(
        "return [...document.querySelectorAll('#rows .row')].filter(r => !r.hidden).map(r => r.dataset.path)"
    )
    return found


def set_reading(agent: Running, reading: PressSeen, state: str) -> None:
    async def move() -> None:
        agent.shop.readings[PRESS] = reading
        worker = agent.shop.supervisor.core.family.table[PRESS].worker
        assert worker is not None
        worker.context.push(reading)
        await agent.shop.until(PRESS, state)

    agent.do(move())


def test_a_change_shows_without_a_reload(page: Browser, agent: Running) -> None:
    """State, reason and counts follow the agent; the row stays the same element."""
    page.js("document.querySelector(arguments[0]).kept = true", ROW)
    set_reading(agent, PressSeen(1.0, "in line 3"), "slack")
    page.until(lambda: "lost pressure in line 3" in page.text(ROW))
    assert "slack" in page.text(ROW)
    page.until(lambda: "degraded" in page.text("#phases"))
    assert page.js("return document.querySelector(arguments[0]).kept", ROW)


def test_hostile_text_stays_text(page: Browser, agent: Running) -> None:
    """Markup in a reason is shown as it is written and does nothing, in the list and in the panel."""
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    set_reading(agent, PressSeen(1.0, attack), "slack")
    page.until(lambda: attack in page.text(ROW))
    page.click(ROW)
    page.until(lambda: attack in page.text("#panel .lead"))
    assert page.js("return document.querySelectorAll('#rows img, #rows script, #panel script').length") == 0
    assert page.js("return document.title") == "Setpoint"


def test_a_worker_opens_into_its_explanation(page: Browser, agent: Running) -> None:
    """The panel shows ways out with ticks and crosses, what was observed, and the history; its address can be shared."""
    page.click(ROW)
    page.until(lambda: "has_pressure" in page.text("#panel"))
    panel = page.text("#panel")
    for text in (
        "the pressure is above 5 bar",
        "9 bar",
        "✗",
        "pressure_lost",
        "waiting → pressing",
        "History",
        "Observed",
    ):
        assert text in panel
    assert page.js("return location.hash") == f"#/workers/{PRESS}"
    set_reading(agent, PressSeen(1.0), "slack")
    page.until(lambda: "recovered" in page.text("#panel"))
    page.press(ESCAPE)
    page.until(lambda: page.js("return document.querySelector('#panel').hidden"))


def test_the_keyboard_is_enough(page: Browser, agent: Running) -> None:
    """Arrows move and fold, Enter opens, Escape closes and gives the row back, / goes to the filter."""
    page.js("document.querySelector('#rows .row').focus()")
    page.press(LEFT)
    assert f"{PRESS}/sensor" not in rows(page)
    page.press(RIGHT)
    page.press(DOWN)
    assert page.js("return document.activeElement.dataset.path") == f"{PRESS}/sensor"
    page.press(ENTER)
    page.until(lambda: page.text("#panel h2") == "press-1/sensor")
    page.press(ESCAPE)
    page.until(lambda: page.js("return document.activeElement.dataset.path") == f"{PRESS}/sensor")
    page.press("/")
    for key in "press-2":
        page.press(key)
    page.until(lambda: rows(page) == ["agent/press-2", "agent/press-2/sensor"])
    page.press(ESCAPE)
    page.until(lambda: len(rows(page)) == 4)


def test_a_phase_can_be_chosen(page: Browser, agent: Running) -> None:
    """A click on a count shows those workers, with their parents."""
    agent.loop.call_soon_threadsafe(agent.shop.readings.__setitem__, f"{PRESS}/sensor", PressSeen(1.0))
    page.until(lambda: "degraded" in page.text("#phases"))
    page.click("[data-phase=degraded]")
    page.until(lambda: rows(page) == [PRESS, f"{PRESS}/sensor"])
    page.click("[data-phase='']")
    page.until(lambda: len(rows(page)) == 4)


def test_workers_come_and_go(page: Browser, agent: Running) -> None:
    """A new worker appears at its place, one that is gone disappears."""
    agent.loop.call_soon_threadsafe(lambda: agent.shop.want("press-10", "press-2"))
    page.until(lambda: [path for path in rows(page) if "sensor" not in path] == ["agent/press-2", "agent/press-10"])


def test_an_error_of_the_config_is_a_red_bar_with_its_place(page: Browser, agent: Running) -> None:
    """File, line and message show at the top until the file is mended."""
    agent.loop.call_soon_threadsafe(agent.shop.break_config)
    page.until(lambda: "config.yaml:12:3" in page.text("#config"))
    assert "unknown key 'brdige'" in page.text("#config")
    assert page.js("return document.querySelector('#config').getAttribute('role')") == "alert"


def test_a_lost_agent_is_said_to_be_lost(page: Browser) -> None:
    """When the agent goes the page says so and keeps what it knows; when it is back, it goes on by itself."""
    with running_shop("press-1") as running:
        page.open(f"{running.url}/")
        page.until(lambda: page.text("#link") == "live")
    page.until(lambda: page.text("#link") == "connection lost")
    assert "The connection to the agent is lost" in page.text("#lost")
    assert PRESS in rows(page)


def test_topics_show_their_last_values(page: Browser, agent: Running) -> None:
    """The other view lists topics with value and count, and filters them."""
    from setpoint.namespace import Message, encode_time_series

    messages = [
        Message(f"umh.v1.acme._raw.{name}", encode_time_series(21.5, 1_700_000_000_000))
        for name in ("heat", "<b>cold</b>")
    ]
    agent.do(agent.shop.broker.publish(messages))
    page.click("#tab-topics")
    page.until(lambda: "21.5" in page.text("#topic-rows") and "<b>cold</b>" in page.text("#topic-rows"))
    page.js("const f = document.querySelector('#find-topic'); f.value = 'heat'; f.dispatchEvent(new Event('input'))")
    page.until(lambda: "cold" not in page.text("#topic-rows") and "heat" in page.text("#topic-rows"))
