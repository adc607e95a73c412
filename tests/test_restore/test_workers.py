"""Several repositories at once: whatever happens to one of them, the results of the others are kept."""

import errno
import threading
import time

import pytest

from github_s3_backup.git.process import GitError
from github_s3_backup.restore.selection.records import Selected
from github_s3_backup.restore.terminal import LOG_EVERY, Amount, new_progress, seconds_left
from github_s3_backup.restore.workers import Ended, Work, Workers
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.s3.download import OnBytes
from support.vault import Vault
from test_restore.test_drill import selected

REPOSITORIES = [selected(number) for number in range(6)]


def run(vault: Vault, work: Work[str], concurrency: int = 3) -> Ended[str]:
    return Workers(concurrency, vault.stop, vault.log).each(REPOSITORIES, work, "working")


def test_a_bug_in_one_repository_is_its_failure_alone(vault: Vault) -> None:
    def work(repository: Selected, _on_bytes: OnBytes) -> str:
        if repository.entry.name == "r3":
            return str(1 // 0)
        return repository.entry.name

    ended = run(vault, work)
    results, failures = ended.results, ended.failures
    assert sorted(results) == ["r0", "r1", "r2", "r4", "r5"]
    assert [(failure.full_name, failure.error) for failure in failures] == [
        ("acme/r3", "a bug, see the log: ZeroDivisionError: integer division or modulo by zero")
    ]
    (event,) = vault.events
    assert (event["event"], event["full_name"]) == ("bug, please report it", "acme/r3")
    assert "1 // 0" in event["exception"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), GitError("fatal: write error: No space left on device")], ids=["OS", "git"]
)
def test_what_found_the_disk_full_is_tried_again_alone_the_smallest_first(vault: Vault, error: Exception) -> None:
    all_started = threading.Barrier(len(REPOSITORIES))
    seen, again = set[str](), list[str]()
    alone = threading.Lock()

    def work(repository: Selected, _on_bytes: OnBytes) -> str:
        name = repository.entry.name
        if name not in seen:
            seen.add(name)
            all_started.wait(timeout=10)
            raise error
        assert alone.acquire(blocking=False)
        again.append(name)
        alone.release()
        if name == "r5":
            raise error
        return name

    ended = run(vault, work, concurrency=len(REPOSITORIES))
    results, failures = ended.results, ended.failures
    assert again == ["r0", "r1", "r2", "r3", "r4", "r5"]
    assert results == again[:-1]
    assert [failure.full_name for failure in failures] == ["acme/r5"]


def test_a_command_that_is_stopped_starts_no_other_repository(vault: Vault) -> None:
    started = []

    def work(repository: Selected, _on_bytes: OnBytes) -> str:
        started.append(repository.entry.name)
        raise Stopped

    ended = run(vault, work, concurrency=1)
    assert len(ended.left) == len(REPOSITORIES)
    assert len(started) <= len(REPOSITORIES)


def test_a_command_that_is_stopped_tells_what_was_done_and_what_had_failed(vault: Vault) -> None:
    def work(repository: Selected, _on_bytes: OnBytes) -> str:
        if repository.entry.name == "r1":
            raise GitError("no")
        if repository.entry.name == "r2":
            raise Stopped
        return repository.entry.name

    ended = run(vault, work)
    assert (len(ended.done), ended.left) == (4, ["acme/r2"])
    assert [failure.full_name for failure in ended.failures] == ["acme/r1"]


def test_the_time_that_is_left_follows_what_is_behind(vault: Vault) -> None:
    assert seconds_left(Amount(10, 100), 0, 50, 30.0) is None
    assert seconds_left(Amount(10, 100), 3, 50, 30.0) == 70
    with new_progress("pushing", Amount(2, 100), vault.log) as progress:
        progress.on_bytes(10)
        progress.finished()
        progress._logged = progress._started = time.monotonic() - 2 * LOG_EVERY
        progress.on_bytes(10)
    (line,) = vault.events
    assert (line["event"], line["repositories"], line["size_bytes"]) == ("in progress", "1 of 2", 20)
    assert line["minutes_left"] in (8, 9), "four fifths of the bytes after a fifth in two minutes"
