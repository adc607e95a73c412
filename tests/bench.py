"""`make bench`: this run against a sequential loop, on the same data, as ratios of one session.

Machines are noisy, so the two take turns and medians of ratios are printed, never bare seconds. Each
request to GitHub takes 100 ms longer than this machine needs for it. Every bundle of every run is
restored and its refs are compared: a fast backup that loses a ref fails the benchmark.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

from disk import readable
from embedded.github import FakeGitHub
from embedded.organisation import LARGE, Recipe, Stream, add_repository, plain
from embedded.real_git import restore, served_refs
from embedded.stack import BACKUP, Stack, serve_stack

SEQUENTIAL = (sys.executable, str(Path(__file__).with_name("bench_sequential.py")))
LATENCY = 0.1
ROUNDS = 3
SAMPLE = 0.05


@dataclass(frozen=True)
class Usage:
    """What one run took: seconds of wall clock and of CPU, bytes of disk and of memory at the peak."""

    wall: float
    cpu: float
    disk: float
    memory: float


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="backup-bench-") as name:
        place = Path(name)
        with serve_stack(place / "s3") as stack, FakeGitHub() as github:
            compare(Bench(place, stack, github))
            single(stack, place)
    return 0


@dataclass
class Bench:
    """The servers and the place in which runs are measured."""

    place: Path
    stack: Stack
    github: FakeGitHub
    refs: int = 0
    runs: int = 0

    def measure(self, command: tuple[str, ...]) -> Usage:
        """Run the command against a new bucket, check what it stored, and return what it took."""
        self.runs += 1
        scratch = self.place / f"scratch-{self.runs}"
        scratch.mkdir()
        bucket = self.stack.s3.new_bucket(f"bench-{os.getpid()}-{id(self)}-{self.runs}")
        key = self.place / "key.pem"
        key.write_text(self.github.pem())
        environment = self.stack.environment(self.github, bucket, scratch) | {"GITHUB_APP_KEY_FILE": str(key)}
        begun = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        disk, memory = watch(process, scratch)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"{command[1]} ended with {process.returncode}"
        self.check(bucket)
        return Usage(wall, usage.ru_utime + usage.ru_stime, disk, memory)

    def check(self, bucket: str) -> None:
        """Restore every bundle in the bucket and compare its refs with the source's."""
        client = self.stack.s3.client()
        keys = [one["Key"] for one in client.list_objects_v2(Bucket=bucket)["Contents"]]
        stored = {"/".join(key.split("/")[-2:]): key for key in keys if key.endswith(".bundle")}
        assert len(stored) == len(self.github.repositories)
        with tempfile.TemporaryDirectory(dir=self.place) as folder:
            for repository in self.github.repositories.values():
                bundle = Path(folder) / "bundle"
                client.download_file(bucket, stored[f"{repository.full_name}.bundle"], str(bundle))
                refs = restore(bundle, Path(folder) / f"{repository.id}.git")
                source = served_refs(repository.path)
                source.pop("HEAD", None)
                assert refs == source, f"{repository.full_name}: a restored ref differs"
                self.refs += len(refs)


def watch(process: "subprocess.Popen[bytes]", scratch: Path) -> tuple[int, int]:
    """Return the most disk and the most memory that the process and its children had, in bytes."""
    me, disk, memory = psutil.Process(process.pid), 0, 0
    while me.is_running() and me.status() != psutil.STATUS_ZOMBIE:
        try:
            family = [me, *me.children(recursive=True)]
        except psutil.Error:
            break
        memory = max(memory, sum(proportional_memory(one) for one in family))
        disk = max(disk, used(scratch))
        time.sleep(SAMPLE)
    return disk, memory


def proportional_memory(process: psutil.Process) -> int:
    """Return a process's share of memory: pages that several share are counted in parts."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def used(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(path) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total


def medium(number: int) -> Recipe:
    """Return the recipe of a repository of some megabytes in many commits."""

    def fill(stream: Stream) -> None:
        stream.tag("v1", stream.history("refs/heads/main", 4000, number))

    return Recipe(f"medium-{number}", fill, about={"size_kb": 3000})


def compare(bench: Bench) -> None:
    """Print the median ratios of the two on 28 small, 3 medium and 2 larger repositories."""
    large = [one for one in LARGE if one.name in ("big-file", "many-refs")]
    for recipe in (*plain(28), medium(1), medium(2), medium(3), *large):
        add_repository(bench.github, bench.place / "organisation", recipe)
    bench.github.latency = LATENCY
    print(f"{len(bench.github.repositories)} repositories, {LATENCY * 1000:.0f} ms more for each request to GitHub")
    bench.measure(BACKUP)
    bench.measure(SEQUENTIAL)
    pairs = [(bench.measure(BACKUP), bench.measure(SEQUENTIAL)) for _ in range(ROUNDS)]
    ratios = [[theirs / ours for ours, theirs in zip(astuple(a), astuple(b), strict=True)] for a, b in pairs]
    wall, cpu, disk, memory = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median of {ROUNDS} pairs after a warm-up, this run against the sequential loop ({os.cpu_count()} cores):")
    print(f"  wall clock   {wall:5.2f} times as fast")
    print(f"  CPU          {1 / cpu:5.2f} times as much")
    print(f"  peak disk    {1 / disk:5.2f} times as much")
    print(f"  peak memory  {1 / memory:5.2f} times as much")
    print(f"  {bench.refs} restored refs compared, all equal")


def single(stack: Stack, place: Path) -> None:
    """Print the peak memory of a run with one repository that holds a 60 MB file."""
    with FakeGitHub() as github:
        add_repository(github, place / "single", next(one for one in LARGE if one.name == "big-file"))
        usage = Bench(place, stack, github, runs=1000).measure(BACKUP)
        print(
            f"one repository with a 60 MB file: peak memory {readable(usage.memory)}, peak disk {readable(usage.disk)}"
        )


if __name__ == "__main__":
    sys.exit(main())
