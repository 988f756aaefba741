"""Starting one program: as the leader of a session of its own, tied to the life of the keeper.

The kernel kills the program when the keeper dies (prctl(2), PR_SET_PDEATHSIG); programs that run with more rights than the keeper are
exempt from that. The keeper adopts what its programs leave behind (PR_SET_CHILD_SUBREAPER), so that no zombies stay.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

NOTIFY: Final = 3
"""The descriptor on which a program says that it is ready."""
_SET_PDEATHSIG: Final = 1
_SET_CHILD_SUBREAPER: Final = 36

_prctl = ctypes.CDLL(None).prctl
_limit = resource.getrlimit(resource.RLIMIT_NOFILE)


def become_keeper() -> None:
    """Be told of all that ends, and be able to hold as many files open as the system allows."""
    _prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_limit[1], _limit[1]))


def spawn(
    command: Sequence[str], environment: Mapping[str, str], *, folder: str, output: int, notify: int | None = None
) -> int:
    """The pid of the new process. A program that cannot be run writes why into `output` and ends with 126 or 127. Raises `OSError`
    when the system has no room for another process."""
    keeper = os.getpid()
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, signal.valid_signals()
    )  # the child must not run the keeper's handlers
    try:
        pid = os.fork()
    finally:
        if os.getpid() == keeper:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if pid:
        return pid
    try:
        _prepare(keeper, folder, output, notify)
        os.execvpe(command[0], list(command), dict(environment))
    except OSError as error:
        _give_up(command[0], error)
    finally:
        os._exit(111)


def _prepare(keeper: int, folder: str, output: int, notify: int | None) -> None:
    os.setsid()
    _prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:  # it died before this process was tied to it
        os._exit(111)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if notify is not None:
        os.dup2(notify, NOTIFY) if notify != NOTIFY else os.set_inheritable(NOTIFY, True)
    resource.setrlimit(resource.RLIMIT_NOFILE, _limit)
    os.chdir(folder)


def _give_up(program: str, error: OSError) -> NoReturn:
    os.write(2, f"setpoint: cannot run {program}: {error.strerror}\n".encode(errors="replace"))
    os._exit(127 if isinstance(error, FileNotFoundError) else 126)
