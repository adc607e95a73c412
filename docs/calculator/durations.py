"""How long a run takes and which task it needs: the model behind the tables of docs/costs.md.

The comments say what was measured (docs/performance.md) and what is assumed. A run does everything in parallel, so it
takes as long as the longest of: its CPU time, its waiting, its network transfer, its largest repository.
"""

from dataclasses import dataclass
from math import ceil

# Seconds of one vCPU to clone, bundle, and upload a GB. Assumed, as it depends on the content: 13 were measured with
# large files, 23 for git alone with thousands of small commits. Long delta chains take more.
CPU_GB = 60.0
# Measured, in seconds of one vCPU: per clone of any size, and per unchanged repository.
CPU_CLONE, CPU_UNCHANGED = 0.04, 0.005
# Seconds that each repository in flight waits for responses. Measured with 100 ms per response of GitHub, plus 50 ms
# per response of S3.
WAIT_CLONE, WAIT_UNCHANGED = 0.6, 0.25
IN_FLIGHT = 8  # repositories per vCPU
# Assumed, in GB per second: what GitHub sends for one repository, and for all of one task together.
ONE_CLONE, ALL_CLONES = 0.02, 0.1
# Seconds for each GB of one repository.
LARGEST_GB = 1 / ONE_CLONE + CPU_GB
# Assumed, in seconds: the pull of the image, which Fargate bills too.
TASK_START = 60
# The choices, with 4 GB of memory per vCPU.
VCPUS = (1, 2, 4, 8)
# From capacity.py: temporary disk per byte of a clone, and the share of the disk that is used.
DISK, USABLE_DISK = 1.25, 0.95


@dataclass(frozen=True)
class Work:
    """What one run does: repositories that it clones, unchanged repositories, GB cloned, GB of the largest clone."""

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


@dataclass(frozen=True)
class Parts:
    """Seconds of what a run does at the same time. `waiting_alone`: with one repository in flight."""

    cpu: float
    waiting_alone: float
    largest: float


def parts(work: Work, vcpu: float) -> Parts:
    """Return how long each part takes, with so many vCPUs in all."""
    return Parts(
        cpu=(work.gigabytes * CPU_GB + work.cloned * CPU_CLONE + work.unchanged * CPU_UNCHANGED) / vcpu,
        waiting_alone=work.cloned * WAIT_CLONE + work.unchanged * WAIT_UNCHANGED,
        largest=work.largest * LARGEST_GB,
    )


def seconds(work: Work, vcpu: float) -> float:
    """Return how long a run takes."""
    each = parts(work, vcpu)
    waiting = each.waiting_alone / (IN_FLIGHT * vcpu)
    return TASK_START + max(each.cpu, waiting, work.gigabytes / ALL_CLONES, each.largest)


def first_run(repositories: int, gigabytes: float, largest: float) -> Work:
    """Return the work of a run that clones everything."""
    return Work(repositories, 0, gigabytes, largest)


def task_for(repositories: int, gigabytes: float, largest: float, longest_first_run: float) -> Task:
    """Return the smallest task, at least the default, whose first run takes at most `longest_first_run` seconds.

    If the network or one repository takes longer than that, return the smallest task that is not slower than they are.
    """
    work = first_run(repositories, gigabytes, largest)
    longest = max(longest_first_run, seconds(work, VCPUS[-1]))
    vcpu = next(vcpu for vcpu in VCPUS if seconds(work, vcpu) <= longest)
    return Task(vcpu, 4 * vcpu, max(50, ceil(DISK * largest / USABLE_DISK / 10) * 10 + 10))


def table() -> str:
    """Return the parts of the model as a table."""
    each = f"{CPU_GB:g} s per GB cloned, {CPU_CLONE:g} s per clone, {CPU_UNCHANGED:g} s per unchanged repository"
    waits = f"{WAIT_CLONE:g} s per clone, {WAIT_UNCHANGED:g} s per unchanged repository"
    rows = [
        ("CPU time", f"{each}; divided by the number of vCPUs"),
        ("waiting", f"{waits}; divided by {IN_FLIGHT} repositories in flight per vCPU"),
        ("network", f"all GB cloned, at {ALL_CLONES * 1000:g} MB/s"),
        ("largest repository", f"its GB at {ONE_CLONE * 1000:g} MB/s, plus {CPU_GB:g} s of CPU per GB"),
    ]
    return "\n".join(["| | Takes |", "|---|---|", *(f"| {name} | {what} |" for name, what in rows)])
