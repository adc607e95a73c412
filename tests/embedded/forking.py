"""A process that has imported the program, and forks for each start of it: `python forking.py SOCKET`.

A start costs 0.02 s instead of 0.40. Each is a process of its own, with the arguments, environment, folder, streams,
and session that it is given, the limits and umask of the tests, and runs the entry point from its first line. Only what
the interpreter and the imports do before that line is shared.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from botocore.loaders import JSONFileLoader, Loader, create_loader

CONTAINER = Path(__file__).parents[2] / "container"
PACKAGE = "github_s3_backup"
# A request's length, the number of a process, an exit code.
NUMBER = struct.Struct("!q")


def import_all() -> None:
    """Import every module of the package. `__main__` would run."""
    for module in pkgutil.walk_packages([str(CONTAINER / PACKAGE)], f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


class ReadOnce(JSONFileLoader):
    """Reads each of botocore's descriptions of AWS once: each start would parse 2 MB of JSON."""

    known: ClassVar[dict[str, Any]] = {}

    def load_file(self, file_path: str) -> Any:
        if file_path not in self.known:
            self.known[file_path] = super().load_file(file_path)
        return self.known[file_path]


def read_descriptions() -> None:
    """Read what the program's clients are made of. A client itself would leave connections to end."""
    Loader.FILE_LOADER_CLASS = ReadOnce
    loader = create_loader()
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        loader.load_data(name)
    for service in ("s3", "cloudwatch", "secretsmanager", "kms"):
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model(service, kind)


class Server:
    """Forks at each request, and reports how each process has ended. Never has a thread."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)

    def serve(self) -> list[str]:
        """Fork until nobody asks any more. Returns in each child, with the arguments of the program."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._requests:
                    self._report(key)
                    continue
                header, fds, _, _ = socket.recv_fds(self._requests, NUMBER.size, 4, socket.MSG_WAITALL)
                if not header:
                    os._exit(0)
                request = json.loads(self._requests.recv(NUMBER.unpack(header)[0], socket.MSG_WAITALL))
                if not (pid := os.fork()):
                    return self._become(request, fds)
                for fd in fds[:3]:
                    os.close(fd)
                self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, fds[3]))

    def _report(self, key: selectors.SelectorKey) -> None:
        pid, report = key.data
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):  # whoever started it is gone
            os.write(report, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        self._selector.unregister(key.fileobj)
        os.close(report)
        os.close(key.fd)

    def _become(self, request: dict[str, Any], fds: list[int]) -> list[str]:
        """Turn this process into what was asked for, and then tell its number."""
        self._selector.close()
        try:
            if request["start_new_session"]:
                os.setsid()
            for number in range(3):
                os.dup2(fds[number], number)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["environment"])
            forget()
            open_streams()
        finally:
            self._requests.sendall(NUMBER.pack(os.getpid()))
            self._requests.close()
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        return list(request["arguments"])


def forget() -> None:
    """Forget what this process knows of its own environment."""
    tempfile.tempdir = None
    time.tzset()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def open_streams() -> None:
    """Open stdin, stdout, and stderr as Python does when it starts."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        binary = open(number, "rb" if name == "stdin" else "wb", closefd=False)  # noqa: SIM115
        lines = name == "stderr" or binary.isatty()
        stream = io.TextIOWrapper(binary, old.encoding, old.errors, newline="\n", line_buffering=lines)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    sys.path[0] = str(CONTAINER)
    # A Ctrl-C at the terminal is for the tests and the programs.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    import_all()
    read_descriptions()
    gc.freeze()
    sys.argv = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    runpy.run_path(sys.argv[0], run_name="__main__")
