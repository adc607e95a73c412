"""Disk and memory are reserved before they are used; small ones fill the gaps, and large ones do not starve."""

import re
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from github_s3_backup.disk import DiskFullError

from embedded.github import FakeGitHub
from embedded.organisation import BIG_FILE, RECIPES
from embedded.real_git import ENVIRONMENT
from github_s3_backup.capacity import MOST_OVERTAKINGS, Admission, Budget, Job, Weight, estimate, memory_budget
from github_s3_backup.git.process import GIVING_WAY, SETTINGS, Git
from github_s3_backup.stop import Stop, Stopped
from test_archive import REPOSITORY
from world import Repositories


def job(name: str, disk: int, memory: int = 0) -> Job:
    return Job(replace(REPOSITORY, name=name), Weight(disk, memory))


@pytest.fixture
def admission(tmp_path: Path) -> Admission:
    """An admission with 100 bytes of disk and 100 of memory."""
    made = Admission(tmp_path, 100, Stop())
    made.disk = 100
    return made


def test_a_clone_gives_way_to_a_larger_one_that_runs_beside_it(admission: Admission) -> None:
    for name, disk in (("large", 50), ("small", 10), ("later", 5)):
        admission.put(job(name, disk))
    admission.put(Job(replace(REPOSITORY, name="only looks", size_kb=1000)))
    workers = [admission.jobs() for _ in range(4)]
    taken = [next(worker) for worker in workers]
    assert [(one.repository.name, one.gives_way) for one in taken] == [
        ("only looks", False),
        ("large", False),
        ("small", True),
        ("later", True),
    ]


def test_git_that_gives_way_runs_with_a_lower_priority(tmp_path: Path) -> None:
    git = Git(tmp_path, "file:///", Stop())
    alias = ("-c", "alias.priority=!sleep 0.3; nice", "priority")
    assert int(git.giving_way().run(*alias)) == int(git.run(*alias)) + GIVING_WAY


def test_jobs_together_never_exceed_a_budget_and_all_are_done(admission: Admission) -> None:
    sizes = [(100, 1), (1, 100), (60, 60), (50, 50), (40, 10), (30, 70), (99, 0), (0, 99), (1, 1)] * 4
    for disk, memory in sizes:
        admission.put(job("x", disk, memory))
    lock, now, most, done = threading.Lock(), [0, 0], [0, 0], []

    def work() -> None:
        for one in admission.jobs():
            assert one.weight
            with lock:
                now[:] = now[0] + one.weight.disk, now[1] + one.weight.memory
                most[:] = max(most[0], now[0]), max(most[1], now[1])
            time.sleep(0.005)
            with lock:
                now[:] = now[0] - one.weight.disk, now[1] - one.weight.memory
                done.append((one.weight.disk, one.weight.memory))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == sorted(sizes)
    assert most == [100, 100]


def test_the_largest_goes_first_and_small_ones_fill_the_gaps(admission: Admission) -> None:
    for name, disk in (("small", 10), ("large", 80), ("middle", 40)):
        admission.put(job(name, disk))
    first, second = admission.jobs(), admission.jobs()
    assert next(first).repository.name == "large"
    assert next(second).repository.name == "small"
    first.close()
    assert next(second).repository.name == "middle"


def test_a_large_one_is_overtaken_only_so_often(admission: Admission) -> None:
    admission.put(job("first", 50))
    holding = admission.jobs()
    next(holding)
    admission.put(job("large", 100))
    for number in range(2 * MOST_OVERTAKINGS):
        admission.put(job(f"small-{number}", 1))
    passed: list[str] = []
    worker = threading.Thread(target=lambda: passed.extend(one.repository.name for one in admission.jobs()))
    worker.start()
    time.sleep(0.5)
    assert len(passed) == MOST_OVERTAKINGS
    holding.close()
    worker.join(10)
    assert passed[MOST_OVERTAKINGS] == "large"
    assert len(passed) == 1 + 2 * MOST_OVERTAKINGS


def test_to_look_at_a_repository_weighs_nothing_and_waits_for_nothing(admission: Admission) -> None:
    admission.put(job("all", 100, 100))
    holding = admission.jobs()
    next(holding)
    admission.put(job("waits", 100))
    admission.put(Job(REPOSITORY))
    assert next(admission.jobs()).repository == REPOSITORY


def test_what_waits_is_passed_by_as_quickly_however_many_run(tmp_path: Path) -> None:
    """Each worker looks through all that wait several times a second as long as one holds the memory."""
    assert seconds_to_pass(tmp_path, running=60) < 4 * seconds_to_pass(tmp_path, running=1)


def seconds_to_pass(folder: Path, running: int) -> float:
    """Return the CPU time to find the only job that can be done, behind thousands that can't."""
    admission = Admission(folder, running, Stop())
    for _ in range(running):
        admission.put(job("runs", 0, 1))
    holding = [admission.jobs() for _ in range(running)]
    for one in holding:
        next(one)
    for _ in range(3000):
        admission.put(job("waits", 5000, 1))
    took = []
    for _ in range(5):
        admission.put(Job(REPOSITORY))
        started = time.thread_time()
        assert next(admission.jobs()).weight is None
        took.append(time.thread_time() - started)
    return min(took)


def test_a_job_may_lead_to_another_before_all_are_done(admission: Admission) -> None:
    admission.put(Job(REPOSITORY))
    steps = []
    for one in admission.jobs():
        steps.append(one.weight)
        if one.weight is None:
            admission.put(job("x", 7))
    assert steps == [None, Weight(7, 0)]


def test_what_does_not_fit_alone_is_refused_with_need_room_and_remedy(admission: Admission) -> None:
    admission.disk = 20 * 10**9
    with pytest.raises(DiskFullError, match=r"about 31\.\d GB .* needed, 20\.0 GB usable .*task_ephemeral_storage_gb"):
        admission.to_clone(REPOSITORY, 25 * 10**9)


def test_what_needs_more_memory_than_there_is_runs_alone(admission: Admission) -> None:
    admission.disk = 10**12
    assert admission.to_clone(REPOSITORY, 10**9).weight == Weight(estimate(10**9).disk, admission.memory)


def test_once_more_is_alone_on_the_disk_and_then_no_more(admission: Admission) -> None:
    again = admission.alone(job("x", 10, 5))
    assert again
    assert again.weight == Weight(100, 5)
    assert admission.alone(again) is None


def test_a_stopped_run_waits_neither_for_room_nor_for_buffers(tmp_path: Path) -> None:
    class Told(Stop):
        def check(self) -> None:
            raise Stopped

    admission = Admission(tmp_path, 1, Told())
    admission.put(job("x", 1))
    with pytest.raises(Stopped):
        next(admission.jobs())
    buffers = Budget(Told(), 10)
    with buffers.reserve(10), pytest.raises(Stopped), buffers.reserve(1):
        pass


def test_buffers_are_shared_and_given_back() -> None:
    buffers, order = Budget(Stop(), 10), []

    def use(name: str, size: int) -> None:
        with buffers.reserve(size):
            order.append(name)

    with buffers.reserve(99):  # all there are
        waiting = threading.Thread(target=use, args=("second", 1))
        waiting.start()
        time.sleep(0.1)
        order.append("first")
    waiting.join(5)
    assert order == ["first", "second"]


def test_the_memory_budget_is_below_what_this_machine_has() -> None:
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024  # type: ignore[index]
    assert 0 < memory_budget() < total


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
