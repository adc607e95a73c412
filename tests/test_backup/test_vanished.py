"""No live repository is missed, and one that GitHub no longer has leaves a trace."""

import json
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from embedded.github import FakeGitHub, FakeInstallation, FakeRepository, Fault, down
from embedded.organisation import RECIPES
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.backup.plan.vanished import is_anomaly
from github_s3_backup.github.installations import Installation
from support.clients import Log, github_client
from support.world import Repositories, Run, World

OBJECT = ("full_name", "id", "s3_key", "version_id", "size_bytes", "sha256")
LOOK_UP = r"GET .*/repositories/\d+"


def vanished(run: Run) -> dict[str, dict[str, Any]]:
    assert run.manifest is not None, run.output
    return {repository["name"]: repository for repository in map(with_name, run.manifest["vanished"])}


def with_name(repository: dict[str, Any]) -> dict[str, Any]:
    return repository | {"name": repository["full_name"].partition("/")[2]}


def looked_up(world: World) -> set[int]:
    """Return the ids of the repositories that were looked up."""
    return {int(request.path.rpartition("/")[2]) for request in world.github.requests(LOOK_UP)}


def run_as(world: World, service: str, **changes: str) -> tuple[Run, dict[str, float]]:
    """Run with metrics of its own, and return them beside the run."""
    world.github.exchanges.clear()
    name = f"{world.service}-{service}"
    run = world.run(SERVICE_NAME=name, **changes)
    return run, {metric: values[0] for metric, values in world.stack.aws.metrics(name).items()}


def deleting(
    repository: FakeRepository, installation: FakeInstallation, before: int, after: int
) -> Callable[[int], None]:
    """Return what deletes a repository behind the first page, so that all others move up by one.

    `before` and `after`: by how many GitHub miscounts.
    """
    installation.miscount = before

    def delete(page: int) -> None:
        if page == 1 and not repository.gone:
            repository.gone, installation.miscount = True, after

    return delete


# -- a listing that changes while it is read -------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1], ids=["the count changes", "the count stays"])
def test_what_slips_off_a_page_is_found_by_listing_again(
    github: FakeGitHub, repositories: Repositories, after: int
) -> None:
    path = repositories.path(RECIPES["empty"])
    added = [github.add("acme", f"repository-{number:03}", path) for number in range(250)]
    (installation,) = github.installations.values()
    github.after_page = deleting(added[7], installation, 0, after)
    log = Log()
    listing = github_client(github, log).repositories(Installation(installation.id, "acme"))
    alive = {repository.id for repository in added if not repository.gone}
    assert len(alive) == 249
    assert alive <= {repository.id for repository in listing.repositories}
    assert len(log.named("listing is incomplete, listing again")) >= 1


def test_what_is_on_no_page_is_stored_though_the_count_agrees(world: World) -> None:
    world.github.page_size = 3
    names = ("empty", "empty", "empty", "fork", "empty")
    added = [world.add(name, name=f"{name}-{number}") for number, name in enumerate(names)]
    assert world.run().code == 0
    world.yesterday()
    (installation,) = world.github.installations.values()
    world.github.after_page = deleting(added[0], installation, -1, 0)
    run, metrics = run_as(world, "slipped")
    assert len(world.github.requests("GET .*/installation/repositories")) == 2
    assert run.code == 0, run.output
    assert run.repos["acme/fork-3"]["status"] == "unchanged"
    assert looked_up(world) == {added[0].id, added[3].id}
    assert [line["full_name"] for line in run.named("repository not listed, but still there")] == ["acme/fork-3"]
    # What was on the page that GitHub had already sent is gone by the time it is cloned.
    assert run.repos["acme/empty-0"]["status"] == "gone"
    assert vanished(run).keys() == {"empty-0"}
    assert metrics["BackupSuccess"] == 4


# -- what is gone ----------------------------------------------------------------------------------


def test_a_vanished_repository_stays_in_the_manifests_until_its_bundle_expires_or_it_comes_back(world: World) -> None:
    names = ("api", "fork", *["empty"] * 8)
    api, fork, *_ = (world.add(name, name=f"{name}-{number}") for number, name in enumerate(names))
    world.run()
    stored = {entry["full_name"]: entry for entry in world.yesterday(9)["repos"]}
    api.gone = fork.gone = True

    run, metrics = run_as(world, "vanish")
    assert run.code == 0, run.output
    assert run.manifest is not None
    assert run.manifest["total_repos"] == 8
    last_good = {name: stored[f"acme/{name}"] for name in ("api-0", "fork-1")}
    for name, repository in vanished(run).items():
        assert {field: repository[field] for field in OBJECT} == {field: last_good[name][field] for field in OBJECT}
        assert repository["since"] == run.manifest["date"]
    assert vanished(run).keys() == last_good.keys()
    assert (metrics["RepositoriesVanished"], metrics["BackupAnomaly"], metrics["BackupFailure"]) == (2, 0, 0)
    assert run.events[-1]["vanished"] == 2

    moved = world.yesterday(5)
    for repository in moved["vanished"]:
        repository["since"] = moved["date"]
    world.put_manifest(moved)
    fork.gone = False
    run, metrics = run_as(world, "one comes back")
    assert run.code == 0, run.output
    assert run.repos["acme/fork-1"]["status"] == "stored"
    assert {name: repository["since"] for name, repository in vanished(run).items()} == {"api-0": moved["date"]}
    assert {name: vanished(run)["api-0"][name] for name in OBJECT} == {
        name: last_good["api-0"][name] for name in OBJECT
    }
    assert looked_up(world) == set(), "what is known to have vanished is not looked up again"
    assert metrics["RepositoriesVanished"] == 1

    world._delete_all(last_good["api-0"]["s3_key"])
    run, metrics = run_as(world, "expired")
    assert run.code == 0, run.output
    assert vanished(run) == {}
    assert metrics["RepositoriesVanished"] == 0


def test_what_failed_in_the_last_run_is_looked_up_too_and_its_older_bundle_found(world: World) -> None:
    """The newest complete manifest names a failure by its id, and an owner that could not be listed by its name."""
    fork = world.add("fork")
    experiments = world.add("experiments")
    world.add("public")
    world.run()
    older = world.yesterday(3)
    stored = {entry["name"]: entry for entry in older["repos"]}
    day = (date.fromisoformat(older["date"]) + timedelta(1)).isoformat()
    then = {"date": day, "started_at": f"{day}T04:00:00Z", "run_id": f"{day.replace('-', '')}T040000Z-12345678"}
    failures = [
        {"full_name": "acme/fork", "id": fork.id, "stage": "clone", "error": "down"},
        {"full_name": "acme-labs/*", "id": None, "stage": "list", "error": "down"},
    ]
    world.put_manifest(
        older
        | then
        | {"repos": [stored["public"]], "failures": failures, "last_good": [stored["fork"], stored["experiments"]]}
    )
    fork.gone = experiments.gone = True
    run, _ = run_as(world, "both")
    assert run.code == 0, run.output
    assert run.repos.keys() == {"acme/public"}
    assert looked_up(world) == {fork.id, experiments.id}
    assert {name: repository["s3_key"] for name, repository in vanished(run).items()} == {
        name: stored[name]["s3_key"] for name in ("fork", "experiments")
    }


def test_many_that_vanish_are_an_anomaly_and_what_cannot_be_looked_up_is_a_failure(world: World) -> None:
    names = ("fork", *["empty"] * 7)
    added = [world.add(name, name=f"{name}-{number}") for number, name in enumerate(names)]
    world.run()
    world.yesterday()
    for repository in added[1:4]:
        repository.gone = True
    added[4].unlisted = added[5].unlisted = True
    (installation,) = world.github.installations.values()
    installation.miscount = -2
    world.github.faults = [down(rf"GET .*/repositories/{added[4].id}", 500)]
    run, metrics = run_as(world, "anomaly", BACKUP_EXCLUDE="acme/empty-5")
    assert run.code == 1
    assert {name: entry["status"] for name, entry in run.repos.items()} == {
        "acme/fork-0": "unchanged",
        "acme/empty-6": "empty",
        "acme/empty-7": "empty",
    }
    assert vanished(run).keys() == {"empty-1", "empty-2", "empty-3"}
    assert run.failures.keys() == {"acme/empty-4"}
    failure = run.failures["acme/empty-4"]
    assert (failure["stage"], failure["id"]) == ("list", added[4].id)
    assert "500" in failure["error"]
    assert looked_up(world) == {repository.id for repository in added[1:5]}, "what is excluded is not looked up"
    assert (metrics["BackupAnomaly"], metrics["BackupFailure"], metrics["RepositoriesVanished"]) == (1, 1, 3)
    assert [line["gone"] for line in run.named("anomaly: many repositories are gone")] == [3]


def test_a_run_in_which_every_repository_answers_404_is_no_good_run(world: World) -> None:
    gone = world.add("fork")
    world.github.after_listing = lambda: setattr(gone, "gone", True)
    run, metrics = run_as(world, "all gone")
    assert run.code == 1
    assert run.repos["acme/fork"]["status"] == "gone"
    assert (metrics["BackupAnomaly"], metrics["BackupFailure"]) == (1, 1)


@pytest.mark.parametrize(
    ("lost", "held", "percent", "anomaly"),
    [
        (2, 10, 5, False),  # never fewer than three
        (3, 10, 5, True),
        (3, 60, 5, False),  # 5 % is not more than 5 %
        (3, 59, 5, True),
        (2, 2, 0, False),
        (3, 1000, 0, True),
        (3, 0, 5, True),  # nothing is known of before
        (50, 100, 50, False),
    ],
)
def test_how_many_are_too_many(lost: int, held: int, percent: float, anomaly: bool) -> None:
    assert is_anomaly(range(lost), held, percent) == anomaly


# -- what is not known is not gone -----------------------------------------------------------------


def last_good(run: Run) -> dict[str, dict[str, Any]]:
    assert run.manifest is not None, run.output
    return {entry["full_name"]: entry for entry in run.manifest["last_good"]}


def test_what_s3_does_not_tell_of_a_vanished_repository_is_kept_as_it_was(world: World, s3_proxy: S3Proxy) -> None:
    api, _ = world.add("api"), world.add("empty")
    assert world.run().code == 0
    world.yesterday(2)
    api.gone = True
    before = vanished(world.run())["api"]
    world.yesterday()
    s3_proxy.faults = [S3Fault(r"HEAD .*/api\.bundle", "fail")]
    run = world.run()
    assert run.code == 0, run.output
    assert {name: vanished(run)["api"][name] for name in ("id", "size_bytes", "sha256")} == {
        name: before[name] for name in ("id", "size_bytes", "sha256")
    }


def test_an_app_removed_from_an_owner_is_a_failure_and_nothing_of_it_is_forgotten(world: World) -> None:
    experiments = world.add("experiments")
    world.add("empty")
    assert world.run().code == 0
    world.yesterday(3)
    number = next(row.id for row in world.github.installations.values() if row.owner == experiments.owner)
    removed = world.github.installations.pop(number)

    for _ in range(2):  # nor is it forgotten on the second day
        run, metrics = run_as(world, f"removed-{_}")
        assert run.code == 1, run.output
        assert run.failures.keys() == {f"{experiments.owner}/*"}
        failure = run.failures[f"{experiments.owner}/*"]
        assert (failure["stage"], failure["id"]) == ("list", None)
        assert "BACKUP_EXCLUDE" in failure["error"]
        assert vanished(run) == {}
        assert last_good(run).keys() == {experiments.full_name}
        assert looked_up(world) == set()
        assert (metrics["BackupFailure"], metrics["BackupAnomaly"]) == (1, 0)
        world.yesterday()

    run, _metrics = run_as(world, "excluded", BACKUP_EXCLUDE=f"{experiments.owner}/*")
    assert (run.code, last_good(run)) == (0, {})
    world._delete_all(world.key(""))  # back to the last run before
    world.github.installations[number] = removed
    run, _metrics = run_as(world, "installed again")
    assert run.code == 0, run.output
    assert run.repos[experiments.full_name]["status"] == "unchanged"


def test_a_repository_that_fails_for_days_is_not_stored_again_where_it_did_not_change(world: World) -> None:
    world.add("api")
    world.add("empty")
    assert world.run().code == 0
    for _ in range(3):
        world.yesterday()
        world.github.faults = [Fault(r"GET /acme/api\.git", status=403, times=99, message="no")]
        run = world.run()
        assert run.failures.keys() == last_good(run).keys() == {"acme/api"}
    for key in world.stored_keys():  # no older manifest is needed
        if key.endswith(".json") and not key.startswith(world.key("")):
            world._delete_all(key)
    rows = json.loads(world.restore("list", "--bucket", world.bucket, "--json", "acme/api").stdout)
    assert [(row["repository"], row["status"]) for row in rows] == [("acme/api", "stored")], (
        "it needs no older manifest"
    )
    world.yesterday()
    world.github.faults = []
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/api"]["status"] == "unchanged"


def test_a_mass_disappearance_does_not_keep_the_rest_from_being_stored(world: World) -> None:
    """Where a rate limit ends the look-ups, what is known is recorded, and asked about in the next run."""
    names = ("fork", *["empty"] * 11)
    added = [world.add(name, name=f"{name}-{number}") for number, name in enumerate(names)]
    assert world.run().code == 0
    world.yesterday()
    for repository in added[1:9]:
        repository.gone = True
    reset = str(int(time.time()) + 3000)
    limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    world.github.faults = [Fault(LOOK_UP, status=403, headers=limit, times=99)]
    run, metrics = run_as(world, "limited")
    assert run.code == 1
    assert run.repos["acme/fork-0"]["status"] == "unchanged"
    assert len(run.repos) == 4
    assert [record["confirmed"] for record in vanished(run).values()] == [False] * 8
    assert (metrics["BackupAnomaly"], metrics["RepositoriesVanished"]) == (1, 8)
    limited = run.named("rate limit reached, not asking for the other missing repositories")
    assert [line["repositories"] for line in limited] == [8]
    stored = [line["timestamp"] for line in run.named("unchanged")]
    assert max(stored) < limited[0]["timestamp"], "what is there is stored first"

    day = world.yesterday()["date"]
    for record in (moved := world.read(f"github-backup/{day}/manifest.json"))["vanished"]:
        record["since"] = day
    world.put_manifest(moved)
    world.github.faults = []
    added[1].gone = False
    run, metrics = run_as(world, "the next day")
    assert run.code == 0, run.output
    assert run.repos.keys() == {f"acme/{name}" for name in ("fork-0", "empty-1", "empty-9", "empty-10", "empty-11")}
    assert [record["confirmed"] for record in vanished(run).values()] == [True] * 7
    assert {record["since"] for record in vanished(run).values()} == {day}
    assert metrics["BackupAnomaly"] == 0


def test_a_repository_that_moves_to_another_owner_stands_once_and_is_never_gone(world: World) -> None:
    """Moved while the owners are listed, and moved after that."""
    api, fork = world.add("api"), world.add("fork")
    world.add("experiments")
    other = "acme-labs"

    def move_first(page: int) -> None:
        if page == 1:
            api.owner = other

    world.github.after_page = move_first
    world.github.after_listing = lambda: setattr(fork, "owner", other)
    run = world.run()
    assert run.code == 0, run.output
    assert run.manifest is not None
    assert sorted(entry["full_name"] for entry in run.manifest["repos"]) == sorted(
        [f"{other}/api", f"{other}/fork", f"{other}/experiments"]
    )
    assert {entry["status"] for entry in run.manifest["repos"]} == {"stored"}
