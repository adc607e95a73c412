"""`list` and `diff`, and which backup a repository is taken from when something is wrong with the newest."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedded.organisation import SECOND_OWNER
from embedded.real_git import git, served_refs
from embedded.s3 import READER
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.records.manifest import parse_manifest
from github_s3_backup.repository_filter import matches
from github_s3_backup.restore.diff.command import compare_lists
from github_s3_backup.restore.selection.latest import LATEST
from github_s3_backup.restore.selection.records import Selection
from github_s3_backup.restore.selection.repositories import Asked, select
from github_s3_backup.restore.terminal import table
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.keys import run_key
from support.vault import FIRST, PREFIX, SECOND, THIRD, Vault

API, FORK, PUBLIC = "acme/api", "acme/fork", "acme/public"
NEVER = "2020-02-30"
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def failure(name: str, stage: str = "clone", number: int | None = None) -> dict[str, Any]:
    return {"full_name": name, "id": number, "stage": stage, "error": f"no {name}"}


def vanished(entry: dict[str, Any], since: str = SECOND) -> dict[str, Any]:
    """Return what a manifest says of a repository that is no longer there."""
    names = ("full_name", "id", "s3_key", "version_id", "size_bytes", "sha256")
    more = ("default_branch", "ref_count", "refs_sha256")
    return {name: entry[name] for name in (*names, *more)} | {"since": since}


def renamed(entry: dict[str, Any], name: str, number: int | None = None) -> dict[str, Any]:
    return entry | {"full_name": f"acme/{name}", "name": name, "id": number or entry["id"]}


def selected(vault: Vault, *patterns: str, date: str = LATEST, run_id: str | None = None) -> Selection:
    return select(vault.catalogue(), Asked(date, run_id, list(patterns) or ["*/*"]), vault.log)


def dates(selection: Selection) -> dict[str, str]:
    return {item.entry.full_name: item.date for item in selection.selected}


def missing(selection: Selection) -> dict[str, str]:
    return {item.full_name: item.error for item in selection.unavailable}


# -- list ----------------------------------------------------------------------------------------


def test_the_dates_are_listed_the_newest_first_and_what_they_lack_is_shown(vault: Vault) -> None:
    first = vault.store(FIRST, API, FORK)
    vault.store(SECOND, API, failures=[failure(FORK)], complete=False)
    vault.write_bytes(THIRD, b"{")
    vault.client.put_object(Bucket=vault.bucket, Key="github-backup/2025-11-23/acme/api.bundle", Body=b"on its way")
    vault.client.put_object(Bucket=vault.bucket, Key="github-backup/drills/x", Body=b"no date")
    run = vault.restore("list", "--json")
    assert run.code == 1
    assert run.failures.keys() == {THIRD}
    assert json.loads(run.stdout) == [
        {
            "date": SECOND,
            "complete": False,
            "repositories": 1,
            "failed": 1,
            "vanished": 0,
            "size_bytes": first["repos"][0]["size_bytes"],
            "finished_at": f"{SECOND}T04:10:00Z",
        },
        {
            "date": FIRST,
            "complete": True,
            "repositories": 2,
            "failed": 0,
            "vanished": 0,
            "size_bytes": sum(entry["size_bytes"] for entry in first["repos"]),
            "finished_at": f"{FIRST}T04:10:00Z",
        },
    ]
    assert [event["date"] for event in run.named("no manifest: the run is in progress or was killed")] == ["2025-11-23"]
    lines = vault.restore("list", "--limit", "3").stdout.splitlines()
    assert lines[0].split() == ["date", "complete", "repositories", "failed", "vanished", "size", "age"]
    assert lines[1].split()[:5] == [SECOND, "no", "1", "1", "0"]
    assert len(lines) == 2


def test_the_repositories_of_a_day_are_listed(whole: Vault) -> None:
    rows = {row["repository"]: row for row in whole.rows("list", "--date", whole.organisation.date)}
    assert rows.keys() == whole.organisation.entries.keys()
    for name, entry in whole.organisation.entries.items():
        assert rows[name] == {
            "repository": name,
            "date": whole.organisation.date,
            "status": entry["status"],
            "size_bytes": entry["size_bytes"],
            "refs": entry["ref_count"],
            "default_branch": entry["default_branch"],
            "backed_up_at": entry["backed_up_at"],
            **{name: entry[name] for name in ("wiki", "lfs", "releases", "issues", "not_read")},
            "lacks": None,
        }


def test_whoever_may_only_read_sees_the_table(whole: Vault) -> None:
    run = whole.restore(
        "list", "ACME/[af]*", "experiments", SECOND_OWNER, AWS_ACCESS_KEY_ID=READER[0], AWS_SECRET_ACCESS_KEY=READER[1]
    )
    assert run.code == 1
    assert run.failures.keys() == {"experiments"}
    head, *lines = run.stdout.splitlines()
    assert head.split() == ["repository", "date", "status", "size", "refs", "default", "branch", "bundle", "age"]
    assert [line.split()[0] for line in lines] == [
        f"{SECOND_OWNER}/experiments",
        "acme/ambiguous-refs",
        API,
        "acme/archived",
        FORK,
    ]
    assert lines[2].split()[5:] == ["7", "main", *lines[2].split()[-2:]]


def test_every_run_of_a_day_is_listed_and_can_be_chosen(vault: Vault) -> None:
    first = vault.store(FIRST, API, FORK)
    second = vault.store(FIRST, API)
    broken = vault.write_bytes(FIRST, b"overwritten")
    run = vault.restore("list", "--runs", "--date", FIRST, "--json")
    assert run.code == 1
    assert run.failures.keys() == {broken}
    rows = json.loads(run.stdout)
    assert [(row["run"], row["repositories"]) for row in rows] == [(second["run_id"], 1), (first["run_id"], 2)]
    chosen = vault.rows("list", "--run", first["run_id"])
    assert [row["repository"] for row in chosen] == [API, FORK]
    with pytest.raises(S3Error, match=f"`list --runs --date {FIRST}` shows the runs"):
        selected(vault, date=FIRST, run_id="20200230T000000Z-0")


@pytest.mark.parametrize("arguments", [("list",), ("list", "--runs"), ("list", "--runs", "--date", NEVER)])
def test_nothing_where_one_looks_is_said(vault: Vault, arguments: tuple[str, ...]) -> None:
    run = vault.restore(*arguments, "--prefix", "elsewhere")
    assert run.code == 1
    assert "elsewhere" in run.problems[0] or NEVER in run.problems[0]


def test_a_manifest_of_another_schema_asks_for_a_newer_program(vault: Vault) -> None:
    vault.store(FIRST, API, schema_version=2)
    with pytest.raises(S3Error, match="schema version 2"):
        selected(vault, date=FIRST)


def test_control_characters_reach_no_terminal(vault: Vault) -> None:
    vault.store(FIRST, API)
    vault.store(SECOND, API, failures=[failure("acme/\x1b[2J\x07")])
    for command in (("diff", FIRST, SECOND), ("list", "--date", SECOND)):
        run = vault.restore(*command)
        assert "\x1b" not in run.stdout + run.stderr
        assert r"\x1b[2J" in run.stdout + run.stderr


def test_a_table_holds_nothing_that_a_terminal_obeys() -> None:
    assert table(["ref"], [["\x1b[2J"]]) == "ref\n\\x1b[2J"


def test_a_name_that_the_terminal_can_not_show_is_escaped(vault: Vault) -> None:
    manifest = vault.store(FIRST, API)
    manifest["repos"][0]["default_branch"] = "größe"
    vault.write(FIRST, manifest)
    run = vault.restore("list", "--date", FIRST, PYTHONIOENCODING="ascii")
    assert run.code == 0, run.stderr
    assert r"gr\xf6\xdfe" in run.stdout


# -- which backup --------------------------------------------------------------------------------


def test_what_failed_today_is_taken_from_yesterday_and_it_is_said(vault: Vault) -> None:
    vault.store(FIRST, API, FORK, "acme/gitlinks")
    vault.store(SECOND, API, PUBLIC, failures=[failure(FORK), failure("acme/gitlinks")])
    vault.store(THIRD, API, failures=[failure(FORK), failure(PUBLIC), failure("acme/never")])
    selection = selected(vault)
    assert dates(selection) == {API: THIRD, PUBLIC: SECOND, FORK: FIRST}
    assert missing(selection).keys() == {"acme/never"}
    assert "no acme/never" in missing(selection)["acme/never"]
    said = [
        (event["full_name"], event["date"]) for event in vault.events if event["event"] == "taken from an older backup"
    ]
    assert sorted(said) == [(FORK, FIRST), (PUBLIC, SECOND)]
    # gitlinks is in no newer list: it vanished, and that takes a date.
    assert "acme/gitlinks" in dates(selected(vault, date=FIRST))
    assert missing(selected(vault, date=THIRD)).keys() == {FORK, PUBLIC, "acme/never"}


def test_what_a_second_run_lost_is_taken_from_the_first_of_that_day(vault: Vault) -> None:
    vault.store(FIRST, API, FORK)
    morning = vault.store(SECOND, API, FORK)
    vault.store(SECOND, API, failures=[failure(FORK)], complete=False)
    selection = selected(vault)
    assert dates(selection) == {API: SECOND, FORK: SECOND}
    fork = next(item.entry for item in selection.selected if item.entry.full_name == FORK)
    assert fork.version_id == morning["repos"][1]["version_id"]


def test_an_owner_that_could_not_be_listed_is_taken_from_the_last_day_he_could_be(vault: Vault) -> None:
    labs = f"{SECOND_OWNER}/experiments"
    vault.store(FIRST, API, labs)
    vault.store(SECOND, API, failures=[failure(f"{SECOND_OWNER}/*", "list")])
    assert dates(selected(vault)) == {API: SECOND, labs: FIRST}
    assert dates(selected(vault, SECOND_OWNER)) == {labs: FIRST}
    (error,) = missing(selected(vault, labs, date=SECOND)).values()
    assert "list: no acme-labs/*" in error


def test_a_short_list_of_an_owner_whose_repositories_are_all_there_is_settled_by_an_older_one(vault: Vault) -> None:
    vault.store(FIRST, API)
    vault.store(SECOND, API, failures=[failure("acme/*", "list")])
    selection = selected(vault)
    assert dates(selection) == {API: SECOND}
    assert selection.unavailable == ()


def test_a_short_list_settles_no_list_that_failed(vault: Vault) -> None:
    vault.store(FIRST, API, FORK)
    vault.store(SECOND, API, failures=[failure("acme/*", "list")])
    vault.store(THIRD, failures=[failure("acme/*", "list")])
    selection = selected(vault)
    assert dates(selection) == {API: SECOND, FORK: FIRST}
    assert selection.unavailable == ()


def test_a_broken_manifest_is_a_failure_and_the_newest_whole_one_is_used(vault: Vault) -> None:
    vault.store(FIRST, API)
    vault.write_bytes(SECOND, b"<html>")
    selection = selected(vault)
    assert dates(selection) == {API: FIRST}
    assert missing(selection).keys() == {f"manifest of {SECOND}"}


def test_a_run_on_its_way_is_no_failure(vault: Vault) -> None:
    vault.store(FIRST, API)
    vault.copy(SECOND, API)
    selection = selected(vault)
    assert (dates(selection), selection.unavailable) == ({API: FIRST}, ())


def test_backups_of_days_to_come_are_not_the_latest(vault: Vault) -> None:
    """A clock was wrong: they would be the latest until those days, whatever was stored since."""
    vault.store(FIRST, API)
    to_come = ["2999-01-02", "2999-01-01"]
    for date in to_come:
        vault.store(date, FORK)
    assert dates(selected(vault)) == {API: FIRST}
    assert [(event["event"], event["date"]) for event in vault.events] == [("backup skipped", date) for date in to_come]
    assert dates(selected(vault, date=to_come[0])) == {FORK: to_come[0]}


def test_a_deleted_manifest_is_found_by_its_version(vault: Vault) -> None:
    manifest = vault.store(FIRST, API)
    for key in (run_key(PREFIX, FIRST, manifest["run_id"]), manifest["repos"][0]["s3_key"]):
        vault.client.delete_object(Bucket=vault.bucket, Key=key)
    assert dates(selected(vault, date=FIRST)) == {API: FIRST}
    assert [event["event"] for event in vault.events] == ["manifest was deleted, using its last version"]
    with pytest.raises(S3Error, match="no backup"):
        selected(vault)


def test_a_day_that_is_not_there_is_said(vault: Vault) -> None:
    vault.store(FIRST, API)
    with pytest.raises(S3Error, match=f"{NEVER}.*`list`"):
        selected(vault, date=NEVER)


def test_gone_repositories_are_not_restored_and_need_no_older_backup(vault: Vault) -> None:
    manifest = vault.store(FIRST, API, FORK)
    manifest["repos"][1] |= {"status": "gone", "s3_key": None, "sha256": None, "refs_sha256": None}
    vault.write(FIRST, manifest)
    assert dates(selected(vault)) == {API: FIRST}
    assert missing(selected(vault, FORK)).keys() == {FORK}


@pytest.mark.parametrize(
    ("pattern", "means"),
    [("acme/api", True), ("ACME/Api", True), ("acme", True), ("acme/*", True), ("*/a?i", True), ("acme/[a-b]*", True),
     ("*", True), ("acm", False), ("acme/ap", False), ("api", False), ("", False), ("acme-labs", False)],
)  # fmt: skip
def test_a_pattern_means_a_repository_or_an_owner(pattern: str, means: bool) -> None:
    assert matches("acme/api", pattern) is means


# -- ids and names -------------------------------------------------------------------------------


def test_what_was_renamed_and_then_failed_is_found_under_its_new_name(vault: Vault) -> None:
    first = vault.store(FIRST, API, FORK)
    api = first["repos"][0]
    vault.store(SECOND, FORK, failures=[failure("acme/new-name", number=api["id"])])
    assert dates(selected(vault)) == {"acme/new-name": FIRST, FORK: SECOND}
    selection = selected(vault, "acme/new-name")
    assert (dates(selection), selection.unavailable) == ({"acme/new-name": FIRST}, ())
    assert selection.selected[0].entry.s3_key == api["s3_key"]
    run = vault.restore("fetch", "acme/new-name", "--into", vault.folder / "out", "--as", "mirrors")
    assert run.code == 0, run.stderr
    assert (vault.folder / "out" / "acme" / "new-name.git").exists()


def test_another_repository_of_the_name_that_failed_is_not_taken_for_it(vault: Vault) -> None:
    """It was deleted and made again, and the new one has never been stored."""
    vault.store(FIRST, API, FORK)
    vault.store(SECOND, FORK, failures=[failure(API, number=424242)])
    selection = selected(vault)
    assert dates(selection) == {FORK: SECOND}
    assert missing(selection).keys() == {API}


def test_what_was_refused_for_its_name_is_found_under_the_last_good_one(vault: Vault) -> None:
    (api,) = vault.store(FIRST, API)["repos"]
    vault.store(SECOND, failures=[failure("acme/.git", "list", api["id"])])
    assert dates(selected(vault)) == {API: FIRST}


def test_a_broken_entry_is_taken_from_an_older_backup(vault: Vault) -> None:
    vault.store(FIRST, API, FORK)
    second = vault.store(SECOND, API, FORK)
    second["repos"][0]["sha256"] = "not a checksum"
    vault.write(SECOND, second)
    assert dates(selected(vault)) == {API: FIRST, FORK: SECOND}
    broken = missing(selected(vault, date=SECOND))
    assert "the manifest's entry is broken" in broken[API]


@pytest.mark.parametrize("name", ["api", "API"])
def test_two_repositories_with_one_name_do_not_land_in_one_folder(vault: Vault, name: str) -> None:
    """The new one is whole, and the old one comes with its owner, who could not be listed whole."""
    first = vault.store(FIRST, API, FORK)
    second = vault.store(SECOND)
    new = renamed(vault.copy(SECOND, PUBLIC), name, 424242)
    vault.write(SECOND, second | {"repos": [new], "failures": [failure("acme/*", "list")]})
    into = vault.folder / "out"
    run = vault.restore("fetch", "--all", "--into", into, "--as", "mirrors")
    assert run.code == 1
    assert run.failures.keys() == {API}
    assert f"(id {first['repos'][0]['id']}) is in the backup of {FIRST}: see --date" in run.failures[API]
    assert {path.name for path in (into / "acme").iterdir()} == {f"{name}.git", "fork.git"}
    assert served_refs(into / "acme" / f"{name}.git") == vault.organisation.refs(PUBLIC)
    assert vault.restore("fetch", API, "--date", FIRST, "--into", vault.folder / "old").code == 0


# -- vanished repositories -----------------------------------------------------------------------


def test_what_vanished_is_listed_and_taken_from_its_last_backup(vault: Vault) -> None:
    api, fork, empty = vault.store(FIRST, API, FORK, "acme/empty")["repos"]
    vault.store(SECOND, PUBLIC, vanished=[vanished(api), vanished(fork), vanished(empty)])
    assert [row["vanished"] for row in vault.rows("list")] == [3, 0]
    rows = {row["repository"]: (row["status"], row["date"]) for row in vault.rows("list", "*/*")}
    assert rows == {
        API: ("vanished", FIRST),
        FORK: ("vanished", FIRST),
        "acme/empty": ("vanished", SECOND),
        PUBLIC: ("stored", SECOND),
    }
    into = vault.folder / "out"
    run = vault.restore("fetch", API, "acme/empty", "--into", into, "--as", "mirrors")
    assert run.code == 0, run.stderr
    assert served_refs(into / f"{API}.git") == vault.organisation.refs(API)
    assert served_refs(into / "acme/empty.git") == {}
    said = run.named("vanished from GitHub, using its last backup")
    assert {event["full_name"]: event["date"] for event in said} == {API: FIRST, "acme/empty": SECOND}


def test_a_vanished_repository_gives_way_to_a_new_one_of_its_name(vault: Vault) -> None:
    (api,) = vault.store(FIRST, API)["repos"]
    second = vault.store(SECOND, vanished=[vanished(api)])
    vault.write(SECOND, second | {"repos": [renamed(vault.copy(SECOND, PUBLIC), "api", 424242)]})
    run = vault.restore("fetch", "--all", "--into", vault.folder / "out", "--as", "mirrors")
    assert run.code == 0, run.stderr
    assert served_refs(vault.folder / "out" / f"{API}.git") == vault.organisation.refs(PUBLIC)
    (warning,) = run.named("name reused, vanished repository skipped")
    assert (warning["full_name"], warning["last_backup"]) == (API, FIRST)


def test_a_vanished_repository_of_which_too_little_is_known_is_said(vault: Vault) -> None:
    (api,) = vault.store(FIRST, API)["repos"]
    record = vanished(api)
    del record["refs_sha256"]
    vault.store(SECOND, FORK, vanished=[record])
    assert "its last backup is unknown" in missing(selected(vault, API))[API]


def test_a_drill_leaves_out_what_vanished(vault: Vault) -> None:
    """Its last bundle expires one day, which is no fault of the backups."""
    api, fork = vault.store(FIRST, API, FORK)["repos"]
    vault.destroy(api)
    vault.store(SECOND, FORK, vanished=[vanished(api)])
    rotation = ("--within-days", "1", "--every-hours", "24", "--report", f"s3://{vault.bucket}/drills/")
    run = vault.restore("verify", *rotation)
    assert run.code == 0, run.stderr
    assert [event["full_name"] for event in run.named("verified")] == [FORK]
    assert vault.restore("verify", "--all").failures.keys() == {API}
    assert fork["full_name"] == FORK


# -- check ---------------------------------------------------------------------------------------


def store_now(vault: Vault, hours: float, *names: str, **about: Any) -> dict[str, Any]:
    """Store a backup that finished so many hours ago."""
    then = datetime.now(UTC) - timedelta(hours=hours)
    moment = then.strftime("%Y-%m-%dT%H:%M:%SZ")
    return vault.store(moment[:10], *names, **{"started_at": moment, "finished_at": moment, **about})


def test_the_newest_complete_backup_is_checked_and_its_age_published(vault: Vault) -> None:
    manifest = store_now(vault, 60, API, FORK, failures=[failure(PUBLIC)])
    store_now(vault, 1, API, complete=False)
    vault.write_bytes(f"{datetime.now(UTC):%Y-%m-%d}", b"{")
    run = vault.restore("check", "--json", "--publish", "--max-age-hours", "61")
    assert run.code == 0, run.stderr
    document = json.loads(run.stdout)
    assert 60 * 3600 <= document.pop("age_seconds") < 60 * 3600 + 120
    assert document == {
        "date": manifest["date"],
        "run": manifest["run_id"],
        "finished_at": manifest["finished_at"],
        "repositories": 2,
        "failed": 1,
        "vanished": 0,
        "failures": [failure(PUBLIC) | {"in_part": False}],
    }
    assert vault.stack.aws.metrics(vault.service)["NewestBackupAge"] == [pytest.approx(60 * 3600, abs=120)]
    old = vault.restore("check", "--max-age-hours", "59")
    assert old.code == 1
    assert "it finished 2 days 12 h ago" in old.failures["newest backup"]
    lines = old.stdout.splitlines()
    assert lines[0].split() == ["date", "run", "age", "repositories", "failed", "vanished"]
    assert lines[1].split()[:6] == [manifest["date"], manifest["run_id"], "2", "days", "12", "h"]
    assert lines[-1].split() == [PUBLIC, "clone", "no", PUBLIC]


def test_a_moment_means_the_newest_backup_until_then(vault: Vault) -> None:
    vault.store(FIRST, API, FORK)
    vault.store(SECOND, API)
    late = vault.store(SECOND, API, PUBLIC, finished_at=f"{SECOND}T23:50:00Z")
    assert {row["repository"] for row in vault.rows("list", "--date", f"{SECOND}T23:50Z")} == {API, PUBLIC}
    assert {row["repository"] for row in vault.rows("list", "--date", f"{SECOND}T23:49Z")} == {API}
    assert {row["repository"] for row in vault.rows("list", "--date", f"{SECOND}T06:00+02:00")} == {API, FORK}
    assert vault.rows("diff", f"{SECOND}T12:00Z", f"{SECOND}T23:59Z")[0]["full_name"] == PUBLIC
    runs = vault.rows("list", "--runs", "--date", f"{SECOND}T23:59Z")
    assert runs[0]["run"] == late["run_id"]
    early = vault.restore("list", "--date", f"{FIRST}T04:00Z")
    assert (early.code, len(early.problems)) == (1, 1)
    for wrong in ("2026-11-23T06:00", "06:00Z"):
        assert "a moment with its time zone such as 2026-11-23T06:00Z" in vault.restore("list", "--date", wrong).stderr
    assert "--run needs the --date" in vault.restore("list", "--date", f"{SECOND}T12:00Z", "--run", "x").stderr


def test_a_folder_with_a_copy_of_the_bucket_serves_every_command(vault: Vault, tmp_path: Path) -> None:
    vault.store(FIRST, API, FORK)
    vault.store(SECOND, API, PUBLIC)
    copied = tmp_path / "copy"
    for version in vault.client.list_object_versions(Bucket=vault.bucket)["Versions"]:
        path = copied / version["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        vault.client.download_file(vault.bucket, version["Key"], str(path))
    alone: dict[str, Any] = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_REGION": None, "S3_BUCKET": str(copied)}
    for arguments in (("list",), ("list", "--date", FIRST), ("list", "--runs", "--date", SECOND)):
        local = vault.restore(*arguments, "--json", **alone)
        assert (local.code, local.stdout) == (0, vault.restore(*arguments, "--json").stdout), local.stderr
    assert vault.restore("verify", "--all", **alone).code == 0
    assert "appeared" in vault.restore("diff", FIRST, SECOND, **alone).stdout
    into = tmp_path / "into"
    assert vault.restore("fetch", API, "--into", into, "--as", "mirrors", **alone).code == 0
    assert served_refs(into / f"{API}.git") == vault.organisation.refs(API)
    bundle = copied / PREFIX / SECOND / f"{API}.bundle"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    helped = vault.restore("verify", API, "--fallback-bucket", vault.bucket, S3_BUCKET=str(copied))
    assert (helped.code, len(helped.named("taken from the fallback bucket"))) == (0, 1)
    damaged = vault.restore("fetch", API, "--into", into, **alone)
    assert f"{copied}/{PREFIX}/{SECOND}/{API}.bundle" in damaged.failures[API]
    bundle.unlink()
    assert "there is no such file" in vault.restore("fetch", API, "--into", into, **alone).failures[API]
    missing = vault.restore("list", "--bucket", "./nothing")
    assert (missing.code, "there is no folder ./nothing" in missing.stderr) == (2, True)
    assert "must be the bare name of a bucket" in vault.restore("list", "--bucket", "s3://backups").stderr
    (tmp_path / "empty").mkdir()
    assert (
        f"there is no backup in {tmp_path}/empty/"
        in vault.restore("list", **alone | {"S3_BUCKET": f"{tmp_path}/empty"}).stderr
    )


def test_without_a_complete_backup_the_check_fails(vault: Vault) -> None:
    run = vault.restore("check", "--publish")
    assert run.code == 1
    assert "no complete backup" in run.failures["newest backup"]
    vault.store(FIRST, API, complete=False)
    assert vault.restore("check").code == 1
    assert vault.stack.aws.metrics(vault.service) == {}


def test_a_bucket_that_can_not_be_read_fails_the_check(vault: Vault, vault_proxy: S3Proxy) -> None:
    vault.store(FIRST, API)
    vault_proxy.faults = [S3Fault(r"GET .*/runs/", "deny")]
    run = vault.restore("check")
    assert run.code == 1
    assert "AccessDenied" in run.named("backup skipped")[0]["error"]


def test_a_drill_on_a_bucket_whose_newest_backup_is_too_old_fails(vault: Vault) -> None:
    store_now(vault, 60, API)
    assert vault.restore("verify", "--all", "--max-age-hours", "61").code == 0
    run = vault.restore("verify", "--all", "--max-age-hours", "59", "--publish")
    assert run.code == 1
    assert run.failures.keys() == {"newest backup"}
    report = json.loads(run.stdout)
    assert (report["verified"], report["failed"]) == (1, 1)
    assert vault.stack.aws.metrics(vault.service)["RestoreFailed"] == [1]


# -- no permission -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"S3_BUCKET": "there-is-no-such-bucket"}, "NoSuchBucket"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_EC2_METADATA_DISABLED": "1"}, "credentials"),
        ({"AWS_REGION": None}, "--region"),
        ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_bucket_that_can_not_be_read_is_explained(vault: Vault, changes: dict[str, str | None], said: str) -> None:
    vault.variables |= changes
    run = vault.restore("list")
    assert run.code == 1
    assert said in run.problems[0]


def test_a_denied_list_is_explained(vault: Vault, vault_proxy: S3Proxy) -> None:
    manifest = vault.store(FIRST, API)
    vault_proxy.faults = [S3Fault("GET .*list-type", "deny")]
    run = vault.restore("list")
    assert run.code == 1
    assert "s3:ListBucket" in run.problems[0]
    # A run that one knows can be read without it.
    assert [row["repository"] for row in vault.rows("list", "--date", FIRST, "--run", manifest["run_id"])] == [API]


def test_denied_versions_keep_nobody_from_older_days(vault: Vault, vault_proxy: S3Proxy) -> None:
    vault.store(FIRST, API)
    vault.store(SECOND, FORK, failures=[failure(API)])
    vault_proxy.faults = [S3Fault(r"GET .*\?.*versions", "deny")]
    assert [(row["repository"], row["date"]) for row in vault.rows("list", "*/*")] == [(API, FIRST), (FORK, SECOND)]


# -- diff ----------------------------------------------------------------------------------------


def moved(vault: Vault, name: str, *commands: tuple[str, ...]) -> dict[str, Any]:
    """Return the entry of a repository in which git has done something since."""
    path = vault.folder / f"{name.replace('/', '-')}.git"
    git("clone", "--quiet", "--mirror", vault.organisation.sources[name], path)
    for command in commands:
        tree = git(f"--git-dir={path}", "rev-parse", "HEAD^{tree}").decode().strip()
        parent = git(f"--git-dir={path}", "rev-parse", "HEAD").decode().strip()
        words = [word.format(tree=tree, parent=parent) for word in command]
        output = git(f"--git-dir={path}", *words).decode().strip()
        if words[0] == "commit-tree":
            git(f"--git-dir={path}", "update-ref", "HEAD", output)
    bundle = path.with_suffix(".bundle")
    git(f"--git-dir={path}", "bundle", "create", "--quiet", bundle, "--all")
    lines = sorted(line + b"\n" for line in git("bundle", "list-heads", bundle).splitlines())
    entry = vault.put(SECOND, name, bundle.read_bytes(), hashlib.sha256(b"".join(lines)).hexdigest())
    return entry | {"sha": git(f"--git-dir={path}", "rev-parse", "HEAD").decode().strip()}


def test_diff_says_what_changed_from_one_day_to_another(vault: Vault) -> None:
    names = (API, FORK, PUBLIC, "acme/archived", "acme/gitlinks", "acme/.github", "acme/odd-tags", "acme/heavy")
    vault.store(FIRST, *names, f"{SECOND_OWNER}/experiments")
    failures = [failure("acme/odd-tags"), failure(f"{SECOND_OWNER}/*", "list")]
    second = vault.store(SECOND, "acme/.github", "acme/_under.score-", failures=failures)
    renamed = next(entry for entry in second["repos"] if entry["full_name"] == "acme/.github")
    renamed |= {"full_name": "acme/renamed", "name": "renamed"}
    small = (("update-ref", "-d", "refs/heads/feature/login"), ("update-ref", "-d", "refs/pull/7/head"))
    second["repos"] += [
        moved(vault, API, *small),
        moved(vault, FORK, ("commit-tree", "-m", "forced", "{tree}")),
        moved(vault, PUBLIC, ("commit-tree", "-m", "on top", "-p", "{parent}", "{tree}")),
        moved(vault, "acme/archived") | {"default_branch": "trunk"},
        moved(vault, "acme/heavy", ("mktree",), ("commit-tree", "-m", "emptied", EMPTY_TREE)),
    ]
    vault.write(SECOND, second)
    found = [(row["full_name"], row["kind"]) for row in vault.rows("diff", FIRST, SECOND)]
    expected = [
        ("acme/_under.score-", "appeared"),
        (API, "refs deleted"),
        ("acme/archived", "default branch renamed"),
        (FORK, "default branch rewritten"),
        ("acme/gitlinks", "vanished"),
        ("acme/heavy", "default branch rewritten"),
        ("acme/heavy", "shrank"),
        ("acme/odd-tags", "failed"),
        ("acme/renamed", "renamed"),
        (f"{SECOND_OWNER}/*", "failed"),
    ]
    assert sorted(found) == sorted(expected)
    quick = vault.rows("diff", FIRST, SECOND, FORK, PUBLIC, "--quick")
    assert [(row["full_name"], row["kind"]) for row in quick] == [
        (FORK, "default branch moved"),
        (PUBLIC, "default branch moved"),
    ]
    table = vault.restore("diff", FIRST, "latest", API)
    assert table.code == 0
    assert "1: refs/heads/feature/login" in table.stdout


def test_diff_does_not_call_a_name_unchanged_that_no_backup_has(vault: Vault) -> None:
    vault.store(FIRST, API)
    vault.store(SECOND, API)
    assert "no repository appeared" in vault.restore("diff", FIRST, SECOND, API).stdout
    mistyped = vault.restore("diff", FIRST, SECOND, "api", "acme/apo")
    assert (mistyped.code, mistyped.stdout) == (1, "")
    error = f"neither the backup of {FIRST} nor that of {SECOND} has it"
    assert mistyped.failures == {"api": f"{error}: did you mean {API}?", "acme/apo": error}


def test_diff_names_a_bundle_that_is_not_there_and_goes_on(vault: Vault) -> None:
    vault.store(FIRST, API, FORK)
    second = vault.store(SECOND)
    second["repos"] = [moved(vault, name, ("commit-tree", "-m", "forced", "{tree}")) for name in (API, FORK)]
    vault.write(SECOND, second)
    vault.destroy(second["repos"][0])
    run = vault.restore("diff", FIRST, SECOND, "--json")
    assert run.code == 1
    assert run.failures.keys() == {API}
    assert [(row["full_name"], row["kind"]) for row in json.loads(run.stdout)] == [(FORK, "default branch rewritten")]


def test_a_diff_reserves_the_disk_that_it_needs(vault: Vault) -> None:
    vault.store(FIRST, API, FORK)
    second = vault.store(SECOND)
    entries = [moved(vault, name, ("commit-tree", "-m", "forced", "{tree}")) for name in (API, FORK)]
    vault.write(SECOND, second | {"repos": [entries[0] | {"size_bytes": 10**15}, entries[1]]})
    run = vault.restore("diff", FIRST, SECOND, "--json")
    assert run.code == 1
    assert "of temporary disk needed" in run.failures[API]
    assert [row["full_name"] for row in json.loads(run.stdout)] == [FORK]
    assert vault.restore("diff", FIRST, SECOND, "--quick").code == 0


def test_a_day_compared_with_itself_has_no_differences(whole: Vault) -> None:
    manifest = parse_manifest(json.dumps(whole.organisation.manifest).encode())
    assert list(compare_lists(manifest, manifest)) == []
    assert whole.rows("diff", whole.organisation.date, "latest") == []


def test_a_diff_without_a_difference_says_so(whole: Vault) -> None:
    run = whole.restore("diff", "latest", "latest")
    assert run.code == 0
    assert run.stdout.startswith("no repository appeared, vanished, failed, shrank or was rewritten from ")
