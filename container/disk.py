"""How much temporary disk the repositories in flight may use together."""

import contextlib
import shutil
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from stop import Stop

# A mirror has an index beside its pack, and GitHub's cached `size` may be behind. A bundle is never on the disk.
PER_BYTE = 1.25
# What even an empty mirror may take.
LEAST = 8 * 1024**2
# Left free for logs, git's own temporary files and the neighbours. Share of the free space.
USABLE = 0.95


class DiskFullError(Exception):
    """The repository needs more temporary disk than the task has."""


def estimate(size_kb: int) -> int:
    """Return the bytes a repository needs on disk, from GitHub's `size` (KB, cached, an estimate)."""
    return int(PER_BYTE * size_kb * 1024) + LEAST


def readable(size: float) -> str:
    """Return a number of bytes as a person reads it: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


class Disk:
    """A budget of bytes, first come first served, so that a large repository is never starved."""

    def __init__(self, folder: Path, stop: Stop) -> None:
        self.budget = int(shutil.disk_usage(folder).free * USABLE)
        self._folder = folder
        self._stop = stop
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold `size` bytes of the budget for this block; wait until they are free.

        Raises DiskFullError when they would not fit even alone.
        """
        if size > self.budget:
            raise DiskFullError(self.too_small(f"about {readable(size)} of temporary disk needed"))
        self._acquire(size)
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()

    def too_small(self, what: str) -> str:
        """Return the message for a repository that does not fit, with the input that helps."""
        return (
            f"{what}, {readable(self.budget)} usable in {self._folder}: raise the module's "
            "task_ephemeral_storage_gb (outside AWS: point TMPDIR at a larger disk)"
        )

    def _acquire(self, size: int) -> None:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or self._used + size > self.budget:
                    self._changed.wait(0.2)
                    self._stop.check()
                self._used += size
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
