"""A run's plan and its shards' reports in S3, for a run in several tasks."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from github_s3_backup.backup.plan.records import Plan, Report, Shard
from github_s3_backup.records.entry import Entry
from github_s3_backup.runtime.threads import map_at_once
from github_s3_backup.s3.errors import AbsentError, DamagedError
from github_s3_backup.s3.objects import Objects

PLAN, ITEMS, PUBLISHED = "plan.json", "shards.json", "published.json"
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
    """Writes and reads the files of one run, below `folder`. Every method raises S3Error."""

    def __init__(self, objects: Objects, folder: str) -> None:
        self._objects, self._folder = objects, folder

    @property
    def url(self) -> str:
        return self._objects.url(self._folder)

    # -- the plan --------------------------------------------------------------------------------

    def write_plan(self, plan: Plan, shards: Sequence[Shard], items: Sequence[MapItem]) -> None:
        """Write the plan, and that of each shard before it: where there is a plan, it is whole."""
        for shard in shards:
            self._put(_shard_name(shard.number), shard)
        self._put(ITEMS, items)
        self._put(PLAN, plan, once=True)

    def plan(self) -> Plan | None:
        """Return the plan, None before there is one."""
        return self._read(PLAN, Plan)

    def shard(self, number: str) -> Shard:
        """Return what a shard is to do."""
        return self._require(_shard_name(number), Shard)

    # -- what was done ---------------------------------------------------------------------------

    def save(self, number: str, entry: Entry) -> None:
        """Note that a repository is stored, for the case that the shard's task dies."""
        self._put(f"{_stored_folder(number)}{entry.id}.json", entry)

    def stored(self, number: str) -> list[Entry]:
        """Return what tasks that died have stored of a shard."""
        keys = self._objects.keys(self._folder + _stored_folder(number))
        return map_at_once(lambda key: self._require(key.removeprefix(self._folder), Entry), keys, READERS)

    def write_report(self, report: Report) -> None:
        """Write a shard's report, unless there is one."""
        self._put(_report_name(report.shard), report, once=True)

    def report(self, number: str) -> Report | None:
        """Return a shard's report, None where it has none."""
        return self._read(_report_name(number), Report)

    # -- the end ---------------------------------------------------------------------------------

    def note_published(self) -> None:
        """Note that the run's metrics were published: a merge that is tried again does not count them twice."""
        self._put(PUBLISHED, {})

    def is_published(self) -> bool:
        return self._read(PUBLISHED, dict) is not None

    # -- files -----------------------------------------------------------------------------------

    def _put(self, name: str, content: object, once: bool = False) -> None:
        self._objects.put_json(self._folder + name, msgspec.json.encode(content), once)

    def _require(self, name: str, kind: type[T]) -> T:
        found = self._read(name, kind)
        if found is None:
            raise AbsentError(f"there is no {self.url}{name}: did `backup list` succeed?")
        return found

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(self._objects.get(self._folder + name), type=kind)
        except AbsentError:
            return None
        except msgspec.MsgspecError as error:
            raise DamagedError(f"{self.url}{name} can't be used: {error}") from None


def _shard_name(number: str) -> str:
    return f"shards/{number}.json"


def _stored_folder(number: str) -> str:
    return f"stored/{number}/"


def _report_name(number: str) -> str:
    return f"reports/{number}.json"
