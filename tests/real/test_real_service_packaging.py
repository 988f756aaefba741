"""What the packaging names is there, and runs: the systemd unit under systemd's own checks, the container's parts as process 1."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tests.real.service import config, service

from setpoint.cli import trouble

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "systemd" / "setpoint.service"
CONTAINER = ROOT / "packaging" / "container"


def tool(name: str) -> str:
    """A program that checks something; without it the test says what it misses."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def ran(*command: str, code: int | None = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert code is None or done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


# systemd


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say once the program is where the unit looks for it."""
    text = UNIT.read_text()
    assert "ExecStart=/opt/setpoint/bin/setpoint up " in text
    unit = tmp_path / "setpoint.service"
    unit.write_text(text.replace("/opt/setpoint/bin/setpoint", str(Path(sys.executable).with_name("setpoint"))))
    assert ran(tool("systemd-analyze"), "verify", "--man=no", str(unit)) == ""


def test_the_unit_is_hardened() -> None:
    """systemd's own measure of exposure is "OK", 2 of 10 at most."""
    verdict = ran(tool("systemd-analyze"), "security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT))
    assert "Overall exposure level" in verdict


def test_the_user_of_the_unit_is_one_that_sysusers_makes(tmp_path: Path) -> None:
    """`systemd-sysusers` takes the file, and the unit runs as the user it makes."""
    made = ran(
        tool("systemd-sysusers"), "--dry-run", f"--root={tmp_path}", str(UNIT.with_name("setpoint.sysusers.conf"))
    )
    assert "Creating user 'setpoint'" in made
    assert "\nUser=setpoint\n" in UNIT.read_text()


def test_scripts_in_flows_run_without_memory_that_is_writable_and_executable(tmp_path: Path) -> None:
    """The unit forbids it (MemoryDenyWriteExecute); so does the kernel for this process, PR_SET_MDWE of prctl(2)."""
    assert "\nMemoryDenyWriteExecute=yes\n" in UNIT.read_text()
    forbid = "import ctypes\nforbidden = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)\n"
    if ran(sys.executable, "-c", f"{forbid}print(forbidden)").strip() != "0":
        pytest.skip("this kernel cannot forbid it to a process by itself (Linux 6.3 can)")
    with service(tmp_path, config("a"), before=forbid) as up:
        up.until(lambda: any(topic["count"] > 5 for topic in up.get("topics") if isinstance(topic, dict)))


# the container


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, those of several lines as one."""
    lines = [line for line in (CONTAINER / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def reaches_the_engine(path: str) -> bool:
    """Whether the ignore file lets a file of the repository through; the last rule that fits decides."""
    let = True
    for rule in (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#"):
            wanted = rule.removeprefix("!").removeprefix("**/")
            parts = path.split("/")
            heads = {"/".join(parts[:size]) for size in range(1, len(parts) + 1)} | set(parts if "**/" in rule else ())
            if any(fnmatch(head, wanted) for head in heads):
                let = rule.startswith("!")
    return let


def test_everything_that_the_dockerfile_copies_is_there_and_reaches_the_engine() -> None:
    """Each source of each COPY; and what has no business in an image does not."""
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert "src" in copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert reaches_the_engine(source), source
    assert reaches_the_engine("src/setpoint/cli/up.py")
    for private in (".git/config", "config.yaml", "examples/plant/.setpoint/store.sqlite", "tests/real/service.py"):
        assert not reaches_the_engine(private), private


def test_the_dockerfile_passes_its_linter() -> None:
    """hadolint, whose one finding that is left out is explained beside it."""
    assert ran(tool("hadolint"), str(CONTAINER / "Dockerfile")) == ""


def test_what_the_dockerfile_names_is_what_the_program_has() -> None:
    """Entry, health check and user are those that are made in it; the scripts may be executed."""
    said = dict(instructions())
    entry, health = CONTAINER / "setpoint-entrypoint", CONTAINER / "setpoint-health"
    assert re.findall(r'"([^"]+)"', said["ENTRYPOINT"]) == ["/usr/bin/tini", "--", entry.name]
    assert re.findall(r'"([^"]+)"', said["HEALTHCHECK"]) == [health.name]
    assert "--uid 10001 --gid 10001" in " ".join(rest for name, rest in instructions() if name == "RUN")
    assert said["USER"] == "10001:10001"
    for script in (entry, health):
        assert os.access(script, os.X_OK)


class Box:
    """The entry script as process 1 of its own, with a root that is its own where it is written to."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], first: int) -> None:
        self.folder, self.process, self.first = folder, process, first

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec`."""
        inside = ["nsenter", "--target", str(self.first), "--pid", "--mount", "--net", *command]
        return subprocess.run(
            inside, env=self.env(self.folder), capture_output=True, text=True, timeout=30, check=False
        )

    def processes(self) -> dict[int, str]:
        """Those of its name space, by number with their states."""
        rows = (line.split() for line in self.run("ps", "-e", "-o", "pid=,stat=,comm=").stdout.splitlines())
        return {int(pid): f"{state} {name}" for pid, state, name, *_ in rows if name != "ps"}

    @staticmethod
    def env(folder: Path) -> dict[str, str]:
        path = f"{CONTAINER}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        return {**kept, "PATH": path, "HOME": str(folder / "home")}


@contextmanager
def box(folder: Path, *arguments: str) -> Iterator[Box]:
    """The container's entry point in name spaces of its own. What the image has at /etc/setpoint and /var/lib/setpoint is in `folder`."""
    if os.geteuid() or ran("unshare", "--fork", "--pid", "--mount", "--net", "true", code=None):
        pytest.skip("name spaces cannot be made here")
    for name in ("etc/setpoint", "etc-work", "lib/setpoint", "home"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/setpoint/config.yaml").write_text(config("a"))
    prepare = (
        f"mount -t tmpfs tmpfs {folder}/etc-work && mkdir {folder}/etc-work/up {folder}/etc-work/work"
        f" && cp -r {folder}/etc/setpoint {folder}/etc-work/up/"
        f" && mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/etc-work/up,workdir={folder}/etc-work/work /etc"
        f' && mount --bind {folder}/lib /var/lib && ip link set lo up && exec "$@"'
    )
    entry = [tool("tini"), "--", "setpoint-entrypoint", *arguments]
    command = [
        "unshare",
        "--fork",
        "--kill-child",
        "--pid",
        "--mount",
        "--net",
        "--mount-proc",
        "sh",
        "-ec",
        prepare,
        "sh",
        *entry,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=Box.env(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        first = until(lambda: children.read_text().split())
        yield Box(folder, process, int(first[0]))
    finally:
        process.kill()
        process.wait()


def until(condition: object, seconds: float = 20.0) -> list[str]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():  # type: ignore[operator]
            return value  # type: ignore[no-any-return]
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def test_the_container_runs_the_agent_and_ends_with_it(tmp_path: Path) -> None:
    """Healthy once the agent answers; SIGHUP reaches it; orphans are taken in; SIGTERM ends all with 0, within the engine's 10 s."""
    with box(tmp_path) as made:
        until(lambda: made.run("setpoint-health").returncode == 0)
        assert (tmp_path / "lib/setpoint/store.sqlite").exists()
        assert made.processes()[1].endswith("tini")
        made.run("sh", "-c", "(sleep 0.2 & sleep 0.1 &) ; exit 0")
        time.sleep(0.5)
        assert not [state for state in made.processes().values() if state.startswith("Z")]
        os.kill(made.first, signal.SIGHUP)
        until(lambda: "config read again; nothing in it is new" in made.log)
        began = time.monotonic()
        os.kill(made.first, signal.SIGTERM)
        assert made.process.wait(10) == 0, made.log
        assert time.monotonic() - began < 10
        assert made.log.rstrip().endswith("stopped")


def test_the_health_check_fails_when_the_agent_does_not_answer(tmp_path: Path) -> None:
    """An agent that stands still is not healthy, though its process is there; the check itself ends in time."""
    with box(tmp_path, "--log-level", "warning") as made:
        until(lambda: made.run("setpoint-health").returncode == 0)
        agent = next(number for number, what in made.processes().items() if what.endswith("setpoint"))
        made.run("kill", "-STOP", str(agent))
        checked = made.run("setpoint-health")
        assert checked.returncode == 1
        assert "did not answer" in checked.stderr


def test_other_commands_and_refusals_come_through(tmp_path: Path) -> None:
    """A command that is named is run instead of the agent; exit codes are those of the program."""
    with box(tmp_path, "version") as made:
        assert made.process.wait(10) == 0
        assert made.log.startswith("setpoint ")


def test_a_missing_config_is_said(tmp_path: Path) -> None:
    """Nothing mounted at /etc/setpoint: one sentence, and the code of a start that failed."""
    with box(tmp_path, "check", "/etc/setpoint/none.yaml") as made:
        assert made.process.wait(10) == 1
        assert "none.yaml" in made.log


# the page about it

PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("bash"))
def test_every_command_of_the_page_can_be_copied(text: str) -> None:
    """A shell reads it, and the files of the repository that it names are there."""
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for named in re.findall(r"(?:packaging|constraints)[\w./-]+", text):
        assert (ROOT / named).exists(), named


@pytest.mark.parametrize("text", blocks("ini"))
def test_every_drop_in_of_the_page_is_one_that_systemd_takes(tmp_path: Path, text: str) -> None:
    """Beside the unit, as `systemctl edit` puts it there. The type for newer versions is the one thing that 252 does not know."""
    program = str(Path(sys.executable).with_name("setpoint"))
    unit = tmp_path / "setpoint.service"
    unit.write_text(UNIT.read_text().replace("/opt/setpoint/bin/setpoint", program))
    (tmp_path / "setpoint.service.d").mkdir()
    (tmp_path / "setpoint.service.d" / "override.conf").write_text(text.replace("/opt/setpoint/bin/setpoint", program))
    said = ran(tool("systemd-analyze"), "verify", "--man=no", str(unit), code=None).splitlines()
    assert [line for line in said if "notify-reload" not in line] == []


def test_the_exit_codes_of_the_page_are_those_of_the_program() -> None:
    """As the help has them, and the constants behind it."""
    helped = ran(str(Path(sys.executable).with_name("setpoint")), "up", "--help")
    assert re.findall(r"^ +(\d)  ", helped, re.MULTILINE) == re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)
    assert [trouble.FAILED, trouble.USAGE, trouble.NOT_HEALTHY, trouble.IN_USE, trouble.AT_ONCE] == [1, 2, 3, 4, 5]
