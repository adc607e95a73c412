"""Room on this machine for repositories that are being restored: disk and memory, as many as fit together."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from github_s3_backup.capacity import Budget, estimate, memory_budget
from github_s3_backup.disk import LEAST, USABLE, DiskFullError, readable, too_small
from github_s3_backup.stop import Stop

# The bundle, the mirror made from it, and the mirror's index.
COPIES = 2.2


class Room:
    """What the scratch folder and this machine's memory have room for."""

    def __init__(self, folder: Path, stop: Stop) -> None:
        self._folder = folder
        self._disk = Budget(stop, int(shutil.disk_usage(folder).free * USABLE))
        self._memory = Budget(stop, memory_budget())

    @contextlib.contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait for, and hold, what a bundle of so many bytes and its mirror need.

        Raises DiskFullError for what would not fit even alone.
        """
        needed = int(size * COPIES) + LEAST
        if needed > self._disk.total:
            about = f"about {readable(needed)} of temporary disk needed"
            raise DiskFullError(too_small(about, self._disk.total, self._folder))
        with self._disk.reserve(needed), self._memory.reserve(estimate(size).memory):
            yield
