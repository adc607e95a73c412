"""What GitHub lists, miscounts, can't list, or names in a way that must be refused."""

import pytest

from world import World


def test_a_listing_that_is_short_twice_is_a_failure_and_the_rest_is_stored(world: World) -> None:
    world.add("api")
    next(iter(world.github.installations.values())).miscount = 2
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures["acme/*"]["stage"] == "list"
    assert "counts 3 repositories and lists 2 fewer" in run.failures["acme/*"]["error"]
    assert len(world.github.requests("GET .*/installation/repositories")) == 2
    assert world.metrics()["BackupFailure"] == [1]


def test_a_listing_that_is_short_once_is_looked_at_again(world: World) -> None:
    world.add("api")
    installation = next(iter(world.github.installations.values()))
    installation.miscount, installation.miscount_once = 1, True
    run = world.run()
    assert run.code == 0
    assert len(run.named("listing is short, looking again")) == 1


@pytest.mark.parametrize("trouble", ["suspended", "removed"])
def test_one_installation_of_several_that_cannot_be_listed_is_a_failure(world: World, trouble: str) -> None:
    world.add("api")
    world.add("experiments")
    for installation in world.github.installations.values():
        if installation.owner == "acme-labs":
            setattr(installation, trouble, True)
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures["acme-labs/*"]["stage"] == "list"
    words = {"suspended": "This installation has been suspended", "removed": "Not Found"}
    assert words[trouble] in run.failures["acme-labs/*"]["error"]


def test_an_installation_without_repositories_is_no_failure_where_others_have_some(world: World) -> None:
    world.add("api")
    world.github.install("empty-organisation")
    assert world.run().code == 0


LEADS_OUT = ["../x", "..", ".", "-upload-pack=evil", "a/b", "nul\0byte", "", "new\nline", "x" * 101]


@pytest.mark.parametrize("name", LEADS_OUT, ids=range(len(LEADS_OUT)))
def test_a_name_that_could_leave_its_folder_is_refused_and_the_others_are_stored(world: World, name: str) -> None:
    world.add("api")
    world.add("fork", name=name)
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures[f"acme/{name}"]["stage"] == "list"
    assert "refused" in run.failures[f"acme/{name}"]["error"]
    assert world.stored_keys() == {world.key("acme/api.bundle"), world.key("manifest.json")}


@pytest.mark.parametrize("owner", ["..", "-owner", "a/b", "nul\0byte"], ids=range(4))
def test_an_owner_that_could_leave_its_folder_is_refused(world: World, owner: str) -> None:
    world.add("api")
    world.add("fork", owner=owner)
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures[f"{owner}/fork"]["stage"] == "list"


def test_pages_are_followed_on_githubs_host_only(world: World) -> None:
    world.add("api")
    world.github.next_page = "http://127.0.0.1:9/installation/repositories?page=2"
    run = world.run()
    assert run.code == 2
    assert "another host" in run.problems[0]
