"""Files beside git: many small ones, some of them at once, whichever repository they belong to."""

import contextvars
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from github_s3_backup.restore.errors import EXPECTED_ERRORS, ContentError, is_disk_full
from github_s3_backup.runtime.stop import Stop

# Errors that are shown of one repository.
SHOWN = 5

Item = TypeVar("Item")


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


def raise_failed(failed: Sequence[tuple[str, Exception]], total: int) -> None:
    """Raise ContentError if something failed, OSError where that was a full disk."""
    for _, error in failed:
        if is_disk_full(error):
            raise error
    if failed:
        shown = "; ".join(f"{name}: {error}" for name, error in failed[:SHOWN])
        more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        raise ContentError(f"{len(failed)} of {total} failed: {shown}{more}")
