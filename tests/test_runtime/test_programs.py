"""Most tests start the program as a fork. A fork and a real start are the same to whoever looks from outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embedded.github import Fault
from embedded.ports import wait_until
from embedded.programs import READ_AT_START, REALLY, ForkedProcess, Process, start_program
from embedded.stack import PROJECT, RESTORE
from support.world import World

STARTS: list[tuple[str, ...]] = [(), REALLY]
# Prints the names of all variables that are read while everything is imported.
RECORDER = """
import os, sys, json
read = set()
class Recorder(type(os.environ)):
    def __getitem__(self, name):
        read.add(name)
        return super().__getitem__(name)
os.environ.__class__ = Recorder
sys.path.insert(0, "tests/embedded")
from forking import import_all, CONTAINER
sys.path[0] = str(CONTAINER)
import_all()
print(json.dumps(sorted(read)))
"""


def seen_from_outside(process: Process) -> dict[str, Any]:
    """Return what the system knows of a process, and what one would see of it."""
    folder = Path(f"/proc/{process.pid}")
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    return {
        **{name: status[name] for name in ("Umask", "Uid", "Gid", "SigBlk", "SigIgn", "SigCgt")},
        "limits": (folder / "limits").read_text(),
        "cwd": (folder / "cwd").readlink(),
        "program": (folder / "exe").readlink(),
        "streams": [(folder / "fd" / str(number)).readlink().name.split(":")[0] for number in range(3)],
        "files left open": open_files(process.pid) & open_files(int(status["PPid"])),
        "leads its session": os.getsid(process.pid) == process.pid,
        "leads its group": os.getpgid(process.pid) == process.pid,
    }


def open_files(pid: int) -> set[Path]:
    """Return what a process has open, besides its standard streams."""
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            found |= {file.readlink()} if int(file.name) > 2 else set()
    return found


def spy_on_git(world: World) -> Path:
    """Have each git write its environment; return the file."""
    spy, seen = world.folder / "bin" / "git", world.folder / "seen"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\nenv | sort >> {seen}\nPATH={os.environ["PATH"]} exec git "$@"\n')
    spy.chmod(0o755)
    world.variables["PATH"] = f"{spy.parent}:{os.environ['PATH']}"
    return seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_fork_is_the_same_process_as_a_real_start_and_ends_by_the_same_signals(
    world: World, number: signal.Signals
) -> None:
    world.add("api")
    ends = []
    for prefix in STARTS:
        fault = Fault("GET", status=0, delay=60)
        world.github.faults = [fault]
        process = world.start(*prefix)
        assert isinstance(process, ForkedProcess) == (prefix == ())

        def waits(fault: Fault = fault) -> None:
            assert fault.times == 0

        wait_until(waits, "the first request")
        seen = seen_from_outside(process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        names = [json.loads(line)["event"] for line in output.splitlines()]
        ends.append((seen, process.wait(), names))
    assert ends[0] == ends[1]
    assert ends[0][1] == (-9 if number == signal.SIGKILL else 143)


def test_a_fork_has_the_environment_that_it_is_given_and_logs_what_a_real_start_logs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("api")
    world.add("fork", blocked=451)
    seen = spy_on_git(world)
    monkeypatch.setenv("GIT_TRACE", "of the tests")
    runs = []
    world.run(BACKUP_CONCURRENCY="1")
    for prefix in STARTS:
        seen.unlink()
        run = world.run(*prefix, FULL_BACKUP_DAYS="1", BACKUP_CONCURRENCY="1", TZ="Asia/Tokyo")
        names = [line.split("=")[0] for line in seen.read_text().splitlines()]
        lines = [(line["event"], [*line]) for line in run.events]
        runs.append((run.code, lines, run.repos.keys(), run.failures.keys(), names))
        assert "of the tests" not in seen.read_text()
    assert runs[0] == runs[1]


def test_a_fork_prints_what_a_real_start_prints(world: World) -> None:
    for arguments in [("--help",), ("list", "--date", "never"), ("fetch",)]:
        command = (*RESTORE, *arguments)
        forked, real = (start_program([*prefix, *command], world.environment()) for prefix in STARTS)
        assert (*forked.communicate(timeout=60), forked.wait()) == (*real.communicate(timeout=60), real.wait())


def test_imports_read_nothing_of_the_environment_but_what_makes_a_start_a_real_one() -> None:
    command = [sys.executable, "-c", RECORDER]
    done = subprocess.run(command, cwd=PROJECT, env={}, check=True, capture_output=True)
    # HOME is where botocore would keep tokens of single sign-on. tqdm looks for all that begin with TQDM_, and pygal,
    # which draws the report, for NO_LXML.
    assert {name for name in json.loads(done.stdout) if not name.startswith(READ_AT_START)} == {"HOME", "NO_LXML"}
