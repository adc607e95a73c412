"""What one command takes: its own and its children's time, memory and disk, and the servers' CPU beside it."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.frugal_s3 import FrugalS3
from bench.recorded import RecordedGitHub, Traffic

# Seconds between two looks. Each takes some milliseconds of CPU.
SAMPLE = 0.2


class CommandError(Exception):
    """A measured command ended with an error."""


@dataclass(frozen=True)
class Usage:
    """What one run took: seconds of wall clock and of CPU, bytes at the peak, requests, bytes received.

    `memory` counts pages that several processes share in parts. `s3_cpu` and `github_cpu` are the seconds
    that the servers used meanwhile, on the same cores. `requests` and `received` are GitHub's; `s3_requests` and
    `s3_objects` count what S3 was asked, and the objects that were written to it.
    """

    wall: float
    cpu: float
    memory: int
    disk: int
    requests: int
    received: int
    s3_cpu: float
    github_cpu: float
    s3_requests: int
    s3_objects: int


@dataclass(frozen=True)
class Meter:
    """Measures commands that use these servers."""

    recorded: RecordedGitHub
    s3: FrugalS3

    def run(self, command: tuple[str, ...], environment: dict[str, str], scratch: Path) -> tuple[Usage, Traffic]:
        """Run the command to its end and return what it took and what it asked for. Raises CommandError."""
        os.sync()  # what others wrote before is not to be waited for by this one
        self.recorded.take()
        self.s3.take()
        s3, github = cpu_seconds(self.s3.process), cpu_seconds(self.recorded.process)
        log = scratch.with_suffix(".log")
        begun = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
            watched = ThreadPoolExecutor(1).submit(watch, process.pid, scratch)
            try:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            except BaseException:
                process.kill()
                raise
            wall = time.monotonic() - begun
            memory, disk = watched.result()
            _, status, own = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise CommandError(f"{command[:2]} ended with {process.returncode}: {log.read_text()[-2000:]}")
        traffic, counted = self.recorded.take(), self.s3.take()
        usage = Usage(
            wall=wall,
            cpu=own.ru_utime + own.ru_stime,
            memory=memory,
            disk=disk,
            requests=len(traffic.asked),
            received=traffic.sent,
            s3_cpu=cpu_seconds(self.s3.process) - s3,
            github_cpu=cpu_seconds(self.recorded.process) - github,
            s3_requests=counted.requests,
            s3_objects=counted.objects,
        )
        return usage, traffic


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has used."""
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def watch(process: int, folder: Path) -> tuple[int, int]:
    """Return the most memory of the process and its children, and the most disk in the folder, until it ends."""
    memory = disk = 0
    me = psutil.Process(process)
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        family = [process, *started(me)]
        memory = max(memory, sum(map(proportional_memory, family)))
        disk = max(disk, used(folder))
        time.sleep(SAMPLE)
    return memory, max(disk, used(folder))


def started(process: psutil.Process) -> list[int]:
    """Return the children, without those that share the process's memory until they run their own program."""
    try:
        command = process.cmdline()
        return [child.pid for child in process.children(recursive=True) if child.cmdline() != command]
    except psutil.Error:
        return []


def proportional_memory(process: int) -> int:
    """Return a process's share of memory in bytes; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (OSError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def used(folder: Path) -> int:
    """Return the bytes of disk that a folder takes."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(path) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total
