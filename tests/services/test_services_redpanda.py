"""Redpanda's admin side: metrics, checks, settings, schemas, and the config file of a managed one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.services.redpanda_server import METRICS, Redpanda, redpanda

from setpoint.services.redpanda import (
    Admin,
    AdminError,
    ClusterSettings,
    Managed,
    Metrics,
    NotMetrics,
    Rates,
    Readings,
    Schemas,
    TopicDefaults,
    checks,
    parse,
    rates,
)
from setpoint.services.redpanda.health import complaint, failing


@pytest.fixture
def server() -> Iterator[Redpanda]:
    with redpanda() as one:
        yield one


def ask(server: Redpanda, scenario: Callable[[Admin], Awaitable[None]], *, timeout: float = 2.0) -> None:
    async def within() -> None:
        async with Admin(server.url, timeout=timeout) as admin:
            await scenario(admin)

    asyncio.run(within())


# Metrics


def test_metrics_are_read_as_redpanda_writes_them() -> None:
    """Gauges without labels, bytes by kind of request summed over topics, busy seconds by shard."""
    found = parse(METRICS)
    assert (found.disk_free_bytes, found.disk_total_bytes, found.alert) == (333374935040, 460206137344, 0)
    assert (found.topics, found.unavailable_partitions) == (3, 0)
    assert (found.produced_bytes, found.consumed_bytes) == (1500, 70)
    assert found.busy_seconds == {"0": 10.5, "1": 20.0}
    assert found.partitions == {"umh.messages": 1}
    assert found.missing == ()


def test_what_is_missing_is_named() -> None:
    """A version without a name says less, and says so; one without topics counts no traffic."""
    text = "".join(line for line in METRICS.splitlines(True) if "alert" not in line and "request" not in line)
    found = parse(text)
    assert found.alert is None
    assert found.produced_bytes == 0
    assert found.missing == ("redpanda_storage_disk_free_space_alert",)
    assert "redpanda_storage_disk_free_space_alert" in failing(Readings(metrics=found))


@pytest.mark.parametrize(
    "text", ["", "<html><body>404</body></html>", "# only a comment\n", '{"status": "ready"}', "a b c\n"]
)
def test_what_is_not_metrics_is_said(text: str) -> None:
    """A page of another server is no reading without values."""
    with pytest.raises(NotMetrics):
        parse(text)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Lines that are no samples are passed over, whatever they are."""
    assert parse(METRICS + "\n" + text.replace("redpanda", "x")).topics == 3


def test_labels_may_contain_what_separates_them() -> None:
    """A brace, a comma, an escaped quote in a topic's name hide no value."""
    line = 'redpanda_kafka_request_bytes_total{redpanda_topic="a,b}\\"c",redpanda_request="produce"} 5 1700000000000\n'
    assert parse(line).produced_bytes == 5


# Facts


def test_rates_are_differences_and_survive_a_restart() -> None:
    """Bytes a second and the busiest shard between two readings; counters that fell began anew."""
    before = Metrics(produced_bytes=100, consumed_bytes=1000, busy_seconds={"0": 5.0, "1": 5.0})
    after = Metrics(produced_bytes=300, consumed_bytes=40, busy_seconds={"0": 5.5, "1": 6.9})
    assert rates(before, after, 2.0) == Rates(100.0, 20.0, 95.0)
    assert rates(None, after, 2.0) == Rates()
    assert rates(before, after, 0.0) == Rates()
    assert not Rates().active
    assert Rates(0.0, 1.0).active


GOOD = parse(METRICS)


@pytest.mark.parametrize(
    ("readings", "name", "because"),
    [
        (Readings(not_ready="it says it is booting"), "not-ready", "booting"),
        (Readings(metrics_fault="did not answer within 2 s"), "metrics-unreadable", "2 s"),
        (Readings(metrics=Metrics(alert=1)), "disk-space-low", "alert is low"),
        (Readings(metrics=Metrics(alert=2)), "disk-space-low", "alert is degraded"),
        (Readings(metrics=Metrics(disk_free_bytes=4, disk_total_bytes=100)), "disk-space-low", "free"),
        (Readings(rates=Rates(busiest_percent=95.0)), "cpu-saturated", "95 %"),
        (Readings(metrics=Metrics(unavailable_partitions=2)), "unavailable-partitions", "2 without a quorum"),
        (Readings(registry_fault="refused"), "schema-registry", "refused"),
        (Readings(configuration_fault="x is 1, not 2"), "configuration", "x is 1"),
    ],
)
def test_each_check_fails_for_its_own_reason(readings: Readings, name: str, because: str) -> None:
    """One reading, one check that fails, with the reason; the others pass."""
    failed = [check for check in checks(readings) if not check.ok]
    assert [check.name for check in failed] == [name]
    assert because in failed[0].because


def test_a_good_reading_passes_all_checks() -> None:
    """Nothing is wrong, and nothing is said to be."""
    assert failing(Readings(metrics=GOOD, rates=Rates(5.0, 5.0, 94.9))) == ""
    full = Metrics(disk_free_bytes=5, disk_total_bytes=100, alert=0)
    assert failing(Readings(metrics=full)) == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ERROR 2024 redpanda::main - Address already in use", "a port is taken"),
        ("WARN seastar - Reactor stalled for 501 ms on shard 0.", "501 ms"),
        ("WARN seastar - Reactor stalled for 500 ms on shard 0.", ""),
        ("INFO redpanda::main - Successfully started Redpanda!", ""),
    ],
)
def test_lines_of_the_log_are_told_apart(line: str, said: str) -> None:
    """A port that is taken and a stall above the limit count; one at the limit does not."""
    assert (said in complaint(line)) if said else complaint(line) == ""


# The admin API


def test_readiness_has_a_reason(server: Redpanda) -> None:
    """Ready is ready; booting, another server and nobody at all are each a reason."""

    async def scenario(admin: Admin) -> None:
        assert await admin.not_ready() == ""
        server.status = "booting"
        assert await admin.not_ready() == "it says it is booting"
        async with Admin(server.url + "/elsewhere") as other:
            assert "404" in await other.not_ready()
        async with Admin("http://127.0.0.1:1") as nobody:
            assert "127.0.0.1:1" in await nobody.not_ready()

    ask(server, scenario)


def test_a_server_that_hangs_is_given_up(server: Redpanda) -> None:
    """One that takes the connection and says nothing, and one that answers too late, cost the time that was set and no more."""

    async def scenario(admin: Admin) -> None:
        server.delay = 1.0
        assert "did not answer within 0.1 s" in await admin.not_ready()
        with pytest.raises(AdminError, match=r"within 0\.1 s"):
            await admin.metrics()

    ask(server, scenario, timeout=0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ask(server, scenario, timeout=0.1)


# The cluster's settings


def test_only_our_keys_are_written_and_only_where_they_differ(server: Redpanda) -> None:
    """What is as wanted is not written; what is an operator's is not touched; a second look writes nothing."""

    async def scenario(admin: Admin) -> None:
        settings = ClusterSettings(admin)
        wanted = TopicDefaults(retention_ms=1000, segment_ms=5).settings()
        report = await settings.keep(wanted)
        assert server.puts == [
            {"upsert": {key: value for key, value in wanted.items() if key != "retention_bytes"}, "remove": []}
        ]
        assert report.fault == ""
        assert server.settings["other"] == "an operator's"
        assert (await settings.keep(wanted)).written == ()
        assert len(server.puts) == 1

    ask(server, scenario)


def test_a_number_and_its_text_are_the_same(server: Redpanda) -> None:
    """Redpanda writes some values as texts; that is no difference."""
    server.settings["log_segment_ms"] = "5"

    async def scenario(admin: Admin) -> None:
        assert (await ClusterSettings(admin).keep({"log_segment_ms": 5})).written == ()

    ask(server, scenario)


def test_a_value_that_is_not_taken_is_said(server: Redpanda) -> None:
    """Accepted and read back otherwise, refused with a reason, or in need of a restart: each is a fault with its cause."""
    server.sticky.add("log_retention_ms")

    async def scenario(admin: Admin) -> None:
        settings = ClusterSettings(admin)
        assert (
            "log_retention_ms was set to 7 and reads 604800000" in (await settings.keep({"log_retention_ms": 7})).fault
        )
        with pytest.raises(AdminError, match="Unknown property"):
            await settings.keep({"unknown_key": 1})
        server.restart = True
        assert "must be restarted" in (await settings.keep({"log_segment_ms": 5})).fault

    ask(server, scenario)


def test_who_changes_a_value_back_wins_in_the_end(server: Redpanda) -> None:
    """Three times it is set again; then it is left to whoever wants it so, and said, until the wish changes."""

    async def scenario(admin: Admin) -> None:
        settings, wanted = ClusterSettings(admin), {"log_retention_ms": 7}
        for _ in range(3):
            assert (await settings.keep(wanted)).fault == ""
            server.settings["log_retention_ms"] = 8
        for _ in range(3):
            report = await settings.keep(wanted)
            assert report.written == ()
            assert "log_retention_ms is 8, not 7: somebody changed it back 3 times" in report.fault
        assert (await settings.keep({"log_retention_ms": 9})).fault == ""
        assert server.settings["log_retention_ms"] == 9

    ask(server, scenario)


# The schema registry


def keep(server: Redpanda, wanted: dict[str, Any]) -> Any:
    async def within() -> Any:
        async with Schemas(server.url) as schemas:
            return await schemas.keep(wanted)

    return asyncio.run(within())


def test_schemas_are_registered_changed_and_removed(server: Redpanda) -> None:
    """New ones are registered, changed content makes a version, equal content does nothing, what is not wanted any more goes."""
    wanted = {"_pump-v1": {"type": "object"}, "_tank": {"type": "string"}}
    assert keep(server, wanted).registered == ("_pump-v1", "_tank")
    again = keep(server, wanted)
    assert (again.registered, again.changed, again.removed, again.fault) == ((), (), (), "")
    report = keep(server, {"_pump-v1": {"type": "array"}})
    assert (report.changed, report.removed) == (("_pump-v1",), ("_tank",))
    assert len(server.subjects["_pump-v1"]) == 2
    assert "_tank" not in server.subjects


def test_what_others_registered_is_left_alone(server: Redpanda) -> None:
    """Subjects without our mark are listed, never deleted and never overwritten, whatever their schemas are."""
    server.subjects = {"orders": ['{"type": "object"}'], "avro": ['"long"'], "proto": ['syntax = "proto3";']}
    report = keep(server, {"orders": {"type": "array"}})
    assert report.foreign == ("avro", "proto")
    assert "orders: somebody else" in report.fault
    assert keep(server, {}).removed == ()
    assert server.subjects == {"orders": ['{"type": "object"}'], "avro": ['"long"'], "proto": ['syntax = "proto3";']}
    assert keep(server, {"orders": {"type": "object"}}).fault == ""


def test_a_schema_that_is_refused_says_why(server: Redpanda) -> None:
    """The registry's own message is passed on, and the other schemas are registered."""
    server.incompatible.add("a")
    report = keep(server, {"a": {"type": "object"}, "b": {"type": "object"}})
    assert "a: not compatible with what is registered: Schema being registered is incompatible" in report.fault
    assert report.registered == ("b",)


# A managed Redpanda


def test_the_config_file_and_the_command_fit_together(tmp_path: Path) -> None:
    """The file is YAML that listens on loopback, written once; the command names it and the resources."""
    program = tmp_path / "redpanda"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    node = Managed(directory=tmp_path / "rp", binary=str(program), kafka_port=19092, cores=2, memory_per_core=1024**3)
    assert node.write()
    assert not node.write()
    config = yaml.safe_load(node.config_file.read_text())["redpanda"]
    assert config["kafka_api"] == [{"address": "127.0.0.1", "port": 19092}]
    assert config["data_directory"] == str(tmp_path / "rp" / "data")
    command = node.command()
    assert command[:3] == [str(program), "--redpanda-cfg", str(node.config_file)]
    assert command[command.index("--memory") + 1] == "2048M"
    assert node.servers == "127.0.0.1:19092"
    assert os.listdir(tmp_path / "rp") == ["redpanda.yaml"]


def test_a_binary_that_cannot_be_started_is_a_reason(tmp_path: Path) -> None:
    """One that is not there, one that is a folder, and one without the right to be run."""
    plain = tmp_path / "plain"
    plain.write_text("")
    assert "there is no" in Managed(directory=tmp_path, binary=str(tmp_path / "none")).program()[1]
    assert "not a program" in Managed(directory=tmp_path, binary=str(tmp_path)).program()[1]
    assert "not a program" in Managed(directory=tmp_path, binary=str(plain)).program()[1]
    with pytest.raises(FileNotFoundError, match="not a program"):
        Managed(directory=tmp_path, binary=str(plain)).command()
