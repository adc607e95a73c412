"""A model of years of backups: the clock, and an organization whose repositories change while runs back them up.

What a run stores and what its manifest names is not part of the model: that is the program's own doing.
"""

import contextlib
import io
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import boto3
import msgspec

from github_s3_backup.backup.plan.last_backup import LastBackup, last_backup_of
from github_s3_backup.backup.plan.vanished import vanished
from github_s3_backup.backup.repository.content import ContentBackup
from github_s3_backup.backup.repository.errors import EXPECTED_ERRORS
from github_s3_backup.backup.repository.git_data import GitData
from github_s3_backup.backup.repository.unchanged import current_refs, unchanged_data
from github_s3_backup.backup.services import Content, RunContext, Services
from github_s3_backup.backup.turns import Turns
from github_s3_backup.git.refs import summarize
from github_s3_backup.records.content import StoredContent
from github_s3_backup.records.entry import Entry, Failure, Vanished, new_entry
from github_s3_backup.records.json_fields import utc
from github_s3_backup.records.lfs_list import parse_lfs_list
from github_s3_backup.records.manifest import Manifest, new_manifest
from github_s3_backup.records.release_list import parse_release_list
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.repository_filter import RepositoryFilter
from github_s3_backup.runtime.capacity import UPLOAD_BUFFERS, Capacity, Reservation
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.content_store import MAX_LIST_DAYS, ContentStore
from github_s3_backup.s3.keys import lfs_root, releases_root, run_key
from github_s3_backup.s3.objects import Objects
from github_s3_backup.s3.upload import BytesSource, Uploader
from support.lifecycle_standins import BEGINNING, DAY, FILES, Bucket, Expirations, GitHub, Name, Project, Trouble

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
# Three years, in which content becomes old, is written again, and expires.
LIFE_DAYS = 3 * 366
PREFIX = "backup"
LFS, RELEASES = lfs_root(PREFIX), releases_root(PREFIX)
# The expirations, from backup_retention_days and full_backup_days as they are now.
Rules = Callable[[int, int], Expirations]


@dataclass(frozen=True)
class Spell:
    """Some days with the same inputs and the same luck. The shares are of the repositories in each run.

    `every`: the days between runs. `missed`: the share of the runs that do not take place.
    """

    days: int
    retention: int
    full_backup_days: int
    every: int = 1
    runs_a_day: int = 1
    missed: float = 0.0
    changed: float = 0.0
    released: float = 0.0
    lost: float = 0.0
    troubled: float = 0.0
    failed: float = 0.0
    vanished: float = 0.0
    stopped: float = 0.0


# -- the runs ------------------------------------------------------------------------------------

CONTEXT = RunContext(
    run_id="test",
    started_at=BEGINNING,
    task_started_at=BEGINNING,
    command="backup",
    service_name="test",
    aws=boto3.session.Session(),
    redactor=Redactor(),
    stop=Stop(),
    log=new_logger(io.StringIO(), Redactor()),
)


class InTurn:
    """Does one thing after the other; stands for the threads of Transfers."""

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [work(item) for item in items]


@dataclass(frozen=True)
class Written:
    """A manifest in the bucket, with the objects that it names, and those that the lists in it name."""

    at: datetime
    key: str
    manifest: Manifest
    names: frozenset[Name]


@dataclass
class World:
    """An organisation, its bucket, and the manifests in it. `promised`: those within the retention."""

    luck: random.Random
    bucket: Bucket = field(default_factory=Bucket)
    today: datetime = BEGINNING
    written: list[Written] = field(default_factory=list)
    promised: list[Written] = field(default_factory=list)
    _in_lists: dict[Name, frozenset[Name]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.github = GitHub(self.luck)

    def happens(self, rate: float) -> bool:
        return self.luck.random() < rate

    def moment(self, begin: datetime, end: datetime) -> datetime:
        """Return a moment in between, often an early or a late one."""
        return begin + self.luck.choice((0.0, 0.99, self.luck.random())) * (end - begin)

    def run(self, started: datetime, spell: Spell) -> Written:
        """Back up what is there, as the program does, in up to a day."""
        finished = self.moment(started, started + DAY)
        newest = (old.manifest for old in reversed(self.written) if old.at <= started and old.manifest.complete)
        last = last_backup_of(next(newest, None), started.date(), spell.full_backup_days)
        services = self.services(started, last)
        results = []
        for number in self.github.projects:
            self.bucket.now = self.moment(started, finished)
            results.append(self.back_up(number, finished, services, spell))
        manifest = new_manifest(
            run_id=utc(started),
            started_at=started,
            finished_at=finished,
            complete=not self.happens(spell.stopped),
            git_version="2",
            entries=[result for result in results if isinstance(result, Entry)],
            failures=[result for result in results if isinstance(result, Failure)],
            vanished=[
                vanished(entry, f"{started:%Y-%m-%d}")
                for entry in last.named()
                if isinstance(entry, Entry) and entry.id not in self.github.projects
            ],
        )
        self.bucket.now = finished
        services.uploader.put(key := run_key(PREFIX, manifest.date, manifest.run_id), BytesSource(b"manifest"))
        written = Written(finished, key, manifest, frozenset(self.named(manifest)))
        self.written.append(written)
        self.promised.append(written)
        return written

    def services(self, started: datetime, last: LastBackup) -> Services:
        client = cast("Any", self.bucket)
        context = replace(CONTEXT, started_at=started)
        objects = Objects(client, "bucket")
        uploader = Uploader(objects, Capacity(Reservation(0, UPLOAD_BUFFERS), Stop()), Stop(), context.log)
        lfs, releases = (ContentStore(objects, uploader, root, started, context.log) for root in (LFS, RELEASES))
        return Services(
            github=cast("Any", self.github),
            git=cast("Any", None),
            archive=Archive(objects, uploader, PREFIX, started, started),
            uploader=uploader,
            content=Content(frozenset({"lfs", "releases"}), lfs, releases, cast("Any", InTurn())),
            last_backup=last,
            checks=1,
            turns=Turns(1, Stop()),
            differential=True,
            capacity=Capacity(Reservation(UPLOAD_BUFFERS, 0), Stop()),
            repository_filter=RepositoryFilter(),
            scratch=Path(tempfile.gettempdir()),
            context=context,
        )

    def back_up(self, number: int, finished: datetime, services: Services, spell: Spell) -> Entry | Failure:
        self.happen(self.github.projects[number], services.context.started_at, spell)
        listed = Repository(number, "acme", f"r{number}", False, False, False, "main", 1, 1)
        failure = Failure(full_name=listed.full_name, id=number, stage="clone", error="failed")
        if self.happens(spell.failed):
            return failure
        content = ContentBackup(listed, services)
        try:
            known = services.last_backup.stored(number)
            served = current_refs(listed, known, services) if known else None
            unchanged = unchanged_data(listed, known, served) if known and served else None
            return content.add_to(unchanged or self.store(listed, finished, services))
        except EXPECTED_ERRORS as error:
            about = {"error": str(error), "partial": content.entry, "not_stored": content.not_stored}
            return msgspec.structs.replace(failure, **about)

    def happen(self, project: Project, now: datetime, spell: Spell) -> None:
        """Let GitHub and its users do what they do between two runs."""
        if self.happens(spell.changed):
            self.github.push(project)
        if self.happens(spell.released):
            change = self.github.edit if project.releases and self.happens(0.6) else self.github.publish
            change(project, now)
        if self.happens(spell.lost):
            self.github.lose()
        trouble: tuple[Trouble, ...] = ("refused", "down", "broken off")
        self.github.trouble = self.luck.choice(trouble) if self.happens(spell.troubled) else None

    def store(self, listed: Repository, finished: datetime, services: Services) -> GitData:
        """Write a full bundle with its list, or a bundle of changes, which takes a while."""
        archive, known = services.archive, services.last_backup.stored(listed.id)
        project, open_source = self.github.projects[listed.id], lambda: contextlib.nullcontext(BytesSource(b"bundle"))
        full = known.full if known and current_refs(listed, known, services) else None
        if known and full and self.happens(0.8):
            stored, base, objects = archive.put_changes(listed.full_name, open_source), full, known.objects
        else:
            stored, base = archive.put_bundle(listed.full_name, open_source), None
            objects = archive.put_object_list(stored, b"list")
        entry = new_entry(listed, "stored", stored, summarize(project.refs, "main"), 0.0)
        entry = msgspec.structs.replace(entry, base=base, objects=objects)
        self.bucket.now = self.moment(self.bucket.now, finished)
        entry = msgspec.structs.replace(entry, backed_up_at=utc(self.bucket.now))
        return GitData(listed, entry, project.refs, {oid: (len(FILES[oid]),) for oid in project.pointers})

    # -- what manifests name ---------------------------------------------------------------------

    def named(self, manifest: Manifest) -> Iterator[Name]:
        """Yield the objects that must be there as long as the manifest.

        Those of a repository that vanished during a long outage are left out: they may be older, and nobody can make
        them again.
        """
        partial = [failure.partial for failure in manifest.failures if failure.partial]
        records: list[Entry | Vanished] = [*manifest.entries, *partial, *manifest.vanished]
        oldest = f"{PREFIX}/{date.fromisoformat(manifest.date) - MAX_LIST_DAYS * DAY}"
        for record in records:
            for stored in objects_of(record):
                if not isinstance(record, Vanished) or stored.key >= oldest:
                    yield stored.key, stored.version_id
                    yield from self.in_list((stored.key, stored.version_id))

    def in_list(self, name: Name) -> frozenset[Name]:
        """Return the content that a list names, none if it is no list."""
        if name not in self._in_lists:
            self._in_lists[name] = frozenset(
                (content.s3_key, content.version_id)
                for content in contents_of(name[0], self.bucket.objects[name[0]].body)
            )
        return self._in_lists[name]

    # -- the days --------------------------------------------------------------------------------

    def pass_midnight(self, retention: int, expirations: Expirations) -> list[str]:
        """Let S3 expire what is due, and return the manifests within the retention that name some of it."""
        self.today = midnight = self.today + DAY
        self.promised = [old for old in self.promised if old.at > midnight - retention * DAY]
        gone = self.bucket.expire(midnight, expirations)
        if not gone:
            return []
        self.written = [old for old in self.written if self.bucket.holds((old.key, None))]
        return [
            f"{midnight:%Y-%m-%d}: {key} has expired, and the manifest of {old.at} names it"
            for old in self.promised
            for key, _ in sorted(old.names & gone)
        ]

    def pass_day(self, spell: Spell) -> list[str]:
        """Do the runs of a day, and return what their manifests name that is not there."""
        if self.happens(spell.vanished):
            projects = self.github.projects
            self.github.create(max(projects) + 1)
            del projects[self.luck.choice(list(projects))]
        runs = []
        for hour in sorted(self.luck.sample(range(24), spell.runs_a_day)):
            if not self.happens(spell.missed):
                runs.append(self.run(self.today + hour * HOUR + self.luck.randrange(3600) * SECOND, spell))
        return [
            f"{self.today:%Y-%m-%d}: {name[0]} is not there, and a new manifest names it"
            for run in runs
            for name in sorted(run.names)
            if not self.bucket.holds(name)
        ]


def objects_of(record: Entry | Vanished) -> list[StoredObject]:
    """Return a repository's bundles and lists."""
    lists = [part.list for part in (record.lfs, record.releases, record.issues) if part]
    objects = record.objects if isinstance(record, Entry) else None
    return [stored for stored in (*record.bundles, objects, *lists) if stored]


def contents_of(key: str, body: bytes) -> list[StoredContent]:
    """Return what a list names."""
    if key.endswith(".lfs.json"):
        return list(parse_lfs_list(body).objects)
    if key.endswith(".releases.json"):
        files = (file for release in parse_release_list(body).releases for file in release.files)
        return [file.content for file in files if file.content]
    return []


def live(world: World, spells: list[Spell], rules: Rules, days: int = LIFE_DAYS) -> Iterator[str]:
    """Live for so many days, through the spells over and over, and yield what is stranded."""
    for spell, has_runs in islice(days_of(spells), days):
        if has_runs:
            yield from world.pass_day(spell)
        yield from world.pass_midnight(spell.retention, rules(spell.retention, spell.full_backup_days))


def days_of(spells: list[Spell]) -> Iterator[tuple[Spell, bool]]:
    """Yield the spell of each day, and whether the day has runs."""
    for spell in cycle(spells):
        for day in range(spell.days):
            yield spell, day % spell.every == 0
