"""Commands that ask a running agent: what they print, for people and for programs, and how they end."""

import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.api_shop import PressSeen
from tests.cli.cli_shop import Running, run_cli, running_shop

from setpoint.cli.connect import choose_path
from setpoint.cli.output import ago, clean, duration
from setpoint.cli.status import place_of, tree_names
from setpoint.cli.trouble import Trouble
from setpoint.namespace import Message, encode_time_series

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def agent() -> Iterator[Running]:
    with running_shop("press-1", "press-2") as running:
        yield running


@pytest.fixture
def healthy(agent: Running) -> Iterator[Running]:
    """The agent with everything as it is wanted, before and after."""

    async def mend() -> None:
        agent.shop.readings.clear()
        agent.shop.status = msgspec.structs.replace(agent.shop.status, ok=True, problems=[])
        for name in ("press-1", "press-2"):
            await agent.shop.until(f"agent/{name}", "pressing")

    agent.do(mend())
    yield agent
    agent.do(mend())


def break_press(agent: Running, reading: PressSeen) -> None:
    async def to_slack() -> None:
        agent.shop.readings["agent/press-1"] = reading
        agent.shop.supervisor.core.observe("agent/press-1")
        agent.shop.supervisor._kick()
        await agent.shop.until("agent/press-1", "slack")

    agent.do(to_slack())


def test_status_lists_every_worker_and_ends_with_0_when_all_is_well(healthy: Running, capsys: Capsys) -> None:
    """Paths, states and reasons of all workers, one whole line each in a pipe, without colour."""
    ran = run_cli(capsys, "status", "--url", healthy.url)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[1].split() == ["agent/press-1", "●", "pressing", *lines[1].split()[3:5], "under", "pressure"]
    assert len([line for line in lines if line.startswith("agent/")]) == 4
    assert "4 workers, all as wanted" in ran.out
    assert "\x1b" not in ran.out


def test_status_json_is_the_agreed_list(healthy: Running, capsys: Capsys) -> None:
    """Programs get a list of {path, type, state, phase, reason, since, desired}."""
    ran = run_cli(capsys, "status", "--json", "--url", healthy.url)
    workers = json.loads(ran.out)
    assert [worker["path"] for worker in workers][:2] == ["agent/press-1", "agent/press-1/sensor"]
    assert all(set(w) == {"path", "type", "state", "phase", "reason", "since", "desired"} for w in workers)


def test_status_ends_with_3_and_the_reason_when_something_is_not_as_wanted(healthy: Running, capsys: Capsys) -> None:
    """A degraded worker is visible to scripts by the exit code and to people by its reason."""
    break_press(healthy, PressSeen(1.0, "in the hydraulics"))
    ran = run_cli(capsys, "status", "--url", healthy.url)
    assert ran.code == 3
    assert "▲ slack" in ran.out
    assert "lost pressure in the hydraulics" in ran.out
    assert "1 not as wanted" in ran.out


def test_status_shows_the_error_of_the_config(healthy: Running, capsys: Capsys) -> None:
    """A config that is not applied is shown with its place, and is not success."""
    healthy.loop.call_soon_threadsafe(healthy.shop.break_config)
    while healthy.shop.status.ok:
        pass
    ran = run_cli(capsys, "status", "--url", healthy.url)
    assert ran.code == 3
    assert "config.yaml:12:3" in ran.out
    assert "not applied" in ran.out


def test_no_text_of_a_machine_reaches_the_terminal_raw(healthy: Running, capsys: Capsys) -> None:
    """Escape sequences and markup in a reason are shown, not obeyed."""
    break_press(healthy, PressSeen(1.0, "\x1b[2J[bold red]owned[/] \x07\n fake"))
    for command in (("status",), ("explain", "agent/press-1"), ("history", "agent/press-1")):
        ran = run_cli(capsys, *command, "--url", healthy.url)
        assert "\x1b" not in ran.out
        assert "\x07" not in ran.out
        assert "\\x1b[2J[bold red]owned[/]" in ran.out


def test_explain_says_what_holds_a_worker_and_why(healthy: Running, capsys: Capsys) -> None:
    """State, conditions, each way out with its guard ticked or crossed and the fact, and the last transitions."""
    break_press(healthy, PressSeen(2.5, "in line 3"))
    ran = run_cli(capsys, "explain", "press-1", "--url", healthy.url)
    assert ran.code == 0
    for text in (
        "▲ slack (degraded)",
        "lost pressure in line 3",
        "✗ recovered → pressing",
        "✗ has_pressure — the pressure is above 5 bar — 2.5 bar",
        "ready        no",
        "pressing → slack  pressure_lost",
        "pressure=2.5",
    ):
        assert text in ran.out, ran.out


def test_text_that_is_no_unicode_can_be_printed(healthy: Running, capsys: Capsys) -> None:
    """A reason made of broken bytes does not break the output, neither for people nor for programs."""
    break_press(healthy, PressSeen(1.0, "\udcff"))
    assert run_cli(capsys, "status", "--url", healthy.url).code == 3
    assert (
        json.loads(run_cli(capsys, "status", "--json", "--url", healthy.url).out)[0]["reason"] == "lost pressure \udcff"
    )


def test_explain_json_has_everything(healthy: Running, capsys: Capsys) -> None:
    """Programs get the worker, its ways and its history."""
    ran = run_cli(capsys, "explain", "press-1", "--json", "--url", healthy.url)
    assert {"worker", "ways", "holding", "history"} <= set(json.loads(ran.out))


def test_history_is_oldest_first(healthy: Running, capsys: Capsys) -> None:
    """The transitions in order, as text and as JSON, as many as asked for."""
    ran = run_cli(capsys, "history", "press-2", "--limit", "2", "--url", healthy.url)
    assert [line.split()[1] for line in ran.out.splitlines()] == ["stopped", "waiting"]
    moves = json.loads(run_cli(capsys, "history", "press-2", "--json", "--url", healthy.url).out)
    assert [move["event"] for move in moves][-2:] == ["start", "pressure_reached"]


def test_the_history_of_a_removed_worker_can_be_asked_for(healthy: Running, capsys: Capsys) -> None:
    """A whole path is enough; the end of one is not, because nothing ends in it any more."""

    async def want(*names: str) -> None:
        healthy.shop.want(*names)
        assert await healthy.shop.supervisor.until(lambda s: len(s.workers()) == 2 * len(names), 10)

    healthy.do(want("press-1", "press-2", "press-3"))
    healthy.do(want("press-1", "press-2"))
    ran = run_cli(capsys, "history", "agent/press-3", "--url", healthy.url)
    assert ran.code == 0
    assert "removing → removed" in ran.out
    assert run_cli(capsys, "history", "press-3", "--url", healthy.url).code == 1
    assert run_cli(capsys, "history", "agent/press-4", "--url", healthy.url).code == 1


def test_topics_show_the_last_values(healthy: Running, capsys: Capsys) -> None:
    """Names, values and counts; the pattern chooses."""
    message = Message("umh.v1.acme._raw.temperature", encode_time_series(21.5, 1_700_000_000_000))
    healthy.do(healthy.shop.broker.publish([message]))
    ran = run_cli(capsys, "topics", "temp", "--url", healthy.url)
    assert "umh.v1.acme._raw.temperature" in ran.out
    assert "21.5" in ran.out
    assert run_cli(capsys, "topics", "nothing", "--url", healthy.url).out == ""
    assert json.loads(run_cli(capsys, "topics", "--json", "--url", healthy.url).out)[0]["value"] == 21.5


def test_no_agent_is_one_sentence_with_the_remedy(capsys: Capsys) -> None:
    """Nothing listens there: exit code 1, no traceback, and what to do."""
    ran = run_cli(capsys, "status", "--url", "http://127.0.0.1:1")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err == (
        "setpoint: no agent answers at http://127.0.0.1:1\n"
        "  → start one with 'setpoint up CONFIG', or say where it is with --url\n"
    )


@pytest.mark.parametrize("url", ["http://", "ftp://x", "http://127.0.0.1:99999", "http://[::1", "::::"])
def test_an_address_that_is_none_is_wrong_usage(capsys: Capsys, url: str) -> None:
    """A bad --url is named, with an example."""
    ran = run_cli(capsys, "status", "--url", url)
    assert ran.code == 2
    assert "like http://127.0.0.1:8080" in ran.err


def test_a_worker_that_is_not_there_names_the_nearest(healthy: Running, capsys: Capsys) -> None:
    """A wrong path is an error with a suggestion; an ambiguous one lists what it can mean."""
    ran = run_cli(capsys, "explain", "pres-1", "--url", healthy.url)
    assert ran.code == 1
    assert "did you mean agent/press-1?" in ran.err
    ran = run_cli(capsys, "explain", "sensor", "--url", healthy.url)
    assert ran.code == 1
    assert "2 workers" in ran.err


def test_wrong_usage_is_2(capsys: Capsys) -> None:
    """An unknown command, a missing argument and a bad number are usage errors."""
    for arguments in (("stauts",), ("explain",), ("history", "x", "--limit", "0"), ("up",)):
        assert run_cli(capsys, *arguments).code == 2


KNOWN = [
    "agent/bridges/press-1",
    "agent/bridges/press-1/connection",
    "agent/bridges/press-2/connection",
    "agent/broker",
]


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("agent/broker", KNOWN[3]),
        ("broker", KNOWN[3]),
        ("press-1", KNOWN[0]),
        ("press-1/connection", KNOWN[1]),
        ("/press-2/connection/", KNOWN[2]),
        ("brok", KNOWN[3]),
    ],
)
def test_a_path_may_be_shortened_to_its_end(wanted: str, path: str) -> None:
    """Whatever means exactly one worker is enough."""
    assert choose_path(wanted, KNOWN) == path


@given(st.lists(st.text("ab/", min_size=1, max_size=8), unique=True), st.text("ab/", max_size=6))
def test_a_shortened_path_never_means_something_else(known: list[str], wanted: str) -> None:
    """What is chosen is always known and contains what was asked for."""
    try:
        chosen = choose_path(wanted, known)
    except Trouble:
        return
    assert chosen in known
    assert wanted.strip("/") in chosen


def test_a_tree_names_each_worker_below_its_parent() -> None:
    """Children are indented and named by what their parent's path does not say."""
    assert tree_names(KNOWN) == ["bridges/press-1", "  connection", "bridges/press-2/connection", "broker"]


def test_names_with_numbers_are_listed_as_people_count() -> None:
    """press-2 comes before press-10, and children come right after their parent, whatever its siblings are called."""
    paths = ["a/press-10", "a/press-1", "a/press-1-b", "a/press-1/read", "a/press-2", "a/7", "a/x"]
    assert sorted(paths, key=place_of) == [
        "a/7",
        "a/press-1",
        "a/press-1/read",
        "a/press-1-b",
        "a/press-2",
        "a/press-10",
        "a/x",
    ]


@given(st.lists(st.text("a1/-", min_size=1, max_size=8), min_size=1))
def test_any_paths_can_be_listed(paths: list[str]) -> None:
    """The order is total, and a worker never comes before its parent."""
    ordered = sorted(set(paths), key=place_of)
    for path in ordered:
        parent = path.rpartition("/")[0]
        assert parent not in ordered or ordered.index(parent) < ordered.index(path)


@given(st.floats(0, 1e9))
def test_a_duration_has_one_unit_and_is_rounded_down(seconds: float) -> None:
    """The number shown, in its unit, is never more than what has passed, and never a whole unit less."""
    number, unit = duration(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert int(number) * size <= seconds < (int(number) + 1) * size


@given(st.text())
def test_clean_text_is_printable(text: str) -> None:
    """Whatever comes in, nothing that moves a cursor comes out."""
    assert clean(text).isprintable()


def test_a_moment_that_is_none_has_no_age() -> None:
    """Rubbish instead of a time is nothing rather than an error."""
    assert ago("soon") == ""
    assert ago("") == ""


def test_a_worker_can_be_paused_and_resumed_with_who_and_why(healthy: Running, capsys: Capsys) -> None:
    """The verb is obeyed at once; the history has the reason and the user."""
    ran = run_cli(capsys, "pause", "press-2", "--reason", "cleaning", "--url", healthy.url)
    assert (ran.code, ran.out) == (0, "agent/press-2: pause\n")
    assert "paused by the operator" in run_cli(capsys, "explain", "press-2", "--url", healthy.url).out
    run_cli(capsys, "resume", "press-2", "--url", healthy.url)
    history = json.loads(run_cli(capsys, "history", "press-2", "--json", "--url", healthy.url).out)
    told = [move["reason"] for move in history if move["event"].startswith("operator_")]
    assert told[0].startswith("cleaning (")
    assert told[1].startswith("by ")


def test_a_forced_state_needs_a_reason_and_an_existing_state(healthy: Running, capsys: Capsys) -> None:
    """Without a reason it is wrong usage; a state that is not there is refused with the nearest name."""
    assert run_cli(capsys, "force", "press-2", "slack", "--url", healthy.url).code == 2
    refused = run_cli(capsys, "force", "press-2", "slak", "--reason", "x", "--url", healthy.url)
    assert refused.code == 1
    assert "did you mean 'slack'" in refused.err
