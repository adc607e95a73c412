"""Several repositories at once, and their LFS objects and release files: one that fails does not stop the others."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from structlog.contextvars import bound_contextvars
from structlog.typing import FilteringBoundLogger

from github_s3_backup.restore.errors import EXPECTED_ERRORS, ContentError, is_disk_full
from github_s3_backup.restore.selection.records import Selected, Unavailable
from github_s3_backup.restore.terminal import new_bar
from github_s3_backup.runtime.capacity import Capacity, Reservation, machine_capacity, restore_reservation
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.download import BucketReader, OnBytes

if TYPE_CHECKING:
    from tqdm import tqdm

# Errors that are shown of one repository.
SHOWN = 5

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Selected, OnBytes], Result]


@dataclass(frozen=True)
class _Failed:
    selected: Selected
    error: str
    disk_full: bool = False


def for_each(
    selected: Sequence[Selected],
    work: Work[Result],
    title: str,
    concurrency: int,
    stop: Stop,
    log: FilteringBoundLogger,
) -> tuple[list[Result], list[Unavailable]]:
    """Do the work for each repository, `concurrency` at once; return the results and the failures. Raises Stopped.

    Those that ran out of disk are tried again one by one when the others are done, the smallest first.
    """
    with new_bar(title, sum(repository.size_bytes for repository in selected)) as bar:
        on_bytes = _counter(bar)

        def attempt(repository: Selected) -> Result | _Failed:
            stop.check()
            return _attempt(repository, work, on_bytes, log)

        outcomes = list(_concurrently(selected, attempt, concurrency))
        out_of_disk = [outcome for outcome in outcomes if isinstance(outcome, _Failed) and outcome.disk_full]
        for failure in sorted(out_of_disk, key=lambda failure: failure.selected.size_bytes):
            log.warning("disk full, retrying alone", full_name=failure.selected.entry.full_name)
            outcomes.remove(failure)
            outcomes.append(attempt(failure.selected))
    results = [outcome for outcome in outcomes if not isinstance(outcome, _Failed)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, _Failed)]
    return results, [Unavailable(failure.selected.entry.full_name, failure.error) for failure in failures]


def _concurrently(
    selected: Sequence[Selected], attempt: Callable[[Selected], Result | _Failed], concurrency: int
) -> Iterator[Result | _Failed]:
    """Yield the outcomes as they come. The largest start first: at the end small ones keep every worker busy."""
    with ThreadPoolExecutor(concurrency) as pool:
        largest_first = sorted(selected, key=lambda repository: (not repository.is_first, -repository.size_bytes))
        for future in as_completed([pool.submit(attempt, repository) for repository in largest_first]):
            yield future.result()


def _attempt(
    repository: Selected, work: Work[Result], on_bytes: OnBytes, log: FilteringBoundLogger
) -> Result | _Failed:
    """Return the result, or the failure; a bug is logged with its traceback."""
    with bound_contextvars(full_name=repository.entry.full_name):
        try:
            return work(repository, on_bytes)
        except EXPECTED_ERRORS as error:
            log.warning("failed, the others go on", error=str(error))
            return _Failed(repository, str(error), is_disk_full(error))
        except Exception as error:
            log.exception("bug, please report it")
            return _Failed(repository, f"a bug, see the log: {type(error).__name__}: {error}")


def _counter(bar: "tqdm[NoReturn]") -> OnBytes:
    """Return a function that adds bytes to the bar, from any thread."""
    lock = threading.Lock()

    def count(number: int) -> None:
        with lock:
            bar.update(number)

    return count


# -- LFS objects and release files ----------------------------------------------------------------


class Pool:
    """`size` threads, shared by all repositories."""

    def __init__(self, size: int, stop: Stop) -> None:
        self._executor, self._stop = ThreadPoolExecutor(size), stop

    def each(self, items: Iterable[Item], work: Callable[[Item], object], name: Callable[[Item], str]) -> None:
        """Do the work for each item, all of them though some fail.

        Raises ContentError with the names of those that failed, OSError where the disk is full, and Stopped.
        """

        def attempt(item: Item) -> Exception | None:
            self._stop.check()
            try:
                work(item)
            except EXPECTED_ERRORS as error:
                return error
            return None

        # Log lines name the repository of the thread that asks.
        contexts = [(item, contextvars.copy_context()) for item in items]
        running = [(item, self._executor.submit(context.run, attempt, item)) for item, context in contexts]
        failed = [(name(item), error) for item, future in running if (error := future.result())]
        raise_failed(failed, len(running))


@dataclass(frozen=True)
class Reading:
    """How the files of a repository are read: from which bucket, on which threads, and who counts their bytes."""

    reader: BucketReader
    pool: Pool
    on_bytes: OnBytes


def raise_failed(failed: Sequence[tuple[str, Exception]], total: int) -> None:
    """Raise ContentError if something failed, OSError where that was a full disk."""
    for _, error in failed:
        if is_disk_full(error):
            raise error
    if failed:
        shown = "; ".join(f"{name}: {error}" for name, error in failed[:SHOWN])
        more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        raise ContentError(f"{len(failed)} of {total} failed: {shown}{more}")


# -- disk and memory -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Room:
    """The disk and the memory of this machine. Apart, so that a long push holds the disk alone while it is sent."""

    disks: Capacity
    memories: Capacity

    @contextlib.contextmanager
    def disk(self, size: int) -> Iterator[None]:
        """Hold the disk for a bundle of `size` bytes and its mirror. Raises DiskFullError and Stopped."""
        with self.disks.reserve(Reservation(restore_reservation(size).disk, 0)):
            yield

    @contextlib.contextmanager
    def memory(self, size: int) -> Iterator[None]:
        """Hold the memory that git takes for so many bytes. Raises Stopped."""
        with self.memories.reserve(Reservation(0, restore_reservation(size).memory)):
            yield

    @contextlib.contextmanager
    def both(self, size: int) -> Iterator[None]:
        with self.disk(size), self.memory(size):
            yield


def open_room(folder: Path, stop: Stop) -> Room:
    """Return what is free on this machine."""
    return Room(machine_capacity(folder, stop), machine_capacity(folder, stop))
