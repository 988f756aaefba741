"""The `historian` section: which database, which contracts, for how long; and that a rehearsal touches none."""

from __future__ import annotations

import asyncio
import gzip
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from setpoint.agent import Agent
from setpoint.agent.config import Configuration, read_config
from setpoint.agent.environment import windows_of
from setpoint.agent.rehearsal.plant import ModelEngine, Plant, RehearsedHistorian
from setpoint.agent.rehearsal.scene import registry_over
from setpoint.agent.tree import tree_of
from setpoint.namespace import Message, encode_time_series
from setpoint.workers.historian import HistorianSpec, Sqlite, Timescale

AGENT = "agent: {location: {0: acme}}\n"


def sound(historian: str) -> Configuration:
    found = read_config(f"{AGENT}historian: {historian}\n")
    assert not found.problems, [str(problem) for problem in found.problems]
    return found


def wrong(historian: str) -> list[str]:
    found = read_config(f"{AGENT}historian: {historian}\n")
    assert found.historian is None
    return [str(problem) for problem in found.errors]


def test_without_the_section_there_is_no_historian() -> None:
    """Nothing is written anywhere unless it is asked for."""
    found = read_config(AGENT)
    assert found.historian is None
    assert "historian" not in {child.name for child in tree_of(found, windows_of({}))}


def test_timescale_has_the_documented_defaults() -> None:
    """Those of UMH Core; what is written is what the legacy contract has."""
    assert sound("{timescale: {host: db, password: p}}").historian == HistorianSpec(
        timescale=Timescale(
            host="db", port=5432, database="umh", username="umh_owner", password="p", sslmode="require"
        ),
        contracts=("_historian",),
        retention_s=0,
    )


def test_sqlite_contracts_retention_and_state() -> None:
    """Keys of our own."""
    text = "{sqlite: {path: h.db}, contracts: [_historian, '_pump_*', '*'], retention: 90d, desiredState: stopped}"
    found = sound(text)
    assert found.historian == HistorianSpec(
        sqlite=Sqlite(path="h.db"),
        contracts=("_historian", "_pump_*", "*"),
        retention_s=90 * 86_400,
        desired_state="stopped",
    )
    [child] = [child for child in tree_of(found, windows_of({})) if child.name == "historian"]
    assert (child.worker_type, child.spec, child.needs) == ("historian", found.historian, ("agent/broker",))


def test_no_contracts_means_none() -> None:
    """An empty list only watches the database."""
    found = sound("{sqlite: {path: h.db}, contracts: []}").historian
    assert found is not None
    assert found.contracts == ()


@pytest.mark.parametrize(
    ("historian", "words"),
    [
        ("{timescale: {password: p}}", "host: is missing"),
        ("{timescale: {host: db}}", "password: is missing"),
        ("{timescale: {host: db, password: p, sslrootcert: /ca.pem}}", "only work with verify-full"),
        ("{timescale: {host: db, password: p}, sqlite: {path: h.db}}", "one database"),
        ("{contracts: [_a]}", "timescale: is missing"),
        ("{sqlite: {}}", "path: is missing"),
        ("{sqlite: {path: ':memory:'}}", "in memory"),
        ("{sqlite: {path: h.db}, contracts: [pump]}", "'pump' is no contract"),
        ("{sqlite: {path: h.db}, retention: 90}", "write '90d'"),
        ("{sqlite: {path: h.db}, retention: 999999999w}", "write '90d'"),
        ("{sqlite: {path: h.db}, contract: [_a]}", "did you mean 'contracts'?"),
    ],
)
def test_mistakes_are_found_in_the_file(historian: str, words: str) -> None:
    """Each with what to write instead."""
    found = wrong(historian)
    assert any(words in problem for problem in found), found


def test_a_rehearsal_touches_no_database(tmp_path: Path) -> None:
    """`plan` and `simulate` have a model in its place."""
    plant = Plant()
    made = registry_over(plant, ModelEngine(plant), {}).create("historian")
    assert isinstance(made, RehearsedHistorian)

    async def scenario() -> None:
        spec = HistorianSpec(sqlite=Sqlite(path=str(tmp_path / "h.db")))
        await made.begin(spec)
        assert (await made.collect_observed_state(spec)).running
        await made.end(spec)
        assert not (await made.collect_observed_state(spec)).running

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_an_agent_writes_history(tmp_path: Path) -> None:
    """From the file to the rows; an edit that takes the section away ends it."""
    file = tmp_path / "config.yaml"
    file.write_text(f"{AGENT}historian: {{sqlite: {{path: {tmp_path}/h.db}}, contracts: ['*']}}\n")

    async def scenario() -> None:
        agent = Agent(file, data=tmp_path / "data", env={}, processes="builtin")
        await agent.start()
        try:
            there = await agent.supervisor.until(lambda s: s.core.fact("agent/historian").state == "idle", 20)
            assert there, agent.supervisor.worker("agent/historian")
            await agent.broker.publish([Message("umh.v1.acme._raw.x", encode_time_series(1.5, 1_700_000_000_000))])
            assert await agent.supervisor.until(lambda s: s.core.fact("agent/historian").state == "active", 20)
            file.write_text(AGENT)
            await agent.reload()
            gone = await agent.supervisor.until(lambda s: "agent/historian" not in s.records, 20)
            assert gone
        finally:
            assert await agent.stop() == []

    asyncio.run(asyncio.wait_for(scenario(), 60))
    with closing(sqlite3.connect(tmp_path / "h.db")) as found:
        assert found.execute("SELECT topic, number FROM readings").fetchall() == [("umh.v1.acme._raw.x", 1.5)]


def test_the_examples_of_the_page_are_sections() -> None:
    """Each of docs/historian.md, and the example that can be run."""
    page = (Path(__file__).parents[2] / "docs" / "historian.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    example = (Path(__file__).parents[2] / "examples" / "historian" / "config.yaml").read_text(encoding="utf-8")
    for text in (*(AGENT + block for block in blocks), example):
        found = read_config(text, env={"HISTORIAN_PASSWORD": "p"})
        assert not found.problems, [str(problem) for problem in found.problems]
        assert found.historian is not None


def test_the_password_is_kept_nowhere(tmp_path: Path) -> None:
    """Of all that an agent writes only the config itself has it."""
    file = tmp_path / "config.yaml"
    login = "{host: 127.0.0.1, port: 1, username: u, password: s3cret-Passw0rd, sslmode: disable}"
    file.write_text(f"{AGENT}historian: {{timescale: {login}}}\n")

    async def scenario() -> None:
        agent = Agent(file, data=tmp_path / "data", env={}, processes="builtin")
        await agent.start()
        state = "degraded_database"
        assert await agent.supervisor.until(lambda s: s.core.fact("agent/historian").state == state, 20)
        assert "s3cret" not in str(agent.supervisor.worker("agent/historian"))
        assert await agent.stop() == []

    asyncio.run(asyncio.wait_for(scenario(), 60))
    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.name != "last-good.yaml"]
    assert len(written) > 2
    for path in written:
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        assert b"s3cret-Passw0rd" not in content, path
