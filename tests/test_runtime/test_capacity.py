"""Disk and memory are reserved before they are used; small reservations fill the gaps, and large ones do not starve."""

import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from embedded.github import FakeGitHub
from embedded.organisation import BIG_FILE, RECIPES
from embedded.ports import wait_until
from embedded.real_git import ENVIRONMENT
from github_s3_backup.git.process import LOW_PRIORITY, SETTINGS, Git
from github_s3_backup.runtime.capacity import (
    MAX_OVERTAKES,
    Capacity,
    DiskFullError,
    Reservation,
    clone_reservation,
    free_memory,
    restore_reservation,
)
from github_s3_backup.runtime.stop import Stop, Stopped
from support.world import Repositories


def capacity_of(disk: int = 100, memory: int = 100) -> Capacity:
    return Capacity(Reservation(disk, memory), Stop())


def in_thread(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def waiting(capacity: Capacity, number: int) -> None:
    """Wait until so many are waiting for a reservation."""

    def check() -> None:
        assert len(capacity._waiting) == number

    wait_until(check, f"{number} threads that wait")


def test_reservations_together_never_exceed_the_capacity_and_all_are_granted() -> None:
    capacity = capacity_of()
    sizes = [(100, 1), (1, 100), (60, 60), (50, 50), (40, 10), (30, 70), (99, 0), (0, 99), (1, 1)] * 4
    lock, now, most, done = threading.Lock(), [0, 0], [0, 0], []

    def hold(disk: int, memory: int) -> None:
        with capacity.reserve(Reservation(disk, memory)):
            with lock:
                now[:] = now[0] + disk, now[1] + memory
                most[:] = max(most[0], now[0]), max(most[1], now[1])
            time.sleep(0.005)
            with lock:
                now[:] = now[0] - disk, now[1] - memory
                done.append((disk, memory))

    threads = [in_thread(lambda size=size: hold(*size)) for size in sizes]  # type: ignore[misc]
    for thread in threads:
        thread.join(20)
    assert sorted(done) == sorted(sizes)
    assert most == [100, 100]


def test_a_small_one_fills_the_gap_that_the_next_in_line_is_too_large_for() -> None:
    capacity, order = capacity_of(), []

    def hold(name: str, disk: int) -> None:
        with capacity.reserve(Reservation(disk, 0)):
            order.append(name)

    with capacity.reserve(Reservation(80, 0)):
        large = in_thread(lambda: hold("large", 40))
        waiting(capacity, 1)
        in_thread(lambda: hold("small", 10)).join(10)
        assert order == ["small"]
    large.join(10)
    assert order == ["small", "large"]


def test_a_large_one_is_overtaken_a_limited_number_of_times() -> None:
    capacity, order = capacity_of(), []

    def hold(name: str, disk: int) -> None:
        with capacity.reserve(Reservation(disk, 0)):
            order.append(name)

    with capacity.reserve(Reservation(50, 0)):
        threads = [in_thread(lambda: hold("large", 100))]
        waiting(capacity, 1)
        for _ in range(MAX_OVERTAKES):
            in_thread(lambda: hold("small", 1)).join(10)
        threads += [in_thread(lambda: hold("small", 1)) for _ in range(5)]
        waiting(capacity, 6)
        assert order == ["small"] * MAX_OVERTAKES
    for thread in threads:
        thread.join(10)
    assert order[MAX_OVERTAKES] == "large"
    assert len(order) == MAX_OVERTAKES + 6


def test_a_reservation_tells_whether_a_larger_one_is_held_beside_it() -> None:
    capacity = capacity_of()
    with ExitStack() as held:
        beside = [held.enter_context(capacity.reserve(Reservation(disk, 0))) for disk in (50, 10, 10)]
    assert beside == [False, True, True]


def test_git_with_low_priority_leaves_the_cpu_to_others(tmp_path: Path) -> None:
    git = Git(tmp_path, "file:///", Stop())
    alias = ("-c", "alias.priority=!sleep 0.3; nice", "priority")
    assert int(git.with_low_priority().run(*alias)) == int(git.run(*alias)) + LOW_PRIORITY


def test_what_does_not_fit_alone_is_refused_with_need_capacity_and_remedy() -> None:
    capacity = capacity_of(disk=20 * 10**9)
    expected = r"about 31\.\d GB .* needed, 20\.0 GB usable.*task_ephemeral_storage_gb"
    with pytest.raises(DiskFullError, match=expected), capacity.reserve(clone_reservation(25 * 10**9)):
        pass


def test_what_needs_more_memory_than_there_is_gets_all_of_it() -> None:
    capacity = capacity_of(disk=10**12)
    with capacity.reserve(clone_reservation(10**9)):
        blocked = in_thread(lambda: capacity.reserve(Reservation(0, 1)).__enter__())
        waiting(capacity, 1)
    blocked.join(10)


def test_a_restore_needs_room_for_the_bundle_and_its_mirror() -> None:
    assert restore_reservation(10**9).disk > 2 * 10**9
    assert restore_reservation(10**9).memory == clone_reservation(10**9).memory


def test_a_stopped_run_does_not_wait_for_capacity() -> None:
    class Told(Stop):
        def check(self) -> None:
            raise Stopped

    capacity = Capacity(Reservation(10, 10), Told())
    with capacity.reserve(Reservation(10, 0)), pytest.raises(Stopped), capacity.reserve(Reservation(1, 0)):
        pass
    with capacity.reserve(Reservation(10, 10)):  # who gave up no longer stands in line
        pass


def test_the_memory_for_git_is_below_what_this_machine_has() -> None:
    assert 0 < free_memory() < psutil.virtual_memory().total


def clone(url: str, into: Path, most: int, *settings: str) -> int:
    """Clone with so many bytes of memory for each of git's processes, and return the exit code."""
    options = [part for setting in (*SETTINGS, *settings) for part in ("-c", setting)]
    command = ["prlimit", f"--data={most}", "git", *options, "clone", "--mirror", "--quiet", url, str(into)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False).returncode


def test_a_large_file_is_cloned_in_little_memory(
    github: FakeGitHub, repositories: Repositories, tmp_path: Path
) -> None:
    github.add("acme", "big", repositories.path(RECIPES["big-file"]), private=False)
    url = f"{github.server_url}/acme/big.git"
    assert clone(url, tmp_path / "one", BIG_FILE - 1) == 0
    assert clone(url, tmp_path / "two", BIG_FILE - 1, "core.bigFileThreshold=512m") != 0
