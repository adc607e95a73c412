"""The releases of a repository: listed beside its bundle, their files stored once by their content."""

import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from embedded.github import FakeRepository, Fault, down
from embedded.github_json import MOMENT
from embedded.github_releases import FakeFile
from embedded.s3_proxy import S3Fault, S3Proxy
from support.content import Numbers, release
from support.world import Run, World

LISTING = r"GET .*/releases\?"
ASSETS = r"GET .*/releases/assets/\d+$"
DOWNLOADS = r"GET /release-files/"
NOW = {"Retry-After": "0"}
ZIP, NOTES = os.urandom(5000), b"read me"


def key_of(body: bytes, owner: str = "acme") -> str:
    digest = hashlib.sha256(body).hexdigest()
    return f"github-backup-releases/{owner}/{digest[:2]}/{digest}"


def content_keys(world: World) -> set[str]:
    return {key for key in world.stored_keys() if key.startswith("github-backup-releases/")}


def entry_of(run: Run, name: str = "acme/api") -> dict[str, Any]:
    entry: dict[str, Any] = run.repos[name] if name in run.repos else run.failures[name]["partial"]
    return entry


def list_of(world: World, run: Run, name: str = "acme/api") -> dict[str, Any]:
    return world.read_list(entry_of(run, name)["releases"]["list"])


def files_of(world: World, run: Run, name: str = "acme/api") -> dict[str, dict[str, Any]]:
    """Return the files in a list, by their names."""
    return {file["name"]: file for item in list_of(world, run, name)["releases"] for file in item["files"]}


def add_with_releases(world: World, **about: Any) -> FakeRepository:
    """Add acme/api with two releases, the newest first."""
    numbers = Numbers()
    second = release(numbers, "v2", {"app.zip": ZIP}, prerelease=True, **about)
    first = release(numbers, "v1", {"app.txt": NOTES}, **about)
    return world.add("api", releases=[second, first])


def next_day(world: World) -> dict[str, Any]:
    """Move the backup to yesterday, forget what was asked, and return its entry of acme/api."""
    entries = {entry["full_name"]: entry for entry in world.yesterday()["repos"]}
    world.github.exchanges.clear()
    return dict(entries["acme/api"])


def run_well(world: World, **changes: str) -> Run:
    run = world.run(**changes)
    assert run.code == 0, run.output
    return run


def when_listed(world: World, do: Callable[[], object]) -> None:
    """Do something when GitHub has made up its answer about a repository's releases."""
    seen = world.github.on_answer

    def answer(method: str, template: str, status: int, body: Any) -> None:
        seen(method, template, status, body)
        if template == "/repos/{owner}/{repo}/releases":
            do()

    world.github.on_answer = answer


# -- what is stored ------------------------------------------------------------------------------


def test_releases_are_listed_beside_the_bundle_and_their_files_stored_by_their_content(world: World) -> None:
    repository = add_with_releases(world)
    repository.releases[0].files[0].label = "The program"
    repository.releases.insert(0, release(Numbers(900), "v3", {"secret.zip": b"not yet"}, draft=True))
    run = run_well(world)
    summary = entry_of(run)["releases"]
    assert (summary["count"], summary["files"], summary["missing"]) == (2, 2, 0)
    assert summary["size_bytes"] == len(ZIP) + len(NOTES)
    assert summary["list"]["s3_key"] == world.key("acme/api.releases.json")
    document = list_of(world, run)
    assert document["full_name"] == "acme/api"
    assert [item["tag_name"] for item in document["releases"]] == ["v2", "v1"], "a draft is nobody's to see"
    newest = document["releases"][0]
    expected = {"name": "Release v2", "body": "Notes of v2", "prerelease": True, "draft": False, "author": "octocat"}
    expected |= {"target_commitish": "main", "created_at": MOMENT, "published_at": MOMENT}
    assert {name: newest[name] for name in expected} == expected
    (file,) = newest["files"]
    assert (file["name"], file["label"], file["size_bytes"], file["error"]) == ("app.zip", "The program", 5000, None)
    assert file["content"]["s3_key"] == key_of(ZIP)
    assert content_keys(world) == {key_of(ZIP), key_of(NOTES)}


def test_releases_on_several_pages_are_all_listed(world: World) -> None:
    world.github.page_size = 2
    numbers = Numbers()
    tags = [f"v{number}" for number in range(5)]
    world.add("api", releases=[release(numbers, tag, {}) for tag in tags])
    run = run_well(world)
    assert [item["tag_name"] for item in list_of(world, run)["releases"]] == tags
    assert len(world.github.requests(r"GET .*/releases\?")) == 3


@pytest.mark.parametrize("digests", [True, False])
def test_a_file_is_stored_once_for_all_repositories_of_an_owner(world: World, digests: bool) -> None:
    numbers = Numbers()
    for name in ("api", "fork", "experiments"):
        tags = ("v1", "v2")
        world.add(name, releases=[release(numbers, tag, {f"{tag}.zip": ZIP}, digests=digests) for tag in tags])
    run = run_well(world)
    assert content_keys(world) == {key_of(ZIP), key_of(ZIP, "acme-labs")}
    versions = {file["content"]["version_id"] for name in run.repos for file in files_of(world, run, name).values()}
    assert len(versions) == 2, "one for each owner"


def test_a_file_that_another_release_has_is_not_downloaded_again(world: World) -> None:
    repository = add_with_releases(world)
    run_well(world)
    next_day(world)
    repository.releases.insert(0, release(Numbers(700), "v3", {"again.zip": ZIP, "new.zip": b"new"}))
    run = run_well(world)
    assert len(world.github.requests(DOWNLOADS)) == 1
    assert files_of(world, run)["again.zip"]["content"]["s3_key"] == key_of(ZIP)
    assert content_keys(world) == {key_of(body) for body in (ZIP, NOTES, b"new")}


def test_a_file_without_a_digest_takes_the_way_over_the_disk(world: World) -> None:
    add_with_releases(world, digests=False)
    run = run_well(world)
    assert {file["content"]["s3_key"] for file in files_of(world, run).values()} == {key_of(ZIP), key_of(NOTES)}


def test_a_file_without_a_digest_that_the_disk_cannot_hold_is_a_failure_that_says_so(world: World) -> None:
    repository = add_with_releases(world, digests=False)
    repository.releases[0].files[0].listed_as = {"size": 10**15}
    run = world.run()
    assert run.code == 1
    failure = run.failures["acme/api"]
    assert failure["error"].startswith("releases: 1 of 2 files could not be stored, the first app.zip: ")
    assert "task_ephemeral_storage_gb" in failure["error"]
    assert len(world.github.requests(DOWNLOADS)) == 1
    assert content_keys(world) == {key_of(NOTES)}


def test_bytes_that_are_not_those_of_the_digest_are_a_failure_and_stay_out_of_the_bucket(world: World) -> None:
    repository = add_with_releases(world)
    wrong = "0" * 64
    repository.releases[0].files[0].listed_as = {"digest": f"sha256:{wrong}"}
    run = world.run()
    failure = run.failures["acme/api"]
    assert failure["stage"] == "clone"
    assert failure["error"].startswith("releases: 1 of 2 files could not be stored, the first app.zip: the SHA-256 of")
    assert content_keys(world) == {key_of(NOTES)}
    assert (files_of(world, run)["app.zip"]["content"], "SHA-256" in files_of(world, run)["app.zip"]["error"]) == (
        None,
        True,
    )


def test_a_file_of_another_size_than_listed_is_a_failure(world: World) -> None:
    repository = add_with_releases(world, digests=False)
    repository.releases[0].files[0].listed_as = {"size": 4999}
    run = world.run()
    assert "more than 4999 bytes arrived" in run.failures["acme/api"]["error"]
    assert content_keys(world) == {key_of(NOTES)}


def test_a_file_in_parts_is_compared_with_its_digest_before_it_counts(world: World) -> None:
    big = os.urandom(17 * 1024**2)
    numbers = Numbers()
    repository = world.add("api", releases=[release(numbers, "v1", {"big.bin": big, "empty.bin": b""})])
    repository.releases[0].files.append(FakeFile(numbers.next(), "bad.bin", big[1:]))
    repository.releases[0].files[-1].listed_as = {"digest": f"sha256:{'1' * 64}"}
    run = world.run()
    assert content_keys(world) == {key_of(big), key_of(b"")}
    assert "bad.bin: the SHA-256" in run.failures["acme/api"]["error"]
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


def test_a_file_whose_upload_was_never_completed_is_left_out(world: World) -> None:
    repository = add_with_releases(world)
    repository.releases[0].files.append(FakeFile(900, "broken.zip", b"", state="open"))
    run = run_well(world)
    assert files_of(world, run).keys() == {"app.zip", "app.txt"}
    assert (entry_of(run)["releases"]["files"], entry_of(run)["releases"]["missing"]) == (2, 0)
    assert len(world.github.requests(ASSETS)) == 2


@pytest.mark.parametrize("name", ["a b&c?d#e%.zip", "größe-🎉.zip", "..", "a/../../b", "'\"<>|\\", "-rf"])
def test_a_name_is_kept_as_it_is_and_is_no_part_of_a_key(world: World, name: str) -> None:
    world.add("api", releases=[release(Numbers(), "größe/1.0 🎉", {name: ZIP})])
    run = run_well(world)
    assert files_of(world, run).keys() == {name}
    assert list_of(world, run)["releases"][0]["tag_name"] == "größe/1.0 🎉"
    assert content_keys(world) == {key_of(ZIP)}


def test_text_that_no_file_and_no_terminal_could_hold_is_escaped(world: World) -> None:
    made = release(Numbers(), "v1", {"a.zip": ZIP}, target_commitish="\udfff")
    made.files[0].listed_as = {"name": "a\x1b[2J\t\n\ud800.zip"}
    made.name, made.body = "one\ttwo", "line\r\nline \ud800 \x00"
    world.add("api", releases=[made])
    run = run_well(world)
    assert list(files_of(world, run)) == [r"a\x1b[2J\t\n\ud800.zip"]
    (stored,) = list_of(world, run)["releases"]
    assert (stored["name"], stored["body"]) == ("one\ttwo", "line\r\nline \\ud800 \x00")


def test_a_release_without_a_name_notes_or_author_is_listed(world: World) -> None:
    made = release(Numbers(), "v1", {})
    made.name = made.body = None
    world.add("api", releases=[made])
    (stored,) = list_of(world, run_well(world))["releases"]
    assert (stored["name"], stored["body"], stored["files"]) == (None, None, [])


def test_a_second_run_of_the_day_writes_the_changed_list_to_a_key_with_its_time(world: World) -> None:
    repository = add_with_releases(world)
    first = entry_of(run_well(world))["releases"]["list"]["s3_key"]
    repository.releases.pop()
    second = entry_of(run_well(world))["releases"]["list"]["s3_key"]
    assert first == world.key("acme/api.releases.json")
    assert second.startswith(world.key("acme/api@"))
    assert second.endswith("Z.releases.json")


# -- how files are downloaded --------------------------------------------------------------------


def test_a_file_comes_from_another_host_which_never_sees_the_token(world: World) -> None:
    add_with_releases(world)
    run_well(world)
    asked, given = world.github.requests(ASSETS), world.github.requests(DOWNLOADS)
    assert [request.status for request in (*asked, *given)] == [302, 302, 200, 200]
    assert all(request.headers["Accept"] == "application/octet-stream" for request in asked)
    assert all(request.headers["Authorization"].startswith("Bearer ") for request in asked)
    assert not any("Authorization" in request.headers for request in given)


def test_a_download_that_breaks_off_goes_on_where_it_was(world: World) -> None:
    body = os.urandom(1_000_000)
    world.add("api", releases=[release(Numbers(), "v1", {"a.bin": body})])
    world.github.faults = [
        Fault(DOWNLOADS, status=0, cut_after=600_000),
        Fault(DOWNLOADS, status=503, headers=NOW),
        Fault(ASSETS, status=502, after=2),
    ]
    run = run_well(world)
    assert content_keys(world) == {key_of(body)}
    given = world.github.requests(DOWNLOADS)
    assert [request.status for request in given] == [200, 503, 206]
    assert [request.headers.get("Range") for request in given] == [None, *["bytes=600000-"] * 2]
    assert [fault for fault in world.github.faults if fault.times] == []
    assert len(run.named("retrying")) == 3


def test_a_link_that_has_expired_is_asked_for_again(world: World) -> None:
    add_with_releases(world)
    world.github.faults = [Fault(DOWNLOADS, status=403, message="Request has expired")]
    run_well(world)
    assert len(world.github.requests(ASSETS)) == len(world.github.requests(DOWNLOADS)) == 3


@pytest.mark.parametrize("digests", [True, False])
def test_a_file_that_never_arrives_fails_its_repository_and_no_other_file(world: World, digests: bool) -> None:
    repository = add_with_releases(world, digests=digests)
    number = repository.releases[0].files[0].id
    world.github.faults = [down(rf"GET /release-files/.*/{number}\?")]
    run = world.run()
    failure = run.failures["acme/api"]
    assert failure["stage"] == "clone"
    assert "1 of 2 files could not be stored, the first app.zip: localhost:" in failure["error"]
    assert "answered 503" in failure["error"]
    assert content_keys(world) == {key_of(NOTES)}
    assert (failure["partial"]["releases"]["files"], failure["partial"]["releases"]["missing"]) == (1, 1)
    assert len(world.github.requests(rf"GET /release-files/.*/{number}\?")) == 1


def test_a_file_deleted_since_the_listing_is_recorded_and_no_failure(world: World) -> None:
    repository = add_with_releases(world)
    when_listed(world, repository.releases[0].files.clear)
    run = run_well(world)
    summary = entry_of(run)["releases"]
    assert (summary["count"], summary["files"], summary["missing"]) == (2, 1, 1)
    lost = files_of(world, run)["app.zip"]
    assert lost["content"] is None
    assert "answered 404 Not Found" in lost["error"]
    assert [line["files"] for line in run.named("release files missing")] == [1]
    assert entry_of(run_well(world))["releases"]["missing"] == 0, "GitHub no longer lists it"


def test_a_file_that_was_stored_before_and_can_no_longer_be_had_is_a_failure(world: World) -> None:
    repository = add_with_releases(world)
    run_well(world)
    world._delete_all(key_of(ZIP))
    next_day(world)
    when_listed(world, repository.releases[0].files.clear)
    run = world.run(FULL_BACKUP_DAYS="1")
    assert run.code == 1
    assert "app.zip: " in run.failures["acme/api"]["error"]
    assert "answered 404" in run.failures["acme/api"]["error"]


def test_releases_of_a_repository_renamed_since_its_git_data_was_stored_are_found(world: World) -> None:
    repository = add_with_releases(world)

    def rename() -> None:
        repository.old_name, repository.name = "api", "interface"

    world.github.faults = []
    world.github.after_listing = rename
    run = run_well(world)
    assert entry_of(run, "acme/interface")["releases"]["files"] == 2
    assert entry_of(run, "acme/interface")["releases"]["list"]["s3_key"] == world.key("acme/interface.releases.json")


# -- what did not change -------------------------------------------------------------------------


def test_releases_that_did_not_change_cost_one_request_and_write_nothing(world: World) -> None:
    add_with_releases(world)
    run_well(world)
    run_well(world)  # GitHub had not yet counted this program's own downloads
    before = next_day(world)["releases"]
    keys = world.stored_keys()
    run = run_well(world)
    assert [request.status for request in world.github.requests("/releases")] == [304]
    assert entry_of(run)["releases"] == before
    assert {key for key in world.stored_keys() - keys if "/runs/" not in key} == {world.key("manifest.json")}


def test_a_repository_without_tags_and_releases_is_not_asked_again(world: World) -> None:
    world.add("gitlinks", name="api")
    world.add("fork")
    run = run_well(world)
    assert entry_of(run)["releases"]["count"] == 0
    assert entry_of(run)["releases"]["list"] is None
    assert len(world.github.requests(LISTING)) == 2
    next_day(world)
    run_well(world)
    (asked,) = world.github.requests(LISTING)
    assert asked.path.startswith("/api/v3/repos/acme/fork/"), "it has a tag"
    assert asked.status == 304


def test_an_etag_of_another_token_gives_the_same_releases_and_nothing_is_written(world: World) -> None:
    world.github.stable_etags = False
    add_with_releases(world)
    run_well(world)
    before = next_day(world)["releases"]
    run = run_well(world)
    assert [request.status for request in world.github.requests("/releases")] == [200]
    after = entry_of(run)["releases"]
    assert after["etag"] != before["etag"]
    assert after | {"etag": ""} == before | {"etag": ""}
    assert not [key for key in world.stored_keys() if key.startswith(world.key("")) and "releases" in key]


def test_a_download_by_somebody_else_changes_nothing(world: World) -> None:
    repository = add_with_releases(world)
    run_well(world)
    before = next_day(world)["releases"]
    repository.releases[0].files[0].download_count += 7
    run = run_well(world)
    assert [request.status for request in world.github.requests("/releases")] == [200]
    assert entry_of(run)["releases"]["list"] == before["list"]
    assert entry_of(run)["releases"]["backed_up_at"] == before["backed_up_at"]


def edit_notes(repository: FakeRepository) -> None:
    repository.releases[-1].body = "edited"


def add_file(repository: FakeRepository) -> None:
    repository.releases[-1].files.append(FakeFile(900, "new.zip", b"new"))


def delete_release(repository: FakeRepository) -> None:
    repository.releases.pop()


def delete_file(repository: FakeRepository) -> None:
    repository.releases[-1].files.clear()


def flag(repository: FakeRepository) -> None:
    repository.releases[-1].prerelease = True


@pytest.mark.parametrize("change", [edit_notes, add_file, delete_release, delete_file, flag])
def test_what_changed_is_listed_anew(world: World, change: Callable[[FakeRepository], None]) -> None:
    repository = add_with_releases(world)
    run_well(world)
    run_well(world)  # GitHub had not yet counted this program's own downloads
    next_day(world)
    change(repository)
    run = run_well(world)
    assert entry_of(run)["status"] == "unchanged"
    assert entry_of(run)["releases"]["list"]["s3_key"] == world.key("acme/api.releases.json")
    found = [
        (item["tag_name"], item["body"], item["prerelease"], [file["name"] for file in item["files"]])
        for item in list_of(world, run)["releases"]
    ]
    assert found == [
        (item.tag_name, item.body, item.prerelease, [file.name for file in item.files]) for item in repository.releases
    ]
    assert len(world.github.requests(DOWNLOADS)) == (1 if change is add_file else 0)


def test_releases_on_several_pages_that_did_not_change_write_nothing(world: World) -> None:
    world.github.page_size = 1
    add_with_releases(world)
    run_well(world)
    run_well(world)  # the ETag now counts the downloads of the first run
    before = next_day(world)["releases"]
    assert entry_of(run_well(world))["releases"] == before
    assert [request.status for request in world.github.requests(LISTING)] == [304]


def test_an_edit_on_a_later_page_is_seen_on_the_day_of_the_full_backup(world: World) -> None:
    world.github.page_size = 1
    repository = add_with_releases(world)
    run_well(world)
    next_day(world)
    run_well(world)  # the ETag now counts the downloads of the first run
    repository.releases[-1].body = "edited"
    assert "edited" not in [item["body"] for item in list_of(world, run_well(world))["releases"]]
    run = run_well(world, FULL_BACKUP_DAYS="1")
    assert [item["body"] for item in list_of(world, run)["releases"]] == [item.body for item in repository.releases]


@pytest.mark.parametrize("digests", [True, False])
def test_on_the_day_of_a_full_backup_the_list_is_written_and_no_file_downloaded(world: World, digests: bool) -> None:
    add_with_releases(world, digests=digests)
    run_well(world)
    next_day(world)
    world._delete_all(key_of(NOTES))
    run = run_well(world, FULL_BACKUP_DAYS="1")
    assert [request.status for request in world.github.requests(LISTING)] == [200]
    assert entry_of(run)["releases"]["list"]["s3_key"] == world.key("acme/api.releases.json")
    assert content_keys(world) == {key_of(ZIP), key_of(NOTES)}, "what S3 had lost is there again"
    assert len(world.github.requests(DOWNLOADS)) == 1


def test_a_list_that_is_gone_from_s3_is_made_afresh(world: World) -> None:
    add_with_releases(world)
    run_well(world)
    before = next_day(world)
    world._delete_all(before["releases"]["list"]["s3_key"])
    run = run_well(world)
    assert entry_of(run)["status"] == "unchanged"
    assert entry_of(run)["releases"]["list"]["s3_key"] == world.key("acme/api.releases.json")
    assert len(run.named("last list not usable")) >= 1
    assert world.github.requests(DOWNLOADS) == []


# -- what GitHub refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404])
def test_releases_that_the_app_may_not_read_are_recorded(world: World, status: int) -> None:
    add_with_releases(world)
    world.github.faults = [Fault(LISTING, status=status, message="Resource not accessible by integration")]
    run = run_well(world)
    assert entry_of(run)["releases"] is None
    (refused,) = entry_of(run)["not_read"]
    assert refused["content"] == "releases"
    assert f"GitHub answered {status}" in refused["error"]
    assert "Resource not accessible by integration" in refused["error"]
    assert entry_of(run_well(world))["releases"]["files"] == 2, "they are asked for again"


@pytest.mark.parametrize("status", [403, 404])
def test_releases_that_were_stored_before_and_are_refused_now_are_a_failure(world: World, status: int) -> None:
    add_with_releases(world)
    run_well(world)
    next_day(world)
    world.github.faults = [Fault(LISTING, status=status, message="no")]
    run = world.run()
    assert run.code == 1
    assert run.failures["acme/api"]["error"].startswith(f"releases: GitHub answered {status}")
    assert entry_of(run)["status"] == "unchanged"


def test_releases_without_an_answer_fail_their_repository_whose_git_data_is_kept(world: World) -> None:
    add_with_releases(world)
    world.add("fork")
    world.github.faults = [down(r"GET .*/acme/api/releases\?", 500)]
    run = world.run()
    assert run.code == 1
    assert run.repos.keys() == {"acme/fork"}
    assert run.failures["acme/api"]["stage"] == "clone"
    assert run.failures["acme/api"]["error"].startswith("releases: GitHub answered 500")
    assert entry_of(run)["s3_key"] == world.key("acme/api.bundle")
    assert len(world.github.requests(r"GET .*/acme/api/releases\?")) == 1


@pytest.mark.parametrize("raw", ['{"message": "no list"}', '[{"id": 1}]', '[{"id": 1, "tag_name": null, "assets": 7}]'])
def test_an_answer_that_github_does_not_document_is_a_failure(world: World, raw: str) -> None:
    add_with_releases(world)
    world.github.faults = [Fault(LISTING, status=200, raw=raw, headers={"Content-Type": "application/json"})]
    run = world.run()
    assert "is not what GitHub documents" in run.failures["acme/api"]["error"]
    assert run.failures["acme/api"]["error"].startswith("releases: ")


def test_releases_are_not_asked_for_where_nobody_wants_them(world: World) -> None:
    add_with_releases(world)
    run = run_well(world, BACKUP_RELEASES="false")
    assert (entry_of(run)["releases"], entry_of(run)["not_read"]) == (None, [])
    assert world.github.requests("/releases") == []
    assert content_keys(world) == set()


def test_s3_that_refuses_a_file_or_a_list_is_a_failure_of_the_upload(world: World, s3_proxy: S3Proxy) -> None:
    add_with_releases(world)
    s3_proxy.faults = [S3Fault(f"PUT .*/{key_of(ZIP)}", "deny"), S3Fault(r"PUT .*/fork\.releases\.json", "deny")]
    world.add("fork", releases=[release(Numbers(800), "v1", {})])
    run = world.run()
    assert {name: failure["stage"] for name, failure in run.failures.items()} == {
        "acme/api": "upload",
        "acme/fork": "upload",
    }
    assert all("AccessDenied" in failure["error"] for failure in run.failures.values())
    assert entry_of(run)["releases"]["files"] == 1
    assert entry_of(run, "acme/fork")["releases"] is None
