"""``setpoint check --against``: which stored workers go on with the machines of today, and which would lose their state."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from tests.cli.cli_shop import run_cli

from setpoint.cli.connect import RunningAgent, note_running
from setpoint.cli.subjects import named
from setpoint.control import ChildSpec, Monitor, Registry, Supervisor, monitor
from setpoint.control.registry import ENTRY_POINTS
from setpoint.control.standing import Identity, Standing
from setpoint.machine import content_hash, to_dict
from setpoint.store import SqliteStore
from setpoint.testing import run, wall
from setpoint.workers.connection import Connection

Capsys = pytest.CaptureFixture[str]

PUMP = """\
from pydantic import BaseModel
from setpoint.control import Observation, Worker, wanted
from setpoint.machine import Migration, Phase, State

class Wish(BaseModel):
    desired_state: str = "running"

class Pump(Worker[Wish, Wish, Observation]):
    "Keeps a pump running."
    machine_version = "{version}"
    migrations = [{migrations}]
    off = State(Phase.STOPPED)
    {on} = State(Phase.HEALTHY)
    arcs = [off.to({on}, on="start", when=wanted, after={after}), {on}.to(off, on="stop", when=~wanted)]

    async def collect_observed_state(self, desired: Wish) -> Observation:
        return Observation()
"""


def pump(folder: Path, *, version: str = "1", on: str = "on", migrations: str = "", after: str = "0.5") -> str:
    """A file with one worker class, in some version of it."""
    file = folder / f"pump_{version}_{on}_{len(migrations)}_{after.replace('.', '_')}.py"
    file.write_text(PUMP.format(version=version, on=on, migrations=migrations, after=after))
    return str(file)


def worker_of(file: str) -> Any:
    named(file, {})
    return sys.modules[f"_setpoint_{Path(file).stem}"].Pump


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory after three pumps ran: two are on, one is wanted off."""
    monkeypatch.setattr("sys.path", list(sys.path))
    folder = tmp_path / "data"
    first = worker_of(pump(tmp_path))

    async def main() -> None:
        store = SqliteStore(folder / "store.sqlite")
        registry = Registry()
        registry.add("pump", first)
        supervisor = Supervisor(registry, wall=wall, store=store)
        wishes = {"a": "running", "b": "running", "c": "stopped"}
        supervisor.want([ChildSpec(name, "pump", {"desired_state": wish}) for name, wish in wishes.items()])
        await asyncio.sleep(5)
        store.close()

    run(main())
    return folder


def test_unchanged_workers_all_go_on(capsys: Capsys, data: Path, tmp_path: Path) -> None:
    """The same class: a row a kind, nothing has changed, exit code 0. A file beside the store and the directory are the same question."""
    for store in (data, data / "store.sqlite"):
        ran = run_cli(capsys, "check", pump(tmp_path), "--against", str(store))
        assert ran.code == 0, ran.out + ran.err
        lines = [line.split() for line in ran.out.splitlines()]
        assert ["goes", "on", "agent/a", "and", "1", "more", "on", "in", "pump", "1", "on", "same"] in lines
        assert ["goes", "on", "agent/c", "off", "in", "pump", "1", "off", "same"] in lines
        assert ran.out.splitlines()[-1].endswith("store.sqlite: 3 stored workers: 3 go on")


def test_a_changed_definition_goes_on_and_says_how_much_it_breaks(capsys: Capsys, data: Path, tmp_path: Path) -> None:
    """The same version with another wait: the state stays, the level and each change are told once."""
    ran = run_cli(capsys, "check", pump(tmp_path, after="2"), "--against", str(data))
    assert ran.code == 0
    assert ran.out.count("minor change") == 2
    assert ran.out.count("\npump 1\n  minor: arc off -start-> on: after was 0.5 s, is 2 s\n") == 1


def test_a_migration_that_covers_every_stored_state_is_shown(capsys: Capsys, data: Path, tmp_path: Path) -> None:
    """The way and where it leads."""
    file = pump(tmp_path, version="2", on="running", migrations='Migration("1", "2", {"on": "running", "off": "off"})')
    ran = run_cli(capsys, "check", file, "--against", str(data))
    assert ran.code == 0, ran.out
    assert "migrated 1→2 to 'running'" in ran.out
    assert "pump 1 → 2\n  major: state on is gone: instances in it need a migration\n" in ran.out
    assert ran.out.endswith("3 stored workers: 3 migrated\n")


def test_what_is_not_covered_is_refused_by_name_and_fails(capsys: Capsys, data: Path, tmp_path: Path) -> None:
    """No migration at all, one that leaves a state out, and a state that is gone without a new version: exit code 1."""
    for more, why, refused in (
        ({"version": "2"}, "no migration to version 2 is declared; declared: none", 3),
        (
            {"version": "2", "migrations": 'Migration("1", "2", {"off": "off"})'},
            "migration 1→2 does not say what becomes of state 'on'",
            2,
        ),
        ({"on": "running"}, "it is gone from version 1; its states are off, running", 2),
    ):
        ran = run_cli(capsys, "check", pump(tmp_path, **more), "--against", str(data))
        assert ran.code == 1
        assert why in ran.out
        assert f"{refused} refused" in ran.out.splitlines()[-1]
        table = [line.split("  ")[0] for line in ran.out.splitlines() if "in pump 1" in line]
        assert table[0] == "refused"  # the gravest come first


def test_json_has_every_worker_and_every_change(capsys: Capsys, data: Path, tmp_path: Path) -> None:
    """For programs: the faults of the file, counts, a row a worker, and each changed definition once."""
    file = pump(tmp_path, version="2", migrations='Migration("1", "2", {"off": "off"})')
    ran = run_cli(capsys, "check", file, "--against", str(data), "--json")
    answer = json.loads(ran.out)
    assert ran.code == 1
    assert [fault for fault in answer["faults"] if fault["severity"] == "error"] == []
    assert answer["counts"] == {"refused": 2, "unknown": 0, "begins anew": 0, "migrated": 1, "goes on": 0}
    assert [(row["path"], row["state"], row["verdict"], row["to"]) for row in answer["workers"]] == [
        ("agent/a", "on", "refused", ""),
        ("agent/b", "on", "refused", ""),
        ("agent/c", "off", "migrated", "off"),
    ]
    assert answer["alive_at"] is not None


def test_a_machine_file_is_asked_about_workers_with_that_machine(capsys: Capsys, data: Path, tmp_path: Path) -> None:
    """Guards need not be there to be asked where a state leads; other machines are not asked about."""
    store = SqliteStore(data / "store.sqlite")
    hash = content_hash(Connection.machine)
    put(store, "agent/x/connection", "connection", Standing("connection", "1", hash, "up"))
    store.close()
    plain = dict(to_dict(Connection.machine))
    del plain["hash"]
    for states, code in ((plain["states"], 0), ([s for s in plain["states"] if s["name"] != "up"], 1)):
        kept = {state["name"] for state in states}
        arcs = [arc for arc in plain["arcs"] if {arc["source"], arc["target"]} <= kept]
        (tmp_path / "connection.json").write_text(json.dumps({**plain, "states": states, "arcs": arcs}))
        ran = run_cli(capsys, "check", str(tmp_path / "connection.json"), "--against", str(data), "--json")
        answer = json.loads(ran.out)
        assert ran.code == code, ran.out
        assert [row["path"] for row in answer["workers"]] == ["agent/x/connection"]
    assert answer["workers"][0]["why"].startswith("it is gone from version 1")
    assert answer["workers"][0]["level"] == "unknown"  # nobody kept the definition


def put(store: SqliteStore, path: str, kind: str, standing: Standing | None) -> None:
    """A worker as the runtime stores it."""
    store.put(path, "identity", Identity(type=kind, name=path.rpartition("/")[2], parent=""), at=1.0)
    if standing is not None:
        store.put(path, "state", standing, at=1.0)


def test_without_a_file_the_installed_worker_types_answer(capsys: Capsys, tmp_path: Path) -> None:
    """Every fate there is; a type that nobody has, and data that nobody can read, are failures like a refusal."""
    store = SqliteStore(tmp_path / "store.sqlite")
    hash = content_hash(Connection.machine)
    put(store, "agent/good", "connection", Standing("connection", "1", hash, "up"))
    put(store, "agent/new", "connection", None)
    put(store, "agent/done", "connection", Standing("connection", "1", hash, "removed", finished=True))
    put(store, "agent/watch", "keeping", Standing("monitor", "1", "0" * 16, "healthy"))
    put(store, "agent/who", "conection", Standing("conection", "1", hash, "up"))
    put(store, "agent/old", "connection", Standing("connection", "0", hash, "up"))
    put(store, "agent/else", "connection", Standing("link", "1", hash, "up"))
    store.put("agent/torn", "identity", {"type": 3}, at=1.0)
    store.close()
    answer = json.loads(run_cli(capsys, "check", "--against", str(tmp_path), "--json").out)
    assert {row["path"]: (row["verdict"], row["why"]) for row in answer["workers"]} == {
        "agent/good": ("goes on", ""),
        "agent/new": ("begins anew", "it had not come to life"),
        "agent/done": ("goes on", "it has finished and is not started again"),
        "agent/watch": (
            "goes on",
            "monitor version 1 has changed since the state was stored: its hash was 0000000000000000, is "
            + content_hash(Monitor.machine),
        ),
        "agent/who": ("unknown", "there is no worker type 'conection'; did you mean 'connection'?"),
        "agent/old": ("refused", "no migration to version 1 is declared; declared: none"),
        "agent/else": ("refused", "the machine here is connection"),
        "agent/torn": ("refused", "what is stored of it cannot be read: Expected `str`, got `int` - at `$.type`"),
    }
    ran = run_cli(capsys, "check", "--against", str(tmp_path))
    assert ran.code == 1
    assert ran.out.splitlines()[-1].endswith("8 stored workers: 3 refused, 1 unknown, 1 begins anew, 3 go on")
    verdicts = [line.split("  ")[0] for line in ran.out.splitlines()[1:9]]
    assert verdicts == ["refused"] * 3 + ["unknown", "begins anew"] + ["goes on"] * 3


@monitor(interval=5)
async def there_is_room(spec: object) -> bool:
    "there is room"
    return True


def undeclared():  # type: ignore[no-untyped-def]
    """Makes a worker of a class that only a call would tell."""
    return Connection(None)  # type: ignore[arg-type]


def test_worker_types_of_installed_packages_answer_too(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class or a monitor is known by itself; what cannot be imported, or does not say what it makes, is said and fails."""
    here = __name__
    points = [
        EntryPoint("link", f"{here}:Connection", ENTRY_POINTS),
        EntryPoint("room", f"{here}:there_is_room", ENTRY_POINTS),
        EntryPoint("undeclared", f"{here}:undeclared", ENTRY_POINTS),
        EntryPoint("broken", "nothing_there:Worker", ENTRY_POINTS),
    ]
    monkeypatch.setattr("setpoint.control.registry.entry_points", lambda group: points)
    store = SqliteStore(tmp_path / "store.sqlite")
    put(store, "agent/link", "link", Standing("connection", "1", content_hash(Connection.machine), "up"))
    put(store, "agent/room", "room", Standing("monitor", "1", content_hash(Monitor.machine), "degraded"))
    put(store, "agent/undeclared", "undeclared", Standing("connection", "1", "0", "up"))
    put(store, "agent/broken", "broken", Standing("connection", "1", "0", "up"))
    store.close()
    ran = run_cli(capsys, "check", "--against", str(tmp_path), "--json")
    rows = {row["path"]: (row["verdict"], row["why"]) for row in json.loads(ran.out)["workers"]}
    assert ran.code == 1
    assert rows == {
        "agent/link": ("goes on", ""),
        "agent/room": ("goes on", ""),
        "agent/undeclared": (
            "unknown",
            "worker type 'undeclared' is a function that does not declare which worker class it returns",
        ),
        "agent/broken": (
            "unknown",
            "worker type 'broken' cannot be imported: ModuleNotFoundError: No module named 'nothing_there'",
        ),
    }


def test_a_config_is_checked_and_the_store_beside_it_asked(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in one command; with --data the running agent's note says where the store is."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = tmp_path / "config.yaml"
    config.write_text("agent: {location: {0: acme}}\n")
    store = SqliteStore(tmp_path / ".setpoint" / "store.sqlite")
    put(store, "agent/broker", "broker", None)
    store.close()
    for against in (str(config), str(tmp_path)):
        ran = run_cli(capsys, "check", str(config), "--against", against)
        assert ran.code == 0, ran.err
        assert "config, 0 errors" in ran.out
        assert "1 stored worker: 1 begins anew" in ran.out
    ran = run_cli(capsys, "check", "--against", "running")
    assert ran.code == 2
    assert "no agent of yours is running" in ran.err
    (tmp_path / ".setpoint").rename(tmp_path / "elsewhere")
    note_running(RunningAgent("http://x", os.getpid(), str(config), str(tmp_path / "elsewhere")), os.environ)
    for against in (str(config), "running"):
        ran = run_cli(capsys, "check", "--against", against)
        assert (ran.code, ran.err) == (0, "")
        assert "elsewhere/store.sqlite: 1 stored worker: 1 begins anew" in ran.out


def test_the_store_of_an_agent_that_runs_can_be_asked(capsys: Capsys, tmp_path: Path) -> None:
    """It is only read: what the agent writes meanwhile is not in its way."""
    store = SqliteStore(tmp_path / "store.sqlite")
    put(store, "agent/a", "connection", None)
    assert store.flush()
    assert run_cli(capsys, "check", "--against", str(tmp_path)).code == 0
    put(store, "agent/b", "connection", None)
    assert store.flush()
    assert "2 stored workers" in run_cli(capsys, "check", "--against", str(tmp_path)).out
    assert store.trouble() == ""
    store.close()


def test_an_enemys_store_is_harmless(capsys: Capsys, tmp_path: Path) -> None:
    """Escape sequences and markup in it reach no terminal."""
    store = SqliteStore(tmp_path / "store.sqlite")
    put(store, "agent/\x1b[2J[bold]", "connection", Standing("connection", "\x1b]0;x\x07", "h", "[red]\x1b[5m"))
    store.close()
    ran = run_cli(capsys, "check", "--against", str(tmp_path))
    assert ran.code == 1
    assert "\x1b" not in ran.out + ran.err
    assert "[bold]" in ran.out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "there is nothing to check"),
        (["--against", "nothing"], "there is no store at nothing"),
        (["--against", "."], "there is no store at .setpoint/store.sqlite"),
        (["--against", "text"], "is no store, or damaged"),
        (["system.yaml", "--against", "."], "a system of machines says nothing of stored workers"),
        (["broken.py", "--against", "."], "ZeroDivisionError"),
        (["nowhere:Class", "--against", "."], "nowhere:Class cannot be imported"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_asked_is_a_matter_of_usage(
    capsys: Capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], why: str
) -> None:
    """Exit code 2, so that 1 always means that something would break."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "text").write_text("no database" * 100)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "system.yaml").write_text("machines: {}\ninstances: {}\n")
    ran = run_cli(capsys, "check", *arguments)
    assert ran.code == 2, ran.out
    assert why in ran.err


def test_a_file_that_is_no_machine_is_no_answer(capsys: Capsys, data: Path, tmp_path: Path) -> None:
    """Its faults are listed, and that the store was not asked; exit code 1."""
    (tmp_path / "m.yaml").write_text(
        "{name: pump, states: {off: stopped}, arcs: [{event: go, from: off, to: nowhere}]}"
    )
    ran = run_cli(capsys, "check", str(tmp_path / "m.yaml"), "--against", str(data))
    assert ran.code == 1
    assert "the store was not asked" in ran.out
    assert "nowhere" in ran.out
    assert "counts" not in json.loads(
        run_cli(capsys, "check", str(tmp_path / "m.yaml"), "--against", str(data), "--json").out
    )


def test_a_python_file_is_checked_without_a_store_too(capsys: Capsys, tmp_path: Path) -> None:
    """The machines of its worker classes, with what is wrong with them."""
    ran = run_cli(capsys, "check", pump(tmp_path, after="None"))
    assert ran.code == 0
    assert "workers, 0 errors" in ran.out
