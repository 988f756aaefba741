"""s6 as the supervisor: the files of a service directory, and the command that runs a tree of them.

``run`` enters the folder of the service and becomes its program. It holds a lock while the program lives: should `s6-supervise` be
killed, the one that follows finds the lock taken, ends what the first left behind, and only then starts the program again. (The
`lock-fd` of s6 does not do that in 2.11.) ``finish`` kills what is left of the group, and says which ends are for good (125: s6 tries no
more).

A program that says nothing about being ready counts as ready once it runs. s6 restarts what was ready for a second at once, everything else
after a second.

The logger does not block the program when the disk is full: it keeps lines in memory, and beyond `LOGGER_KB` it is ended by that limit and
begins anew, which loses those lines.

One service is the tree's own: `GUARD` waits until no agent holds the lock of the directory, and ends the tree when none comes back.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from typing import Final

from setpoint.services.processes import formats
from setpoint.services.processes.folders import Files
from setpoint.services.processes.formats import MARK
from setpoint.services.processes.spec import ProcessError, ProcessSpec, ReadyCheck

PROGRAMS: Final = ("s6-svscan", "s6-supervise", "s6-log", "s6-setlock", "s6-notifyoncheck", "s6-svscanctl", "s6-tai64n")
MAX_SERVICES: Final = 10_000
LOGGER_KB: Final = 32_768
LINE_BYTES: Final = 65_536
GUARD: Final = "@guard"

_RUN: Final = """\
#!/bin/sh
exec 2>&1
if [ -s pid ] && read -r old < pid && ! s6-setlock -n lock true 2> /dev/null; then
    echo "setpoint: ending pid $old, which another supervisor left behind"
    kill -s {signal} "$old"
    s6-setlock -t {stop_ms} lock true 2> /dev/null || kill -s KILL -- "-$old"
    s6-setlock lock true
fi
echo $$ > pid
export {mark}="$PWD"
{announce}exec s6-setlock -n lock {check}/bin/sh -c '{enter} "$@"' sh {command}
"""
_ENTER: Final = ". ./data/environment; cd files && exec"
_FINISH: Final = """\
#!/bin/sh
[ -s pid ] && read -r group < pid && kill -s KILL -- "-$group" 2> /dev/null
: > pid
{policy}"""
_ON_FAILURE: Final = '[ "$1" = 0 ] && exit 125\nexit 0\n'
_CHECK: Final = "#!/bin/sh\n{enter} {command}\n"
_LOG: Final = "#!/bin/sh\nulimit -d {kb}\nexec s6-log -d3 -l {line} n{files} s{size} t {place}\n"
_GUARD: Final = """\
#!/bin/sh
# An agent holds the lock as long as it lives. The descriptor of s6-setlock is closed again: an agent must find the lock free.
# Where the whole directory was deleted meanwhile, there is no lock to hold and no fifo: the head is told by a signal.
read -r _ _ _ head _ < "/proc/$PPID/stat"
cd ../.. && exec s6-setlock -r lock sh -c '
    exec 3>&- 4>&- 5>&-
    sleep {grace} & trap "kill $!" TERM; wait $! || exit 0
    [ -e lock ] || {{ kill -s TERM "$0"; exit 0; }}
    exec s6-setlock -n -r lock s6-svscanctl -t scan' "$head"
"""


def missing() -> list[str]:
    """The programs of s6 that are not to be found."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def command() -> list[str]:
    """What runs the tree in the folder ``scan``, and writes a newline to descriptor 3 when it listens."""
    return ["s6-svscan", "-c", str(MAX_SERVICES), "-d", "3", "scan"]


def calibrate() -> int:
    """How many seconds the labels of this s6 are ahead of UTC. Blocks for about 2 ms. Raises `ProcessError`."""
    try:
        text = subprocess.run(["s6-tai64n"], input=b"\n", capture_output=True, check=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ProcessError(f"s6-tai64n does not work: {error}") from None
    at = formats.unlabel(text, 0)
    if at is None:
        raise ProcessError(f"s6-tai64n gave {text!r}; expected a time like @4000000068d0c0a51a2b3c4d")
    return round(at - time.time())


def files(name: str, spec: ProcessSpec) -> Files:
    """The service directory of a process."""
    shown = {
        "run": (_run(spec), 0o700),
        "finish": (_FINISH.format(policy=_policy(spec)), 0o700),
        "notification-fd": ("3\n", 0o600),
        "timeout-kill": (f"{spec.stop_ms}\n", 0o600),
        "down-signal": (f"{spec.stop_number}\n", 0o600),
        "lock": ("", 0o600),
        "data/environment": (_environment(spec), 0o600),
        "log/run": (_logger(name, spec), 0o700),
        "log/notification-fd": ("3\n", 0o600),
    }
    if isinstance(spec.ready, ReadyCheck):
        shown["data/check"] = (_CHECK.format(enter=_ENTER, command=shlex.join(spec.ready.command)), 0o700)
    return shown


def guard(grace_s: float) -> Files:
    """The service directory of the guard."""
    return {"run": (_GUARD.format(grace=f"{grace_s:g}"), 0o700)}


def _run(spec: ProcessSpec) -> str:
    check = ""
    if isinstance(spec.ready, ReadyCheck):
        pause, limit = round(spec.ready.interval_s * 1000), round(spec.ready.timeout_s * 1000)
        check = f"s6-notifyoncheck -d -3 3 -s 0 -n 0 -w {pause} -t {limit} "
    return _RUN.format(
        signal=spec.stop_signal,
        stop_ms=spec.stop_ms,
        mark=MARK,
        enter=_ENTER,
        announce="echo >&3\nexec 3>&-\n" if spec.ready is None else "",
        check=check,
        command=shlex.join(spec.command),
    )


def _environment(spec: ProcessSpec) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(spec.environment.items()))


def _policy(spec: ProcessSpec) -> str:
    return {"always": "exit 0\n", "never": "exit 125\n", "on-failure": _ON_FAILURE}[spec.restart]


def _logger(name: str, spec: ProcessSpec) -> str:
    place = shlex.quote(f"../../../logs/{name}")
    return _LOG.format(kb=LOGGER_KB, line=LINE_BYTES, files=spec.log_files, size=spec.log_bytes, place=place)
