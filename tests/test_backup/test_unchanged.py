"""An unchanged repository writes nothing; where anything is not as expected, it is cloned."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Literal

import pytest

from embedded.github import FakeGitHub, FakeRepository, Fault
from embedded.real_git import git
from embedded.s3_proxy import S3Fault, S3Proxy
from embedded.stack import Stack
from github_s3_backup.backup.plan.last_backup import is_due
from support.world import Backup, Repositories, Run, World

NAMES = ("api", "public", "empty")
COPIES = tuple(f"copy-{number}" for number in range(8))
REFS = "GET .*/info/refs"
FETCH = "POST .*/git-upload-pack"


def statuses(run: Run) -> dict[str, str]:
    return {name: entry["status"] for name, entry in run.repos.items()}


def own_copy(world: World, repository: FakeRepository) -> FakeRepository:
    """Give the repository a git directory that this test may change."""
    path = world.folder / f"{repository.name}.git"
    shutil.copytree(repository.path, path)
    repository.path = path
    return repository


@pytest.fixture(scope="session")
def backup(stack: Stack, repositories: Repositories, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    """A backup of everything that these tests change, made once; each test takes over what it needs of it."""
    with FakeGitHub() as github:
        folder = tmp_path_factory.mktemp("backup")
        world = World(stack, github, repositories, folder, stack.s3.new_bucket("unchanged"), "unchanged")
        for name in NAMES:
            world.add(name)
        for name in COPIES:
            world.add("api", name=name)
        run = world.run()
        assert run.code == 0, run.output
        assert run.manifest is not None
        return Backup(world.bucket, run.manifest)


@pytest.fixture
def yesterday(world: World, backup: Backup) -> dict[str, FakeRepository]:
    """Three repositories that were backed up yesterday."""
    added = {name: own_copy(world, world.add(name)) for name in NAMES}
    world.take_over(backup, 1)
    return added


@pytest.fixture
def copies(world: World, backup: Backup) -> list[FakeRepository]:
    """Repositories like acme/api, beside those three, in each of which something else changes; backed up yesterday."""
    for name in NAMES:
        world.add(name)
    added = [own_copy(world, world.add("api", name=name)) for name in COPIES]
    world.take_over(backup, 1)
    return added


def run_today(world: World) -> Run:
    run = world.run()
    assert run.code == 0, run.output
    return run


def assert_cloned(run: Run, world: World, names: set[str]) -> None:
    """Assert that these were cloned and no other."""
    assert {name for name, status in statuses(run).items() if status == "stored"} == names
    cloned = {request.path.removeprefix("/").split(".git")[0] for request in world.github.requests(FETCH)}
    assert cloned == names


def test_nothing_is_fetched_where_nothing_changed(world: World, yesterday: dict[str, FakeRepository]) -> None:
    run = run_today(world)
    assert statuses(run) == {"acme/api": "unchanged", "acme/public": "unchanged", "acme/empty": "empty"}
    assert [request.status for request in world.github.requests(r"\.git")] == [200, 200, 200]
    assert len(world.github.requests(REFS)) == len(yesterday)
    assert world.key("") not in run.repos["acme/api"]["s3_key"], "the object of the day on which it was made"
    written = {key for key in world.stored_keys() if world.key("") in key}
    assert written == {*world.run_keys(), world.key("manifest.json")}
    (compared,) = run.named("comparing with the last backup")
    assert compared["date"] in next(key for key in world.stored_keys() if world.key("") not in key)


def test_what_was_carried_over_says_when_it_was_made_and_is_no_upload(
    world: World, yesterday: dict[str, FakeRepository]
) -> None:
    before = {entry["full_name"]: entry for entry in json.loads(last_manifest(world))["repos"]}
    entry = run_today(world).repos["acme/api"]
    same = ("sha", "s3_key", "version_id", "size_bytes", "sha256", "ref_count", "refs_sha256", "backed_up_at")
    assert {name: entry[name] for name in same} == {name: before["acme/api"][name] for name in same}
    published = world.metrics()
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
    "a deleted branch": lambda repository: git(
        f"--git-dir={repository.path}", "update-ref", "-d", "refs/heads/feature/login"
    ),
    "another default branch": head("feature/login"),
    "HEAD that does not resolve": head("nowhere"),
}


def test_what_changed_is_stored_and_nothing_else(world: World, copies: list[FakeRepository]) -> None:
    changed = dict(zip(CHANGES, copies, strict=False))
    for what, repository in changed.items():
        CHANGES[what](repository)
    run = run_today(world)
    found = {what: statuses(run)[repository.full_name] for what, repository in changed.items()}
    assert found == dict.fromkeys(CHANGES, "stored")
    assert list(statuses(run).values()).count("stored") == len(CHANGES)
    assert {bool(entry["base"]) for entry in run.repos.values() if entry["status"] == "stored"} == {True}


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
    assert "redirects" in run.named("refs not available, cloning")[0]["error"]


# -- the object of the last backup -----------------------------------------------------------------


def spoil(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.__setitem__(field, value)


SPOILED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another version": (spoil("version_id", "0" * 32), "Not Found"),
    "another size": (spoil("size_bytes", 17), "the manifest says 17 in"),
    "another checksum": (spoil("sha256", "0" * 64), "the manifest says AAAA"),
    "no such key": (spoil("s3_key", "github-backup/2020-01-01/acme/api.bundle"), "Not Found"),
}


def test_an_object_that_is_not_what_the_manifest_says_or_is_not_shown_is_not_carried_over(
    world: World, s3_proxy: S3Proxy, copies: list[FakeRepository]
) -> None:
    manifest = json.loads(last_manifest(world))
    entries = {entry["full_name"]: entry for entry in manifest["repos"]}
    spoiled = dict(zip(SPOILED, copies, strict=False))
    for what, repository in spoiled.items():
        SPOILED[what][0](entries[repository.full_name])
    world.put_manifest(manifest)
    deleted, denied = (entries[repository.full_name] for repository in copies[-2:])
    version = {"Key": deleted["s3_key"], "VersionId": deleted["version_id"]}
    world.stack.s3.client().delete_object(Bucket=world.bucket, **version)
    s3_proxy.faults = [S3Fault(rf"HEAD .*/{denied['name']}\.bundle\?versionId", "deny")]
    expected = {repository.full_name: SPOILED[what][1] for what, repository in spoiled.items()}
    expected |= {deleted["full_name"]: "Not Found", denied["full_name"]: "AccessDenied|Forbidden"}
    run = run_today(world)
    assert_cloned(run, world, set(expected))
    errors = {line["full_name"]: line["error"] for line in run.named("last bundle not usable, cloning")}
    assert errors.keys() == expected.keys()
    assert [name for name, words in expected.items() if not re.search(words, errors[name])] == [], errors


def breaking(change: Callable[[dict[str, Any]], object]) -> Callable[[World], None]:
    def apply(world: World) -> None:
        manifest = json.loads(last_manifest(world))
        change(manifest)
        world.put_manifest(manifest)

    return apply


BROKEN_ENTRIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "with an impossible hash": lambda entry: entry.update(sha256="?"),
    "with an impossible moment": lambda entry: entry.update(backed_up_at="0001-01-01T00:00:00+23:00"),
    "that lacks a field": lambda entry: entry.pop("refs_sha256"),
}


@pytest.mark.usefixtures("yesterday")
def test_an_incomplete_manifest_is_not_the_last_backup(world: World) -> None:
    breaking(lambda manifest: manifest.update(complete=False))(world)
    assert_cloned(run_today(world), world, {"acme/api", "acme/public"})


@pytest.mark.usefixtures("yesterday")
def test_a_manifest_that_cannot_be_used_makes_a_full_run_that_fails(world: World) -> None:
    """Nobody knows what it held, so what has vanished since may be missing."""
    breaking(lambda manifest: manifest.update(schema_version=2))(world)
    run = world.run()
    assert run.code == 1
    assert {run.repos[name]["status"] for name in ("acme/api", "acme/public")} == {"stored"}
    (line,) = run.named("manifest damaged, comparing with an older one")
    assert "schema version 2" in line["error"]


def test_an_entry_that_can_not_be_trusted_is_cloned(world: World, copies: list[FakeRepository]) -> None:
    manifest = json.loads(last_manifest(world))
    broken = dict(zip(BROKEN_ENTRIES, copies, strict=False))
    for what, repository in broken.items():
        BROKEN_ENTRIES[what](next(entry for entry in manifest["repos"] if entry["id"] == repository.id))
    world.put_manifest(manifest)
    assert_cloned(run_today(world), world, {repository.full_name for repository in broken.values()})


@pytest.mark.usefixtures("yesterday")
def test_a_manifest_of_a_day_to_come_is_not_the_last_backup(world: World) -> None:
    """A clock was wrong. Whatever it says is due, and would be until that day."""
    tomorrow = json.loads(last_manifest(world))
    tomorrow["date"] = f"{date.fromisoformat(tomorrow['date']) + timedelta(2)}"
    for entry in tomorrow["repos"]:
        entry["backed_up_at"] = f"{tomorrow['date']}T12:00:00Z"
    world.put_manifest(tomorrow)
    run = run_today(world)
    assert set(statuses(run).values()) == {"unchanged", "empty"}
    assert not [entry for entry in run.repos.values() if entry["backed_up_at"].startswith(tomorrow["date"])]


@pytest.mark.usefixtures("yesterday")
def test_a_manifest_from_before_the_checksum_was_recorded_will_do_for_an_object_in_one_piece(world: World) -> None:
    breaking(lambda manifest: [entry.pop("s3_checksum_sha256") for entry in manifest["repos"]])(world)
    assert_cloned(run_today(world), world, set())


@pytest.mark.usefixtures("yesterday")
@pytest.mark.parametrize("fault", ["deny", "fail"])
def test_a_run_that_cannot_read_what_the_last_backup_held_does_not_start(
    world: World, s3_proxy: S3Proxy, fault: Literal["deny", "fail"]
) -> None:
    """Else it would forget what has vanished since, and be green."""
    for request in (r"GET .*list-type=2", r"GET .*/runs/.*\.json"):
        s3_proxy.faults = [S3Fault(request, fault)]
        run = world.run()
        assert (run.code, len(run.problems), run.manifest) == (2, 1, None)


def test_an_object_in_parts_is_referred_to_where_its_checksum_was_recorded(world: World) -> None:
    world.add("in-parts")
    first = world.run().repos["acme/in-parts"]
    assert re.fullmatch(r".+-\d+", first["s3_checksum_sha256"])
    world.yesterday()
    run = run_today(world)
    assert statuses(run) == {"acme/in-parts": "unchanged"}
    again = run_today(world).repos["acme/in-parts"]
    assert again["version_id"] == run.repos["acme/in-parts"]["version_id"]
    world._delete_all(world.key(""))
    breaking(lambda manifest: [entry.update(s3_checksum_sha256=None) for entry in manifest["repos"]])(world)
    assert statuses(run_today(world)) == {"acme/in-parts": "stored"}


def test_a_second_run_of_the_day_keeps_the_version_and_only_asks_for_it(
    world: World, s3_proxy: S3Proxy, backup: Backup
) -> None:
    world.add("api")
    (first,) = world.take_over(backup, 0)["repos"]
    run = run_today(world)
    assert statuses(run) == {"acme/api": "unchanged"}
    assert run.repos["acme/api"]["version_id"] == first["version_id"]
    assert not [what for what in s3_proxy.requests if "api.bundle" in what and not what.startswith("HEAD")]


def test_a_bundle_that_somebody_overwrote_is_still_there_in_its_version(world: World, backup: Backup) -> None:
    world.add("api")
    (first,) = world.take_over(backup, 0)["repos"]
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
    assert is_due(utc_day(TODAY - timedelta(age)), number, TODAY, days) == due


def utc_day(day: date) -> str:
    """Return the last second of a day, as a manifest has it."""
    return f"{day}T23:59:59Z"


def test_within_the_days_each_repository_has_one_day() -> None:
    days = [TODAY + timedelta(number) for number in range(7)]
    due = [sum(is_due(utc_day(day - timedelta(1)), number, day, 7) for day in days) for number in range(7)]
    assert due == [1] * 7


def test_a_repository_whose_day_it_is_is_cloned(world: World, yesterday: dict[str, FakeRepository]) -> None:
    run = world.run(FULL_BACKUP_DAYS="1")
    assert_cloned(run, world, {f"acme/{name}" for name in yesterday if name != "empty"})


def test_a_bundle_as_old_as_the_full_backups_are_apart_is_made_anew(world: World, backup: Backup) -> None:
    world.add("api")
    world.take_over(backup, 400)
    assert statuses(run_today(world)) == {"acme/api": "stored"}


# -- what GitHub answers ---------------------------------------------------------------------------


def test_one_connection_a_worker_is_used_for_all(world: World, copies: list[FakeRepository]) -> None:
    assert set(statuses(world.run(BACKUP_CONCURRENCY="1")).values()) == {"unchanged", "empty"}
    asked = world.github.requests(REFS)
    assert len(asked) == len(NAMES) + len(copies)
    assert len({request.port for request in asked}) <= 2  # the one that listed the repositories is among them


@pytest.mark.usefixtures("yesterday")
def test_no_cache_on_the_way_may_answer_as_in_gits_own_request(world: World) -> None:
    world.add("fork")  # it is new, and only git asks for it
    run_today(world)
    (by_us,), by_git = (world.github.requests(f"GET /acme/{name}.git/info/refs") for name in ("api", "fork"))
    assert by_us.headers.get("Pragma") == by_git[-1].headers["Pragma"] == "no-cache"


@pytest.mark.usefixtures("yesterday")
def test_a_token_that_was_revoked_is_replaced_and_nothing_cloned(world: World) -> None:
    world.github.after_listing = world.github.revoke_tokens
    run = run_today(world)
    assert_cloned(run, world, set())
    assert len(world.github.requests("POST .*/access_tokens")) == 2


def of(repository: FakeRepository) -> str:
    """Return the pattern of what is asked of the git server about a repository."""
    return rf"GET /{repository.full_name}\.git"


def test_refs_are_asked_for_again_when_github_says_and_nothing_is_cloned(
    world: World, copies: list[FakeRepository]
) -> None:
    world.github.faults = [
        Fault(of(copies[0]), status=500),
        Fault(of(copies[1]), status=429, headers={"Retry-After": "1"}),
        Fault(of(copies[2]), status=403, headers={"Retry-After": "1"}),
    ]
    run = run_today(world)
    assert_cloned(run, world, set())
    waits = {line["full_name"]: line["wait_source"] for line in run.named("retrying")}
    assert waits == {
        copies[0].full_name: "backoff",
        copies[1].full_name: "Retry-After",
        copies[2].full_name: "Retry-After",
    }


def test_an_answer_that_tells_no_refs_leads_to_a_clone(world: World, copies: list[FakeRepository]) -> None:
    world.github.faults = [
        Fault(of(copies[0]), status=429, headers={"Retry-After": "7200"}),
        Fault(of(copies[1]), status=404),
        Fault(of(copies[2]), status=200, raw="<html>"),
        Fault(of(copies[3]), status=200, raw=""),
        Fault(of(copies[4]), status=0, cut_after=100),
        Fault(of(copies[5]), status=401, times=2),
    ]
    run = run_today(world)
    untold = {repository.full_name for repository in copies[:6]}
    assert_cloned(run, world, untold)
    assert sorted(line["full_name"] for line in run.named("refs not available, cloning")) == sorted(untold)


def test_a_repository_that_was_taken_down_fails_as_ever(world: World, yesterday: dict[str, FakeRepository]) -> None:
    yesterday["api"].blocked = 451
    run = world.run()
    assert run.code == 1
    assert "Repository access blocked (dmca" in run.failures["acme/api"]["error"]


def test_what_failed_yesterday_and_did_not_change_since_the_day_before_is_not_cloned(
    world: World, backup: Backup
) -> None:
    """A task that died, or a deadline, must not make the next run clone everything that it left out."""
    for name in NAMES:
        world.add(name)
    world.take_over(backup, 2)
    world.github.faults = [Fault(r"GET /acme/(api|public)\.git", status=403, message="no", times=99)]
    assert world.run().failures.keys() == {"acme/api", "acme/public"}
    world.github.faults = []
    world.yesterday()
    assert statuses(run_today(world)) == {"acme/api": "unchanged", "acme/public": "unchanged", "acme/empty": "empty"}


# -- the default branch ----------------------------------------------------------------------------


def rename_default_branch(repository: FakeRepository, to: str) -> None:
    """Rename the default branch, as GitHub does: HEAD goes with it."""
    git(f"--git-dir={repository.path}", "branch", "--move", repository.default_branch, to)
    repository.default_branch = to


@pytest.mark.parametrize("days", [0, 1])
def test_a_default_branch_renamed_since_the_listing_is_the_one_of_the_entry(
    world: World, yesterday: dict[str, FakeRepository], days: int
) -> None:
    """On the second day it did not change, and the listing is old again."""
    repository = yesterday["api"]
    world.github.after_listing = lambda: rename_default_branch(repository, "trunk")
    run = run_today(world)
    world.github.after_listing = lambda: None
    if days:
        world.yesterday()
        world.github.listed_as[repository.id] = {"default_branch": "main"}
        run = run_today(world)
    entry = run.repos["acme/api"]
    assert (entry["status"], entry["default_branch"]) == ("unchanged" if days else "stored", "trunk")
    head = git(f"--git-dir={repository.path}", "rev-parse", "HEAD").decode().strip()
    assert entry["sha"] == head
    done = world.restore("fetch", "--into", str(world.folder / "out"), "--as", "clones", "acme/api")
    assert done.code == 0, done.stderr
    assert git("-C", world.folder / "out/acme/api", "rev-parse", "HEAD").decode().strip() == head
    assert list((world.folder / "out/acme/api").iterdir()) != [world.folder / "out/acme/api/.git"]


def test_a_default_branch_switched_since_the_listing_is_the_one_of_the_entry(
    world: World, yesterday: dict[str, FakeRepository]
) -> None:
    """Both branches are there, at the same commit, and only HEAD has moved."""
    repository = yesterday["api"]
    git(f"--git-dir={repository.path}", "branch", "trunk", "main")
    run_today(world)
    world.yesterday()

    def switch() -> None:
        git(f"--git-dir={repository.path}", "symbolic-ref", "HEAD", "refs/heads/trunk")

    world.github.after_listing = switch
    entry = run_today(world).repos["acme/api"]
    assert (entry["status"], entry["default_branch"]) == ("unchanged", "trunk")
