"""What S3 takes, in one piece and in parts, and what it refuses."""

import hashlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive import LARGEST_COPY, Archive, ArchiveError, StoredObject
from bundle import PART_SIZE, Bundle
from embedded.s3_proxy import S3Fault, S3Proxy
from logs import new_logger
from redaction import Redactor
from repository import Repository
from stop import Stop
from world import World

REPOSITORY = Repository(1, "acme", "big", True, False, False, "main", 1, 1)
MOMENT = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)


def archive_of(world: World, url: str | None = None, largest_copy: int = LARGEST_COPY) -> Archive:
    s3 = world.stack.s3 if url is None else type(world.stack.s3)(url)
    log = new_logger(sys.stdout, Redactor())
    return Archive(s3.client(), world.bucket, "github-backup", MOMENT, Stop(), log, largest_copy)


def bundle_of(folder: Path, size: int) -> Bundle:
    """Return a Bundle of random bytes: what is in it is none of the archive's business."""
    content = os.urandom(size)
    path = folder / "bundle"
    path.write_bytes(content)
    parts = tuple(hashlib.sha256(content[at : at + PART_SIZE]).digest() for at in range(0, size, PART_SIZE))
    return Bundle(path, {}, size, hashlib.sha256(content).digest(), parts)


@pytest.mark.parametrize("size", [1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE + 5])
def test_an_object_arrives_as_it_was_sent_with_its_version(world: World, size: int) -> None:
    bundle = bundle_of(world.folder, size)
    archive = archive_of(world)
    stored = archive.put_bundle(REPOSITORY, bundle)
    key = "github-backup/2026-11-23/acme/big.bundle"
    answer = world.stack.s3.client().get_object(Bucket=world.bucket, Key=key, ChecksumMode="ENABLED")
    assert hashlib.file_digest(answer["Body"], "sha256").digest() == bundle.sha256  # type: ignore[arg-type]
    assert stored == StoredObject(key, answer["VersionId"], answer["ChecksumSHA256"])


@pytest.mark.parametrize("size", [1000, PART_SIZE + 1000])
def test_a_file_that_changed_since_it_was_proven_is_refused_and_leaves_nothing(world: World, size: int) -> None:
    bundle = bundle_of(world.folder, size)
    with bundle.path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    with pytest.raises(ArchiveError, match="BadDigest"):
        archive_of(world).put_bundle(REPOSITORY, bundle)
    assert world.stored_keys() == set()
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


def test_a_part_that_is_denied_aborts_the_upload(world: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.faults = [S3Fault("PUT .*partNumber=2", "deny")]
    with pytest.raises(ArchiveError, match="AccessDenied"):
        archive_of(world, s3_proxy.url).put_bundle(REPOSITORY, bundle_of(world.folder, PART_SIZE + 1))
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


def test_the_probe_leaves_nothing_behind(world: World) -> None:
    archive_of(world).probe()
    client = world.stack.s3.client()
    assert world.stored_keys() == set()
    assert client.list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []
    assert client.list_object_versions(Bucket=world.bucket).get("Versions", []) == []
