"""How a run is stopped: SIGTERM or Ctrl-C, the waits it cuts short, the processes it ends."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

# git gets this long to remove its half-made files before it is killed. Seconds.
GRACE = 3.0


class Stopped(BaseException):
    """The run was told to stop.

    Like KeyboardInterrupt no Exception, so that no retry and no library swallows it.
    """


class Stop:
    """The one switch that ends a run. Made in `main`, passed to whatever waits or starts a process."""

    def __init__(self) -> None:
        # A signal handler may only do what is safe between any two lines: SimpleQueue.put is.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._since = 0.0

    def listen(self, deadline: float, at_deadline: Callable[[], None]) -> None:
        """Stop at SIGTERM and SIGINT from now on; call `at_deadline` if we are still here after so many seconds."""
        threading.Thread(target=self._supervise, args=(deadline, at_deadline), daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._signals.put(number))

    def _supervise(self, deadline: float, at_deadline: Callable[[], None]) -> None:
        self._signals.get()
        self._since = time.monotonic()
        self._event.set()
        self._end_processes()
        time.sleep(max(0.0, deadline - self.seconds()))
        at_deadline()

    def is_set(self) -> bool:
        return self._event.is_set()

    def seconds(self) -> float:
        """Return the seconds since the run was told to stop, 0 if it was not."""
        return time.monotonic() - self._since if self._event.is_set() else 0.0

    def check(self) -> None:
        """Raise Stopped if the run was told to stop."""
        if self._event.is_set():
            raise Stopped

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

    def _end_processes(self) -> None:
        for process in self._running():
            _signal(process, signal.SIGTERM)
        while self._running() and self.seconds() < GRACE:
            time.sleep(0.05)
        self.kill_processes()

    def kill_processes(self) -> None:
        """Kill every process that still runs, with its children."""
        for process in self._running():
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process that nobody waits for any more, with its children."""
    if process.poll() is None:
        _signal(process, signal.SIGKILL)
        process.wait()


def ignore_signals() -> None:
    """Let nothing change the exit code of a run that is over."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
