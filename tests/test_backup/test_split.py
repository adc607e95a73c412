"""How repositories are split into shards: all of them, once, evenly, and within what an installation serves."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from github_s3_backup.backup.plan.last_backup import LastBackup, last_backup_of
from github_s3_backup.backup.plan.records import Shard
from github_s3_backup.backup.plan.split import BYTES_PER_REPOSITORY, MIN_WORKERS, Limits, expected_size, split
from github_s3_backup.records.entry import new_entry
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.capacity import MAX_VOLUME_GIB, clone_reservation, volume_gib
from support.clients import MOMENT

NOTHING = last_backup_of(None, MOMENT.date(), 28)
GIB = 1024**3


def repository(number: int, size_kb: int, installation: int = 1) -> Repository:
    return Repository(number, "acme", f"r{number}", True, False, False, "main", size_kb, installation)


def cost(shard: Shard) -> int:
    return sum(expected_size(item, NOTHING) + BYTES_PER_REPOSITORY for item in shard.repositories)


SIZES = st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 5)), min_size=1, max_size=200)
LIMITS = st.builds(Limits, st.integers(1, 40), st.integers(1, 64), st.integers(1, 200))


@given(SIZES, LIMITS)
def test_every_repository_is_in_one_shard_and_no_installation_is_asked_too_much(
    sizes: list[tuple[int, int]], limits: Limits
) -> None:
    repositories = [repository(number, *about) for number, about in enumerate(sizes)]
    shards = split(repositories, limits, NOTHING)
    assert 1 <= len(shards) <= limits.shards
    assert Counter(item.id for shard in shards for item in shard.repositories) == Counter(range(len(sizes)))
    assert len({shard.number for shard in shards}) == len(shards)
    for installation in {about[1] for about in sizes}:
        serving = [s for s in shards if any(item.installation_id == installation for item in s.repositories)]
        assert sum(shard.workers for shard in serving) <= limits.installation_workers
        assert len(serving) <= max(1, limits.installation_workers // MIN_WORKERS)
    for shard in shards:
        assert 1 <= shard.workers <= limits.workers
        order = [item.size_kb for item in shard.repositories]
        assert order == sorted(order, reverse=True)
        assert shard.disk == clone_reservation(order[0] * 1024).disk


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.integers(1, 24))
def test_no_shard_has_more_work_than_another_by_more_than_its_smallest_repository(sizes: list[int], count: int) -> None:
    shards = split([repository(number, size) for number, size in enumerate(sizes)], Limits(count, 8, 1000), NOTHING)
    assert len(shards) == min(count, len(sizes))
    least = min(cost(shard) for shard in shards)
    for shard in shards:
        assert cost(shard) - least <= shard.repositories[-1].size_kb * 1024 + BYTES_PER_REPOSITORY


def test_a_single_task_has_one_shard_with_all_its_workers() -> None:
    (shard,) = split([repository(1, 5), repository(2, 9, 7)], Limits(1, 64, 64), NOTHING)
    assert [item.id for item in shard.repositories] == [2, 1]
    assert shard.workers == 64


def test_a_thousand_installations_share_sixteen_shards() -> None:
    shards = split([repository(number, 100, number) for number in range(1000)], Limits(16, 8, 96), NOTHING)
    assert len(shards) == 16
    assert {len(shard.repositories) for shard in shards} <= {62, 63}
    assert {shard.workers for shard in shards} == {8}


def test_a_shard_takes_along_what_the_last_backup_holds_of_its_repositories() -> None:
    """The size of the last bundle counts where GitHub's number is smaller."""
    stored = StoredObject(key="k", version_id="v", size_bytes=700, sha256="0" * 64, checksum=None)
    known = [new_entry(repository(number, 1), "empty", stored, None, 0.0) for number in range(4)]
    last = LastBackup(known, (), MOMENT.date(), 28)
    shards = split([repository(number, 0) for number in range(3)], Limits(2, 8, 96), last)
    assert {entry.id for shard in shards for entry in shard.known} == {0, 1, 2}
    for shard in shards:
        assert {entry.id for entry in shard.known} == {item.id for item in shard.repositories}
        assert shard.disk == clone_reservation(700).disk


def test_a_volume_is_planned_where_the_tasks_disk_is_too_small() -> None:
    assert volume_gib(clone_reservation(0).disk, 21) == 0
    assert volume_gib(17 * GIB, 21) == 0
    assert volume_gib(19 * GIB, 21) == 29  # 1.5 times, rounded up
    assert volume_gib(188 * GIB, 200) == 0
    assert volume_gib(190 * GIB, 200) == 285
    assert volume_gib(clone_reservation(300 * GIB).disk, 200) == 563
    assert volume_gib(90_000 * GIB, 200) == MAX_VOLUME_GIB
