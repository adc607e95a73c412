"""The benchmark measures what it says: on a handful of tiny repositories, through the real program."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import requests

from bench.benchmark import measure
from bench.compare import CHANGED, FULL, GITHUB_BACKUP, LOOP
from bench.days import DAY, a_day_passes, days, newest_manifest, run_keys
from bench.frugal_s3 import serve_frugal_s3
from bench.growth import a_run
from bench.histories import a_year
from bench.organisation import Organisation, organisation
from bench.page import write_page
from bench.plan import MB, Plan, planned
from bench.recorded import UnrecordedError, serve_recorded
from bench.report import report
from bench.repositories import compared, tiny
from bench.restored import DifferenceError, Restorer
from bench.results import UNCHANGED_REQUESTS, Bar
from bench.scaling import write_section
from bench.session import Session
from embedded.github import FakeGitHub
from embedded.real_git import git, served_refs
from embedded.stack import Stack

SMALL = Plan(
    small=2,
    medium=0,
    large=10 * MB,
    blobs=(300_000,),
    tiny=2,
    rounds=1,
    latency=0.02,
    growth=((3, (100,)),),
    listed=2,
    shard_repositories=12,
    shard_changed=50,
    killed_workers=1,  # with more, so few repositories would all be stored before the signal arrives
    shards=(1, 3),
    shard_latencies=(0.02,),
    listed_and_merged=(3,),
    changing_large=3 * MB,
    changing_commits=2,
    changing_repositories=10,
    changing_size=1 * MB,
    changing_different=2,
    lfs_objects=20,
    lfs_size=1000,
    lfs_large=20 * MB,
)


@pytest.fixture
def session(stack: Stack, tmp_path: Path) -> Iterator[Session]:
    with serve_recorded(tmp_path / "recorded") as recorded, serve_frugal_s3(tmp_path / "s3") as s3:
        yield Session(tmp_path, s3, stack.aws, recorded, Restorer(s3, tmp_path))


@pytest.fixture
def served(session: Session, tmp_path: Path) -> Iterator[Organisation]:
    with FakeGitHub() as github:
        yield organisation(github, session.recorded, tiny(tmp_path / "repositories", SMALL))


@pytest.mark.timeout(600)  # a dozen runs
@pytest.mark.exhaustive
def test_everything_is_measured_printed_and_written(stack: Stack, tmp_path: Path) -> None:
    results = measure(SMALL, tmp_path, tmp_path / "repositories", stack.aws)
    assert {who: len(usages) for who, usages in results.comparison.runs.items()} == {
        FULL: 1,
        LOOP: 1,
        GITHUB_BACKUP: 1,
        CHANGED: 1,
    }
    for who, usages in results.comparison.runs.items():
        assert usages[0].wall > 0.1
        assert usages[0].cpu > 0.05
        assert usages[0].memory > 10 * 1024**2
        assert usages[0].requests >= 2 * 4
        assert (usages[0].received > 300_000) == (who != CHANGED)  # the one that changed is small
    assert results.comparison.runs[GITHUB_BACKUP][0].disk > 300_000
    assert [(row.repositories, row.share, row.changed) for row in results.growth] == [(3, None, 3), (3, 100, 3)]
    assert results.growth[1].uploaded > 0
    assert [row.usage.s3_objects for row in results.growth] == [3 + 2, 3 + 2]
    in_changes = 2 * 2 * (1 + 10 + 10)
    assert results.bundles_restored == 2 * (4 * 4) + 2 * 3 + (2 * 2 + 3 * 2 + 1) * 12 + in_changes
    assert re.search(r"peak memory of a run on a day of 10,000 .* not measured", report(results))
    assert json.loads(results.to_json())["bars"][0]["limit"] == 3
    for change in results.changes.compared:
        assert max(change.ratio("stored"), change.ratio("received")) < 0.5
    assert len(results.changes.restored_changes) == 1
    lfs_content = results.lfs_content
    assert lfs_content.first_day_requests >= 20  # one for each object
    assert lfs_content.unchanged_requests <= UNCHANGED_REQUESTS
    assert lfs_content.unchanged_objects == 2
    assert lfs_content.large_memory > 10 * MB
    first, changed = results.shards.compared
    assert [run.shards for run in (first.single, *first.in_shards)] == [0, 1, 3]
    assert first.in_shards[1].requests > first.single.requests > changed.single.requests
    assert all(run.peak >= 2 for run in (first.single, *first.in_shards))
    assert results.shards.killed.undisturbed.cloned_twice == 0
    assert results.shards.killed.killed.requests > results.shards.killed.undisturbed.requests
    alone = results.shards.overhead[0]
    assert (alone.repositories, alone.shards, alone.listed.s3_objects, alone.merged.s3_objects) == (3, 3, 3 + 2, 3)
    assert "$" not in write_page(results, tmp_path).read_text()
    page = write_section(results.shards, results.date, results.machine, tmp_path).read_text()
    assert "| list | 3 |" in page
    assert "| 20 ms | first run | one task |" in page
    for plot in tmp_path.glob("*.svg"):
        assert f"({plot.name})" in page
        assert "<script" not in plot.read_text()
    assert len(list(tmp_path.glob("*.svg"))) == 2


def test_what_restores_to_something_else_fails_the_benchmark(session: Session, served: Organisation) -> None:
    with session.bucket() as bucket:
        session.product(served, bucket)
        assert session.restorer.product(served, bucket)["total_repos"] == 2
        served.change(50)
        with pytest.raises(DifferenceError, match="the restored refs are not those of"):
            session.restorer.product(served, bucket)
        served.change(50)
        client = session.s3.client()
        folder = f"github-backup/{days(session.s3, bucket)[0]}/acme"
        other = client.get_object(Bucket=bucket, Key=f"{folder}/tiny-001.bundle")["Body"].read()
        client.put_object(Bucket=bucket, Key=f"{folder}/tiny-000.bundle", Body=other)
        with pytest.raises(DifferenceError, match="is not what the manifest says"):
            session.restorer.product(served, bucket)


def test_an_unchanged_day_writes_two_objects_and_refers_to_the_first_day(
    session: Session, served: Organisation
) -> None:
    with session.bucket() as bucket:
        a_run(session, served, bucket, None)
        for _ in range(2):
            a_day_passes(session.s3, bucket)
            row = a_run(session, served, bucket, 0)
            due = row.repositories - row.unchanged
            assert (row.usage.s3_objects, row.objects_beside_bundles) == (2 + due, 2)
        last = newest_manifest(session.s3, bucket)
        assert [len(run_keys(session.s3, bucket, day)) for day in days(session.s3, bucket)] == [1, 1, 1]
    unchanged = [entry for entry in last["repos"] if entry["status"] == "unchanged"]
    assert unchanged
    assert all(entry["s3_key"].split("/")[1] < last["date"] for entry in unchanged)


@pytest.mark.usefixtures("served")
def test_what_was_never_recorded_fails_a_measured_run(session: Session) -> None:
    url = f"{session.recorded.url}/acme/tiny-000.git/info/refs?service=git-upload-pack"
    session.recorded.set(recording=False)
    assert requests.get(url, timeout=10).status_code == 500
    with pytest.raises(UnrecordedError, match="GET /acme/tiny-000"):
        session.recorded.take()
    session.recorded.set(recording=True)
    first = requests.get(url, headers={"User-Agent": "git/2"}, timeout=10)
    session.recorded.set(recording=False)
    again = requests.get(url, timeout=10)
    assert (again.status_code, again.content) == (first.status_code, first.content) == (401, again.content)
    assert again.headers["WWW-Authenticate"] == 'Basic realm="GitHub"'
    assert requests.get(url, auth=("x-access-token", "t"), timeout=10).status_code == 500


@pytest.mark.parametrize("protocol", ["0", "2"])
def test_git_clones_from_recordings_in_either_protocol(session: Session, served: Organisation, protocol: str) -> None:
    repository = served.github.repositories[min(served.github.repositories)]
    repository.private = False
    clone = (
        "-c",
        f"protocol.version={protocol}",
        "clone",
        "--quiet",
        "--mirror",
        f"{session.recorded.url}/{repository.full_name}.git",
    )
    git(*clone, session.place / "recorded.git")
    session.recorded.set(recording=False)
    git(*clone, session.place / "replayed.git")
    assert served_refs(session.place / "replayed.git") == served_refs(repository.path)
    assert len(session.recorded.take().asked) == 2 * (2 if protocol == "0" else 3)


def test_a_repository_that_changed_is_served_with_another_commit(served: Organisation) -> None:
    paths = [repository.path for repository in served.github.repositories.values()]
    assert served.change(3) == 1
    changed = [repository.path for repository in served.github.repositories.values()]
    assert [served_refs(a) == served_refs(b) for a, b in zip(paths, changed, strict=True)] == [False, True]
    assert served.change(3) == 1
    assert [repository.path for repository in served.github.repositories.values()] == paths


def test_a_day_that_passed_leaves_everything_a_day_older(session: Session, served: Organisation) -> None:
    with session.bucket() as bucket:
        session.product(served, bucket)
        today = session.restorer.product(served, bucket)
        a_day_passes(session.s3, bucket)
        yesterday = session.restorer.product(served, bucket)
    assert date.fromisoformat(yesterday["date"]) + DAY == date.fromisoformat(today["date"])
    assert yesterday["repos"][0]["backed_up_at"] < today["repos"][0]["backed_up_at"]
    assert yesterday["repos"][0]["version_id"] == today["repos"][0]["version_id"]
    assert yesterday["repos"][0]["s3_key"] == today["repos"][0]["s3_key"].replace(today["date"], yesterday["date"])


def test_repositories_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = [compared(tmp_path / name, replace(SMALL, medium=1, medium_commits=3)) for name in ("one", "two")]
    refs = [[served_refs(repository.path) for repository in each] for each in made]
    assert refs[0] == refs[1]
    assert len(refs[0]) == 5
    assert all("refs/heads/main" in names for names in refs[0])


def test_a_year_of_a_history_stores_what_changed_and_a_full_bundle_each_month(tmp_path: Path) -> None:
    """A commit every ten days, of random bytes, on a thousand times as many."""
    path = tmp_path / "history.git"
    git("init", "--quiet", "--bare", "--template=", path)
    git("-C", path, "symbolic-ref", "HEAD", "refs/heads/main")
    sizes = [1_000_000, *[1000] * 36]
    commits = b"".join(a_commit(number * 10 * 86400 + 1_700_000_000, size) for number, size in enumerate(sizes))
    git("-C", path, "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", stdin=commits)
    year = a_year(path, 24)
    assert year.full in (13, 14)
    assert 36 - year.full <= len(year.changes) <= 36
    assert all(1000 < size < 10_000 for size in year.changes)
    assert year.monthly == pytest.approx(year.full / 12, rel=0.1)
    each = a_year(path, 24, full_backup_days=1)
    assert (each.full, each.changes, each.monthly_in_full) == (366, [], 366 / 12)


def a_commit(seconds: int, size: int) -> bytes:
    """Return a commit of one more file, for fast-import."""
    head = f"commit refs/heads/main\ncommitter A <a@b.c> {seconds} +0000\ndata 1\nx\n".encode()
    return head + f"M 100644 inline {seconds}\ndata {size}\n".encode() + random.Random(seconds).randbytes(size) + b"\n"  # noqa: S311


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (2.5, True, "met"),
        (2.4, True, "NOT met"),
        (2.6, False, "NOT met"),
        (2.5, False, "met"),
        (None, True, "not measured"),
    ],
)
def test_a_bar_is_met_at_its_limit(value: float | None, at_least: bool, verdict: str) -> None:
    assert Bar("", value, 2.5, at_least).verdict == verdict


def test_the_sizes_that_are_asked_for_are_measured_at_every_share() -> None:
    assert planned(None, False, 5).growth[-1] == (10_000, (0, 3))
    assert planned(None, True, 5).growth[-1] == (10_000, (0, 3, 100))
    assert planned("100,1000", False, 5).growth == ((100, (0, 3, 100)), (1000, (0, 3, 100)))
    assert planned("", False, 5).growth == ()
