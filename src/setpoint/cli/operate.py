"""``setpoint pause|resume|disable|enable|restart|retry|force``: an operator tells a worker. Its history keeps who and why."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from setpoint.cli.connect import Connection, UrlOption, in_url
from setpoint.cli.explain import PathArgument
from setpoint.cli.output import clean

WhyOption = Annotated[
    str, typer.Option("--reason", "-r", help="Why; kept in the worker's history.", show_default=False)
]


def pause(path: PathArgument, reason: WhyOption = "", url: UrlOption = None) -> None:
    """Let a worker decide and do nothing until resumed. It is still observed."""
    _tell(path, "pause", reason, url)


def resume(path: PathArgument, reason: WhyOption = "", url: UrlOption = None) -> None:
    """End a pause."""
    _tell(path, "resume", reason, url)


def disable(path: PathArgument, reason: WhyOption = "", url: UrlOption = None) -> None:
    """Stop a worker and its children, until enabled; also after the agent has been started again."""
    _tell(path, "disable", reason, url)


def enable(path: PathArgument, reason: WhyOption = "", url: UrlOption = None) -> None:
    """Let a disabled worker run again."""
    _tell(path, "enable", reason, url)


def restart(path: PathArgument, reason: WhyOption = "", url: UrlOption = None) -> None:
    """Stop a worker, make it anew, and start it."""
    _tell(path, "restart", reason, url)


def retry(path: PathArgument, reason: WhyOption = "", url: UrlOption = None) -> None:
    """Forget a worker's failures and waits: try again now."""
    _tell(path, "retry", reason, url)


def force(
    path: PathArgument,
    state: Annotated[str, typer.Argument(metavar="STATE", help="A state of the worker's machine.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the worker's history.")],
    url: UrlOption = None,
) -> None:
    """Move a worker to a state, whatever its guards say."""
    _tell(path, "force", reason, url, state=state)


def _tell(path: str, verb: str, reason: str, url: str | None, *, state: str = "") -> None:
    agent = Connection(url)
    whole = agent.worker_path(path)
    who = _user()
    agent.post(f"/workers/{in_url(whole)}/{verb}", why=f"{reason} ({who})" if reason else f"by {who}", state=state)
    typer.echo(f"{clean(whole)}: {verb}{f' to {clean(state)}' if state else ''}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return "unknown user"
