"""The sizes of the tables, and what each needs: one task, or so many shards."""

import argparse
from dataclasses import dataclass

from calculator import durations, one_task
from calculator.options import parsed
from calculator.shards import LARGEST_DISK, run, volume_gib

# Repositories, and GB of all.
EXAMPLES = ((50, 2.0), (500, 40.0), (10_000, 500.0))
# Of the table of tasks: repositories, GB of all, GB of the largest.
TASK_SIZES = ((50, 2, 0.5), (500, 40, 5), (2_000, 200, 15), (10_000, 500, 20), (10_000, 2_000, 60), (500, 1_000, 140))
LONGEST_FIRST_RUN = 6 * 3600  # seconds: a night
SHARDS = (1, 2, 4, 8, 16, 32, 64)
SHARD = durations.Task(vcpu=2, memory_gb=8, disk_gb=50)


@dataclass(frozen=True)
class Size:
    """What is to be backed up: repositories, GB of all, GB of the largest, organizations (installations of the App)."""

    repositories: int
    gigabytes: float
    largest: float
    organizations: int = 1

    @property
    def first_run(self) -> durations.Work:
        return durations.first_run(self.repositories, self.gigabytes, self.largest)

    @property
    def bad_day(self) -> durations.Work:
        return one_task.bad_day(self.repositories, self.gigabytes, self.largest)

    @property
    def label(self) -> str:
        where = f" in {self.organizations} organizations" if self.organizations > 1 else ""
        noun = "repositories" if self.repositories > 1 else "repository"
        return f"{self.repositories:,} {noun}{where}, {self.gigabytes:,} GB"


# Of the worked examples: many repositories, and one that is too large for the disk of a Fargate task.
LARGE, MONOREPO = Size(50_000, 20_000, 100, 10), Size(1, 300, 300)
SCALING_SIZES = (
    *(Size(500, 40, 5), Size(10_000, 500, 20), Size(10_000, 2_000, 60), Size(500, 1_000, 140)),
    *(Size(20_000, 5_000, 60, 4), LARGE, Size(100_000, 10_000, 20, 20), Size(50, 500, 300), MONOREPO),
)


def enough_shards(size: Size) -> int:
    """Return the fewest shards whose first run takes a night, or as long as with the most shards."""
    lasts = {shards: run(size.first_run, given_for(size, shards)).seconds for shards in SHARDS}
    longest = max(LONGEST_FIRST_RUN, min(lasts.values()) * 1.02)
    return next(shards for shards, seconds in lasts.items() if seconds <= longest)


def is_too_large(size: Size) -> bool:
    """Return whether the work is too much for one task: a clone for its disk, or a first run for a night."""
    alone = durations.TASK_START + size.largest * durations.LARGEST_GB
    lasts = durations.seconds(size.first_run, durations.VCPUS[-1])
    return volume_gib(size.largest, LARGEST_DISK) > 0 or lasts > max(LONGEST_FIRST_RUN, alone)


def given_for(size: Size, shards: int, **more: object) -> argparse.Namespace:
    """Return the options for shards of the usual size."""
    about = {"repositories": size.repositories, "gigabytes": size.gigabytes, "largest": size.largest}
    of_shards = {"shards": shards, "installations": size.organizations}
    of_each = {"vcpu": SHARD.vcpu, "memory": SHARD.memory_gb, "disk": shard_disk(size.largest)}
    return parsed(**(about | of_shards | of_each | more))


def shard_disk(largest: float) -> int:
    """Return the smallest disk that holds the largest repository; the usual one where that needs a volume."""
    fits = (disk for disk in range(SHARD.disk_gb, LARGEST_DISK + 1, 10) if not volume_gib(largest, disk))
    return next(fits, SHARD.disk_gb)
