"""Disk and memory, shared by the repositories in flight: each reserves what it is expected to need."""

import contextlib
import math
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from github_s3_backup.runtime.stop import Stop
from github_s3_backup.runtime.units import format_bytes

MIB = 1024**2
# What the program itself takes, manifests and connections included; and the parts of uploads that it holds in memory.
PROGRAM_MEMORY, UPLOAD_BUFFERS = 160 * MIB, 128 * MIB
MIN_MEMORY = 64 * MIB
# What git takes for a clone: a base, and index-pack 180 bytes an object. A pack rarely has more than one object in
# 260 bytes. Large blobs are not held in memory (core.bigFileThreshold in git/process.py).
CLONE_MEMORY, MEMORY_PER_BYTE = 24 * MIB, 0.7
# Disk for each byte of a clone: a mirror has an index next to its pack, and GitHub's `size` may be out of date.
DISK_PER_BYTE = 1.25
# Disk for each byte of a restore: the bundle, the mirror made from it, and the mirror's index.
RESTORE_DISK_PER_BYTE = 2.2
# Disk that even an empty mirror may take.
MIN_DISK = 8 * MIB
# Share of the free disk that is used. The rest is for logs, git's own temporary files and other programs.
USABLE_DISK = 0.95
# Of the disk that a Fargate task is given, what its image and the file system take.
TAKEN_DISK = 2 * 1024**3
# A volume for a large repository has this many times the disk that its clone is expected to take: GitHub's `size` is an
# estimate, and a volume is paid for by the second. The largest that Fargate attaches, in GiB.
VOLUME_FACTOR, MAX_VOLUME_GIB = 1.5, 16_384
# Max times a waiting reservation may be overtaken by smaller ones.
MAX_OVERTAKES = 16
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class DiskFullError(Exception):
    """The repository needs more temporary disk than there is."""


@dataclass(frozen=True)
class Reservation:
    """Bytes of temporary disk and of memory."""

    disk: int
    memory: int


def clone_reservation(size: int) -> Reservation:
    """Return what a clone of about `size` bytes needs."""
    return Reservation(int(DISK_PER_BYTE * size) + MIN_DISK, int(MEMORY_PER_BYTE * size) + CLONE_MEMORY)


def restore_reservation(size: int) -> Reservation:
    """Return what it takes to restore a bundle of `size` bytes."""
    return Reservation(int(RESTORE_DISK_PER_BYTE * size) + MIN_DISK, clone_reservation(size).memory)


def volume_gib(disk: int, own_gib: int) -> int:
    """Return the GiB of the volume that a task needs for so many bytes of disk; 0 where its own disk is enough."""
    if disk <= USABLE_DISK * (own_gib * 1024**3 - TAKEN_DISK):
        return 0
    return min(MAX_VOLUME_GIB, max(own_gib, math.ceil(VOLUME_FACTOR * disk / 1024**3)))


@dataclass(eq=False)
class _Holder:
    """A thread that waits for a reservation or holds it."""

    needs: Reservation
    overtaken: int = field(default=0, init=False)


class Capacity:
    """An amount of disk and memory that threads reserve parts of."""

    def __init__(self, total: Reservation, stop: Stop) -> None:
        self.total = total
        self._free, self._stop = total, stop
        self._waiting: list[_Holder] = []
        self._running: list[_Holder] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, needs: Reservation) -> Iterator[bool]:
        """Wait for the reservation and hold it for this block; yield whether a larger one is held beside it.

        A repository that needs more memory than there is gets all of it. Raises DiskFullError where the disk is too
        small even for this one alone, and Stopped.
        """
        if needs.disk > self.total.disk:
            raise DiskFullError(self.too_small(f"about {format_bytes(needs.disk)} of temporary disk needed"))
        holder = _Holder(Reservation(needs.disk, min(needs.memory, self.total.memory)))
        with self._changed:
            larger_beside = self._acquire(holder)
        try:
            yield larger_beside
        finally:
            with self._changed:
                self._running.remove(holder)
                self._give(holder.needs)

    def too_small(self, problem: str) -> str:
        """Return the message for a repository that does not fit, with the input that helps."""
        return (
            f"{problem}, {format_bytes(self.total.disk)} usable: raise the module's task_ephemeral_storage_gb; "
            "above 200 GiB set its orchestration with volumes = true (outside AWS: point TMPDIR at a larger disk)"
        )

    def _acquire(self, holder: _Holder) -> bool:
        self._waiting.append(holder)
        try:
            while self._next() is not holder:
                self._changed.wait(0.2)
                self._stop.check()
            self._waiting[0].overtaken += self._waiting[0] is not holder
        finally:
            self._waiting.remove(holder)
        larger_beside = any(other.needs.disk > holder.needs.disk for other in self._running)
        self._running.append(holder)
        self._give(Reservation(-holder.needs.disk, -holder.needs.memory))
        return larger_beside

    def _give(self, amount: Reservation) -> None:
        self._free = Reservation(self._free.disk + amount.disk, self._free.memory + amount.memory)
        self._changed.notify_all()

    def _next(self) -> _Holder | None:
        """Return who may go ahead: the first who fits, unless too many have overtaken the one at the head."""
        candidates = self._waiting[:1] if self._waiting[0].overtaken >= MAX_OVERTAKES else self._waiting
        return next((holder for holder in candidates if self._fits(holder.needs)), None)

    def _fits(self, needs: Reservation) -> bool:
        return needs.disk <= self._free.disk and needs.memory <= self._free.memory


def machine_capacity(folder: Path, stop: Stop) -> Capacity:
    """Return what is free on the disk of `folder`, and the memory that all clones together may take."""
    disk = int(shutil.disk_usage(folder).free * USABLE_DISK)
    return Capacity(Reservation(disk, free_memory()), stop)


def free_memory() -> int:
    """Return the bytes of memory for git: the container's limit or what is free, less what this program needs."""
    limits = [psutil.virtual_memory().available]
    for path in map(Path, CGROUP_LIMITS):
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limits.append(int(path.read_text()))
    return max(MIN_MEMORY, min(limits) - PROGRAM_MEMORY - UPLOAD_BUFFERS)
