"""How long a run takes, and which task it needs: the model behind the tables of docs/sizing.md.

What was measured (docs/performance.md) and what is assumed is said below. A run does everything at once, so it takes as
long as the longest of: its CPU time, its waiting, its bytes, its largest repository.
"""

from dataclasses import dataclass
from math import ceil

# Seconds of one vCPU for a GB that is cloned, bundled and uploaded. Assumed, as it depends on what is in it: 13 were
# measured with large files, 23 for git alone with thousands of small commits; long chains of deltas take more.
CPU_GB = 60.0
# Measured, in seconds of one vCPU: for a clone, whatever its size, and for a repository that did not change.
CPU_CLONE, CPU_UNCHANGED = 0.04, 0.005
# Seconds that each repository in flight takes where nothing but answers is waited for. Measured with 100 ms to an
# answer of GitHub; for S3 50 ms an answer are added.
WAIT_CLONE, WAIT_UNCHANGED = 0.6, 0.25
IN_FLIGHT = 8  # repositories for each vCPU
# Assumed, in GB a second: what GitHub sends of one repository, and of all together.
ONE_CLONE, ALL_CLONES = 0.02, 0.1
# Assumed, in seconds: until the task has its image, which Fargate bills too.
TASK_START = 60
# What is chosen from, with 4 GB of memory each.
VCPUS = (1, 2, 4, 8)
# From container/disk.py: temporary disk for each byte of a clone, and the share of the disk that is used.
DISK, USABLE_DISK = 1.25, 0.95


@dataclass(frozen=True)
class Work:
    """What one run does: repositories that it clones, those that did not change, GB cloned, GB of the largest clone."""

    cloned: int
    unchanged: int
    gigabytes: float
    largest: float


@dataclass(frozen=True)
class Task:
    """The size of the task: task_cpu, task_memory and task_ephemeral_storage_gb."""

    vcpu: int
    memory_gb: int
    disk_gb: int


def seconds(work: Work, vcpu: float) -> float:
    """Return how long a run takes."""
    cpu = (work.gigabytes * CPU_GB + work.cloned * CPU_CLONE + work.unchanged * CPU_UNCHANGED) / vcpu
    waiting = (work.cloned * WAIT_CLONE + work.unchanged * WAIT_UNCHANGED) / (IN_FLIGHT * vcpu)
    largest = work.largest * (1 / ONE_CLONE + CPU_GB)
    return TASK_START + max(cpu, waiting, work.gigabytes / ALL_CLONES, largest)


def first_run(repositories: int, gigabytes: float, largest: float) -> Work:
    """Return the work of a run that clones everything."""
    return Work(repositories, 0, gigabytes, largest)


def daily_run(repositories: int, gigabytes: float, largest: float, share: float) -> Work:
    """Return the work of a day on which a share of everything changed or is due, the largest repository among it."""
    cloned = ceil(share * repositories)
    return Work(cloned, repositories - cloned, max(largest, share * gigabytes), largest)


def task_for(repositories: int, gigabytes: float, largest: float, longest_first_run: float) -> Task:
    """Return the smallest task, from the module's defaults on, whose first run is not longer than so many seconds.

    Where the network or one repository takes longer, the smallest with which it is no slower than that.
    """
    work = first_run(repositories, gigabytes, largest)
    longest = max(longest_first_run, seconds(work, VCPUS[-1]))
    vcpu = next(one for one in VCPUS if seconds(work, one) <= longest)
    return Task(vcpu, 4 * vcpu, max(50, ceil(DISK * largest / USABLE_DISK / 10) * 10 + 10))


def table() -> str:
    """Return what the model is made of as a table."""
    each = f"{CPU_GB:g} s a GB cloned, {CPU_CLONE:g} s a clone, {CPU_UNCHANGED:g} s an unchanged repository"
    waits = f"{WAIT_CLONE:g} s a clone, {WAIT_UNCHANGED:g} s an unchanged repository"
    rows = [
        ("CPU", f"{each}; divided by the vCPUs"),
        ("waiting", f"{waits}; divided by {IN_FLIGHT} in flight per vCPU"),
        ("network", f"all GB cloned at {ALL_CLONES * 1000:g} MB/s"),
        ("the largest repository", f"its GB at {ONE_CLONE * 1000:g} MB/s, and {CPU_GB:g} s of CPU a GB"),
    ]
    return "\n".join(["| | takes |", "|---|---|", *(f"| {name} | {what} |" for name, what in rows)])
