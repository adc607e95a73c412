"""A replica that stays behind is noticed by the run, without a drill."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from embedded.s3_proxy import S3Proxy
from github_s3_backup.records.stored_object import StoredObject
from support.clients import Log, archive_at
from support.world import World

KEY = "github-backup/2026-11-22/acme/api.bundle"


def status(value: str, age: timedelta) -> dict[str, str]:
    """Return what S3 says of an object of that age that is replicated."""
    written_at = format_datetime(datetime.now(UTC) - age, usegmt=True)
    return {"x-amz-replication-status": value, "Last-Modified": written_at}


@pytest.mark.parametrize(
    ("value", "age", "overdue"),
    [
        ("PENDING", timedelta(minutes=50), 0),
        ("PENDING", timedelta(minutes=70), 1),
        ("FAILED", timedelta(0), 1),
        ("COMPLETED", timedelta(days=9), 0),
        ("REPLICA", timedelta(days=9), 0),
        (None, timedelta(days=9), 0),
    ],
)
def test_which_copies_are_overdue(
    world: World, s3_proxy: S3Proxy, value: str | None, age: timedelta, overdue: int
) -> None:
    answer = world.stack.s3.client().put_object(Bucket=world.bucket, Key=KEY, Body=b"x", ChecksumAlgorithm="SHA256")
    s3_proxy.answer_headers = {"HEAD .*bundle": status(value, age)} if value else {}
    archive = archive_at(world, s3_proxy.url, Log())
    stored = StoredObject(key=KEY, version_id=answer["VersionId"], size_bytes=1, sha256=SHA256_OF_X, checksum=None)
    for _ in range(2):  # one object, however often it is looked at
        archive.flaw(stored)
    assert len(archive.overdue_copies) == overdue


SHA256_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def test_an_object_that_is_not_there_is_no_overdue_copy(world: World, s3_proxy: S3Proxy) -> None:
    archive = archive_at(world, s3_proxy.url, Log())
    absent = StoredObject(key=KEY, version_id=None, size_bytes=1, sha256=SHA256_OF_X, checksum=None)
    assert "404" in str(archive.flaw(absent))
    assert not archive.overdue_copies


def test_a_run_counts_bundles_and_the_manifest_that_the_replica_lacks(world: World, s3_proxy: S3Proxy) -> None:
    for name in ("api", "fork", "public", "empty"):
        world.add(name)
    first = world.run()
    assert world.metrics()["ReplicationBehind"] == [0]
    assert first.manifest is not None
    s3_proxy.answer_headers = {
        r"HEAD .*/acme/api\.bundle": status("PENDING", timedelta(hours=2)),
        r"HEAD .*/acme/fork\.bundle": status("FAILED", timedelta(0)),
        r"HEAD .*/acme/public\.bundle": status("COMPLETED", timedelta(hours=2)),
        r"HEAD .*/runs/.*\.json": status("FAILED", timedelta(0)),
    }
    world.variables["SERVICE_NAME"] = f"{world.service}-behind"
    run = world.run()
    assert run.code == 0, "the backup itself is good"
    assert [line["objects"] for line in run.named("replica is behind")] == [3]
    assert world.stack.aws.metrics(f"{world.service}-behind")["ReplicationBehind"] == [3]

    # Where the last manifest was deleted, what is known of the bundles still counts.
    key = world.key(f"runs/{run.events[-1]['manifest'].rpartition('/')[2]}")
    world.stack.s3.client().delete_object(Bucket=world.bucket, Key=key)
    run = world.run()
    assert [line["objects"] for line in run.named("replica is behind")] == [3]
