"""An unchanged repository writes nothing; where anything is not as expected, it is cloned."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from embedded.github import FakeRepository, Fault
from embedded.real_git import git
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.backup.unchanged import is_due
from github_s3_backup.github.rest import API_ATTEMPTS
from github_s3_backup.manifest import Entry, RefSummary, StoredObject, new_entry
from test_archive import REPOSITORY
from world import Run, World

NAMES = ("api", "public", "empty")
REFS = "GET .*/info/refs"
FETCH = "POST .*/git-upload-pack"


def statuses(run: Run) -> dict[str, str]:
    return {name: one["status"] for name, one in run.repos.items()}


def own_copy(world: World, repository: FakeRepository) -> FakeRepository:
    """Give the repository a git directory that this test may change."""
    path = world.folder / f"{repository.name}.git"
    shutil.copytree(repository.path, path)
    repository.path = path
    return repository


@pytest.fixture
def yesterday(world: World) -> dict[str, FakeRepository]:
    """Three repositories that were backed up yesterday; what has been asked of GitHub is forgotten."""
    added = {name: own_copy(world, world.add(name)) for name in NAMES}
    assert world.run().code == 0
    world.yesterday()
    world.github.exchanges.clear()
    return added


def run_today(world: World) -> Run:
    run = world.run()
    assert run.code == 0, run.output
    return run


def assert_cloned(run: Run, world: World, names: set[str]) -> None:
    """Assert that these were cloned and no other."""
    assert {name for name, status in statuses(run).items() if status == "stored"} == names
    cloned = {one.path.removeprefix("/").split(".git")[0] for one in world.github.requests(FETCH)}
    assert cloned == names


def test_nothing_is_fetched_where_nothing_changed(world: World, yesterday: dict[str, FakeRepository]) -> None:
    run = run_today(world)
    assert statuses(run) == {"acme/api": "unchanged", "acme/public": "unchanged", "acme/empty": "empty"}
    assert [one.status for one in world.github.requests(r"\.git")] == [200, 200, 200]
    assert len(world.github.requests(REFS)) == len(yesterday)
    assert world.key("") not in run.repos["acme/api"]["s3_key"], "the object of the day on which it was made"
    written = {key for key in world.stored_keys() if world.key("") in key}
    assert written == {*world.run_keys(), world.key("manifest.json")}
    (compared,) = run.named("comparing with the last backup")
    assert compared["date"] in next(key for key in world.stored_keys() if world.key("") not in key)


def test_what_was_carried_over_says_when_it_was_made_and_is_no_upload(
    world: World, yesterday: dict[str, FakeRepository]
) -> None:
    before = {one["full_name"]: one for one in json.loads(last_manifest(world))["repos"]}
    world.variables["SERVICE_NAME"] = f"{world.service}-today"
    entry = run_today(world).repos["acme/api"]
    same = ("sha", "s3_key", "version_id", "size_bytes", "sha256", "ref_count", "refs_sha256", "backed_up_at")
    assert {name: entry[name] for name in same} == {name: before["acme/api"][name] for name in same}
    published = world.stack.aws.metrics(f"{world.service}-today")
    assert published["RepositoriesUnchanged"] == [2]
    assert published["BytesUploaded"] == [0]
    assert published["BackupSuccess"] == [len(yesterday)]


def last_manifest(world: World) -> bytes:
    """Return the newest manifest in the bucket."""
    key = max(key for key in world.stored_keys() if key.endswith("manifest.json"))
    return world.stack.s3.client().get_object(Bucket=world.bucket, Key=key)["Body"].read()


def point(ref: str, target: str) -> Callable[[FakeRepository], object]:
    return lambda repository: git(f"--git-dir={repository.path}", "update-ref", ref, target)


def head(branch: str) -> Callable[[FakeRepository], object]:
    def change(repository: FakeRepository) -> None:
        git(f"--git-dir={repository.path}", "symbolic-ref", "HEAD", f"refs/heads/{branch}")
        repository.default_branch = branch

    return change


CHANGES: dict[str, Callable[[FakeRepository], object]] = {
    "a branch moved": point("refs/heads/main", "main~1"),
    "a new branch": point("refs/heads/new", "main"),
    "a new tag": point("refs/tags/new", "main"),
    "a pull request": point("refs/pull/7/head", "main"),
    "a deleted branch": lambda one: git(f"--git-dir={one.path}", "update-ref", "-d", "refs/heads/feature/login"),
    "another default branch": head("feature/login"),
    "HEAD that does not resolve": head("nowhere"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_cloned_and_nothing_else(
    world: World, yesterday: dict[str, FakeRepository], change: str
) -> None:
    CHANGES[change](yesterday["api"])
    assert_cloned(run_today(world), world, {"acme/api"})


def test_a_new_default_branch_at_the_same_commit_is_in_the_manifest(world: World) -> None:
    trunk = own_copy(world, world.add("shared-commit"))
    world.run()
    world.yesterday()
    head("master")(trunk)
    entry = run_today(world).repos["acme/shared-commit"]
    assert (entry["status"], entry["default_branch"]) == ("unchanged", "master")


def test_a_repository_that_is_new_or_full_again_is_cloned(world: World, yesterday: dict[str, FakeRepository]) -> None:
    world.add("fork")
    git("fetch", "--quiet", yesterday["api"].path, "main:main", cwd=yesterday["empty"].path)
    assert_cloned(run_today(world), world, {"acme/fork", "acme/empty"})


def test_a_repository_that_became_empty_is_empty(world: World, yesterday: dict[str, FakeRepository]) -> None:
    shutil.rmtree(yesterday["api"].path)
    git("init", "--quiet", "--bare", yesterday["api"].path)
    run = run_today(world)
    assert statuses(run)["acme/api"] == "empty"
    assert world.github.requests(FETCH) == []


@pytest.mark.usefixtures("yesterday")
def test_one_answer_without_refs_does_not_empty_a_repository(world: World) -> None:
    headers = {"Content-Type": "application/x-git-upload-pack-advertisement"}
    raw = "001e# service=git-upload-pack\n00000000"
    world.github.faults = [Fault(r"GET /acme/api\.git", status=200, headers=headers, raw=raw)]
    assert_cloned(run_today(world), world, {"acme/api"})


def test_a_renamed_repository_is_carried_over_to_its_new_name(
    world: World, yesterday: dict[str, FakeRepository]
) -> None:
    yesterday["api"].name = "interface"
    run = run_today(world)
    assert statuses(run)["acme/interface"] == "unchanged"
    assert run.repos["acme/interface"]["s3_key"].endswith("acme/api.bundle")
    assert_cloned(run, world, set())


def test_a_repository_renamed_since_the_listing_is_cloned_under_its_new_name(
    world: World, yesterday: dict[str, FakeRepository]
) -> None:
    def rename() -> None:
        yesterday["api"].old_name, yesterday["api"].name = "api", "interface"

    world.github.after_listing = rename
    run = run_today(world)
    assert statuses(run)["acme/interface"] == "stored"
    assert "redirects" in run.named("refs not told, cloning")[0]["error"]


# -- the object of the last backup -----------------------------------------------------------------


def spoil(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.__setitem__(field, value)


SPOILED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another version": (spoil("version_id", "0" * 32), "Not Found"),
    "another size": (spoil("size_bytes", 17), "the manifest says 17 in"),
    "another checksum": (spoil("sha256", "0" * 64), "the manifest says AAAA"),
    "no such key": (spoil("s3_key", "github-backup/2020-01-01/acme/api.bundle"), "Not Found"),
}


@pytest.mark.parametrize("what", SPOILED)
@pytest.mark.usefixtures("yesterday")
def test_an_object_that_is_not_what_the_manifest_says_is_not_carried_over(world: World, what: str) -> None:
    change, words = SPOILED[what]
    manifest = json.loads(last_manifest(world))
    change(next(one for one in manifest["repos"] if one["full_name"] == "acme/api"))
    world.put_manifest(manifest)
    run = run_today(world)
    assert_cloned(run, world, {"acme/api"})
    (warning,) = run.named("last bundle not usable, cloning")
    assert words in warning["error"]


def test_a_deleted_object_is_not_carried_over(world: World, yesterday: dict[str, FakeRepository]) -> None:
    entry = next(one for one in json.loads(last_manifest(world))["repos"] if one["name"] == yesterday["api"].name)
    version = {"Key": entry["s3_key"], "VersionId": entry["version_id"]}
    world.stack.s3.client().delete_object(Bucket=world.bucket, **version)
    assert_cloned(run_today(world), world, {"acme/api"})


def breaking(change: Callable[[dict[str, Any]], object]) -> Callable[[World], None]:
    def apply(world: World) -> None:
        manifest = json.loads(last_manifest(world))
        change(manifest)
        world.put_manifest(manifest)

    return apply


BOTH = {"acme/api", "acme/public"}
BROKEN: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "incomplete": (breaking(lambda manifest: manifest.update(complete=False)), BOTH),
    "of a newer program": (breaking(lambda manifest: manifest.update(schema_version=2)), BOTH),
    "with impossible hashes": (breaking(lambda manifest: [x.update(sha256="?") for x in manifest["repos"]]), BOTH),
    "with an impossible moment": (
        breaking(lambda manifest: manifest["repos"][0].update(backed_up_at="0001-01-01T00:00:00+23:00")),
        {"acme/api"},
    ),
    "with an entry that lacks a field": (
        breaking(lambda manifest: manifest["repos"][0].pop("refs_sha256")),
        {"acme/api"},
    ),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.usefixtures("yesterday")
def test_what_a_manifest_can_not_be_trusted_with_is_cloned(world: World, what: str) -> None:
    change, cloned = BROKEN[what]
    change(world)
    assert_cloned(run_today(world), world, cloned)


@pytest.mark.usefixtures("yesterday")
def test_a_manifest_of_a_day_to_come_is_not_the_last_backup(world: World) -> None:
    """A clock was wrong. Whatever it says is due, and would be until that day."""
    tomorrow = json.loads(last_manifest(world))
    tomorrow["date"] = f"{date.fromisoformat(tomorrow['date']) + timedelta(2)}"
    for one in tomorrow["repos"]:
        one["backed_up_at"] = f"{tomorrow['date']}T12:00:00Z"
    world.put_manifest(tomorrow)
    run = run_today(world)
    assert set(statuses(run).values()) == {"unchanged", "empty"}
    assert not [entry for entry in run.repos.values() if entry["backed_up_at"].startswith(tomorrow["date"])]


@pytest.mark.usefixtures("yesterday")
def test_a_manifest_from_before_the_checksum_was_recorded_will_do_for_an_object_in_one_piece(world: World) -> None:
    breaking(lambda manifest: [one.pop("s3_checksum_sha256") for one in manifest["repos"]])(world)
    assert_cloned(run_today(world), world, set())


def test_a_bucket_whose_manifests_cannot_be_listed_makes_a_full_run(
    world: World, yesterday: dict[str, FakeRepository], s3_proxy: S3Proxy
) -> None:
    s3_proxy.faults = [S3Fault(r"GET .*list-type=2", "deny")]
    run = run_today(world)
    assert_cloned(run, world, {f"acme/{name}" for name in yesterday if name != "empty"})
    assert "AccessDenied" in run.named("no last backup, cloning every repository")[0]["reason"]


@pytest.mark.usefixtures("yesterday")
def test_an_object_that_s3_does_not_show_is_logged_and_cloned(world: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.faults = [S3Fault(r"HEAD .*/acme/api\.bundle\?versionId", "deny")]
    run = run_today(world)
    assert_cloned(run, world, {"acme/api"})
    assert re.search("AccessDenied|Forbidden", run.named("last bundle not usable, cloning")[0]["error"])


def test_an_object_in_parts_is_referred_to(world: World) -> None:
    world.add("in-parts")
    first = world.run().repos["acme/in-parts"]
    assert re.fullmatch(r".+-\d+", first["s3_checksum_sha256"])
    world.yesterday()
    run = run_today(world)
    assert statuses(run) == {"acme/in-parts": "unchanged"}
    again = run_today(world).repos["acme/in-parts"]
    assert again["version_id"] == run.repos["acme/in-parts"]["version_id"]


def test_an_object_in_parts_whose_checksum_was_not_recorded_is_cloned(world: World) -> None:
    world.add("in-parts")
    world.run()
    world.yesterday()
    breaking(lambda manifest: [one.update(s3_checksum_sha256=None) for one in manifest["repos"]])(world)
    assert statuses(run_today(world)) == {"acme/in-parts": "stored"}


def test_a_second_run_of_the_day_keeps_the_version_and_only_asks_for_it(world: World, s3_proxy: S3Proxy) -> None:
    world.add("api")
    first = world.run().repos["acme/api"]
    s3_proxy.requests.clear()
    run = run_today(world)
    assert statuses(run) == {"acme/api": "unchanged"}
    assert run.repos["acme/api"]["version_id"] == first["version_id"]
    assert not [one for one in s3_proxy.requests if "api.bundle" in one and not one.startswith("HEAD")]


def test_a_bundle_that_somebody_overwrote_is_still_there_in_its_version(world: World) -> None:
    world.add("api")
    first = world.run().repos["acme/api"]
    world.stack.s3.client().put_object(Bucket=world.bucket, Key=first["s3_key"], Body=b"not a bundle")
    again = run_today(world).repos["acme/api"]
    assert (again["status"], again["version_id"]) == ("unchanged", first["version_id"])


# -- when a full backup is due ---------------------------------------------------------------------

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("days", "age", "offset", "due"),
    [
        (7, 1, 0, True),  # its day of the seven
        (7, 1, 1, False),
        (7, 6, 6, False),
        (7, 7, 1, True),  # not carried over for longer
        (7, 30, 1, True),
        (7, 0, 0, False),  # its day, and it was cloned today
        (7, -1, 1, True),  # made in the future: a clock was wrong
        (1, 0, 0, True),  # always
        (1, 1, 0, True),
        (365, 364, 1, False),
        (365, 365, 1, True),
    ],
)
def test_when_a_full_backup_is_due(days: int, age: int, offset: int, due: bool) -> None:
    number = days * 1000 - TODAY.toordinal() % days + offset
    assert is_due(known(number, TODAY - timedelta(age)), TODAY, days) == due


def known(number: int, backed_up_on: date) -> Entry:
    """Return a repository's entry in a manifest."""
    stored = StoredObject(key="github-backup/x.bundle", version_id="v", size_bytes=1, sha256="0" * 64, checksum=None)
    refs = RefSummary(ref_count=1, refs_sha256="0" * 64, sha=None)
    entry = new_entry(replace(REPOSITORY, id=number), "stored", stored, refs, 0.0)
    return msgspec.structs.replace(entry, backed_up_at=f"{backed_up_on}T23:59:59Z")


def test_within_the_days_each_repository_has_one_day() -> None:
    days = [TODAY + timedelta(number) for number in range(7)]
    due = [sum(is_due(known(number, day - timedelta(1)), day, 7) for day in days) for number in range(7)]
    assert due == [1] * 7


def test_a_repository_whose_day_it_is_is_cloned(world: World, yesterday: dict[str, FakeRepository]) -> None:
    run = world.run(FULL_BACKUP_DAYS="1")
    assert_cloned(run, world, {f"acme/{name}" for name in yesterday if name != "empty"})


def test_a_bundle_as_old_as_the_full_backups_are_apart_is_made_anew(world: World) -> None:
    world.add("api")
    world.run()
    world.yesterday(400)
    assert statuses(run_today(world)) == {"acme/api": "stored"}


# -- what GitHub answers ---------------------------------------------------------------------------


def test_one_connection_a_worker_is_used_for_all(world: World) -> None:
    for number in range(12):
        world.add("service-001", name=f"copy-{number:02}")
    world.run()
    world.yesterday()
    world.github.exchanges.clear()
    assert set(statuses(world.run(BACKUP_CONCURRENCY="2")).values()) == {"unchanged"}
    asked = world.github.requests(REFS)
    assert len(asked) == 12
    assert len({one.port for one in asked}) <= 3  # the one that listed the repositories is among them


def test_no_cache_on_the_way_may_answer_as_in_gits_own_request(world: World) -> None:
    world.add("api")
    world.run()
    world.yesterday()
    world.run()
    *by_git, by_us = world.github.requests(REFS)
    assert by_us.headers.get("Pragma") == by_git[-1].headers["Pragma"] == "no-cache"


@pytest.mark.usefixtures("yesterday")
def test_a_token_that_was_revoked_is_replaced_and_nothing_cloned(world: World) -> None:
    world.github.after_listing = world.github.revoke_tokens
    run = run_today(world)
    assert_cloned(run, world, set())
    assert len(world.github.requests("POST .*/access_tokens")) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(r"GET /acme/api\.git", status=500),
        Fault(r"GET /acme/api\.git", status=429, headers={"Retry-After": "1"}),
        Fault(r"GET /acme/api\.git", status=403, headers={"Retry-After": "1"}),
    ],
    ids=lambda fault: str(fault.status),
)
@pytest.mark.usefixtures("yesterday")
def test_refs_are_asked_for_again_when_github_says_and_nothing_is_cloned(world: World, fault: Fault) -> None:
    world.github.faults = [fault]
    run = run_today(world)
    assert_cloned(run, world, set())
    assert len(run.named("retrying")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(r"GET /acme/api\.git", status=429, headers={"Retry-After": "0"}, times=API_ATTEMPTS),
        Fault(r"GET /acme/api\.git", status=404),
        Fault(r"GET /acme/api\.git", status=200, raw="<html>"),
        Fault(r"GET /acme/api\.git", status=200, raw=""),
        Fault(r"GET /acme/api\.git", status=0, cut_after=100),
        Fault(r"GET /acme/api\.git", status=401, times=2),
    ],
    ids=lambda fault: f"{fault.status}{fault.raw or ''}",
)
@pytest.mark.usefixtures("yesterday")
def test_an_answer_that_tells_no_refs_leads_to_a_clone(world: World, fault: Fault) -> None:
    world.github.faults = [fault]
    run = run_today(world)
    assert_cloned(run, world, {"acme/api"})
    assert len(run.named("refs not told, cloning")) == 1


def test_a_repository_that_was_taken_down_fails_as_ever(world: World, yesterday: dict[str, FakeRepository]) -> None:
    yesterday["api"].blocked = 451
    run = world.run()
    assert run.code == 1
    assert "Repository access blocked (dmca" in run.failures["acme/api"]["error"]
