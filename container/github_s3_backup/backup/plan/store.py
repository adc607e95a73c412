"""A run's plan and its shards' reports in S3, for a run in several tasks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from github_s3_backup.backup.plan.records import Plan, Report, Shard
from github_s3_backup.records.manifest import Entry
from github_s3_backup.s3.plan_folder import PlanFolder, PlanFolderError

PLAN, ITEMS = "plan.json", "shards.json"
READERS = 16

T = TypeVar("T")


class MapItem(msgspec.Struct, frozen=True, kw_only=True):
    """What the state machine is told of a shard. `volume_gib`: 0 where the task's own disk is enough."""

    shard: str
    run_name: str
    run_started_at: str
    volume_gib: int
    repositories: int
    size_kb: int


class PlanStore:
    """Writes and reads the files of one run."""

    def __init__(self, folder: PlanFolder) -> None:
        self._folder = folder

    @property
    def url(self) -> str:
        return self._folder.url

    # -- the plan --------------------------------------------------------------------------------

    def write_plan(self, plan: Plan, shards: Sequence[Shard], items: Sequence[MapItem]) -> None:
        """Write the plan, and that of each shard before it: where there is a plan, it is whole."""
        for shard in shards:
            self._folder.put(_shard_name(shard.number), msgspec.json.encode(shard))
        self._folder.put(ITEMS, msgspec.json.encode(items))
        self._folder.put_once(PLAN, msgspec.json.encode(plan))

    def plan(self) -> Plan | None:
        """Return the plan, None before there is one. Raises PlanFolderError."""
        return self._read(PLAN, Plan)

    def shard(self, number: str) -> Shard:
        """Return what a shard is to do. Raises PlanFolderError."""
        return self._require(_shard_name(number), Shard)

    # -- what was done ---------------------------------------------------------------------------

    def save(self, number: str, entry: Entry) -> None:
        """Note that a repository is stored, for the case that the shard's task dies. Raises PlanFolderError."""
        self._folder.put(f"{_stored_folder(number)}{entry.id}.json", msgspec.json.encode(entry))

    def stored(self, number: str) -> list[Entry]:
        """Return what tasks that died have stored of a shard. Raises PlanFolderError."""
        names = self._folder.names(_stored_folder(number))
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda name: self._require(name, Entry), names))

    def write_report(self, report: Report) -> None:
        """Write a shard's report, unless there is one. Raises PlanFolderError."""
        self._folder.put_once(_report_name(report.shard), msgspec.json.encode(report))

    def report(self, number: str) -> Report | None:
        """Return a shard's report, None where it has none. Raises PlanFolderError."""
        return self._read(_report_name(number), Report)

    # -- files -----------------------------------------------------------------------------------

    def _require(self, name: str, kind: type[T]) -> T:
        found = self._read(name, kind)
        if found is None:
            raise PlanFolderError(f"there is no {self.url}{name}: did `backup list` end well?")
        return found

    def _read(self, name: str, kind: type[T]) -> T | None:
        body = self._folder.get(name)
        try:
            return None if body is None else msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            raise PlanFolderError(f"{self.url}{name} can't be used: {error}") from None


def _shard_name(number: str) -> str:
    return f"shards/{number}.json"


def _stored_folder(number: str) -> str:
    return f"stored/{number}/"


def _report_name(number: str) -> str:
    return f"reports/{number}.json"
