"""``setpoint init``: a first config that is right, by four questions or by options."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.cli.cli_shop import run_cli

from setpoint.configfile import compose, plain

Capsys = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "setpoint.cli.main"]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("source", "address", "host", "port"),
    [
        ("modbus", "10.0.0.5", "10.0.0.5", 502),
        ("opcua", "opc.tcp://plc-1:4841", "plc-1", 4841),
        ("mqtt", "ssl://broker:8883", "broker", 8883),
        ("http", "https://api.example/v1/values?a=b", "api.example", 443),
    ],
)
def test_what_it_writes_is_right(capsys: Capsys, source: str, address: str, host: str, port: int) -> None:
    """Of every kind of source; it says the next command."""
    ran = run_cli(
        capsys,
        "init",
        "my.yaml",
        "--yes",
        "--source",
        source,
        "--address",
        address,
        "--enterprise",
        "acme",
        "--site",
        "5",
    )
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1].strip() == "setpoint up my.yaml"
    assert run_cli(capsys, "check", "my.yaml").code == 0
    ran = run_cli(capsys, "bridge", "list", "-f", "my.yaml")
    assert f"{host}:{port}" in ran.out
    assert f"acme.5.{source}-1" in ran.out


def test_the_url_of_a_service_is_kept(capsys: Capsys) -> None:
    """Scheme, path and query; host and port are variables."""
    run_cli(capsys, "init", "--yes", "--source", "http", "--address", "https://api.example/v1?a=b")
    assert 'url: "https://{{ .IP }}:{{ .PORT }}/v1?a=b"' in Path("config.yaml").read_text()


def test_it_writes_over_nothing(capsys: Capsys) -> None:
    """Nor over a link that leads nowhere."""
    Path("config.yaml").write_text("mine\n")
    Path("link.yaml").symlink_to("nowhere")
    for name in ("config.yaml", "link.yaml"):
        ran = run_cli(capsys, "init", name, "--yes")
        assert (ran.code, "is there already" in ran.err) == (1, True)
    assert Path("config.yaml").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --enterprise --site --source --name --address, or take defaults with --yes"),
        (["--enterprise", "a", "--site", "b", "--source", "demo"], "give --name"),
        (["--yes", "--source", "opcua"], "give --address"),
        (["--yes", "--source", "opc"], "choose one of modbus"),
        (["--yes", "--source", "modbus", "--address", "a b"], "is no address"),
        (["--yes", "--source", "modbus", "--address", "tcp://user:pw@h"], "is no address"),
        (["--yes", "--enterprise", "a.b"], "error: config.yaml"),
        (["--yes", "--name", "a b"], "not a valid name"),
    ],
)
def test_without_a_terminal_nothing_is_asked(capsys: Capsys, arguments: list[str], said: str) -> None:
    """What is missing is named; nothing hangs, nothing is written."""
    ran = run_cli(capsys, "init", *arguments)
    assert ran.code in (1, 2)
    assert said in ran.err
    assert list(Path().iterdir()) == []


def test_it_asks_four_questions_on_a_terminal() -> None:
    """Once more where an answer is none; Enter takes what is offered."""
    answers = ["acme", "acme/cologne", "plc", "modbus", "10.0.0.5:1502", ""]
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, "init"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    for answer in answers:
        said += _until_asked(ours)
        os.write(ours, f"{answer}\n".encode())
    assert process.wait(20) == 0
    os.close(ours)
    assert said.count(b"that is none") == 2
    root, _ = compose(Path("config.yaml").read_text())
    assert root is not None
    written = plain(root)
    assert written["agent"]["location"] == {"0": "acme", "1": "cologne"}
    bridge = written["protocolConverter"][0]
    assert bridge["name"] == "modbus-1"
    assert bridge["protocolConverterServiceConfig"]["variables"] == {"IP": "10.0.0.5", "PORT": "1502"}


def _until_asked(terminal: int) -> bytes:
    """What is printed until a question is."""
    said = b""
    while not said.rstrip().endswith(b"]:"):
        said += os.read(terminal, 1024)
    return said


def test_the_demo_runs_at_once(tmp_path: Path) -> None:
    """The next command that it names brings a value into the namespace, and nothing in it is wrong."""
    env = dict(os.environ)
    assert (
        subprocess.run([*COMMAND, "init", "--yes"], env=env, capture_output=True, check=False, timeout=30).returncode
        == 0
    )
    up = [*COMMAND, "up", "config.yaml", "--port", "0"]
    with subprocess.Popen(up, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            url = process.stdout.readline().split()[-1]
            until = time.monotonic() + 20
            while (
                "umh.v1.enterprise.site.demo._raw.level" not in httpx.get(f"{url}/api/v1/topics", trust_env=False).text
            ):
                assert time.monotonic() < until
                time.sleep(0.1)
            status = httpx.get(f"{url}/api/v1/config/status", trust_env=False).json()
            assert (status["ok"], status["problems"]) == (True, [])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
