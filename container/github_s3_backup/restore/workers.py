"""Several repositories at once, and their LFS objects and release files: one that fails does not stop the others."""

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from structlog.contextvars import bound_contextvars
from structlog.typing import FilteringBoundLogger

from github_s3_backup.restore.errors import EXPECTED_ERRORS, ContentError, is_disk_full
from github_s3_backup.restore.selection.records import Selected, Unavailable
from github_s3_backup.restore.terminal import Amount, new_progress, no_limit
from github_s3_backup.runtime.capacity import Capacity, Reservation, machine_capacity, restore_reservation
from github_s3_backup.runtime.stop import Stop, Stopped
from github_s3_backup.s3.download import BucketReader, OnBytes

# Errors that are shown of one repository.
SHOWN = 5

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Selected, OnBytes], Result]


@dataclass(frozen=True)
class _Failed:
    error: str
    disk_full: bool = False


@dataclass(frozen=True)
class _Stopped:
    """The end of a repository that was not finished, or not begun."""


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """How several repositories ended: the results of those that are done, the failures, and what a stop left.

    `done` and `left` are names.
    """

    results: list[Result]
    failures: list[Unavailable]
    done: list[str]
    left: list[str]


@dataclass(frozen=True)
class Workers:
    """Works on several repositories at once, `at_once` at most."""

    at_once: int
    stop: Stop
    log: FilteringBoundLogger

    def each(
        self, selected: Sequence[Selected], work: Work[Result], title: str, least: Callable[[float], float] = no_limit
    ) -> Ended[Result]:
        """Do the work for each repository, and return how each ended.

        The largest start first: at the end small ones keep every worker busy. Those that ran out of disk are tried
        again one by one when the others are done, the smallest first. `least`: as in Amount.
        """
        ends: list[tuple[Selected, Result | _Failed | _Stopped]] = []
        amount = Amount(len(selected), sum(repository.size_bytes for repository in selected), least)
        with new_progress(title, amount, self.log) as progress:

            def attempt(repository: Selected) -> tuple[Selected, Result | _Failed | _Stopped]:
                end = _attempt(repository, work, progress.on_bytes, self)
                progress.finished()
                return repository, end

            with ThreadPoolExecutor(self.at_once) as pool:
                largest_first = sorted(selected, key=lambda each: (not each.is_first, -each.size_bytes))
                ends += pool.map(attempt, largest_first)
            out_of_disk = [each for each in ends if isinstance(each[1], _Failed) and each[1].disk_full]
            for failed in sorted(out_of_disk, key=lambda each: each[0].size_bytes):
                self.log.warning("disk full, retrying alone", full_name=failed[0].entry.full_name)
                ends.remove(failed)
                ends.append(attempt(failed[0]))
        return _ended(ends)


def _ended(ends: Sequence[tuple[Selected, Result | _Failed | _Stopped]]) -> Ended[Result]:
    named = [(repository.entry.full_name, end) for repository, end in ends]
    return Ended(
        results=[end for _, end in named if not isinstance(end, (_Failed, _Stopped))],
        failures=[Unavailable(name, end.error) for name, end in named if isinstance(end, _Failed)],
        done=sorted(name for name, end in named if not isinstance(end, (_Failed, _Stopped))),
        left=sorted(name for name, end in named if isinstance(end, _Stopped)),
    )


def _attempt(
    repository: Selected, work: Work[Result], on_bytes: OnBytes, workers: Workers
) -> Result | _Failed | _Stopped:
    """Return the result, or the failure; a bug is logged with its traceback."""
    with bound_contextvars(full_name=repository.entry.full_name):
        try:
            workers.stop.check()
            return work(repository, on_bytes)
        except Stopped:
            return _Stopped()
        except EXPECTED_ERRORS as error:
            workers.log.warning("failed, the others go on", error=str(error))
            return _Failed(str(error), is_disk_full(error))
        except Exception as error:
            workers.log.exception("bug, please report it")
            return _Failed(f"a bug, see the log: {type(error).__name__}: {error}")


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
