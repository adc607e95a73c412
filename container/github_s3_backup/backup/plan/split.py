"""Splits the repositories of a run into shards of about the same work."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from github_s3_backup.backup.plan.last_backup import LastBackup
from github_s3_backup.backup.plan.records import Shard
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.capacity import clone_reservation

# What a repository costs whatever its size, in the bytes that are cloned in the same time.
BYTES_PER_REPOSITORY = 4 * 1024**2
# With fewer workers than this, one more shard does not make an installation's backup faster.
MIN_WORKERS = 4


@dataclass(frozen=True)
class Limits:
    """How many shards there may be, the workers of each, and the workers of one installation in all shards together."""

    shards: int
    workers: int
    installation_workers: int

    @property
    def installation_shards(self) -> int:
        """How many shards of one installation may run at once."""
        return max(1, self.installation_workers // MIN_WORKERS)


@dataclass(order=True)
class _Bin:
    """A shard in the making."""

    cost: int
    number: int
    repositories: list[Repository] = field(default_factory=list, compare=False)


def split(repositories: Iterable[Repository], limits: Limits, last: LastBackup) -> list[Shard]:
    """Return the shards, the largest repositories spread over them first.

    All shards may run at once. An installation has one rate limit, so its repositories are in no more shards than it
    can serve, and these share the requests that it takes at once. Small installations share shards.
    """
    by_installation: dict[int, list[Repository]] = defaultdict(list)
    for repository in repositories:
        by_installation[repository.installation_id].append(repository)
    groups = sorted(by_installation.values(), key=lambda group: -_cost(group, last))
    total = sum(_cost(group, last) for group in groups)
    bins = [_Bin(0, number) for number in range(limits.shards)]
    shares: dict[int, int] = {}
    for group in groups:
        fair = round(limits.shards * _cost(group, last) / total)
        share = max(1, min(fair, limits.installation_shards, len(group)))
        shares[group[0].installation_id] = share
        _spread(group, heapq.nsmallest(share, bins), last)
    filled = [filled for filled in bins if filled.repositories]
    width = len(str(len(filled)))
    return [
        _shard(f"{number:0{width}}", filled.repositories, _most_shares(filled.repositories, shares), limits, last)
        for number, filled in enumerate(filled, 1)
    ]


def _spread(group: list[Repository], bins: list[_Bin], last: LastBackup) -> None:
    """Put each repository, the largest first, where there is the least to do."""
    heapq.heapify(bins)
    for repository in sorted(group, key=lambda repository: -expected_size(repository, last)):
        target = bins[0]
        target.repositories.append(repository)
        target.cost += _cost([repository], last)
        heapq.heapreplace(bins, target)


def _most_shares(repositories: Iterable[Repository], shares: dict[int, int]) -> int:
    return max(shares[repository.installation_id] for repository in repositories)


def _shard(number: str, repositories: Sequence[Repository], shares: int, limits: Limits, last: LastBackup) -> Shard:
    """Return a shard: first what failed in the last backup, so that a deadline never leaves out the same ones.

    Then the largest, as they take the longest.
    """
    ordered = sorted(repositories, key=lambda item: (not last.failed(item.id), -expected_size(item, last)))
    known, failed = last.of({repository.id for repository in ordered})
    return Shard(
        number=number,
        repositories=tuple(ordered),
        workers=max(1, min(limits.workers, limits.installation_workers // shares)),
        shares=shares,
        disk=clone_reservation(max(expected_size(repository, last) for repository in ordered)).disk,
        known=known,
        failed=failed,
    )


def expected_size(repository: Repository, last: LastBackup) -> int:
    """Return the bytes that a clone is expected to have: GitHub's number, or the last bundle's if that is larger."""
    known = last.stored(repository.id)
    return max(repository.size_kb * 1024, known.restore_bytes if known else 0)


def _cost(repositories: Iterable[Repository], last: LastBackup) -> int:
    return sum(expected_size(repository, last) + BYTES_PER_REPOSITORY for repository in repositories)
