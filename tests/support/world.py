"""One test's world: a GitHub of its own, a bucket of its own, and the backup run as Fargate runs it.

Whatever a test is about, each run is checked for what always holds: the manifest fits its schema and
its counts, every bundle it names restores with stock git to the refs that GitHub serves, the last line
is a summary, no secret is in the output, and nothing is left on the disk.
"""

import copy
import gzip
import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema

from embedded.github import FakeGitHub, FakeRepository
from embedded.organisation import RECIPES, Recipe, make_repository
from embedded.programs import Process, start_program
from embedded.real_git import bundled_refs, restore, restore_changes, served_refs
from embedded.stack import BACKUP, PROJECT, RESTORE, WRITTEN_BY_PEOPLE, Stack
from github_s3_backup.records.issue_list import LINE_KINDS


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return what holds a document to a published schema."""
    return jsonschema.Draft202012Validator(json.loads((PROJECT / "docs" / f"{name}.schema.json").read_text()))


VALIDATOR, LFS_LIST, RELEASE_LIST, ISSUE = map(validator, ("manifest", "lfs-list", "release-list", "issue"))
SUMMARIES = {
    "run finished",
    "run stopped",
    "run could not start",
    "run stopped, but something did not respond in time",
    "run stopped before it listed the repositories",
    # of a run in several tasks
    "plan written",
    "plan already written",
    "shard finished",
    "shard already reported",
    "shard stopped",
    "merge stopped",
    "run already merged",
}


@dataclass
class Repositories:
    """The repositories on disk, each made once and shared by the tests, which only read them."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def path(self, recipe: Recipe) -> Path:
        key = f"{recipe.owner}/{recipe.name}"
        if key not in self.made:
            self.made[key] = make_repository(self.folder, recipe)
        return self.made[key]


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    code: int
    output: str
    events: list[dict[str, Any]]
    manifest: dict[str, Any] | None

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        return [line for line in self.events if line["event"] == event]

    @property
    def repos(self) -> dict[str, dict[str, Any]]:
        assert self.manifest is not None, self.output
        return {entry["full_name"]: entry for entry in self.manifest["repos"]}

    @property
    def failures(self) -> dict[str, dict[str, Any]]:
        assert self.manifest is not None, self.output
        return {entry["full_name"]: entry for entry in self.manifest["failures"]}

    @property
    def problems(self) -> list[str]:
        """What a run that could not start said."""
        return [line["error"] for line in self.named("problem")]


@dataclass(frozen=True)
class Restored:
    """A command of restore.py that has ended. `events`: its log lines."""

    code: int
    stdout: str
    stderr: str
    events: list[dict[str, Any]]

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        return [line for line in self.events if line["event"] == event]

    @property
    def failures(self) -> dict[str, str]:
        return {line["full_name"]: line["error"] for line in self.named("failed")}

    @property
    def problems(self) -> list[str]:
        """What a command that could not be done said."""
        return [line["error"] for line in self.named("problem")]


@dataclass(frozen=True)
class Backup:
    """What a run stored: the bucket, and the manifest in it."""

    bucket: str
    manifest: dict[str, Any]


@dataclass
class World:
    """What a test arranges and runs."""

    stack: Stack
    github: FakeGitHub
    repositories: Repositories
    folder: Path
    bucket: str
    service: str
    variables: dict[str, str] = field(default_factory=dict)
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    # The first day on which what is in the bucket now can have been stored.
    since: date = field(init=False)

    def __post_init__(self) -> None:
        self.since = self.today()

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def add(self, name: str, /, **about: Any) -> FakeRepository:
        """Add a repository made by the recipe of that name; `name=` in `about` renames it."""
        recipe = RECIPES[name]
        path = self.repositories.path(recipe)
        given = {"owner": recipe.owner, "name": name} | recipe.about | about
        return self.github.add(given.pop("owner"), given.pop("name"), path, **given)

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Return the run's environment; None takes a variable out."""
        key = self.folder / "app.private-key.pem"
        key.write_text(self.github.pem())
        self.scratch.mkdir(exist_ok=True)
        base = self.stack.environment(self.github, self.bucket, self.scratch)
        base |= {"SERVICE_NAME": self.service, "GITHUB_APP_KEY_FILE": str(key), "FULL_BACKUP_DAYS": self.nobodys_day()}
        base |= dict.fromkeys(WRITTEN_BY_PEOPLE, "false") | self.variables
        return {k: v for k, v in (base | changes).items() if v is not None}

    def nobodys_day(self, most: int = 365) -> str:
        """Return a FULL_BACKUP_DAYS under which no repository is due; the most where there are too many.

        None today, and none tomorrow, which may have begun when the run starts.
        """
        today = self.today().toordinal()
        numbers = [today + day + number for number in self.github.repositories for day in (0, 1)]
        free = (str(days) for days in range(most, 1, -1) if all(number % days for number in numbers))
        return next(free, str(most))

    def start(self, *prefix: str, **changes: str | None) -> Process:
        """Start a run and return its process; `prefix` is a command that runs it."""
        return start_program([*prefix, *BACKUP], self.environment(**changes), stderr=subprocess.STDOUT)

    def start_task(self, command: str, **changes: str | None) -> Process:
        """Start one task of a run in several tasks, in a process group of its own, and return its process."""
        return start_program(
            [*BACKUP, "backup", command],
            self.environment(**changes),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *prefix: str, **changes: str | None) -> Run:
        """Run the backup to its end and check what always holds."""
        return self.end(self.start(*prefix, **changes))

    def end(self, process: Process, seconds: float = 100) -> Run:
        """Wait for a run to end and check what always holds."""
        before = self.run_keys()
        output, _ = process.communicate(timeout=seconds)
        written = self.run_keys() - before
        assert len(written) <= 1, "one run wrote several manifests"
        run = Run(process.wait(), output, events_of(output), self.read(written.pop()) if written else None)
        assert process.returncode != 2 or run.manifest is None, "a run that could not start wrote a manifest"
        self._check(run)
        return run

    def restore(self, *arguments: str, **changes: str | None) -> Restored:
        """Run restore.py to its end and check what always holds."""
        process = start_program([*RESTORE, *arguments], self.environment(**changes))
        stdout, stderr = process.communicate(timeout=100)
        assert "Traceback" not in stderr, stderr
        assert list(self.scratch.iterdir()) == []
        self.check_no_secret(stdout + stderr)
        return Restored(process.wait(), stdout, stderr, events_of(stderr))

    def read_manifest(self) -> dict[str, Any] | None:
        """Return the day's manifest.json."""
        return self.read(self.key("manifest.json")) if self.key("manifest.json") in self.stored_keys() else None

    def read(self, key: str) -> dict[str, Any]:
        """Return the manifest under a key."""
        body = self.stack.s3.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        manifest: dict[str, Any] = json.loads(body)
        return manifest

    def run_keys(self) -> set[str]:
        """Return the keys of the day's runs' manifests."""
        keys = {key for key in self.stored_keys() if key.startswith(self.key("runs/"))}
        others = (".lfs.json", ".releases.json", ".issues.jsonl.gz", ".bundle", ".objects", ".sig")
        return {key for key in keys if not key.endswith(others)}

    def keys_of(self, run: "Run") -> set[str]:
        """Return what is in the bucket after one run: what its manifest names, and itself."""
        named = {stored["s3_key"] for entry in run.repos.values() for stored in stored_in(entry)}
        return {*named, self.key("manifest.json"), *self.run_keys()}

    def key(self, rest: str) -> str:
        """Return a key of the day on which the last run started."""
        return f"github-backup/{self.day()}/{rest}"

    def day(self) -> date:
        """Return today, or the last day on which something was stored where midnight has passed since."""
        day = self.today()
        if day > self.since:
            days = (self.since + timedelta(number) for number in range((day - self.since).days + 1))
            keys = self.stored_keys()
            day = max(
                (day for day in days if any(key.startswith(f"github-backup/{day}/") for key in keys)), default=day
            )
        return day

    def stored_keys(self) -> set[str]:
        """Return every key in the bucket."""
        pages = self.stack.s3.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def yesterday(self, days: int = 1) -> dict[str, Any]:
        """Move what the last run stored into the past, as if it had run so many days ago; return its manifest."""
        made = self.read_manifest()
        assert made is not None
        day = self.key("")
        manifest = self.take_over(Backup(self.bucket, made), days)
        self._delete_all(day)
        self.since = self.today()
        return manifest

    def take_over(self, backup: Backup, days: int) -> dict[str, Any]:
        """Put a backup into the bucket as if it had been made so many days ago; return its manifest.

        Of another world's backup, what this world has too: repositories that are added in the same order have the
        same ids.
        """
        manifest = copy.deepcopy(backup.manifest)
        today, made = self.today(), date.fromisoformat(manifest["date"])
        then = (min(today, made) if backup.bucket == self.bucket else today) - timedelta(days)
        age = made - then
        if backup.bucket != self.bucket:
            manifest["repos"] = [entry for entry in manifest["repos"] if entry["id"] in self.github.repositories]
            names = [self.github.repositories[entry["id"]].full_name for entry in manifest["repos"]]
            assert names == [entry["full_name"] for entry in manifest["repos"]]
        entries = [*manifest["repos"], *partial(manifest)]
        dated = [e for entry in entries for e in (entry, entry["wiki"], entry["releases"], entry["issues"]) if e]
        dated += [item["base"] for item in dated if item.get("base")]
        for where, name in [(manifest, "started_at"), (manifest, "finished_at")] + [
            (item, "backed_up_at") for item in dated
        ]:
            moment = datetime.fromisoformat(where[name]) - age
            where[name] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        for stored in [place for entry in entries for place in stored_in(entry)]:
            if manifest["date"] in stored["s3_key"]:
                self._copy(backup.bucket, stored, stored["s3_key"].replace(manifest["date"], then.isoformat()))
        manifest["date"] = then.isoformat()
        manifest["run_id"] = f"{then:%Y%m%d}{manifest['run_id'][8:]}"
        self.put_manifest(manifest)
        return manifest

    def _copy(self, bucket: str, entry: dict[str, Any], key: str) -> None:
        client = self.stack.s3.client()
        source = {"Bucket": bucket, "Key": entry["s3_key"], "VersionId": entry["version_id"]}
        answer = client.copy_object(Bucket=self.bucket, Key=key, CopySource=source)  # type: ignore[arg-type]
        entry["s3_key"], entry["version_id"] = key, answer["VersionId"]

    def _delete_all(self, prefix: str) -> None:
        """Delete every version below the prefix."""
        client = self.stack.s3.client()
        for page in client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
            for version in page.get("Versions", []):
                client.delete_object(Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"])

    def put_manifest(self, manifest: dict[str, Any]) -> None:
        """Write a run's manifest, under its id and as its day's."""
        for name in (f"runs/{manifest['run_id']}.json", "manifest.json"):
            key = f"github-backup/{manifest['date']}/{name}"
            self.stack.s3.client().put_object(Bucket=self.bucket, Key=key, Body=json.dumps(manifest).encode())

    def metrics(self) -> dict[str, list[float]]:
        return self.stack.aws.metrics(self.service)

    # -- what always holds -----------------------------------------------------------------------

    def _check(self, run: Run) -> None:
        assert "Traceback" not in run.output, run.output
        assert run.events, run.output
        assert run.events[-1]["event"] in SUMMARIES, run.output
        assert list(self.scratch.iterdir()) == []
        self.check_no_secret(run.output)
        if run.manifest and run.code != 2:
            self.check_manifest(run.manifest)

    def check_manifest(self, manifest: dict[str, Any]) -> None:
        """Assert that a manifest is right, and that everything it names can be restored."""
        self._check_counts(manifest)
        for entry in [*manifest["repos"], *partial(manifest)]:
            repository = self.github.repositories[entry["id"]]
            self._check_entry(entry, repository.path)
            if entry["wiki"]:
                assert repository.wiki
                self._check_entry(entry["wiki"], repository.wiki)
            self._check_lfs(entry)
            self._check_releases(entry)
            self._check_issues(entry, repository, entry in manifest["repos"])

    def check_no_secret(self, text: str) -> None:
        """Assert that no App's key and no token is in the text."""
        for secret in self.github.secrets():
            assert secret not in text

    def _check_counts(self, manifest: dict[str, Any]) -> None:
        VALIDATOR.validate(manifest)
        states = [entry["status"] for entry in manifest["repos"]]
        gone, failed = states.count("gone"), len(manifest["failures"])
        assert manifest["gone_count"] == gone
        assert manifest["failure_count"] == failed
        assert manifest["success_count"] == len(states) - gone
        assert manifest["total_repos"] == len(states) + failed
        self.check_no_secret(json.dumps(manifest))

    def _check_entry(self, entry: dict[str, Any], path: Path) -> None:
        if entry["status"] == "gone":
            return
        source = served_refs(path)
        lines = sorted(f"{oid} {name}\n".encode(errors="surrogateescape") for name, oid in source.items())
        assert entry["refs_sha256"] == hashlib.sha256(b"".join(lines)).hexdigest(), entry
        assert entry["ref_count"] == len(source.keys() - {"HEAD"}), entry
        assert entry["sha"] == source.get(f"refs/heads/{entry['default_branch']}"), entry
        if entry["status"] == "empty":
            assert source == {}
        else:
            self._check_bundle(entry, source)

    def _check_lfs(self, entry: dict[str, Any]) -> None:
        """Assert that the list names every object, and that each is in S3 under its SHA-256, with these bytes."""
        lfs = entry["lfs"]
        if not lfs or not lfs["list"]:
            return
        document = self.read_list(lfs["list"])
        LFS_LIST.validate(document)
        objects = document["objects"]
        assert (len(objects), len(document["missing"])) == (lfs["objects"], lfs["missing"])
        assert sum(item["size_bytes"] for item in objects) == lfs["size_bytes"]
        for item in objects:
            self._check_content(item, f"github-backup-lfs/{entry['owner']}/{item['oid'][:2]}/{item['oid']}")

    def _check_releases(self, entry: dict[str, Any]) -> None:
        """Assert that the list has GitHub's releases, and that their files are in S3."""
        releases = entry["releases"]
        if not releases or not releases["list"]:
            return
        document = self.read_list(releases["list"])
        RELEASE_LIST.validate(document)
        contents = [file["content"] for release in document["releases"] for file in release["files"] if file["content"]]
        assert (len(document["releases"]), len(contents)) == (releases["count"], releases["files"])
        for item in contents:
            self._check_content(item, f"github-backup-releases/{entry['owner']}/{item['oid'][:2]}/{item['oid']}")

    def _check_issues(self, entry: dict[str, Any], repository: FakeRepository, is_whole: bool) -> None:
        """Assert that the list has what it counts, and where the entry is whole, what GitHub has now."""
        issues = entry["issues"]
        if not issues:
            return
        lines = self.read_lines(issues["list"]) if issues["list"] else []
        assert [line["number"] for line in lines] == sorted({line["number"] for line in lines})
        for line in lines:
            ISSUE.validate(line)
        for name, kind in LINE_KINDS.items():
            numbers = {line["number"] for line in lines if line["kind"] == kind}
            assert len(numbers) == (issues[name] or {"stored": 0})["stored"]
            if is_whole and issues[name] and issues[name]["complete"]:
                assert numbers == {item["number"] for item in repository.issues.of(name)}

    def read_lines(self, stored: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the lines of a list of issues."""
        lines = gzip.decompress(self._read(stored)).splitlines()
        return [json.loads(line) for line in lines]

    def _check_content(self, item: dict[str, Any], key: str) -> None:
        assert item["s3_key"].startswith(key)
        place = f"{self.bucket}/{item['s3_key']}/{item['version_id']}"
        if place in CONTENT:
            return
        request = {"Bucket": self.bucket, "Key": item["s3_key"], "VersionId": item["version_id"]}
        digest = hashlib.sha256()
        for block in self.stack.s3.client().get_object(**request)["Body"].iter_chunks(2**20):
            digest.update(block)
        assert digest.hexdigest() == item["oid"]
        CONTENT.add(place)

    def read_list(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return a list that an entry names, compared with its SHA-256."""
        body = self._read(stored)
        self.check_no_secret(body.decode())
        document: dict[str, Any] = json.loads(body)
        return document

    def _read(self, stored: dict[str, Any]) -> bytes:
        answer = self.stack.s3.client().get_object(
            Bucket=self.bucket, Key=stored["s3_key"], VersionId=stored["version_id"]
        )
        body = answer["Body"].read()
        assert (hashlib.sha256(body).hexdigest(), len(body)) == (stored["sha256"], stored["size_bytes"])
        return body

    def _check_bundle(self, entry: dict[str, Any], source: dict[str, str]) -> None:
        """Assert that the bundle restores, on its full one where it has one."""
        bundle = self._download(entry)
        digest, place = entry["sha256"], bundle.with_suffix(".git")
        if digest not in RESTORED and entry["base"]:
            RESTORED[digest] = bundled_refs(bundle), restore_changes(self._download(entry["base"]), bundle, place)
        elif digest not in RESTORED:
            RESTORED[digest] = bundled_refs(bundle), restore(bundle, place)
        assert RESTORED[digest] == (source, {name: oid for name, oid in source.items() if name != "HEAD"})

    def _download(self, stored: dict[str, Any]) -> Path:
        """Return an object as a file, compared with what the manifest says of it."""
        path = self.folder / f"restore-{time.monotonic_ns()}.bundle"
        with path.open("wb") as file:
            version = {"VersionId": stored["version_id"]}
            self.stack.s3.client().download_fileobj(self.bucket, stored["s3_key"], file, ExtraArgs=version)
        assert hashlib.file_digest(path.open("rb"), "sha256").hexdigest() == stored["sha256"]
        assert path.stat().st_size == stored["size_bytes"]
        return path


# Content that was read and found to be what its key says: bucket, key and version.
CONTENT: set[str] = set()
# What stock git made of a bundle, by its SHA-256: the same bytes restore to the same.
RESTORED: dict[str, tuple[dict[str, str], dict[str, str]]] = {}


def uploaded(run: Run) -> int:
    """Return the bytes of the bundles and lists that a run has stored, where it was the first one."""
    return sum(stored["size_bytes"] for entry in run.repos.values() for stored in stored_in(entry))


def stored_in(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an entry names in the folders of days: bundles and lists."""
    lists = [entry[part]["list"] for part in ("lfs", "releases", "issues") if entry[part]]
    bundles = [
        item for bundle in (entry, entry["wiki"]) if bundle for item in (bundle, bundle["base"], bundle["objects"])
    ]
    return [item for item in (*bundles, *lists) if item and item["s3_key"]]


def partial(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was stored of the repositories that failed."""
    return [failure["partial"] for failure in manifest["failures"] if failure.get("partial")]


def events_of(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
