"""What a run in several tasks takes: beside a single task, for many repositories, and when a shard is killed.

All shards run on one machine, so they share its cores: they show what waiting costs, and not what more CPU gives.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.bounds import WORKERS
from bench.contenders import PRODUCT, environment
from bench.days import PREFIX, a_day_passes, read
from bench.growth import rehearse
from bench.measure import Usage
from bench.organisation import Organisation, organisation
from bench.plan import Plan
from bench.recorded import Traffic
from bench.recorded_server import GIT_PATH
from bench.repositories import Generated
from bench.session import Session
from embedded.github import FakeGitHub
from github_s3_backup.backup.plan.records import Report
from github_s3_backup.backup.plan.store import PlanStore
from github_s3_backup.records.entry import Entry, RefSummary, new_entry
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.s3.keys import plan_folder
from github_s3_backup.s3.objects import Objects

AT_ONCE = Path(__file__).with_name("at_once.py")
# Of the shard that is killed half-way, and of the runs that are only listed and merged.
KILLED_SHARDS, OVERHEAD_SHARDS = 2, 16


@dataclass(frozen=True)
class Run:
    """A run in one task (`shards` is 0) or in several. Seconds, bytes, numbers.

    `wall` is that of all its tasks, of which `list_and_merge` is no shard's. `memory` and `workers`: of all shards
    together. `peak`: the most requests at GitHub at once.
    """

    shards: int
    workers: int
    peak: int
    wall: float
    list_and_merge: float
    cpu: float
    memory: int
    requests: int
    s3_requests: int
    cloned_twice: int


@dataclass(frozen=True)
class Compared:
    """The same day in a single task, and with each number of shards. `latency`: seconds until GitHub answers."""

    latency: float
    day: str
    single: Run
    in_shards: list[Run]


@dataclass(frozen=True)
class Overhead:
    """Listing and merging so many repositories on a day after another. `plan` and `reports`: their bytes in S3."""

    repositories: int
    shards: int
    listed: Usage
    merged: Usage
    plan: int
    reports: int


@dataclass(frozen=True)
class Killed:
    """A first run whose first shard was killed when half of it was stored, beside one that nobody disturbed."""

    undisturbed: Run
    killed: Run


@dataclass(frozen=True)
class Shards:
    """Everything about runs in several tasks."""

    repositories: int
    changed: int
    compared: list[Compared]
    overhead: list[Overhead]
    killed: Killed


def shards(session: Session, tiny: list[Generated], plan: Plan, say: Callable[[str], None]) -> Shards:
    """Measure all of it."""
    with FakeGitHub() as github:
        rehearse(session, organisation(github, session.recorded, tiny))
    with FakeGitHub() as github:
        served = organisation(github, session.recorded, tiny, plan.shard_repositories)
        session.recorded.set(latency=0)
        two_days(session, served, plan, 0)
        two_days(session, served, plan, KILLED_SHARDS)
        session.recorded.set(recording=False)
        compared = [day for latency in plan.shard_latencies for day in beside_one_task(session, served, plan, latency)]
        say(f"runs in {', '.join(map(str, plan.shards))} shards measured")
        session.recorded.set(latency=plan.latency)
        killed = killed_half_way(session, served, plan)
        say("a killed shard measured")
    overhead = []
    for number in plan.listed_and_merged:
        overhead.append(list_and_merge(session, tiny, number, plan.latency))
        say(f"{number} repositories listed and merged")
    return Shards(plan.shard_repositories, plan.shard_changed, compared, overhead, killed)


# -- beside one task -----------------------------------------------------------------------------


def beside_one_task(session: Session, served: Organisation, plan: Plan, latency: float) -> list[Compared]:
    """Measure a first run and a day after it, in one task and with each number of shards."""
    session.recorded.set(latency=latency)
    names = ("first run", f"{plan.shard_changed} % changed")
    days = zip(*(two_days(session, served, plan, number) for number in (0, *plan.shards)), strict=True)
    return [Compared(latency, name, single, in_shards) for name, (single, *in_shards) in zip(names, days, strict=True)]


def two_days(session: Session, served: Organisation, plan: Plan, number: int) -> tuple[Run, Run]:
    """Measure a first run and a day after it, and compare what they stored; the changes are undone."""
    with session.bucket() as bucket:
        first = a_run(session, served, bucket, number)
        session.restorer.product(served, bucket)
        a_day_passes(session.s3, bucket)
        served.change(plan.shard_changed)
        changed = a_run(session, served, bucket, number)
        session.restorer.product(served, bucket)
        served.change(plan.shard_changed)
        return first, changed


def a_run(
    session: Session,
    served: Organisation,
    bucket: str,
    number: int,
    workers: int = WORKERS,
    kill_after: int | None = None,
) -> Run:
    """Measure a run in so many shards; 0: in a single task."""
    if number == 0:
        usage, traffic = session.product(served, bucket)
        return _run(0, WORKERS, [usage], 0.0, traffic)
    tasks = Tasks(session, served, bucket, number, workers)
    listed = tasks.list_all()
    backed_up, traffic = tasks.back_up(kill_after)
    merged = tasks.merge()
    return _run(tasks.found, tasks.workers, [listed, backed_up, merged], listed.wall + merged.wall, traffic)


def _run(number: int, workers: int, usages: list[Usage], list_and_merge: float, traffic: Traffic) -> Run:
    return Run(
        shards=number,
        workers=workers,
        peak=traffic.peak,
        wall=sum(usage.wall for usage in usages),
        list_and_merge=list_and_merge,
        cpu=sum(usage.cpu for usage in usages),
        memory=max(usage.memory for usage in usages),
        requests=sum(usage.requests for usage in usages),
        s3_requests=sum(usage.s3_requests for usage in usages),
        cloned_twice=cloned_twice(traffic),
    )


def cloned_twice(traffic: Traffic) -> int:
    """Return how many repositories were fetched more than once."""
    fetches = Counter(
        match["name"]
        for asked in traffic.asked
        if (match := GIT_PATH.fullmatch(asked["path"])) and b"want " in bytes.fromhex(asked["body"])
    )
    return sum(count > 1 for count in fetches.values())


def killed_half_way(session: Session, served: Organisation, plan: Plan) -> Killed:
    """Measure a first run whose first shard is killed, and one that nobody disturbs."""
    with session.bucket() as bucket:
        undisturbed = a_run(session, served, bucket, KILLED_SHARDS, plan.killed_workers or WORKERS)
    with session.bucket() as bucket:
        half = plan.shard_repositories // KILLED_SHARDS // 2
        killed = a_run(session, served, bucket, KILLED_SHARDS, plan.killed_workers or WORKERS, kill_after=half)
        session.restorer.product(served, bucket)
    return Killed(undisturbed, killed)


# -- listing and merging -------------------------------------------------------------------------


def list_and_merge(session: Session, tiny: list[Generated], number: int, latency: float) -> Overhead:
    """List and merge on two days; what the shards would report is written without a clone. Return the second day."""
    with FakeGitHub() as github, session.bucket() as bucket:
        served = organisation(github, session.recorded, tiny, number)
        first = Tasks(session, served, bucket, OVERHEAD_SHARDS)
        session.recorded.set(recording=True, latency=0)
        first.list_all()
        session.recorded.set(recording=False, latency=latency)
        first.report()
        first.merge()
        a_day_passes(session.s3, bucket)
        second = Tasks(session, served, bucket, OVERHEAD_SHARDS)
        listed, plan = second.list_all(), second.bytes_written
        second.report()
        reports = second.bytes_written - plan
        return Overhead(number, second.found, listed, second.merge(), plan, reports)


class Tasks:
    """The tasks of one run, each measured."""

    def __init__(
        self, session: Session, served: Organisation, bucket: str, number: int, workers: int = WORKERS
    ) -> None:
        self._session, self._served, self._bucket = session, served, bucket
        now = datetime.now(UTC)
        name = f"run-{next(session.numbers)}"
        self._variables = {
            "RUN_NAME": name,
            "RUN_STARTED_AT": now.isoformat(),
            "RUN_SHARDS": str(number),
            "BACKUP_CONCURRENCY": str(workers),
            "PYTHONPATH": str(AT_ONCE.parents[1]),
        }
        self._folder = plan_folder(PREFIX, f"{now:%Y-%m-%d}", name)
        self._store = PlanStore(Objects(session.s3.client(), bucket), self._folder)

    def list_all(self) -> Usage:
        return self._do(*PRODUCT, "backup", "list")[0]

    def back_up(self, kill_after: int | None = None) -> tuple[Usage, Traffic]:
        """Run all shards at once; kill the first one when it has stored so many repositories."""
        kill = () if kill_after is None else ("--kill-after", str(kill_after))
        return self._do(sys.executable, str(AT_ONCE), *kill, *self._numbers)

    def merge(self) -> Usage:
        return self._do(*PRODUCT, "backup", "merge")[0]

    def report(self) -> None:
        """Write what the shards would report if they had stored everything."""
        for number in self._numbers:
            shard = self._store.shard(number)
            entries = tuple(a_stored_entry(repository) for repository in shard.repositories)
            self._store.write_report(Report(shard=number, entries=entries, failures=()))

    @property
    def found(self) -> int:
        """How many shards the plan has."""
        return len(self._numbers)

    @property
    def workers(self) -> int:
        return sum(self._store.shard(number).workers for number in self._numbers)

    @property
    def bytes_written(self) -> int:
        """The bytes of the run's files in S3."""
        client = self._session.s3.client()
        found = client.list_objects_v2(Bucket=self._bucket, Prefix=self._folder)["Contents"]
        return sum(client.head_object(Bucket=self._bucket, Key=item["Key"])["ContentLength"] for item in found)

    @property
    def _numbers(self) -> list[str]:
        items: Any = read(self._session.s3, self._bucket, f"{self._folder}shards.json")
        return [item["shard"] for item in items]

    def _do(self, *command: str) -> tuple[Usage, Traffic]:
        with self._session.scratch() as scratch:
            given = environment(self._session.stack, self._served, self._bucket, scratch)
            return self._session.meter.run(command, given | self._variables, scratch)


def a_stored_entry(repository: Repository) -> Entry:
    """Return the entry of a repository, as long as one that was backed up."""
    stored = StoredObject(
        key=f"{PREFIX}/2026-01-01/{repository.full_name}.bundle",
        version_id="v" * 32,
        size_bytes=10**8,
        sha256="a" * 64,
        checksum="A" * 44,
    )
    refs = RefSummary(ref_count=99, refs_sha256="b" * 64, sha="c" * 40)
    return new_entry(repository, "stored", stored, refs, 1.234)
