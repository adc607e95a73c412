"""What is measured: how many repositories of which size, how often."""

from dataclasses import dataclass

MB = 1024**2


@dataclass(frozen=True)
class Plan:
    """One run of the benchmark. Sizes in bytes."""

    small: int = 28
    medium: int = 3
    medium_commits: int = 4000
    large: int = 300 * MB
    blobs: tuple[int, ...] = (500 * MB, 500 * MB, 250 * MB)
    # How many different repositories the growing organisations are made of.
    tiny: int = 50
    rounds: int = 5
    # Seconds from a request to GitHub to its answer.
    latency: float = 0.1
    # The number of repositories, and at which shares of them (percent) a day's changes are measured.
    growth: tuple[tuple[int, tuple[int, ...]], ...] = (
        (100, (0, 3, 100)),
        (1000, (0, 3, 100)),
        (10_000, (0, 3)),
    )
    # LFS objects of one repository, their sizes, and a single large one.
    lfs_objects: int = 1000
    lfs_size: int = 200_000
    lfs_large: int = 1024 * MB
    # A large repository with some new commits; and many of which some have one more: their number, how many different
    # ones, their size.
    changing_large: int = 300 * MB
    changing_commits: int = 20
    changing_repositories: int = 300
    changing_different: int = 10
    changing_size: int = 3 * MB
    # How many repositories `git ls-remote` is timed on.
    listed: int = 400
    # A run in several tasks: repositories, the share (percent) that changes, shards, and seconds until GitHub answers.
    shard_repositories: int = 120
    shard_changed: int = 5
    shards: tuple[int, ...] = (1, 2, 4, 8, 16)
    # How many repositories each shard has in flight at once where one is killed; None: as many as in the other runs.
    killed_workers: int | None = None
    shard_latencies: tuple[float, ...] = (0.1, 0.5)
    # How many repositories are only listed and merged.
    listed_and_merged: tuple[int, ...] = (100, 10_000, 50_000)


def planned(sizes: str | None, full: bool, rounds: int) -> Plan:
    """Return the plan for the words of the command line. Raises ValueError."""
    every = (0, 3, 100)
    if sizes is not None:
        return Plan(rounds=rounds, growth=tuple((int(size), every) for size in sizes.split(",") if size))
    growth = tuple((size, every) for size, _ in Plan.growth) if full else Plan.growth
    return Plan(rounds=rounds, growth=growth)
