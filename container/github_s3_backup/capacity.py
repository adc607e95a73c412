"""What may be cloned when: disk and memory are budgets, and each clone reserves what it is expected to need."""

import contextlib
import re
import shutil
import threading
from bisect import insort
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from github_s3_backup.disk import LEAST, PER_BYTE, USABLE, DiskFullError, readable, too_small
from github_s3_backup.repository import Repository
from github_s3_backup.stop import Stop

MIB = 1024**2
# What this program itself takes, the manifests and the connections of its workers included; and what it may hold of
# bundles on their way.
OWN_MEMORY, BUFFERS = 160 * MIB, 128 * MIB
LEAST_MEMORY = 64 * MIB
# What git's processes take for a clone: some for themselves, and index-pack 180 bytes an object, of which a pack has
# hardly ever more than one in 260 bytes. Large blobs are not held in memory (see core.bigFileThreshold in git.py).
CLONE_MEMORY, MEMORY_PER_BYTE = 24 * MIB, 0.7
# So often smaller ones may pass one that waits for room.
MOST_OVERTAKINGS = 16
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Weight:
    """Bytes of temporary disk and of memory."""

    disk: int
    memory: int


def estimate(size: int) -> Weight:
    """Return what a clone of about so many bytes needs."""
    return Weight(int(PER_BYTE * size) + LEAST, int(MEMORY_PER_BYTE * size) + CLONE_MEMORY)


def memory_budget() -> int:
    """Return the bytes of memory that all clones together may take: the task's, less what the program needs."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    limits = [int(found[1]) * 1024] if found else []
    for path in map(Path, CGROUP_LIMITS):
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limits.append(int(path.read_text()))
    return max(LEAST_MEMORY, min(limits, default=0) - OWN_MEMORY - BUFFERS)


@dataclass(eq=False)
class Job:
    """A repository's next step: to look whether it changed, which weighs nothing, or with a weight to clone it.

    `gives_way`: a larger one is cloned beside it, which may well be what the whole run ends with.
    """

    repository: Repository
    weight: Weight | None = None
    overtaken: int = field(default=0, init=False)
    gives_way: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        return self.weight.disk if self.weight else self.repository.size_kb * 1024


class Admission:
    """Hands out jobs, the largest first, as long as they fit into the budgets together."""

    def __init__(self, folder: Path, memory: int, stop: Stop) -> None:
        self.disk = int(shutil.disk_usage(folder).free * USABLE)
        self.memory = memory
        self._folder, self._stop = folder, stop
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        with self._changed:
            insort(self._waiting, job, key=lambda one: -one.size)
            self._changed.notify_all()

    def jobs(self) -> Generator[Job, None, None]:
        """Yield jobs until all are done; each counts as running until the next is asked for. Raises Stopped."""
        while job := self._take():
            try:
                yield job
            finally:
                with self._changed:
                    self._running.remove(job)
                    self._changed.notify_all()

    def to_clone(self, repository: Repository, size: int) -> Job:
        """Return the job to clone a repository of about so many bytes.

        What needs more memory than there is runs alone. Raises DiskFullError for what would not fit on the disk
        even alone.
        """
        needed = estimate(size)
        if needed.disk > self.disk:
            raise DiskFullError(self.too_small(f"about {readable(needed.disk)} of temporary disk needed"))
        return Job(repository, Weight(needed.disk, min(needed.memory, self.memory)))

    def alone(self, job: Job) -> Job | None:
        """Return the job again with the whole disk for itself, None where it had that."""
        if job.weight is None or job.weight.disk >= self.disk:
            return None
        return Job(job.repository, Weight(self.disk, job.weight.memory))

    def too_small(self, what: str) -> str:
        """Return the message for a repository that does not fit, with the input that helps."""
        return too_small(what, self.disk, self._folder)

    def _take(self) -> Job | None:
        with self._changed:
            while self._waiting or self._running:
                self._stop.check()
                if job := self._next():
                    self._waiting.remove(job)
                    job.gives_way = any(one.weight and one.size > job.size for one in self._running)
                    self._running.append(job)
                    return job
                self._changed.wait(0.2)
        return None

    def _next(self) -> Job | None:
        """Return the largest job that fits. One that waits for room is passed by others only so often."""
        room, passed = self._room(), None
        for job in self._waiting:
            if job.weight is None:
                return job
            if job.weight.disk > room.disk or job.weight.memory > room.memory:
                passed = passed or job
            elif passed is None:
                return job
            elif passed.overtaken < MOST_OVERTAKINGS:
                passed.overtaken += 1
                return job
        return None

    def _room(self) -> Weight:
        """Return what the running jobs leave of the budgets."""
        used = [job.weight for job in self._running if job.weight]
        return Weight(self.disk - sum(one.disk for one in used), self.memory - sum(one.memory for one in used))


class Budget:
    """A number of bytes, handed out to as many threads as it suffices for."""

    def __init__(self, stop: Stop, budget: int) -> None:
        self.total = budget
        self._stop, self._free = stop, budget
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold so many bytes, or all there are, for this block. Raises Stopped."""
        size = min(size, self.total)
        with self._changed:
            while size > self._free:
                self._changed.wait(0.2)
                self._stop.check()
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
