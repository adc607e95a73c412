"""What GitHub lists, miscounts, can't list, or names in a way that must be refused."""

import pytest

from embedded.github import Fault
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
    assert len(run.named("listing is incomplete, listing again")) == 1


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
    assert world.stored_keys() == {world.key("acme/api.bundle"), world.key("manifest.json"), *world.run_keys()}


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


def test_pages_that_lead_in_a_circle_end(world: World) -> None:
    world.add("api")
    (installation,) = world.github.installations
    world.github.next_page = f"{world.github.api_url}/installation/repositories?per_page=100"
    run = world.run(GITHUB_APP_INSTALLATION_ID=str(installation))
    assert run.code == 2
    assert "pages do not end" in run.problems[0]
    assert len(world.github.requests("GET .*/installation/repositories")) == 1


def test_what_only_one_of_two_looks_found_is_stored_too(world: World) -> None:
    """A repository slips from one page to another between two looks: neither look sees all, both together do."""
    first, second = world.add("api"), world.add("fork")
    world.add("public")
    second.unlisted = True

    def swap() -> None:
        first.unlisted, second.unlisted = True, False

    world.github.after_listing = swap
    run = world.run()
    assert run.code == 0
    assert run.repos.keys() == {"acme/api", "acme/fork", "acme/public"}


@pytest.mark.parametrize(
    "raw", ["<html>down</html>", "[]", '{"total_count": 1}', "null"], ids=["page", "list", "part", "null"]
)
def test_an_answer_that_github_does_not_document_is_a_problem_and_no_crash(world: World, raw: str) -> None:
    world.add("api")
    world.github.faults = [Fault("GET .*/installation/repositories", status=200, raw=raw, times=99)]
    run = world.run()
    assert run.code == 2
    assert "GitHub documents" in run.problems[0] or "not JSON" in run.problems[0]


@pytest.mark.parametrize("raw", ["{}", '{"token": "x", "expires_at": "soon"}', "<html>"], ids=["none", "date", "page"])
def test_a_token_answer_that_github_does_not_document_is_a_problem(world: World, raw: str) -> None:
    world.add("api")
    world.github.faults = [Fault("POST .*/access_tokens", status=201, raw=raw, times=99)]
    run = world.run()
    assert run.code == 2
    assert len(run.problems) == 1


def test_an_answer_that_cannot_be_read_costs_only_its_own_installation(world: World) -> None:
    world.add("api")
    world.add("experiments")
    world.github.faults = [Fault("GET .*/installation/repositories", status=200, raw="[]", times=1)]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme-labs/experiments"}
    assert run.failures.keys() == {"acme/*"}
    assert [one["full_name"] for one in run.named("failed")] == ["acme/*"]


@pytest.mark.parametrize(
    "about", [{"name": "x\ud800"}, {"owner": None}, {"name": 7}], ids=["surrogate", "null", "number"]
)
def test_a_field_that_is_no_text_is_refused_and_the_manifest_is_written(world: World, about: dict[str, str]) -> None:
    world.add("api")
    owner = world.add("fork")
    world.github.listed_as[owner.id] = about
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert len(run.failures) == 1


def test_a_secret_in_githubs_words_does_not_reach_the_manifest(world: World) -> None:
    world.add("api")
    world.add("experiments")
    world.github.echo_token = True
    world.github.faults = [Fault("GET .*/installation/repositories", status=403, message="echo ", times=1)]
    run = world.run()
    assert run.code == 1
    assert "echo Bearer ***" in run.failures["acme/*"]["error"]
