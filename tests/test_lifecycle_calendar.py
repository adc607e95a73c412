"""Years of backups under S3's lifecycle: a manifest within the retention never names a bundle that has expired.

Real: which bundle a run refers to, and what its manifest says. A model: the clock, GitHub's refs, and which objects S3
still has.
"""

import base64
import hashlib
import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tables
from embedded.stack import PROJECT
from github_s3_backup.backup.context import RunContext
from github_s3_backup.backup.last_backup import LastBackup
from github_s3_backup.backup.listing import vanished
from github_s3_backup.backup.services import Content, Services
from github_s3_backup.backup.unchanged import check_unchanged
from github_s3_backup.capacity import UPLOAD_BUFFERS, Capacity, Reservation
from github_s3_backup.git.refs import Refs, summarize
from github_s3_backup.json_fields import utc
from github_s3_backup.logs import new_logger
from github_s3_backup.manifest import Entry, Failure, Manifest, new_entry, new_manifest
from github_s3_backup.redaction import Redactor
from github_s3_backup.repository import Repository
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.keys import bundle_key
from github_s3_backup.s3.upload import Uploader
from github_s3_backup.stop import Stop
from github_s3_backup.stored_object import StoredObject

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
LIFECYCLE = (PROJECT / "modules" / "bucket" / "main.tf").read_text()
# Days after which an object expires, from backup_retention_days and full_backup_days as they are now.
Rule = Callable[[int, int], int]


def lifecycle_local(name: str) -> str:
    """Return a local's expression as it is written."""
    (expression,) = re.findall(rf"^  {name} += (.+)$", LIFECYCLE, re.MULTILINE)
    return str(expression)


# The most that the module's input full_backup_days accepts.
MAX_FULL_BACKUP_DAYS = int(lifecycle_local("max_full_backup_days"))


def module_rule(retention: int, _: int) -> int:
    """Return the days after which the module lets objects expire, by its own sum."""
    terms = lifecycle_local("expiration_days").removeprefix("var.backup_retention_days == 0 ? null : ").split(" + ")
    values = {"var.backup_retention_days": retention, "local.max_full_backup_days": MAX_FULL_BACKUP_DAYS}
    return sum(values[term] if term in values else int(term) for term in terms)


def naive_rule(retention: int, full_backup_days: int) -> int:
    """Forget that manifests were written when full_backup_days was higher."""
    return retention + full_backup_days + 1


# -- what happens --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spell:
    """Some days with the same inputs and the same luck. The shares are of the repositories in each run."""

    days: int
    retention: int
    full_backup_days: int
    runs_a_day: int = 1
    missed: float = 0.0
    changed: float = 0.0
    failed: float = 0.0
    vanished: float = 0.0
    stopped: float = 0.0


RATES = st.sampled_from((0.0, 0.0, 0.0, 0.02, 0.3, 1.0))
SPELLS = st.builds(
    Spell,
    days=st.integers(1, 150),
    retention=st.integers(1, 100) | st.just(365),
    full_backup_days=st.integers(1, MAX_FULL_BACKUP_DAYS) | st.just(MAX_FULL_BACKUP_DAYS),
    runs_a_day=st.sampled_from((1, 1, 1, 3)),
    missed=RATES,
    changed=RATES,
    failed=RATES,
    vanished=st.sampled_from((0.0, 0.0, 0.02)),
    stopped=RATES,
)
LIVES = st.tuples(st.lists(SPELLS, min_size=3, max_size=8), st.integers(0, 2**16))


# -- the model -----------------------------------------------------------------------------------


@dataclass
class Bucket:
    """S3 as far as a check of a bundle and a lifecycle rule need it; stands for a client."""

    objects: dict[str, tuple[datetime, StoredObject]] = field(default_factory=dict)

    def put(self, key: str, at: datetime) -> StoredObject:
        sha256 = hashlib.sha256(key.encode())
        checksum = base64.b64encode(sha256.digest()).decode()
        made = StoredObject(key=key, version_id="1", size_bytes=1, sha256=sha256.hexdigest(), checksum=checksum)
        self.objects[key] = at, made
        return made

    def head_object(self, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803  (as boto3 names it)
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        at, made = self.objects[Key]
        return {"ContentLength": 1, "VersionId": "1", "ChecksumSHA256": made.checksum, "LastModified": at}

    def expire(self, midnight: datetime, days: int) -> set[str]:
        """Delete what is so old, and return its keys.

        S3 expires an object at the first midnight after so many days.
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html#intro-lifecycle-rules-number-of-days
        """
        gone = {key for key, (at, _) in self.objects.items() if at <= midnight - days * DAY}
        for key in gone:
            del self.objects[key]
        return gone


@dataclass
class GitHub:
    """The refs of each repository, and tokens that nobody asks for."""

    heads: dict[int, int]

    def tokens(self, _: int) -> "GitHub":
        return self

    def with_token(self, action: Callable[[str], Refs]) -> Refs:
        return action("token")

    def served_refs(self, repository: Repository, _: str) -> Refs:
        return {b"refs/heads/main": b"%040x" % self.heads[repository.id]}


CONTEXT = RunContext(
    BEGINNING, "test", boto3.session.Session(), Redactor(), Stop(), new_logger(io.StringIO(), Redactor())
)


@dataclass
class World:
    """An organisation, its bucket, and the manifests in it with the moment when each was written."""

    luck: random.Random
    bucket: Bucket = field(default_factory=Bucket)
    manifests: list[tuple[datetime, Manifest]] = field(default_factory=list)
    heads: dict[int, int] = field(default_factory=lambda: dict.fromkeys((7, 8, 1000), 0))

    def happens(self, rate: float) -> bool:
        return self.luck.random() < rate

    def run(self, started: datetime, spell: Spell) -> None:
        """Back up what is there, as the program does, in up to a day."""
        complete = [manifest for written, manifest in self.manifests if written <= started and manifest.complete]
        last = LastBackup(complete[-1] if complete else None, started.date(), spell.full_backup_days)
        client = cast("Any", self.bucket)
        uploader = Uploader(client, "bucket", Capacity(Reservation(0, UPLOAD_BUFFERS), Stop()), Stop(), CONTEXT.log)
        services = Services(
            github=cast("Any", GitHub(self.heads)),
            git=cast("Any", None),
            git_version="2",
            archive=Archive(client, "bucket", "backup", started, uploader),
            uploader=uploader,
            content=Content(frozenset(), cast("Any", None), cast("Any", None), cast("Any", None)),
            last_backup=last,
            capacity=cast("Any", None),
            scratch=Path(),
            context=CONTEXT,
        )
        results = [self.back_up(number, started, services, spell) for number in self.heads]
        lost = [entry for entry in last.entries if entry.id not in self.heads]
        finished = started + self.luck.random() * DAY
        manifest = new_manifest(
            run_id=utc(started),
            started_at=started,
            finished_at=finished,
            complete=not self.happens(spell.stopped),
            git_version="2",
            entries=[result for result in results if isinstance(result, Entry)],
            failures=[result for result in results if isinstance(result, Failure)],
            vanished=[vanished(entry, f"{started:%Y-%m-%d}") for entry in lost],
        )
        self.manifests.append((finished, manifest))

    def back_up(self, number: int, started: datetime, services: Services, spell: Spell) -> Entry | Failure:
        if self.happens(spell.changed):
            self.heads[number] += 1
        listed = Repository(number, "acme", f"r{number}", False, False, False, "main", 1, 1)
        if self.happens(spell.failed):
            return Failure(full_name=listed.full_name, id=number, stage="clone", error="failed")
        unchanged = check_unchanged(listed, services.last_backup.entry(number), services)
        return unchanged.entry if unchanged else self.store(listed, started)

    def store(self, listed: Repository, started: datetime) -> Entry:
        """Write a bundle, whose age S3 counts from the beginning of the upload."""
        key = bundle_key("backup", f"{started:%Y-%m-%d}", listed.full_name, f"{started:%H%M%S}Z")
        stored = self.bucket.put(key, started)
        refs = GitHub(self.heads).served_refs(listed, "")
        entry = new_entry(listed, "stored", stored, summarize(refs, "main"), 0.0)
        return msgspec.structs.replace(entry, backed_up_at=utc(started + self.luck.random() * 6 * HOUR))

    def pass_midnight(self, midnight: datetime, spell: Spell, rule: Rule) -> list[str]:
        """Let S3 expire what is due, and return the manifests within the retention that name one of these bundles."""
        kept_since = midnight - spell.retention * DAY
        self.manifests = [(at, manifest) for at, manifest in self.manifests if at > kept_since]
        gone = self.bucket.expire(midnight, rule(spell.retention, spell.full_backup_days))
        return [
            f"{midnight:%Y-%m-%d}: {key} has expired, and the manifest of {at} names it"
            for at, manifest in (self.manifests if gone else ())
            for key in named(manifest) & gone
        ]


def named(manifest: Manifest) -> set[str]:
    """Return the keys of the bundles that must be there as long as the manifest.

    One that vanished during a long outage is left out: its bundle may be older, and can't be made again.
    """
    oldest = f"backup/{date.fromisoformat(manifest.date) - MAX_FULL_BACKUP_DAYS * DAY}"
    last_bundles = {str(repository.s3_key) for repository in manifest.vanished}
    return {str(entry.s3_key) for entry in manifest.entries} | {key for key in last_bundles if key >= oldest}


def stranded(spells: list[Spell], seed: int, rule: Rule) -> list[str]:
    """Live through all spells and return what was stranded, at the first midnight at which something was."""
    world, now = World(random.Random(seed)), BEGINNING  # noqa: S311  (a life can be lived again)
    for spell in spells:
        for _ in range(spell.days):
            if world.happens(spell.vanished):
                world.heads[max(world.heads) + 1] = world.heads.pop(world.luck.choice(list(world.heads)))
            for hour in sorted(world.luck.sample(range(24), spell.runs_a_day)):
                if not world.happens(spell.missed):
                    world.run(now + hour * HOUR + world.luck.randrange(3600) * timedelta(seconds=1), spell)
            now += DAY
            if found := world.pass_midnight(now, spell, rule):
                return found
    return []


# -- the tests -----------------------------------------------------------------------------------


def live_some_lives(rule: Rule, max_examples: int) -> None:
    """Raise AssertionError where a life strands a manifest under this rule."""

    @settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(LIVES)
    def live(life: tuple[list[Spell], int]) -> None:
        found = stranded(*life, rule)
        assert not found, found[0]

    live()


def test_the_input_accepts_what_the_rule_allows_for() -> None:
    body = dict(tables.blocks("variables.tf", "variable"))["full_backup_days"]
    assert re.findall(r"var\.full_backup_days <= (\d+)", body) == [str(MAX_FULL_BACKUP_DAYS)]


def test_no_manifest_is_stranded_whatever_happens() -> None:
    live_some_lives(module_rule, 25)


def test_a_rule_that_forgets_a_lowered_full_backup_days_strands_manifests() -> None:
    with pytest.raises(AssertionError, match="has expired"):
        live_some_lives(naive_rule, 25)
