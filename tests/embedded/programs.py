"""Starts the program: as a fork of a process that has imported it, where that is the same as a real start."""

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from embedded.forking import NUMBER
from embedded.stack import BACKUP, RESTORE, measured

# What the interpreter, its libraries, and the imports read before the program's first line: such a start is a real one.
READ_AT_START = (
    *("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_", "TQDM_", "PSUTIL_", "SPHINX_BUILD"),
    *("NO_COLOR", "FORCE_COLOR"),
)
# Before a command: starts it for real.
REALLY = ("env",)


class ForkedProcess:
    """A process of the program, with what the tests use of `subprocess.Popen[str]`."""

    def __init__(self, pid: int, report: int, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None
        self._report = open(report, "rb", buffering=0)  # noqa: SIM115
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended. Raises subprocess.TimeoutExpired."""
        reported = select.poll()
        reported.register(self._report, select.POLLIN)
        if self.returncode is None and not reported.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        with self._lock:
            if self.returncode is None:
                (self.returncode,) = NUMBER.unpack(self._report.read(NUMBER.size))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what it writes to the pipes, once it has ended. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        texts = {stream: "" for stream in (self.stdout, self.stderr) if stream}
        readers = [threading.Thread(target=_read, args=(stream, texts), daemon=True) for stream in texts]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0, "".join(texts.values()))
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return texts.get(self.stdout, "") if self.stdout else "", texts.get(self.stderr, "") if self.stderr else ""

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "ForkedProcess":
        return self

    def __exit__(self, _type: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()


def _read(stream: IO[str], texts: dict[IO[str], str]) -> None:
    with stream:
        for block in iter(lambda: stream.read(65536), ""):
            texts[stream] += block


# What runs a program: both have what the tests use.
Process = subprocess.Popen[str] | ForkedProcess


def start_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    start_new_session: bool = False,
) -> Process:
    """Start a command with exactly this environment, without stdin; `stdout`, `stderr`: as of `subprocess.Popen`."""
    if can_fork(command, environment):
        return _forks().start(command[1:], environment, stdout, stderr, start_new_session)
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=start_new_session,
    )


def can_fork(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether a fork is the same as a real start of this command."""
    ours = tuple(command[:2]) in {BACKUP, RESTORE}
    return ours and hasattr(os, "pidfd_open") and not any(name.startswith(READ_AT_START) for name in environment)


@functools.cache
def _forks() -> "_Forks":
    return _Forks()


def end_forks() -> None:
    """End the process that forks, and wait for it: what it and the programs took counts for the tests."""
    if _forks.cache_info().currsize:
        _forks().close()
        _forks.cache_clear()


class _Forks:
    """The other end of `forking.py`."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        script = Path(__file__).with_name("forking.py")
        with theirs:
            command = [sys.executable, str(script), str(theirs.fileno())]
            environment = {"PATH": os.environ["PATH"], **measured()}
            self._server = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        self._socket.close()
        self._server.wait()

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        start_new_session: bool,
    ) -> ForkedProcess:
        with contextlib.ExitStack() as theirs:
            out, our_out = _stream(stdout, theirs)
            err, our_err = (out, None) if stderr == subprocess.STDOUT else _stream(stderr, theirs)
            nothing = theirs.enter_context(Path(os.devnull).open()).fileno()
            report, written = os.pipe()
            theirs.callback(os.close, written)
            request = {
                "arguments": list(arguments),
                "environment": dict(environment),
                "start_new_session": start_new_session,
                "cwd": str(Path.cwd()),
            }
            pid = self._ask(json.dumps(request).encode(), [nothing, out, err, written])
        return ForkedProcess(pid, report, our_out, our_err)

    def _ask(self, request: bytes, fds: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._socket, [NUMBER.pack(len(request))], fds)
            self._socket.sendall(request)
            (pid,) = NUMBER.unpack(self._socket.recv(NUMBER.size, socket.MSG_WAITALL))
        return int(pid)


def _stream(wanted: int, theirs: contextlib.ExitStack) -> tuple[int, IO[str] | None]:
    """Return what the process writes to, and what we read where that is a pipe."""
    if wanted != subprocess.PIPE:
        return wanted, None
    ours, written = os.pipe()
    theirs.callback(os.close, written)
    return written, open(ours, encoding="utf-8")  # noqa: PTH123
