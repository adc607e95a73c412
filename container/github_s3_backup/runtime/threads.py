"""Work in threads that do not keep the process alive: one action in the background, or many items a few at once."""

import contextvars
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from github_s3_backup.runtime.stop import Stop, Stopped

T = TypeVar("T")
Item = TypeVar("Item")


def in_background(action: Callable[[], T]) -> Future[T]:
    """Start `action` in a daemon thread and return its future. The process does not wait for it at exit.

    What is bound to log lines here is bound there too.
    """
    future: Future[T] = Future()

    def act() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(act,), daemon=True).start()
    return future


def within_grace(action: Callable[[], T], stop: Stop, seconds: float) -> T:
    """Return what `action` returns. Raises Stopped if it is not done so many seconds after the task was stopped.

    Works in a thread, so that the task can be stopped even while a server does not respond.
    """
    started = in_background(action)
    while stop.seconds() < seconds:
        if wait([started], timeout=0.1).done:
            return started.result()
    raise Stopped


def map_at_once(work: Callable[[Item], T], items: Iterable[Item], at_once: int) -> list[T]:
    """Return what `work` makes of each item, in order, `at_once` of them at a time. Raises its first error."""
    with ThreadPoolExecutor(at_once) as pool:
        return [
            future.result() for future in [pool.submit(contextvars.copy_context().run, work, item) for item in items]
        ]
