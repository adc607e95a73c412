"""What GitHub lists, miscounts, can't list, or names in a way that must be refused."""

import re
import threading
from pathlib import Path

import pytest

from embedded.github import FakeGitHub, Fault
from github_s3_backup.github.client import Listing
from github_s3_backup.github.installations import Installation
from github_s3_backup.github.transport import pages
from github_s3_backup.github.transport.rest import GitHubError
from support.clients import FastStop, Log, github_client
from support.world import World

LISTING = "GET .*/installation/repositories"
TOKENS = "POST .*/access_tokens"
NOWHERE = Path("/nowhere")


# -- a whole run -----------------------------------------------------------------------------------


def test_a_listing_that_is_short_twice_is_a_failure_and_the_rest_is_stored(world: World) -> None:
    world.add("api")
    next(iter(world.github.installations.values())).miscount = 2
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert run.failures["acme/*"]["stage"] == "list"
    assert "counts 3 repositories and lists 2 fewer" in run.failures["acme/*"]["error"]
    assert len(world.github.requests(LISTING)) == 2
    assert world.metrics()["BackupFailure"] == [1]


def test_a_listing_that_is_short_once_and_an_installation_without_repositories_are_no_failures(world: World) -> None:
    world.add("api")
    installation = next(iter(world.github.installations.values()))
    installation.miscount, installation.miscount_once = 1, True
    world.github.install("empty-organisation")
    run = world.run()
    assert run.code == 0
    assert len(run.named("listing is incomplete, listing again")) == 1


def test_an_installation_that_cannot_be_listed_costs_no_other(world: World) -> None:
    for owner in ("unreadable", "refused", "suspended", "removed", "acme"):
        world.add("fork", owner=owner)
    for installation in world.github.installations.values():
        installation.suspended = installation.owner == "suspended"
        installation.removed = installation.owner == "removed"
    world.github.echo_token = True
    world.github.faults = [Fault(LISTING, status=200, raw="[]"), Fault(LISTING, status=403, message="echo ")]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/fork"}
    expected = {
        "unreadable/*": "GitHub documents",
        "refused/*": "echo Bearer [*]{3}",  # a secret in GitHub's words does not reach the manifest
        "suspended/*": "This installation has been suspended",
        "removed/*": "Not Found",
    }
    assert run.failures.keys() == expected.keys()
    for name, words in expected.items():
        assert run.failures[name]["stage"] == "list"
        assert re.search(words, run.failures[name]["error"])
    assert [line["full_name"] for line in run.named("failed")] == list(expected)


NAMES_THAT_LEAD_OUT = ("../x", "..", ".", "-upload-pack=evil", "a/b", "nul\0byte", "", "new\nline", "x" * 101)
OWNERS_THAT_LEAD_OUT = ("..", "-owner", "a/b", "nul\0byte")


def test_a_name_that_could_leave_its_folder_is_refused_and_the_others_are_stored(world: World) -> None:
    world.add("api")
    for name in NAMES_THAT_LEAD_OUT:
        world.add("fork", name=name)
    for owner in OWNERS_THAT_LEAD_OUT:
        world.add("fork", owner=owner)
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    refused = {f"acme/{name}" for name in NAMES_THAT_LEAD_OUT} | {f"{owner}/fork" for owner in OWNERS_THAT_LEAD_OUT}
    assert run.failures.keys() == refused
    for failure in run.failures.values():
        assert failure["stage"] == "list"
        assert "refused" in failure["error"]
    assert world.stored_keys() == world.keys_of(run)
    assert world.github.requests(r"\.git") == world.github.requests(r"/acme/api\.git")


def test_a_field_that_is_no_text_is_refused_and_the_manifest_is_written(world: World) -> None:
    world.add("api")
    no_text: list[dict[str, object]] = [{"name": "x\ud800"}, {"owner": None}, {"name": 7}]
    for number, about in enumerate(no_text):
        world.github.listed_as[world.add("fork", name=f"listed-as-{number}").id] = about
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/api"}
    assert len(run.failures) == len(no_text)


def test_an_installation_on_an_enterprise_is_no_daily_failure(world: World) -> None:
    world.github.enterprises.add("acme-corp")
    world.github.install("acme-corp")
    world.add("empty")
    run = world.run()
    assert run.code == 0
    (line,) = run.named("skipped, an enterprise has no repositories of its own")
    assert (line["owner"], line["level"]) == ("acme-corp", "info")


# -- the listing alone -----------------------------------------------------------------------------


def listing_of(github: FakeGitHub) -> Listing:
    """Return what the program lists of the only installation there is."""
    (installation,) = github.installations.values()
    return github_client(github, Log(), FastStop()).repositories(Installation(installation.id, installation.owner))


def names(listing: Listing) -> set[str]:
    return {repository.full_name for repository in listing.repositories}


@pytest.fixture
def api(github: FakeGitHub) -> FakeGitHub:
    """A GitHub with one repository, which nobody clones here."""
    github.add("acme", "api", NOWHERE)
    return github


def test_more_repositories_than_fit_on_a_page_are_all_listed(github: FakeGitHub) -> None:
    for number in range(103):
        github.add("acme", f"copy-{number:03}", NOWHERE)
    assert names(listing_of(github)) == {f"acme/copy-{number:03}" for number in range(103)}
    assert [re.sub(r".*\?", "", request.path) for request in github.requests(LISTING)] == [
        "per_page=100",
        "per_page=100&page=2",
    ]


def test_pages_are_asked_for_at_once_where_github_names_the_last_one(github: FakeGitHub) -> None:
    for number in range(23):
        github.add("acme", f"copy-{number:03}", NOWHERE)
    github.page_size, together = 2, threading.Barrier(pages.AT_ONCE)

    def meet(number: int) -> None:
        if 1 < number <= 1 + pages.AT_ONCE:
            together.wait(60)

    github.after_page = meet
    assert names(listing_of(github)) == {f"acme/copy-{number:03}" for number in range(23)}
    asked = [int(request.path.rpartition("=")[2]) for request in github.requests(LISTING)[1:]]
    assert sorted(asked) == list(range(2, 13))


def test_pages_are_asked_for_ahead_only_where_their_numbers_are_known() -> None:
    page = "https://github.test/installation/repositories?per_page=100&page="
    assert list(pages.between(f"{page}2", f"{page}4")) == [f"{page}2", f"{page}3", f"{page}4"]
    for last in ("", f"{page}x", f"{page}4&cursor=x", "http://127.0.0.1:9/?page=4", f"{page}1"):
        assert list(pages.between(f"{page}2", last)) == []


def test_what_only_one_of_two_looks_found_is_listed_too(github: FakeGitHub) -> None:
    """A repository slips from one page to another between two looks: neither look sees all, both together do."""
    first, second, _ = (github.add("acme", name, NOWHERE) for name in ("api", "fork", "public"))
    second.unlisted = True

    def swap() -> None:
        first.unlisted, second.unlisted = True, False

    github.after_listing = swap
    listing = listing_of(github)
    assert names(listing) == {"acme/api", "acme/fork", "acme/public"}
    assert not listing.missing


def test_pages_are_followed_on_githubs_host_only(api: FakeGitHub) -> None:
    api.next_page = "http://127.0.0.1:9/installation/repositories?page=2"
    with pytest.raises(GitHubError, match="another host"):
        listing_of(api)


def test_a_next_page_may_spell_githubs_host_in_another_way(github: FakeGitHub) -> None:
    for number in range(101):
        github.add("acme", f"copy-{number:03}", NOWHERE)
    (installation,) = github.installations.values()
    spelled = github.api_url.replace("127.0.0.1", "localhost")
    page = f"{spelled}/installation/repositories?per_page=100&page=2"
    github.after_page = lambda number: setattr(github, "next_page", page if number == 1 else None)
    client = github_client(github, Log(), FastStop(), spelled.replace("localhost", "LOCALHOST"))
    listing = client.repositories(Installation(installation.id, installation.owner))
    assert len(listing.repositories) == 101


def test_pages_that_lead_in_a_circle_end(api: FakeGitHub) -> None:
    api.next_page = f"{api.api_url}/installation/repositories?per_page=100"
    with pytest.raises(GitHubError, match="pages do not end"):
        listing_of(api)
    assert len(api.requests(LISTING)) == 1


@pytest.mark.parametrize(
    "raw", ["<html>down</html>", "[]", '{"total_count": 1}', "null"], ids=["page", "list", "part", "null"]
)
def test_an_answer_that_github_does_not_document_is_an_error(api: FakeGitHub, raw: str) -> None:
    api.faults = [Fault(LISTING, status=200, raw=raw, times=99)]
    with pytest.raises(GitHubError, match=r"GitHub documents|not JSON"):
        listing_of(api)


@pytest.mark.parametrize("raw", ["{}", '{"token": "x", "expires_at": "soon"}', "<html>"], ids=["none", "date", "page"])
def test_a_token_answer_that_github_does_not_document_is_an_error(api: FakeGitHub, raw: str) -> None:
    api.faults = [Fault(TOKENS, status=201, raw=raw, times=99)]
    with pytest.raises(GitHubError, match=r"GitHub documents|not JSON"):
        listing_of(api)


def test_a_wait_longer_than_an_hour_is_refused_with_the_reason(api: FakeGitHub) -> None:
    api.faults = [Fault(LISTING, status=429, headers={"Retry-After": "7200"}, times=9)]
    with pytest.raises(GitHubError, match="Retry-After asks to wait 7200 s"):
        listing_of(api)
    assert len(api.requests(LISTING)) == 1


def test_a_token_that_is_rejected_is_replaced_once(api: FakeGitHub) -> None:
    api.faults = [Fault(LISTING, status=401, message="Bad credentials")]
    assert names(listing_of(api)) == {"acme/api"}
    assert len(api.requests(TOKENS)) == 2


def test_a_wrong_app_id_is_named(api: FakeGitHub) -> None:
    api.app_id = "999"
    with pytest.raises(GitHubError, match=r"Integration not found.*GITHUB_APP_ID"):
        github_client(api, Log(), FastStop()).installations.all()


def test_an_installation_that_is_suspended_or_does_not_exist_is_named(api: FakeGitHub) -> None:
    (installation,) = api.installations.values()
    installation.suspended = True
    with pytest.raises(GitHubError, match="This installation has been suspended"):
        listing_of(api)
    with pytest.raises(GitHubError, match="GITHUB_APP_INSTALLATION_ID"):
        github_client(api, Log(), FastStop()).repositories(Installation(4711, "?"))
