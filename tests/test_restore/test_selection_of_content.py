"""Which wikis, LFS objects and releases come with a repository, and what is said of those that do not."""

import json
from typing import Any

from github_s3_backup.restore.selection.latest import LATEST
from github_s3_backup.restore.selection.records import Selection
from github_s3_backup.restore.selection.repositories import Asked, select
from support.vault import FIRST, SECOND, Vault
from support.vault_content import API, WIKI, make_content
from test_restore.test_list import failure, renamed, vanished

FORK = "acme/fork"
LFS_FAILED = "Git LFS: the server does not answer"


def selected(vault: Vault, *patterns: str, date: str = LATEST, git_only: bool = False) -> Selection:
    return select(vault.catalogue(), Asked(date, None, list(patterns or ("*/*",)), git_only=git_only), vault.log)


def said(vault: Vault, event: str) -> list[dict[str, Any]]:
    return [line for line in vault.events if line["event"] == event]


def in_part(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the failure of a repository whose LFS objects could not be stored."""
    partial = entry | {"lfs": None}
    return {"full_name": entry["full_name"], "id": entry["id"], "stage": "clone", "error": LFS_FAILED} | {
        "partial": partial
    }


def test_a_repository_brings_its_wiki_and_the_wikis_name_selects_it_alone(vault: Vault) -> None:
    make_content(vault).write()
    for pattern in ("*/*", "acme", API, "acme/a*", "acme/api*"):
        (repository,) = selected(vault, pattern).selected
        assert repository.entry.full_name == API
        assert repository.entry.wiki
        assert repository.entry.wiki.full_name == WIKI
    for pattern in (WIKI, "acme/*.wiki"):
        selection = selected(vault, pattern)
        assert [item.entry.full_name for item in selection.selected] == [WIKI]
        assert selection.unavailable == ()
    assert len(selected(vault, API, WIKI).selected) == 1


def test_a_wiki_that_is_not_there_is_said(vault: Vault) -> None:
    vault.store(FIRST, FORK)
    (missing,) = selected(vault, "acme/fork.wiki").unavailable
    assert "holds no wiki of acme/fork" in missing.error


def test_git_only_leaves_everything_else_away(vault: Vault) -> None:
    content = make_content(vault)
    content.write(repos=[], failures=[in_part(content.entry)])
    (repository,) = selected(vault, git_only=True).selected
    assert (repository.entry.wiki, repository.entry.lfs, repository.entry.releases) == (None, None, None)
    assert repository.size_bytes == repository.entry.size_bytes
    assert selected(vault, git_only=True).unavailable == ()
    assert said(vault, "stored only in part") == []


def test_what_was_stored_in_part_is_preferred_to_an_older_backup_and_is_a_failure_all_the_same(vault: Vault) -> None:
    content = make_content(vault)
    content.write()
    content.write(SECOND, repos=[], failures=[in_part(content.entry)])
    selection = selected(vault)
    (repository,) = selection.selected
    assert (repository.date, repository.origin, repository.lacks) == (SECOND, "backup", f"clone: {LFS_FAILED}")
    assert repository.entry.lfs is None
    assert repository.entry.releases
    (failed,) = selection.unavailable
    assert failed.full_name == API
    assert LFS_FAILED in failed.error
    assert "earlier backup" in failed.error
    (warning,) = said(vault, "stored only in part")
    assert (warning["full_name"], warning["date"], warning["error"]) == (API, SECOND, f"clone: {LFS_FAILED}")
    assert [item.date for item in selected(vault, date=SECOND).selected] == [SECOND]
    assert [item.date for item in selected(vault, FORK).selected] == []


def test_what_an_older_backup_holds_in_part_is_taken_where_the_newest_holds_nothing(vault: Vault) -> None:
    content = make_content(vault)
    content.write(repos=[], failures=[in_part(content.entry)])
    vault.store(SECOND, failures=[failure("acme/new", number=content.entry["id"])])
    selection = selected(vault)
    (repository,) = selection.selected
    assert (repository.entry.full_name, repository.date, repository.origin) == ("acme/new", FIRST, "older backup")
    assert repository.entry.wiki
    assert repository.entry.wiki.full_name == "acme/new.wiki"
    assert [item.full_name for item in selection.unavailable] == ["acme/new"]


def test_a_vanished_repository_brings_its_content(vault: Vault) -> None:
    content = make_content(vault)
    extra = {name: content.entry[name] for name in ("wiki", "lfs", "releases")}
    content.write(repos=[], vanished=[vanished(content.entry) | extra])
    (repository,) = selected(vault).selected
    assert repository.origin == "vanished"
    entry = repository.entry
    assert entry.wiki
    assert entry.lfs
    assert entry.releases
    assert (entry.wiki.full_name, entry.lfs.objects, entry.releases.count) == (WIKI, 3, 2)


def test_a_repository_with_a_wikis_name_does_not_land_in_its_place(vault: Vault) -> None:
    content = make_content(vault)
    other = renamed(vault.copy(FIRST, FORK), "api.wiki")
    content.write(repos=[content.entry, other])
    selection = selected(vault)
    assert [item.entry.full_name for item in selection.selected] == [API]
    assert [item.full_name for item in selection.unavailable] == [WIKI]


def test_what_the_app_may_not_read_is_said_once_for_all_repositories(vault: Vault) -> None:
    refused = {"not_read": [{"content": "wiki", "error": "Resource not accessible by integration"}]}
    manifest = vault.store(FIRST, API, FORK)
    vault.write(FIRST, manifest | {"repos": [entry | refused for entry in manifest["repos"]]})
    assert selected(vault).unavailable == ()
    (warning,) = said(vault, "the App could not read all content")
    assert (warning["content"], warning["repositories"]) == ("wiki", 2)
    assert "Resource not accessible" in warning["error"]


def test_what_github_itself_lacked_is_said_and_is_no_failure(vault: Vault) -> None:
    content = make_content(vault)
    content.entry["lfs"]["missing"] = 2
    content.write()
    assert selected(vault).unavailable == ()
    (warning,) = said(vault, "GitHub lacked some content")
    assert (warning["full_name"], warning["content"], warning["files"]) == (API, "lfs", 2)


def test_the_list_shows_what_is_beside_git_where_there_is_any(vault: Vault) -> None:
    content = make_content(vault)
    manifest = content.write(repos=[content.entry, vault.copy(FIRST, FORK)])
    run = vault.restore("list", "*/*")
    assert run.code == 0, run.stderr
    head, api, fork = run.stdout.splitlines()
    assert head.split()[-3:] == ["wiki", "lfs", "releases"]
    assert "3, " in api
    assert "2, " in api
    assert fork.split()[-3:] == ["-", "-", "-"]
    row = json.loads(vault.restore("list", API, "--json").stdout)[0]
    assert row["lfs"] == manifest["repos"][0]["lfs"]
    assert row["releases"]["count"] == 2
    assert row["wiki"]["full_name"] == WIKI
    content.write(SECOND, repos=[], failures=[in_part(content.entry | {"wiki": None, "releases": None})])
    part = vault.restore("list", API)
    assert part.code == 1
    assert part.stdout.splitlines()[0].split()[-1] == "age"
    assert "in part" in part.stdout
