"""Every command restores a full bundle with the changes on top of it, of any day and from either bucket."""

import json
import shutil
from pathlib import Path
from typing import Any

from embedded.real_git import served_refs
from support.changing import MAIN, Changing, add_large, enlarged, grow
from support.content import make_wiki
from support.world import Restored, World

SIDE = "refs/heads/side"
NEW_OWNER = "acme-restored"
Refs = dict[str, str]


def refs_of(path: Path) -> Refs:
    return {name: oid for name, oid in served_refs(path).items() if name != "HEAD"}


def three_days(world: World, repository: Changing, *others: Changing) -> dict[str, Refs]:
    """Back up on three days, the first in full, and return the refs of each, by its date.

    `others` change on the second day only.
    """
    days = {}
    repository.commit("main", ref=SIDE)
    assert world.run().code == 0
    days[world.yesterday(2)["date"]] = refs_of(repository.path)
    for changed in (repository, *others):
        grow(changed)
    repository.git("tag", "-a", "-m", "release", "v9", "main~1")
    assert world.run().code == 0
    days[world.yesterday()["date"]] = refs_of(repository.path)
    grow(repository)
    repository.delete(SIDE)
    repository.point(MAIN, repository.commit("main~2", files={**repository.files, "other": "other"}))
    assert world.run().code == 0
    return days | {str(world.day()): refs_of(repository.path)}


def manifests(world: World, days: dict[str, Refs]) -> list[dict[str, Any]]:
    return [world.read(f"github-backup/{day}/manifest.json")["repos"][0] for day in days]


def destroy(world: World, stored: dict[str, Any]) -> None:
    version = {"Key": stored["s3_key"], "VersionId": stored["version_id"]}
    world.stack.s3.client().delete_object(Bucket=world.bucket, **version)


def delete_all(world: World, prefix: str) -> None:
    """Delete every version of what is below a prefix."""
    client = world.stack.s3.client()
    for version in client.list_object_versions(Bucket=world.bucket, Prefix=prefix).get("Versions", []):
        client.delete_object(Bucket=world.bucket, Key=version["Key"], VersionId=version["VersionId"])


def push(world: World, *arguments: str) -> tuple[Restored, Refs | None]:
    """Push to another owner, and return what is there then, None where nothing is. It is removed again."""
    world.github.new_repositories = world.folder / "created"
    world.variables["RESTORE_WRITE_LIMITS"] = "none"
    world.variables["RESTORE_TOKEN"] = world.github.personal_token("octocat", [NEW_OWNER, "octocat"])
    pushed = world.restore("push", "--all", "--git-only", "--to", NEW_OWNER, *arguments)
    there = world.github.find(NEW_OWNER, "api")
    if there is None:
        return pushed, None
    refs, there.gone = refs_of(there.path), True
    shutil.rmtree(there.path)
    return pushed, refs


def pushable(refs: Refs) -> Refs:
    return {name: oid for name, oid in refs.items() if "/pull/" not in name}


def test_every_command_takes_both_bundles_of_any_day(world: World) -> None:
    repository = add_large(world)
    api = next(iter(world.github.repositories.values()))
    api.wiki = make_wiki(world.folder / "git", "api", {"Home.md": b"# Home\n"})
    wiki = enlarged(world, api.wiki)
    before = refs_of(wiki.path)
    days = three_days(world, repository, wiki)
    pages = dict(zip(days, (before, refs_of(wiki.path), refs_of(wiki.path)), strict=True))
    first, second, third = manifests(world, days)
    assert first["base"] is None
    assert third["wiki"]["base"]["sha256"] == first["wiki"]["sha256"]
    assert second["base"]["sha256"] == third["base"]["sha256"] == first["sha256"]
    assert len({entry["sha256"] for entry in (first, second, third)}) == 3

    for day, refs in days.items():
        into = world.folder / day
        done = world.restore("fetch", "--all", "--as", "mirrors", "--into", str(into), "--date", day)
        assert done.code == 0, done.stderr
        assert refs_of(into / "acme" / "api.git") == refs, day
        assert refs_of(into / "acme" / "api.wiki.git") == pages[day]
        assert world.restore("verify", "--all", "--date", day).code == 0
    for form, name in (("clones", "api"), ("bundles", "api.bundle")):
        for event in ("fetched", "already there"):
            done = world.restore("fetch", "--all", "--as", form, "--into", str(world.folder / form))
            assert done.code == 0, done.stderr
            assert (world.folder / form / "acme" / name).exists()
            assert done.named(event), done.stderr

    bundles = world.folder / "bundles" / "acme"
    changes = (bundles / "api.changes.bundle").read_bytes()
    (bundles / "api.changes.bundle").unlink()
    again = world.restore("fetch", "--all", "--as", "bundles", "--into", str(bundles.parent))
    assert again.code == 0, again.stderr
    assert (bundles / "api.changes.bundle").read_bytes() == changes
    day = next(iter(days))
    full = world.restore("fetch", "--all", "--as", "bundles", "--into", str(bundles.parent), "--date", day)
    assert "api.changes.bundle already exists and is not the bundle of this backup" in full.failures["acme/api"]

    size = sum(
        bundle["size_bytes"] for bundle in (third, third["base"], third["wiki"], third["wiki"]["base"]) if bundle
    )
    (row,) = json.loads(world.restore("list", "--date", "latest", "--json").stdout)
    assert row["size_bytes"] == size
    listed = world.restore("list", "--date", "latest")
    assert listed.code == 0, listed.stderr
    (_, older, newer) = days
    changes = json.loads(world.restore("diff", older, newer, "--json").stdout)
    assert {change["kind"] for change in changes} == {"refs deleted", "default branch rewritten"}
    assert SIDE in next(change["detail"] for change in changes if change["kind"] == "refs deleted")

    drill = ("verify", "--within-days", "1", "--every-hours", "24", "--report", f"s3://{world.bucket}/drills/")
    assert world.restore(*drill).code == 0
    pushed, there = push(world)
    assert pushed.code == 0, pushed.stderr
    assert there == pushable(days[newer])


def test_what_is_damaged_comes_from_elsewhere_or_costs_the_changes_only(world: World) -> None:
    repository = add_large(world)
    days = three_days(world, repository)
    day, yesterday, today = days
    first, second, entry = manifests(world, days)
    client, replica = world.stack.s3.client(), world.stack.s3.new_bucket(f"{world.bucket}-replica")
    for key in world.stored_keys():
        client.copy_object(Bucket=replica, Key=key, CopySource={"Bucket": world.bucket, "Key": key})
    number = 0

    def fetch(*arguments: str, code: int = 0) -> tuple[Refs, str]:
        nonlocal number
        number += 1
        into = world.folder / f"fetched-{number}"
        done = world.restore("fetch", "--all", "--as", "mirrors", "--into", str(into), *arguments)
        assert done.code == code, done.stderr
        mirror = into / "acme" / "api.git"
        return refs_of(mirror) if mirror.exists() else {}, done.stderr

    for stored in (entry["base"], entry):  # another version is newer, and the one of the manifest is gone
        copied = client.copy_object(
            Bucket=world.bucket, Key=stored["s3_key"], CopySource={"Bucket": world.bucket, "Key": stored["s3_key"]}
        )
        destroy(world, stored)
        client.put_object(Bucket=world.bucket, Key=stored["s3_key"], Body=b"overwritten")
        assert fetch()[0] == days[today]
        client.delete_object(Bucket=world.bucket, Key=stored["s3_key"], VersionId=copied["VersionId"])
        refs, output = fetch("--fallback-bucket", replica)
        assert refs == days[today]
        assert "taken from the fallback bucket" in output
        verified = world.restore("verify", "--all", "--fallback-bucket", replica)
        assert verified.code == 0, verified.stderr
        assert world.restore("verify", "--all").code == 1
        client.copy_object(
            Bucket=world.bucket, Key=stored["s3_key"], CopySource={"Bucket": replica, "Key": stored["s3_key"]}
        )

    body = client.get_object(Bucket=world.bucket, Key=entry["s3_key"])["Body"].read()
    delete_all(world, entry["s3_key"])
    client.put_object(Bucket=world.bucket, Key=entry["s3_key"], Body=body[:-1] + bytes([body[-1] ^ 1]))
    report = world.folder / "pushed.json"
    pushed, there = push(world, "--report", str(report))  # its header is right, and the rest is not
    assert there == pushable(days[yesterday])
    (failure,) = json.loads(report.read_text())["failures"]
    assert (
        f"what is there is the backup of {second['backed_up_at']}, as a newer one can't be used: " in failure["error"]
    )
    assert failure["error"] == pushed.failures["acme/api"]
    delete_all(world, entry["s3_key"])
    planned, _ = push(world, "--dry-run")
    assert f"take the backup of {second['backed_up_at']}, as a newer one can't be used" in planned.stdout

    for lost, older, refs in (
        (entry["s3_key"], second, days[yesterday]),
        (second["s3_key"], first, days[day]),
        (f"github-backup/{day}/runs/", entry["base"], days[day]),  # no manifest that is left names it alone
    ):
        delete_all(world, lost)
        there, output = fetch(code=1)
        assert there == refs
        assert f"what is there is the backup of {older['backed_up_at']}, as a newer one can't be used: " in output
        assert entry["s3_key"] in output
        verified = world.restore("verify", "--all")
        assert f"The backup of {older['backed_up_at']} restores" in verified.failures["acme/api"]
        pushed, there = push(world)
        assert there == pushable(refs)
        assert f"what is there is the backup of {older['backed_up_at']}, as a newer" in pushed.failures["acme/api"]
    pushed, complete = push(world, "--fallback-bucket", replica)
    assert pushed.code == 0, pushed.stderr
    assert complete == pushable(days[today])
    delete_all(world, first["s3_key"])
    assert fetch(code=1)[0] == {}
    assert "No older backup of it restores" in world.restore("verify", "--all").failures["acme/api"]
    assert push(world)[1] is None
