"""How long a run takes and which task it needs: the model behind the tables of docs/costs.md.

The comments say what was measured (docs/performance.md) and what is assumed. A run does everything in parallel, so it
takes as long as the longest of: its CPU time, its waiting, its network transfer, its largest repository.
"""

from dataclasses import dataclass
from math import ceil

# Seconds of one vCPU to clone, bundle, and upload a GB. Assumed, as it depends on the content: 13 were measured with
# large files, 23 for git alone with thousands of small commits. Long delta chains take more.
CPU_GB = 60.0
# Measured, in seconds of one vCPU: per clone of any size, per bundle of changes, and per unchanged repository.
CPU_CLONE, CPU_CHANGES, CPU_UNCHANGED = 0.04, 0.06, 0.005
# Seconds that each repository waits for responses. Measured with 100 ms per response of GitHub, plus 50 ms per response
# of S3.
WAIT_CLONE, WAIT_CHANGES, WAIT_UNCHANGED = 0.6, 0.55, 0.25
IN_FLIGHT = 8  # repositories per vCPU that are stored at once
CHECKS = 6  # repositories that are asked at once whether they changed, for each of these
REQUESTS = 96  # to GitHub at once, for one installation
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
    """What one run does: repositories that it clones, unchanged repositories, GB received, GB of the largest clone.

    `changed`: repositories of which it stores what changed.
    """

    cloned: int
    unchanged: int
    gigabytes: float
    largest: float
    changed: int = 0


@dataclass(frozen=True)
class Task:
    """The size of the task: task_cpu, task_memory and task_ephemeral_storage_gb."""

    vcpu: int
    memory_gb: int
    disk_gb: int


@dataclass(frozen=True)
class Parts:
    """Seconds of what a run does at the same time. `storing` and `asking`: waiting, with one repository at a time."""

    cpu: float
    storing: float
    asking: float
    largest: float

    def waiting(self, at_once: float, requests: float) -> float:
        """Return the seconds of waiting, with so many repositories stored at once and so many requests."""
        return self.storing / at_once + self.asking / max(at_once, min(CHECKS * at_once, requests))


def parts(work: Work, vcpu: float) -> Parts:
    """Return how long each part takes, with so many vCPUs in all."""
    each = work.cloned * CPU_CLONE + work.changed * CPU_CHANGES + work.unchanged * CPU_UNCHANGED
    return Parts(
        cpu=(work.gigabytes * CPU_GB + each) / vcpu,
        storing=work.cloned * WAIT_CLONE + work.changed * WAIT_CHANGES,
        asking=work.unchanged * WAIT_UNCHANGED,
        largest=work.largest * LARGEST_GB,
    )


def seconds(work: Work, vcpu: float) -> float:
    """Return how long a run takes."""
    each = parts(work, vcpu)
    waiting = each.waiting(IN_FLIGHT * vcpu, REQUESTS)
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
    cpu = f"{CPU_GB:g} s per GB received, {CPU_CLONE:g} s per clone, {CPU_CHANGES:g} s per bundle of changes"
    waits = f"{WAIT_CLONE:g} s per clone and {WAIT_CHANGES:g} s per bundle of changes, {IN_FLIGHT} at once per vCPU"
    asks = f"{WAIT_UNCHANGED:g} s per unchanged repository, {CHECKS} times as many at once, at most {REQUESTS}"
    rows = [
        ("CPU time", f"{cpu}, {CPU_UNCHANGED:g} s per unchanged repository; divided by the number of vCPUs"),
        ("waiting", f"{waits}; and {asks}"),
        ("network", f"all GB received, at {ALL_CLONES * 1000:g} MB/s"),
        ("largest repository", f"its GB at {ONE_CLONE * 1000:g} MB/s, plus {CPU_GB:g} s of CPU per GB"),
    ]
    return "\n".join(["| | Takes |", "|---|---|", *(f"| {name} | {what} |" for name, what in rows)])
