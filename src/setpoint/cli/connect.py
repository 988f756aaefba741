"""Connecting: where the running agent is, and asking it.

It is looked for in this order: ``--url``, ``$SETPOINT_URL``, the file that ``setpoint up`` writes for its user
(``$XDG_RUNTIME_DIR/setpoint/agent.json``, else ``~/.local/state/setpoint/agent.json``) while the process it names is alive, and at last
http://127.0.0.1:8080. The latest agent started by a user is the one found; others are reached by ``--url``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import quote, urlsplit

import typer

from setpoint.cli.trouble import Trouble
from setpoint.places import DATA

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT = 10.0
"""Seconds to wait for an answer."""
SILENCE = 25.0
"""Seconds without a word after which a stream counts as lost; the agent speaks every 10 s."""

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Where the agent is, such as http://127.0.0.1:8080. Found by itself by default.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class RunningAgent(NamedTuple):
    """What an agent writes of itself. `data` is its data directory, "" where that is not known (then it is beside the config)."""

    url: str
    pid: int
    config: str
    data: str = ""

    @property
    def directory(self) -> Path:
        """Its data directory."""
        return Path(self.data or Path(self.config).parent / DATA)


def note_running(agent: RunningAgent, env: Mapping[str, str]) -> Path | None:
    """Write where this agent is, readable by its user only. Returns the file; None where nothing can be written, which is no fault."""
    for folder in _folders(env):
        file = folder / "agent.json"
        fresh = folder / f".agent-{agent.pid}.json"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                json.dump(agent._asdict(), out)
            fresh.replace(file)
            return file
    return None


def forget_running(file: Path, pid: int) -> None:
    """Remove the file, unless a later agent has written it since."""
    noted = _read(file)
    if noted is not None and noted.pid == pid:
        with suppress(OSError):
            file.unlink()


def _folders(env: Mapping[str, str]) -> Iterator[Path]:
    if env.get("XDG_RUNTIME_DIR"):
        yield Path(env["XDG_RUNTIME_DIR"]) / "setpoint"
    with suppress(RuntimeError):  # no home
        yield Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "setpoint"


def _read(file: Path) -> RunningAgent | None:
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        return RunningAgent(str(noted["url"]), int(noted["pid"]), str(noted["config"]), str(noted.get("data", "")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def running_agent(env: Mapping[str, str]) -> RunningAgent | None:
    """The agent that this user started last and that is alive."""
    for folder in _folders(env):
        noted = _read(folder / "agent.json")
        if noted is not None and _alive(noted.pid):
            return noted
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid > 0


def agent_url(given: str | None, env: Mapping[str, str]) -> str:
    """Where to ask. Raises `Trouble` for an address that is none."""
    url = given or env.get("SETPOINT_URL") or ""
    if not url:
        noted = running_agent(env)
        return noted.url if noted else DEFAULT_URL
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 80) > 0
    except ValueError:
        valid = False
    if not valid:
        raise Trouble(f"{url!r} is no address of an agent", "write it like http://127.0.0.1:8080", code=2)
    return url.rstrip("/")


class Connection:
    """A connection to one agent. Every way to fail is a `Trouble` that says what to do."""

    def __init__(self, given: str | None = None, env: Mapping[str, str] = os.environ) -> None:
        import httpx

        self.url = agent_url(given, env)
        local = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=TIMEOUT, trust_env=not local)

    def get(self, path: str, **parameters: str | int | list[str]) -> Any:
        """The answer to a question, decoded."""
        return self._decoded(self._ask("GET", path, params=dict(parameters)))

    def events(self, path: str, **parameters: str | int | list[str]) -> Iterator[tuple[str, Any]]:
        """The events of a stream, by name, decoded; for ever. Raises `Trouble` when it ends or falls silent."""
        import httpx

        timeout = httpx.Timeout(TIMEOUT, read=SILENCE)
        name = ""
        try:
            with self._client.stream("GET", path, params=dict(parameters), timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    self._decoded(answer)
                for line in answer.iter_lines():
                    key, _, text = line.partition(": ")
                    if key == "event":
                        name = text
                    elif key == "data":
                        yield name, json.loads(text)
        except (httpx.HTTPError, ValueError) as error:
            trouble = f"the connection to the agent at {self.url} is lost: {str(error) or type(error).__name__}"
            raise Trouble(trouble, "start the command again once the agent is back") from None
        raise Trouble(f"the agent at {self.url} ended the stream", "see its log")

    def post(self, path: str, **order: str) -> Any:
        """The answer to an order, decoded."""
        return self._decoded(self._ask("POST", path, json=order))

    def _decoded(self, answer: httpx.Response) -> Any:
        try:
            data = answer.json()
        except ValueError:
            raise Trouble(f"what answers at {self.url} is not a Setpoint agent", "say where it is with --url") from None
        if answer.is_success:
            return data
        error = data.get("error") if isinstance(data, dict) else None
        if error is None:
            raise Trouble(f"what answers at {self.url} is not a Setpoint agent", "say where it is with --url")
        raise Trouble(str(error), str(data.get("hint", "")))

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        import httpx

        try:
            return self._client.request(method, path, **content)
        except httpx.TimeoutException:
            raise Trouble(f"the agent at {self.url} did not answer within {TIMEOUT:g} s", "see its log") from None
        except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
            raise Trouble(
                f"no agent answers at {self.url}", "start one with 'setpoint up CONFIG', or say where it is with --url"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Trouble(f"cannot ask the agent at {self.url}: {error}", "check --url and $SETPOINT_URL") from None

    def worker_path(self, wanted: str) -> str:
        """The path of the worker that `wanted` means: a whole path, or the end of one that no other has. Raises `Trouble`."""
        return choose_path(wanted, [worker["path"] for worker in self.get("/workers")])


def choose_path(wanted: str, known: list[str]) -> str:
    """The one path that is `wanted`, ends in it at a slash, or begins a name that no other begins with. Raises `Trouble`."""
    wanted = wanted.strip("/")
    if wanted in known:
        return wanted
    for fits in (
        [path for path in known if path.endswith(f"/{wanted}")],
        [path for path in known if f"/{wanted}" in f"/{path}"],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise Trouble(
                f"{wanted!r} can mean {len(fits)} workers", f"say which: {', '.join(fits[:5])}{', …' * (len(fits) > 5)}"
            )
    from difflib import get_close_matches

    ends = {"/".join(path.split("/")[-size:]): path for path in known for size in (1, 2, 3)}
    near = get_close_matches(wanted[:200], ends, n=1)
    raise Trouble(
        f"there is no worker {wanted!r}",
        f"did you mean {ends[near[0]]}?" if near else "'setpoint status' lists all of them",
    )


def in_url(path: str) -> str:
    """A worker's path as part of an address."""
    return quote(path, safe="/")
