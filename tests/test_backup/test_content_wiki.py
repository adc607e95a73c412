"""The wiki of a repository: backed up like a repository of its own, where there is one."""

import json
import re
import shutil
from typing import Any

import pytest

from embedded.github import FakeRepository, Fault, down
from embedded.real_git import git
from support import content
from support.world import Run, World

WIKI_REQUESTS = r" /acme/api\.wiki\.git"
REFS = r"GET /acme/api\.wiki\.git/info/refs"
PACK = r"POST /acme/api\.wiki\.git/git-upload-pack"
NOW = {"Retry-After": "0"}


def add_with_wiki(world: World, branch: str = "master") -> FakeRepository:
    """Add acme/api with a wiki of one page."""
    wiki = content.make_wiki(world.folder / "git", "api", {"Home.md": b"welcome"}, branch)
    repository = world.add("api", wiki=wiki)
    path = world.folder / "api.git"
    shutil.copytree(repository.path, path)
    repository.path = path
    return repository


def wiki_of(run: Run, name: str = "acme/api") -> dict[str, Any]:
    wiki: dict[str, Any] = run.repos[name]["wiki"]
    return wiki


def next_day(world: World) -> dict[str, Any]:
    """Move the backup to yesterday, forget what was asked, and return its entry of acme/api."""
    (entry,) = world.yesterday()["repos"]
    world.github.exchanges.clear()
    return dict(entry)


def bundles(world: World) -> set[str]:
    """Return the keys of today's bundles, without their folder."""
    folder = world.key("acme/")
    return {key.removeprefix(folder) for key in world.stored_keys() if key.startswith(folder) and ".bundle" in key}


# -- what is stored ------------------------------------------------------------------------------


def test_a_wiki_has_an_entry_and_a_bundle_of_its_own(world: World) -> None:
    repository = add_with_wiki(world)
    run = world.run()
    assert run.code == 0, run.output
    wiki, entry = wiki_of(run), run.repos["acme/api"]
    assert (wiki["full_name"], wiki["owner"], wiki["name"]) == ("acme/api.wiki", "acme", "api.wiki")
    assert (wiki["id"], wiki["status"], wiki["ref_count"]) == (repository.id, "stored", 1)
    assert wiki["s3_key"] == world.key("acme/api.wiki.bundle")
    assert wiki["sha256"] != entry["sha256"]
    assert entry["s3_key"] == world.key("acme/api.bundle")
    assert entry["not_read"] == []
    assert (wiki["wiki"], wiki["lfs"], wiki["releases"]) == (None, None, None)
    assert run.manifest
    assert run.manifest["total_repos"] == run.manifest["success_count"] == 1, "a wiki is counted with its repository"


def test_the_default_branch_is_that_of_the_wikis_own_head(world: World) -> None:
    repository = add_with_wiki(world, branch="pages")
    assert repository.wiki
    for branch in ("main", "master"):
        git(f"--git-dir={repository.wiki}", "update-ref", f"refs/heads/{branch}", "refs/heads/pages")
    run = world.run()
    assert wiki_of(run)["default_branch"] == "pages"
    assert run.repos["acme/api"]["default_branch"] == "main"
    next_day(world)
    assert wiki_of(world.run())["default_branch"] == "pages", "also where it did not change"


def test_a_wiki_that_did_not_change_is_asked_for_once_and_not_uploaded(world: World) -> None:
    add_with_wiki(world)
    world.run()
    before = next_day(world)["wiki"]
    world.github.latency, world.github.most_git_at_once = 0.15, 0
    run = world.run()
    assert wiki_of(run)["status"] == "unchanged"
    assert world.github.most_git_at_once == 2  # the wiki is asked beside its repository
    same = ("sha", "s3_key", "version_id", "size_bytes", "sha256", "refs_sha256", "backed_up_at", "default_branch")
    assert {name: wiki_of(run)[name] for name in same} == {name: before[name] for name in same}
    assert world.key("") not in before["s3_key"]
    assert bundles(world) == set()
    assert len(world.github.requests(WIKI_REQUESTS)) == len(world.github.requests(REFS)) == 1


def test_a_wiki_and_its_repository_change_each_by_itself(world: World) -> None:
    repository = add_with_wiki(world)
    assert repository.wiki
    world.run()
    next_day(world)
    content.push(repository.wiki, {"Home.md": b"welcome back"}, "refs/heads/master")
    run = world.run()
    assert (run.repos["acme/api"]["status"], wiki_of(run)["status"]) == ("unchanged", "stored")
    assert bundles(world) == {"api.wiki.bundle"}
    content.push(repository.path, {"new.txt": b"new"})
    run = world.run(DIFFERENTIAL="false")
    assert (run.repos["acme/api"]["status"], wiki_of(run)["status"]) == ("stored", "unchanged")
    assert bundles(world) == {"api.wiki.bundle", "api.bundle"}


def test_a_second_run_of_the_day_writes_a_changed_wiki_to_a_key_with_its_time(world: World) -> None:
    repository = add_with_wiki(world)
    assert repository.wiki
    first = wiki_of(world.run())
    content.push(repository.wiki, {"More.md": b"more"}, "refs/heads/master")
    second = wiki_of(world.run())
    assert first["s3_key"] == world.key("acme/api.wiki.bundle")
    assert re.fullmatch(re.escape(world.key("acme/api.wiki")) + r"@\d{6}Z\.bundle", second["s3_key"])
    assert bundles(world) == {key.rpartition("/")[2] for key in (first["s3_key"], second["s3_key"])} | {"api.bundle"}


@pytest.mark.parametrize("branch", ["master", "main"])
def test_on_the_day_of_a_full_backup_a_wiki_is_cloned_afresh(world: World, branch: str) -> None:
    add_with_wiki(world, branch)
    world.run()
    next_day(world)
    run = world.run(FULL_BACKUP_DAYS="1")
    assert (run.repos["acme/api"]["status"], wiki_of(run)["status"]) == ("stored", "stored")
    assert bundles(world) == {"api.bundle", "api.wiki.bundle"}


def test_a_wiki_whose_bundle_is_gone_from_s3_is_cloned_and_its_repository_is_not(world: World) -> None:
    add_with_wiki(world)
    world.run()
    wiki = next_day(world)["wiki"]
    world._delete_all(wiki["s3_key"])
    run = world.run()
    assert run.code == 0, run.output
    assert (run.repos["acme/api"]["status"], wiki_of(run)["status"]) == ("unchanged", "stored")
    (warned,) = run.named("last bundle not usable, cloning")
    assert "api.wiki.bundle" in warned["error"]


# -- where there is none -------------------------------------------------------------------------


def test_a_wiki_that_nobody_wrote_a_page_of_costs_one_request_and_is_no_failure(world: World) -> None:
    world.add("api", has_wiki=True)
    for _ in range(2):
        run = world.run()
        assert run.code == 0, run.output
        assert (run.repos["acme/api"]["wiki"], run.repos["acme/api"]["not_read"]) == (None, [])
        assert [request.status for request in world.github.requests(WIKI_REQUESTS)] == [404]
        assert run.named("wiki is gone") == []
        world.github.exchanges.clear()


def test_a_wiki_that_is_served_empty_is_empty(world: World) -> None:
    world.add("api", wiki=content.make_wiki(world.folder / "git", "api", {}))
    assert wiki_of(world.run())["status"] == "empty"
    next_day(world)
    run = world.run()
    assert (wiki_of(run)["status"], wiki_of(run)["s3_key"]) == ("empty", None)
    assert len(world.github.requests(WIKI_REQUESTS)) == 1
    assert bundles(world) == set()


def test_a_wiki_is_not_asked_for_where_github_says_there_is_none_or_nobody_wants_it(world: World) -> None:
    repository = add_with_wiki(world)
    run = world.run(BACKUP_WIKIS="false")
    assert run.repos["acme/api"]["wiki"] is None
    repository.has_wiki = False
    run = world.run()
    assert (run.code, run.repos["acme/api"]["wiki"]) == (0, None)
    assert world.github.requests(WIKI_REQUESTS) == []
    assert bundles(world) == {"api.bundle"}


def delete(repository: FakeRepository) -> None:
    repository.has_wiki, repository.wiki = True, None


def switch_off(repository: FakeRepository) -> None:
    repository.has_wiki = False


@pytest.mark.parametrize("lose", [delete, switch_off])
def test_a_wiki_that_disappears_is_no_failure_and_leaves_a_warning(world: World, lose: Any) -> None:
    repository = add_with_wiki(world)
    world.run()
    key = next_day(world)["wiki"]["s3_key"]
    lose(repository)
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/api"]["wiki"] is None
    assert [line["last_backup"] for line in run.named("wiki is gone")] == [key]
    assert world.run().named("wiki is gone") == [], "said once"


# -- what GitHub refuses -------------------------------------------------------------------------


def test_a_wiki_that_the_app_may_not_read_is_recorded(world: World) -> None:
    add_with_wiki(world)
    world.github.faults = [Fault(REFS, status=403, message="Wikis are not for Apps")]
    run = world.run()
    assert run.code == 0, run.output
    assert run.repos["acme/api"]["wiki"] is None
    (refused,) = run.repos["acme/api"]["not_read"]
    assert refused["content"] == "wiki"
    assert "GitHub answered 403" in refused["error"]
    assert "Wikis are not for Apps" in refused["error"]
    assert [line["content"] for line in run.named("content not readable")] == ["wiki"]
    assert wiki_of(world.run())["status"] == "stored", "it may be read again"


def test_a_wiki_that_was_stored_before_and_may_no_longer_be_read_is_a_failure(world: World) -> None:
    add_with_wiki(world)
    world.run()
    wiki = next_day(world)["wiki"]
    world.github.faults = [Fault(REFS, status=403, message="no", times=2)]
    for _ in range(2):
        run = world.run()
        assert run.code == 1
        failure = run.failures["acme/api"]
        assert failure["error"].startswith("wiki: GitHub answered 403")
        assert failure["not_stored"] == ["wiki"]
        assert failure["partial"]["status"] == "unchanged"
        assert failure["partial"]["wiki"] == wiki


@pytest.mark.parametrize("status", [500, 401])
def test_a_wiki_without_an_answer_fails_its_repository_whose_git_data_is_kept(world: World, status: int) -> None:
    add_with_wiki(world)
    world.add("fork")
    world.github.faults = [down(REFS, status)]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/fork"}
    failure = run.failures["acme/api"]
    assert failure["stage"] == "clone"
    assert failure["error"].startswith(f"wiki: GitHub answered {status}")
    assert failure["partial"]["s3_key"] == world.key("acme/api.bundle")
    assert len(world.github.requests(REFS)) == (1 if status == 500 else 2)
    assert bundles(world) == {"api.bundle", "fork.bundle"}


# -- faults and changes on the way ---------------------------------------------------------------


def test_a_fault_in_the_clone_of_a_wiki_leads_to_another_clone_of_the_wiki(world: World) -> None:
    repository = add_with_wiki(world)
    world.github.faults = [Fault(PACK, status=503), Fault(PACK, status=0, cut_after=100)]
    run = world.run()
    assert run.code == 0, run.output
    assert wiki_of(run)["refs_sha256"] != run.repos["acme/api"]["refs_sha256"]
    assert [request.status for request in world.github.requests(PACK)] == [503, 200, 200]
    assert len(world.github.requests(r"POST /acme/api\.git/git-upload-pack")) == 1
    assert len(world.github.requests(rf"GET .*/repositories/{repository.id}$")) == 2


def test_a_clone_of_a_wiki_that_never_works_is_a_failure(world: World) -> None:
    add_with_wiki(world)
    world.github.faults = [down(PACK)]
    run = world.run()
    assert run.failures["acme/api"]["error"].startswith("wiki: git clone ended with 128: ")
    assert run.failures["acme/api"]["partial"]["wiki"] is None
    assert len(world.github.requests(PACK)) == 1


@pytest.mark.parametrize("raw", ["<html>", ""])
def test_an_answer_that_tells_no_refs_leads_to_a_clone_of_the_wiki(world: World, raw: str) -> None:
    add_with_wiki(world)
    world.run()
    next_day(world)
    world.github.faults = [Fault(REFS, status=200, raw=raw)]
    run = world.run()
    assert (run.code, wiki_of(run)["status"]) == (0, "stored")
    assert [line["full_name"] for line in run.named("refs not available, cloning")] == ["acme/api"]


def test_a_repository_renamed_since_the_listing_takes_its_wiki_along(world: World) -> None:
    repository = add_with_wiki(world)
    world.run()
    next_day(world)
    world.github.after_listing = lambda: rename(repository)
    run = world.run()
    assert run.code == 0, run.output
    assert wiki_of(run, "acme/interface")["full_name"] == "acme/interface.wiki"
    assert bundles(world) == {"interface.bundle"}
    assert wiki_of(run, "acme/interface")["s3_key"].endswith("acme/api.wiki.bundle"), "the wiki did not change"


def rename(repository: FakeRepository) -> None:
    repository.old_name, repository.name = "api", "interface"


@pytest.mark.parametrize("has_changed", [False, True])
def test_a_repository_renamed_between_it_and_its_wiki_is_no_failure(world: World, has_changed: bool) -> None:
    """Its releases are asked for in between, and then the wiki for what changed."""
    repository = add_with_wiki(world)
    assert repository.wiki
    world.run()
    next_day(world)
    if has_changed:
        content.push(repository.wiki, {"Home.md": b"moved"}, "refs/heads/master")
    content.when_releases_are_listed(world, lambda: rename(repository))
    run = world.run()
    assert run.code == 0, run.output
    name = "acme/interface" if has_changed else "acme/api"  # all was known when it was renamed
    assert (run.repos[name]["status"], wiki_of(run, name)["full_name"]) == ("unchanged", f"{name}.wiki")


def test_a_repository_deleted_while_its_wiki_is_cloned_is_stored_without_it(world: World) -> None:
    repository = add_with_wiki(world)
    world.github.faults = [
        Fault(PACK, status=503, times=9),
        Fault(rf"GET .*/repositories/{repository.id}$", status=404, message="Not Found"),
    ]
    run = world.run()
    assert run.code == 0, run.output
    assert (run.repos["acme/api"]["status"], run.repos["acme/api"]["wiki"]) == ("stored", None)


def test_a_wiki_of_an_empty_repository_is_stored_and_stays_with_it_when_it_vanishes(world: World) -> None:
    world.add("fork")
    empty = world.add("empty", wiki=content.make_wiki(world.folder / "git", "empty", {"Home.md": b"all there is"}))
    run = world.run()
    assert run.repos["acme/empty"]["status"] == "empty"
    wiki = wiki_of(run, "acme/empty")
    assert wiki["s3_key"] == world.key("acme/empty.wiki.bundle")
    empty.gone = True
    for _ in range(2):
        run = world.run()
        assert run.manifest
        (vanished,) = run.manifest["vanished"]
        assert vanished["wiki"]["s3_key"] == wiki["s3_key"]
    world._delete_all(wiki["s3_key"])
    run = world.run()
    assert run.manifest
    assert json.dumps(run.manifest["vanished"]) == "[]", "its wiki has expired"
