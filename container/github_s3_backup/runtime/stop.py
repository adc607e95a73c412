"""How a run is stopped: by SIGTERM, Ctrl-C or its deadline. Waits are cut short and processes ended."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal

# git gets this long to remove its unfinished files before it is killed. Seconds.
GRACE = 3.0
# What ends a run early: also Ctrl-C, and a closed terminal.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(BaseException):
    """The run was told to stop.

    Like KeyboardInterrupt it is no Exception, so that no retry and no library swallows it.
    """


class Stop:
    """The one switch that ends a run. Made in `main`, passed to whatever waits or starts a process.

    `reason`: what stopped the run, None while it goes on.
    """

    def __init__(self) -> None:
        # A signal handler may only do what is safe between any two lines: SimpleQueue.put is.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._since = 0.0
        self.reason: Literal["signal", "deadline"] | None = None
        self.has_deadline = False

    def listen(self, timeout: float, at_timeout: Callable[[], None]) -> None:
        """Stop at a signal from now on; call `at_timeout` if the process is still here after `timeout` seconds."""
        threading.Thread(target=self._wait_for_signal, args=(timeout, at_timeout), daemon=True).start()
        for number in SIGNALS:
            signal.signal(number, lambda number, _frame: self._signals.put(number))

    def expire_after(self, seconds: float) -> None:
        """Stop the run after so many seconds, its deadline."""
        self.has_deadline = True

        def expire() -> None:
            if not self._event.wait(seconds):
                self._begin("deadline")

        threading.Thread(target=expire, daemon=True).start()

    def _wait_for_signal(self, timeout: float, at_timeout: Callable[[], None]) -> None:
        self._signals.get()
        self._begin("signal")
        time.sleep(max(0.0, timeout - self.seconds()))
        at_timeout()

    def _begin(self, reason: Literal["signal", "deadline"]) -> None:
        self.reason = reason
        self._since = time.monotonic()
        self._event.set()
        for process in self._running():
            _signal(process, signal.SIGTERM)
        while self._running() and self.seconds() < GRACE:
            time.sleep(0.05)
        self.kill_processes()

    def is_set(self) -> bool:
        return self._event.is_set()

    def seconds(self) -> float:
        """Return the seconds since the run was told to stop, 0 if it was not."""
        return time.monotonic() - self._since if self._event.is_set() else 0.0

    def check(self) -> None:
        """Raise Stopped if the run was told to stop."""
        if self._event.is_set():
            raise Stopped

    def now(self) -> float:
        """Return the seconds of a clock that only goes forward."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise Stopped as soon as the run is told to stop."""
        self._event.wait(seconds)
        self.check()

    @contextlib.contextmanager
    def ending(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """End the process and its children if the run is stopped inside this block."""
        with self._lock:
            self._processes.add(process)
        try:
            if self._event.is_set():
                _signal(process, signal.SIGKILL)
            yield
        finally:
            with self._lock:
                self._processes.discard(process)

    def _running(self) -> list[subprocess.Popen[bytes]]:
        with self._lock:
            return list(self._processes)

    def kill_processes(self) -> None:
        """Kill every process that still runs, with its children."""
        for process in self._running():
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that nobody waits for any more, with its children."""
    if process.poll() is None:
        _signal(process, signal.SIGKILL)
        process.wait()


def ignore_signals() -> None:
    """Let no signal change the exit code of a run that is over."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
