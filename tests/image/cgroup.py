"""The memory that a container's control group has used, for version 1 and 2 of control groups."""

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path("/sys/fs/cgroup")
PAUSE = 0.05


@dataclass(frozen=True)
class Group:
    """The files of a memory control group."""

    folder: Path

    def peak(self) -> int:
        """Return the most bytes that it has held at once, files' pages included."""
        return self._number("memory.peak", "memory.max_usage_in_bytes")

    def limit(self) -> int:
        return self._number("memory.max", "memory.limit_in_bytes")

    def processes(self) -> int:
        """Return the bytes that its processes have now; files' pages, which the kernel can take back, not counted."""
        found = re.search(r"^(?:anon|total_rss) (\d+)$", (self.folder / "memory.stat").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0

    def _number(self, *names: str) -> int:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                return int((self.folder / name).read_text())
        raise FileNotFoundError(self.folder)


def group_of(pid: int) -> Group | None:
    """Return the memory control group of a process."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Group(ROOT / "memory" / path.lstrip("/"))
        if controllers == "" and (ROOT / path.lstrip("/") / "memory.max").exists():
            return Group(ROOT / path.lstrip("/"))
    return None


@dataclass
class Meter:
    """Watches a container's memory while it runs: its control group is gone when it ends."""

    pid: Callable[[], int]
    limit: int = 0
    peak: int = 0
    processes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread
        self._thread.join()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):  # it has ended
            group = self._group()
            while group and not self._stop.is_set():
                self.limit, self.peak = group.limit(), group.peak()
                self.processes = max(self.processes, group.processes())
                time.sleep(PAUSE)

    def _group(self) -> Group | None:
        while not self._stop.is_set():
            if pid := self.pid():
                return group_of(pid)
            time.sleep(PAUSE)
        return None
