"""What is stored under an id is that repository's, whatever its name has come to mean since the listing."""

import signal
from collections.abc import Callable

import pytest

from embedded.github import FakeRepository, Fault, down
from support import content
from support.world import Run, World

GRAPHQL, LOOK_UPS = r"POST /api/graphql", r"GET .*/repositories/\d+$"
NOW = {"Retry-After": "0"}


def ids(run: Run) -> dict[int, str]:
    assert run.manifest
    return {entry["id"]: entry["full_name"] for entry in run.manifest["repos"]}


def takes_its_place(world: World, repository: FakeRepository) -> Callable[[], None]:
    """Return what gives a repository another name, and its old name to a new one that nobody has listed."""

    def happen() -> None:
        if repository.name == "api":
            repository.name = "api-old"
            world.add("public", name="api", has_wiki=True)

    return happen


def asked(world: World, *patterns: str) -> list[int]:
    return [len(world.github.requests(pattern)) for pattern in patterns]


def test_a_name_that_has_come_to_mean_another_repository_gives_its_data_to_nobody(world: World) -> None:
    """The world compares the refs of each entry with those of the repository that has its id."""
    repository, other = world.add("api"), world.add("fork")
    world.github.after_listing = takes_its_place(world, repository)
    run = world.run()
    assert run.code == 0, run.output
    assert ids(run) == {repository.id: "acme/api-old", other.id: "acme/fork"}
    (renamed,) = run.named("repository was renamed")
    assert (renamed["full_name"], renamed["new_name"]) == ("acme/api", "acme/api-old")
    assert world.key("acme/api.bundle") in world.stored_keys(), "the other one's bundle stays, and nothing names it"
    assert asked(world, GRAPHQL, LOOK_UPS) == [2, 1], "once for both, once for the one, and once after it was stored"

    world.yesterday()
    world.github.exchanges.clear()
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/api-old"]["status"] == "unchanged"
    assert asked(world, GRAPHQL, LOOK_UPS) == [1, 0], "for the new acme/api alone"


def test_a_repository_deleted_and_made_anew_leaves_its_own_last_bundle_in_the_records(world: World) -> None:
    repository, _ = world.add("api"), world.add("fork")
    before = world.run().repos["acme/api"]
    world.yesterday()

    def happen() -> None:
        if not repository.gone:
            repository.gone = True
            world.add("public", name="api")

    world.github.after_listing = happen
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/api"]["status"] == "gone"
    assert run.manifest
    (lost,) = run.manifest["vanished"]
    assert (lost["id"], lost["sha256"]) == (repository.id, before["sha256"])


def test_two_repositories_that_swap_their_names_keep_their_data(world: World) -> None:
    one, two = world.add("api"), world.add("public", name="open")

    def swap() -> None:
        one.name, two.name = "open", "api"

    world.github.after_listing = swap
    run = world.run()
    assert run.code == 0, run.output
    assert ids(run) == {one.id: "acme/open", two.id: "acme/api"}


def test_a_name_that_changes_hands_between_the_git_data_and_the_rest_gives_nothing_away(world: World) -> None:
    repository = content.add_with_everything(world, "api")
    content.when_releases_are_listed(world, takes_its_place(world, repository))
    run = world.run()
    assert run.code == 0, run.output
    entry = run.repos["acme/api-old"]
    assert (entry["id"], entry["lfs"]["objects"], entry["releases"]["count"]) == (repository.id, 4, 1)
    assert entry["wiki"]["full_name"] == "acme/api-old.wiki"


@pytest.mark.exhaustive
def test_a_hundred_transfers_take_one_request_and_an_unchanged_day_takes_none(world: World) -> None:
    for number in range(101):
        world.add("fork", name=f"copy-{number}")
    world.add("empty")
    assert world.run().code == 0
    assert asked(world, GRAPHQL, LOOK_UPS) == [2, 0]
    world.yesterday()
    world.github.exchanges.clear()
    assert world.run().code == 0
    assert asked(world, GRAPHQL, LOOK_UPS) == [0, 0]


def test_where_graphql_does_not_work_each_is_looked_up(world: World) -> None:
    world.add("api"), world.add("fork")
    world.github.faults = [Fault(GRAPHQL, status=404, message="Not Found", times=9)]
    run = world.run()
    assert run.code == 0, run.output
    assert asked(world, GRAPHQL, LOOK_UPS) == [1, 2]


def test_where_nobody_knows_whose_data_it_is_nothing_of_it_is_claimed(world: World) -> None:
    repository = world.add("api")
    world.github.faults = [down(what) for what in (GRAPHQL, LOOK_UPS)]
    run = world.run()
    assert run.code == 1, run.output
    failure = run.failures["acme/api"]
    assert (failure["id"], failure["stage"], failure["partial"]) == (repository.id, "verify", None)
    assert "GitHub could not be asked whether this name still means this repository" in failure["error"]
    assert "503" in failure["error"]
    world.github.faults = []
    assert world.run().repos["acme/api"]["status"] == "stored"


def test_a_run_that_is_stopped_still_asks_about_what_it_stored(world: World) -> None:
    stored, hangs = world.add("fork"), world.add("api")
    world.github.faults = [Fault(r"POST /acme/api\.git/", status=0, delay=60, times=9)]
    process = world.start()
    assert process.stdout
    assert any('"event": "stored"' in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    run = world.end(process)
    assert run.code == 143
    assert ids(run) == {stored.id: "acme/fork"}
    assert [failure["id"] for failure in run.failures.values()] == [hangs.id]
    assert asked(world, GRAPHQL) == [1]
