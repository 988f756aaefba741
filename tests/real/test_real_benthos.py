"""The Benthos client against a real Bento: what it says of bad configs, what it counts, and what becomes of it when its port is taken."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.real.ports import free_port
from tests.real.real_bento import bento_path, no_bento, program, running, scanned

from setpoint.services.benthos import Deployed, Document, deploy, document, find_program
from setpoint.services.benthos.facts import connected, log_trouble, metrics_trouble, unhealthy
from setpoint.services.ports import Ports

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(no_bento()), reason=no_bento())]

FAST = {"generate": {"interval": "20ms", "mapping": "root.n = counter()"}}
NOWHERE = "127.0.0.1:9"


def flow(
    source: Any = FAST, sink: Any = None, *, processors: list[Any] | None = None, port: int = 0, **more: Any
) -> Document:
    """A document for a free port."""
    config = {"input": source, "pipeline": {"processors": processors or []}, "output": sink or {"drop": {}}, **more}
    return document(config, port=port or free_port())


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def deployed(made: Document, path: Path) -> Deployed:
    async def main() -> Deployed:
        return await deploy(made, path, await program())

    return asyncio.run(main())


def test_it_is_found_and_says_its_version() -> None:
    """By its path, as what it is."""
    found = asyncio.run(find_program(bento_path())).program
    assert found is not None
    assert found.kind == "bento"
    assert found.version[0].isdigit()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (
            flow({"generat": {}}),
            "flow: input.generat: unable to infer input type from candidates: [generat]",
        ),
        (
            flow(sink={"opcua_of_nobody": {}}),
            "flow: output.opcua_of_nobody: unable to infer output type from candidates: [opcua_of_nobody]",
        ),
        (
            flow({"generate": {"mapping": "root = 1", "intervall": "1s"}}),
            "flow: input.generate.intervall: field intervall not recognised",
        ),
        (
            flow(processors=[{"mapping": "root.a = 1\nroot.b = \n"}]),
            "flow: pipeline.processors[0].mapping: line 2: expected query, got: ",
        ),
        (flow(no_such_section={"x": 1}), "flow: no_such_section: field no_such_section not recognised"),
        (
            flow(sink={"file": {"path": "${NO_SUCH_VARIABLE}"}}),
            "flow: required environment variables were not set: [NO_SUCH_VARIABLE]",
        ),
    ],
    ids=["component", "output", "field", "mapping", "section", "variable"],
)
def test_what_is_wrong_is_said_in_its_own_words(tmp_path: Path, made: Document, reason: str) -> None:
    """With the keys of the config that it is about; the old file stays in its place."""
    path = tmp_path / "flow.yaml"
    assert deployed(flow(port=20_000), path).outcome == "written"
    before = path.read_bytes()
    refused = deployed(made, path)
    assert refused.outcome == "refused"
    assert refused.reason.startswith(reason.rstrip()), refused.reason
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["flow.yaml"]


def test_every_section_passes_its_judgement(tmp_path: Path) -> None:
    """Those of the contract and others at the top, as we write them."""
    made = flow(
        processors=[{"cached": {"cache": "c", "key": "x", "processors": [{"mapping": "root = 1"}]}}],
        buffer={"memory": {"limit": 1000}},
        cache_resources=[{"label": "c", "memory": {}}],
        rate_limit_resources=[{"label": "r", "local": {"count": 5, "interval": "1s"}}],
        shutdown_timeout="3s",
        http={"debug_endpoints": True},
        logger={"level": "DEBUG", "format": "json", "static_fields": {"a": "b"}},
    )
    assert deployed(made, tmp_path / "flow.yaml").reason == ""


def test_a_flow_into_a_file(tmp_path: Path) -> None:
    """Live, ready and connected, with its version; what moves is counted, and is what arrives."""

    async def main() -> None:
        made = flow({"label": "made", **FAST}, {"file": {"path": str(tmp_path / "out"), "codec": "lines"}})
        async with running(made, tmp_path) as bento:
            facts = await bento.until(lambda seen: seen.scan.ready and seen.moving)
            assert unhealthy(facts) == metrics_trouble(facts) == log_trouble(facts, 0.0) == ""
            assert connected(facts, "input")
            assert connected(facts, "output")
            assert facts.scan.version == (await program()).version
            await asyncio.sleep(1.0)
            facts = await bento.look()
            assert 10 < facts.in_per_s < 60
            assert facts.scan.metrics is not None
            latency = facts.scan.metrics.output_latency
            assert latency.p50 is not None
            assert 0 < latency.p50 < 1000
            sent = facts.scan.metrics.counters.output_sent
        numbers = [json.loads(line)["n"] for line in (tmp_path / "out").read_text().splitlines()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= sent > 0

    run(main())


def test_a_flow_to_standard_output(tmp_path: Path) -> None:
    """Messages and log stay apart; the log is read from wherever it is written."""

    async def main() -> None:
        async with running(flow(sink={"stdout": {}}), tmp_path) as bento:
            await bento.until(lambda seen: seen.scan.ready and seen.moving)
        assert json.loads(bento.output.read_text().splitlines()[0]) == {"n": 1}
        assert "level=info" in bento.errors.read_text()
        assert bento.log.found(now=0.0) == []

    run(main())


def test_a_receiver_that_comes_late_and_goes(tmp_path: Path) -> None:
    """Over HTTP: errors while nobody is there, with the place in the log; they clear once it answers."""

    async def main() -> None:
        port = free_port()
        sink = {"label": "web", "http_client": {"url": f"http://127.0.0.1:{port}/x", "retries": 0, "max_in_flight": 1}}
        async with running(flow(sink=sink), tmp_path) as bento:
            facts = await bento.until(lambda seen: seen.output_errors and seen.log.error)
            assert metrics_trouble(facts).startswith(f"benthos reported {facts.output_errors} output error")
            assert "connection refused" in facts.log.error
            with receiver(port) as received:
                facts = await bento.until(lambda seen: seen.out_per_s and not seen.output_errors)
                assert metrics_trouble(facts) == ""
                assert json.loads(received[0]) == {"n": 1}
            await bento.until(lambda seen: seen.output_errors)

    run(main())


@contextmanager
def receiver(port: int) -> Iterator[list[bytes]]:
    """A web server on this port; what was posted to it."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


def test_messages_that_fail_are_counted_and_clear(tmp_path: Path) -> None:
    """Every tenth until the fiftieth: errors in metrics and log, and then none in the metrics any more."""

    async def main() -> None:
        bad = 'root = if this.n % 10 == 0 && this.n <= 50 { throw("bad ten") } else { this }'
        async with running(flow(processors=[{"label": "tens", "mapping": bad}]), tmp_path) as bento:
            facts = await bento.until(lambda seen: seen.processor_errors)
            assert "processor error" in metrics_trouble(facts)
            facts = await bento.until(lambda seen: seen.log.error)
            assert facts.log.error == "tens: failed assignment (line 1): bad ten"
            await bento.until(lambda seen: seen.scan.metrics and seen.scan.metrics.counters.processor_error == 5)
            facts = await bento.until(lambda seen: not seen.processor_errors)
            assert facts.log.error, "the log has a longer memory"

    run(main())


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_an_input_that_cannot_connect(tmp_path: Path, form: str) -> None:
    """Live but not ready, with what it says itself; which side it is; the error in its log, in both forms."""

    async def main() -> None:
        source = {"label": "press", "mqtt": {"urls": [f"tcp://{NOWHERE}"], "topics": ["x"]}}
        async with running(flow(source, logger={"format": form}), tmp_path) as bento:
            facts = await bento.until(lambda seen: seen.scan.live and seen.scan.metrics and seen.log.error)
            assert unhealthy(facts) == "healthchecks did not pass: live=true, ready=false (input not connected)"
            assert (connected(facts, "input"), connected(facts, "output")) == (False, True)
            assert facts.scan.metrics is not None
            assert facts.scan.metrics.unconnected == ("input press",)
            assert facts.log.error.startswith("press: Failed to connect to mqtt: ")
            assert not facts.moving

    run(main())


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"json_api": {}}, "/metrics: metrics are not in the Prometheus format: they begin with '{"),
        ({"none": {}}, "/metrics answers 404: "),
        ({"mapping": 'root = if this == "output_sent" { "sent" }'}, "/metrics has no output_sent"),
    ],
    ids=["json", "none", "renamed"],
)
def test_metrics_that_we_cannot_read(tmp_path: Path, metrics: Any, reason: str) -> None:
    """A reason, in a flow that is live and ready."""

    async def main() -> None:
        async with running(flow(metrics=metrics), tmp_path) as bento:
            facts = await bento.until(lambda seen: seen.scan.ready and seen.scan.metrics_problem)
            assert metrics_trouble(facts).startswith(reason)

    run(main())


def test_a_process_that_was_killed_begins_anew(tmp_path: Path) -> None:
    """Its counters go back to nothing: nothing negative, nothing counted twice, and the new one is found on the kept port."""

    async def main() -> None:
        made = flow()
        async with running(made, tmp_path) as bento:
            before = await bento.until(lambda seen: seen.moving and seen.scan.metrics.counters.input_received > 20)
            bento.process.kill()
            bento.process.wait()
            facts = await bento.look()
            assert (facts.running, facts.moving) == (False, False)
        async with running(made, tmp_path) as again:
            again.traffic = bento.traffic
            after = await again.until(lambda seen: seen.moving)
            assert before.scan.metrics is not None
            assert after.scan.metrics is not None
            assert after.scan.metrics.counters.input_received < before.scan.metrics.counters.input_received
            assert 0 < again.traffic.latest.input_received <= after.scan.metrics.counters.input_received

    run(main())


def test_a_port_that_is_taken_is_known_and_moved(tmp_path: Path) -> None:
    """Bento goes on without its server, unseen: its log says so, a stranger answers; on another port all is well again."""

    async def main() -> None:
        ports = Ports(tmp_path / "ports.json")
        had = ports.claim("flow").port
        config = {"input": FAST, "output": {"drop": {}}}
        with receiver(had):
            async with running(document(config, port=had), tmp_path) as bento:
                facts = await bento.until(lambda seen: seen.log.port_error and seen.scan.answered == "stranger")
                assert facts.running
                assert "address already in use" in facts.log.port_error
                assert facts.port_lost == (
                    f"port {had} is held by another program: it answers 501 where this flow would say pong"
                )
            moved = ports.move("flow")
            assert moved.moved_from == had
            async with running(document(config, port=moved.port), tmp_path) as bento:
                facts = await bento.until(lambda seen: seen.scan.ready and seen.moving)
                assert facts.port_lost == ""

    run(main())


def test_an_older_config_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    """The digest in the path tells: no restart was forgotten, and no other flow's Benthos answers in its place."""

    async def main() -> None:
        old = flow()
        new = flow(processors=[{"mapping": "root = this"}], port=old.port)
        async with running(old, tmp_path) as bento:
            await bento.until(lambda seen: seen.scan.live)
            scan = await scanned(new)
            assert scan.answered == "other config"
            assert (await scanned(old)).answered == "flow"

    run(main())


def test_a_config_that_lint_does_not_catch(tmp_path: Path) -> None:
    """It ends at once, and its log says why: an error of the config, which starting again does not mend."""

    async def main() -> None:
        async with running(flow(sink={"resource": "no_such_output"}), tmp_path) as bento:
            await asyncio.to_thread(bento.process.wait, 20)
            facts = await bento.look()
            assert not facts.running
            assert "no_such_output" in facts.log.config_error, bento.output.read_text()

    run(main())


def test_a_broken_file_that_is_run_all_the_same(tmp_path: Path) -> None:
    """What it says before it has a logger is understood, too."""

    async def main() -> None:
        async with running(flow(sink={"no_such": {}}), tmp_path, judged=False) as bento:
            await asyncio.to_thread(bento.process.wait, 20)
            facts = await bento.look()
            assert facts.log.config_error.startswith("Configuration file read error: ")
            assert "unable to infer output type" in facts.log.config_error

    run(main())


STRANGE = [
    *(
        "0o17",
        "1_000",
        "12:30:00",
        "yes",
        "Null",
        "~",
        "0x1F",
        "1e3",
        "",
        " two ",
        "a: b",
        "# no",
        "- x",
        "{}",
        "\t",
        "'\"\\",
    ),
    *(
        "é\u2028\u0085🙂",
        "a\nb\n",
        "a\n\n  b\n\nc",
        "\n  x\n y",
        "a\n\n",
        "a\n ",
        "a\nb\u0085c",
        "a \n b = \n",
        "a\n    \nb",
        "a\n\n\nb \n",
        "a\u2028\nb",
        "a\r\nb",
        "a\n\tb",
        "\x00\x7f",
    ),
]


ALPHABET = [*"aB0 \t\n#:-é'\"\\{}[]|>&*!%@`,?~=.\r\x01\x7f\xa0\x85\u2028\ufeff🙂", "\n  ", "root.a = 1\n"]


def test_text_arrives_as_it_was_written(tmp_path: Path) -> None:
    """Whatever a version of YAML would take it for: Bento puts it beside each line of its log.

    It may end after that: it writes the config anew for itself, and trips over some of its own texts.
    """

    async def main() -> None:
        rng = random.Random(7)
        strange = [*STRANGE, *("".join(rng.choices(ALPHABET, k=rng.randrange(14))) for _ in range(1000))]
        fields = {f"k{number}": text for number, text in enumerate(strange)}
        async with running(flow(logger={"format": "json", "static_fields": fields}), tmp_path) as bento:
            await bento.until(lambda seen: b"\n" in bento.output.read_bytes())
        said = json.loads(bento.output.read_text().split("\n")[0])
        assert {key: said[key] for key in fields} == fields

    run(main())


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    """No other address of this machine answers on its port."""

    async def main() -> None:
        made = flow()
        async with running(made, tmp_path) as bento:
            await bento.until(lambda seen: seen.scan.live)
            assert _addresses(made.port) == {"127.0.0.1"}

    run(main())


def _addresses(port: int) -> set[str]:
    """Where somebody listens on this port."""
    connections = psutil.net_connections(kind="tcp")
    return {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN and one.laddr.port == port}
