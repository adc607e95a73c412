"""`report` sums up runs and drills on one page, and shows where the chain of manifests breaks."""

import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from embedded.programs import start_program
from embedded.stack import BACKUP
from github_s3_backup.records.entry import Failure, Vanished, new_entry
from github_s3_backup.records.manifest import Manifest, PreviousRun, new_manifest
from github_s3_backup.records.signing import FileSigner
from support.vault import Vault
from support.world import Restored, events_of
from test_records.test_manifest import BUNDLE, GONE, REFS, REPOSITORY

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=1, microsecond=0)
STORED = new_entry(REPOSITORY, "stored", BUNDLE, REFS, 1.5)
FAILED = Failure(full_name="acme/huge<script>", id=10, stage="clone", error="too <b>large</b>")
LOST = Vanished(
    full_name="acme/lost",
    id=11,
    since="2026-11-20",
    s3_key="github-backup/2026-11-01/acme/lost.bundle",
    version_id=None,
    size_bytes=7,
    sha256="a" * 64,
)


class Copy:
    """A copy of a bucket in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer = FileSigner(Ed25519PrivateKey.generate())
        self.runs: list[PreviousRun] = []

    def write(self, days: int, *failures: Failure, signed: bool = True, **changes: Any) -> Manifest:
        """Write the manifest of a run so many days ago that names the one before it."""
        started = TODAY - timedelta(days)
        about: dict[str, Any] = {"complete": True, "previous": tuple(self.runs[-1:])} | changes
        manifest = new_manifest(
            run_id=f"{started:%Y%m%dT%H%M%SZ}-{days:08x}",
            started_at=started,
            finished_at=started,
            git_version="2.39.5",
            entries=about.pop("entries", (STORED, new_entry(GONE, "gone", None, None, 0))),
            failures=failures,
            vanished=(LOST,),
            signing_key=self.signer.public_key().id if signed else None,
            **about,
        )
        self.put(manifest, manifest.to_json())
        return manifest

    def put(self, manifest: Manifest, body: bytes) -> None:
        path = self.path(manifest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        if manifest.signing_key:
            path.with_name(f"{path.name}.sig").write_bytes(self.signer.sign(body))
        sha256 = hashlib.sha256(body).hexdigest()
        self.runs.append(PreviousRun(date=manifest.date, run_id=manifest.run_id, sha256=sha256))

    def path(self, manifest: Manifest) -> Path:
        return self.folder / "github-backup" / manifest.date / "runs" / f"{manifest.run_id}.json"

    def drill(self, days: int, *numbers: int) -> None:
        """Write the report of a drill so many days ago that restored these repositories."""
        time = (TODAY - timedelta(days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        item = {"full_name": "acme/api", "id": 7, "size_bytes": 1234, "status": "verified", "seconds": 2.5}
        report = {"run_id": "r", "started_at": time, "finished_at": time, "verified": 1, "failed": 0}
        report |= {"repositories": [item] * len(numbers), "last_proven": {str(number): time for number in numbers}}
        path = self.folder / "github-backup-drills" / time[:10] / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(report))

    def key(self) -> Path:
        path = self.folder / "signing-key.pub.pem"
        path.write_bytes(self.signer._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return path


def report(vault: Vault, *arguments: str | Path, **changes: str | None) -> Restored:
    process = start_program([*BACKUP, "report", *map(str, arguments)], vault.environment(**changes))
    stdout, stderr = process.communicate(timeout=100)
    assert "Traceback" not in stderr, stderr
    return Restored(process.wait(), stdout, stderr, events_of(stderr))


def facts(vault: Vault, *arguments: str | Path) -> dict[str, Any]:
    done = report(vault, "--json", *arguments)
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def copied(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


class Tags(HTMLParser):
    """Collects what a page loads, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_the_page_says_what_was_backed_up_what_failed_and_what_was_proven(vault: Vault, copied: Copy) -> None:
    """Of four days: all good; a failure on two days; and then a good one. One drill."""
    told = {"BACKUP_RETENTION_DAYS": "30"}
    runs = [copied.write(days, *failures, variables=told) for days, *failures in ((3,), (2, FAILED), (1, FAILED))]
    runs += [copied.write(0, variables={"BACKUP_RETENTION_DAYS": "90", "BACKUP_EXCLUDE": "acme/old"})]
    copied.drill(1, 7)
    page = copied.folder / "report.html"
    done = report(
        vault, "--bucket", copied.folder, "--trusted-key", copied.key(), "--out", page, "--retention-days", "30"
    )
    assert done.code == 0, done.stderr
    html = page.read_text()
    held = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=30 + 91)
    assert f"<td>{held:%Y-%m-%d}</td>" in html, "the day of its bundle, the retention, and what the lifecycle adds"
    tags = Tags(html)
    assert "script" not in tags.tags, "no scripts, and what a manifest names is escaped"
    assert tags.tags >= {"svg", "table", "dl"}
    assert tags.links == [], "nothing from the network"
    assert "acme/huge&lt;script&gt;" in html

    found = facts(vault, "--bucket", copied.folder, "--trusted-key", copied.key())
    lines = {line["name"]: line for line in found["lines"]}
    assert lines["Covered"]["value"] == "1 of 2 repositories"
    assert lines["Covered"]["source"] == f"manifest {runs[-1].run_id}"
    assert lines["Runs without any failure"]["value"] == "2 of 4 (50.0 %)"
    assert lines["Recovery point reached"]["value"].startswith("24.0 hours")
    assert (
        lines["Proven by a restore"]["value"]
        == "1 of 1 within 28 days; 2.5 s median, 2.5 s 95th percentile, 2.5 s longest"
    )
    assert found["findings"] == []
    assert [(change["what"], change["before"], change["after"]) for change in found["changes"]] == [
        ("BACKUP_EXCLUDE", "not set", "acme/old"),
        ("BACKUP_RETENTION_DAYS", "30", "90"),
    ]
    (failure,) = found["failures"]
    assert (failure["first_run"], failure["last_run"]) == (runs[1].run_id, runs[2].run_id)
    assert (failure["runs"], failure["is_open"]) == (2, False)
    (lost,) = found["vanished"]
    assert (lost["full_name"], lost["until"]) == ("acme/lost", None)
    assert found["gone"] == [GONE.full_name]
    assert {run["signature"] for run in found["runs"]} == {"good"}


def test_it_shows_a_run_that_is_missing_changed_added_or_not_signed(vault: Vault, copied: Copy) -> None:
    first, missing, changed = copied.write(6, signed=False), copied.write(5), copied.write(4)
    added = copied.write(3, signed=False)
    copied.runs.pop()  # nobody names it
    copied.write(2)
    broken = copied.write(1)
    copied.path(broken).write_bytes(b"{")
    copied.runs[-1] = PreviousRun(date=broken.date, run_id=broken.run_id, sha256=hashlib.sha256(b"{").hexdigest())
    copied.write(0, FAILED)
    copied.path(missing).unlink()
    copied.path(changed).write_bytes(copied.path(changed).read_bytes().replace(b"main", b"evil"))
    findings = "\n".join(facts(vault, "--bucket", copied.folder, "--trusted-key", copied.key())["findings"])
    for words in (
        f"manifest {broken.run_id} can't be read",
        f"{FAILED.full_name} is not stored since",
        "repositories that no drill restored within 28 days: 1",
        f"run {missing.run_id} is missing",
        f"run {changed.run_id} was changed",
        f"run {added.run_id} is named by no later run",
        f"run {changed.run_id}: its signature does not match",
        f"run {added.run_id} is not signed, though an older one is",
        f"not signed, as no run before them was: 1, the last is {first.run_id}",
    ):
        assert words in findings
    assert findings.count("\n") == 9, "the one that was changed is named twice"


def test_a_name_as_long_as_names_may_be_leaves_room_for_the_plot(vault: Vault, copied: Copy) -> None:
    long = dataclasses.replace(REPOSITORY, name="n" * 100)
    copied.write(0, entries=(new_entry(long, "stored", BUNDLE, REFS, 1.5),))
    page = copied.folder / "report.html"
    assert report(vault, "--bucket", copied.folder, "--out", page).code == 0
    assert f"{'n' * 34}…" in page.read_text()


def test_two_runs_at_once_and_the_run_that_names_both_are_a_whole_chain(vault: Vault, copied: Copy) -> None:
    for days in (3, 2):
        copied.write(days)
    copied.write(1, previous=(copied.runs[0],))
    copied.write(0, previous=tuple(copied.runs[1:3]))
    copied.drill(0, 7)
    arguments = ("--bucket", copied.folder, "--trusted-key", copied.key())
    assert facts(vault, *arguments)["findings"] == []
    copied.runs.pop()
    copied.write(0, previous=(copied.runs[2],), signed=False)
    findings = "\n".join(facts(vault, *arguments)["findings"])
    assert f"run {copied.runs[1].run_id} is named by no later run" in findings, "one of two heads was left out"


def test_it_reads_a_bucket_and_says_what_it_can_t_read(vault: Vault, tmp_path: Path) -> None:
    today = f"{TODAY:%Y-%m-%d}"
    vault.store(today, "acme/api")
    out = tmp_path / "report.html"
    done = report(vault, "--out", out)
    assert done.code == 0, done.stderr
    assert "1 of 1 repositories" in out.read_text()
    done = report(vault, "--prefix", "nothing-here")
    assert (done.code, len(done.problems)) == (1, 1)
    assert "there is no backup of the last 90 days in" in done.problems[0]
    done = report(vault, "--trusted-key", tmp_path / "none.pem")
    assert done.problems == [
        f"the file {tmp_path}/none.pem can't be read: [Errno 2] No such file or directory: '{tmp_path}/none.pem'"
    ]
    assert report(vault, S3_BUCKET=None).code == 2
