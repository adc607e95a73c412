"""What S3 takes, in one piece and in parts, and what it refuses."""

import gc
import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

import pytest

from embedded.s3 import READER, WRITER
from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.git.bundle import BundleError
from github_s3_backup.records.manifest import new_manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.capacity import UPLOAD_BUFFERS, Capacity, Reservation
from github_s3_backup.runtime.logs import new_logger
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop
from github_s3_backup.runtime.threads import in_background
from github_s3_backup.s3.archive import Archive
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.objects import Objects
from github_s3_backup.s3.upload import PART_SIZE, PARTS_AT_ONCE, Part, Uploader, UploadError
from support.clients import new_archive
from support.world import World

REPOSITORY = Repository(1, "acme", "big", True, False, False, "main", 1, 1)
MOMENT = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)


class Blocks:
    """What is uploaded, as a bundle is: hashed while it is read."""

    def __init__(self, blocks: Iterable[bytes], estimate: int = 10**9) -> None:
        self.estimate, self.size = estimate, 0
        self._blocks, self._hash = blocks, hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.size += len(block)
            self._hash.update(block)
            yield block


def uploader_of(world: World, url: str | None = None) -> Uploader:
    s3 = world.stack.s3 if url is None else type(world.stack.s3)(url)
    stop, log = Stop(), new_logger(sys.stdout, Redactor())
    return Uploader(Objects(s3.client(), world.bucket), Capacity(Reservation(0, UPLOAD_BUFFERS), stop), stop, log, PART)


KEY = "github-backup/2026-11-23/acme/big.bundle"
PART = 5 * 1024**2  # the smallest that S3 takes


def stored_object(content: bytes, version_id: str, checksum: str) -> StoredObject:
    digest = hashlib.sha256(content).hexdigest()
    return StoredObject(key=KEY, version_id=version_id, size_bytes=len(content), sha256=digest, checksum=checksum)


def blocks_of(content: bytes, size: int = 999_983) -> Iterator[bytes]:
    """Yield the content in blocks that end where no part does."""
    return (content[start : start + size] for start in range(0, len(content), size))


@pytest.mark.parametrize("size", [1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 5])
def test_an_object_arrives_as_it_was_sent_with_its_version(world: World, size: int) -> None:
    content = os.urandom(size)
    stored = uploader_of(world).put(KEY, Blocks(blocks_of(content)))
    answer = world.stack.s3.client().get_object(Bucket=world.bucket, Key=KEY, ChecksumMode="ENABLED")
    assert answer["Body"].read() == content
    assert stored == stored_object(content, answer["VersionId"], answer["ChecksumSHA256"])


def test_a_few_parts_are_sent_at_once_and_put_together_in_order(world: World, s3_proxy: S3Proxy) -> None:
    """The first is the slowest, so that the others arrive before it."""
    content = os.urandom(6 * PART + 5)
    s3_proxy.faults = [S3Fault(r"PUT .*partNumber=1\b", "slow")]
    stored = uploader_of(world, s3_proxy.url).put(KEY, Blocks(blocks_of(content)))
    answer = world.stack.s3.client().get_object(Bucket=world.bucket, Key=KEY, ChecksumMode="ENABLED")
    assert answer["Body"].read() == content
    assert stored == stored_object(content, answer["VersionId"], answer["ChecksumSHA256"])
    assert s3_proxy.most_at_once == PARTS_AT_ONCE


def open_parts(others: Sequence[Part]) -> list[Part]:
    """Return the parts that are in memory, but for these."""
    known = {id(part) for part in others}
    return [item for item in gc.get_objects() if isinstance(item, Part) and not item.closed and id(item) not in known]


def test_an_upload_holds_no_more_parts_in_memory_than_are_reserved_for_it(world: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.faults = [S3Fault(r"PUT .*partNumber=[2-4]\b", "slow")]
    others, held = open_parts(()), []  # of an earlier test

    def blocks() -> Iterator[bytes]:
        for block in blocks_of(os.urandom(7 * PART), size=PART // 2 - 1):
            held.append(len(open_parts(others)))
            yield block

    uploader_of(world, s3_proxy.url).put(KEY, Blocks(blocks()))
    assert max(held) == PARTS_AT_ONCE


def test_a_part_that_is_refused_ends_the_upload_when_no_other_is_on_its_way(world: World, s3_proxy: S3Proxy) -> None:
    s3_proxy.faults = [S3Fault(r"PUT .*partNumber=2\b", "deny"), S3Fault(r"PUT .*partNumber=1\b", "slow")]
    with pytest.raises(UploadError, match="Access Denied"):
        uploader_of(world, s3_proxy.url).put(KEY, Blocks(blocks_of(os.urandom(9 * PART))))
    asked = [request.split("?")[1] for request in s3_proxy.requests if request.startswith(("PUT", "DELETE"))]
    assert asked[-1].startswith("uploadId=")  # the abort
    assert len(asked) < 9
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


def test_an_upload_for_which_no_thread_can_be_started_ends(world: World) -> None:
    """As where a container may have no more of them. Without an end, the run would wait for that part for ever."""

    def blocks() -> Iterator[bytes]:
        yield os.urandom(PART)
        threading.stack_size(2**46)  # more than any machine has room for
        yield os.urandom(PART)

    usual = threading.stack_size()
    upload = in_background(lambda: uploader_of(world).put(KEY, Blocks(blocks())))
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            upload.result(30)
    finally:
        threading.stack_size(usual)
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


@pytest.mark.parametrize("size", [1000, PART - 1, 2 * PART, 2 * PART + 1000])
def test_what_goes_wrong_with_the_last_block_leaves_nothing(world: World, size: int) -> None:
    """That is when a bundle is proven, and its last bytes are about to be sent."""

    def blocks() -> Iterator[bytes]:
        yield from blocks_of(os.urandom(size))
        raise BundleError("the pack in the bundle does not match its own checksum")

    with pytest.raises(BundleError, match="its own checksum"):
        uploader_of(world).put(KEY, Blocks(blocks()))
    assert world.stored_keys() == set()
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


@pytest.mark.parametrize(("kind", "words"), [("deny", "AccessDenied"), ("spoil", "BadDigest|InvalidDigest|checksum")])
def test_a_part_that_is_refused_aborts_the_upload(
    world: World, s3_proxy: S3Proxy, kind: Literal["deny", "spoil"], words: str
) -> None:
    s3_proxy.faults = [S3Fault(r"PUT .*partNumber=2", kind)]
    with pytest.raises(UploadError, match=words):
        uploader_of(world, s3_proxy.url).put(KEY, Blocks(blocks_of(os.urandom(PART + 1))))
    assert world.stored_keys() == set()
    assert world.stack.s3.client().list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []


def test_an_upload_that_is_complete_when_it_is_aborted_is_stored(world: World) -> None:
    """As where a run is stopped while S3's last answer is on its way."""

    class Late(S3Proxy):
        def with_checksum(self, what: str, answer: bytes) -> bytes:
            if re.search("POST .*uploadId=", what):
                uploader.abort_open_uploads()
            return answer

    with Late(world.stack.s3.url) as proxy:
        uploader = uploader_of(world, proxy.url)
        stored = uploader.put(KEY, Blocks(blocks_of(os.urandom(2 * PART))))
    assert stored.key in world.stored_keys()


@pytest.mark.parametrize("gigabytes", [0, 1, 100, 1000, 5000])
def test_no_upload_has_more_parts_than_s3_takes(world: World, gigabytes: int) -> None:
    size = gigabytes * 1024**3
    part_size = uploader_of(world).part_size(size)
    assert PART <= part_size <= 5 * 1024**3
    assert size / part_size <= 9_000
    assert PART_SIZE >= PART
    if gigabytes <= 1000:
        assert uploader_of(world).parts_at_once(part_size) * part_size <= UPLOAD_BUFFERS


def archive_of(world: World, who: tuple[str, str] = WRITER) -> Archive:
    log = new_logger(sys.stdout, Redactor())
    return new_archive(world.stack.s3.client(who), world.bucket, log)


def test_a_bucket_that_may_only_be_read_is_found_out_by_the_probe(world: World) -> None:
    with pytest.raises(S3Error, match=r"accepts no objects.*AccessDenied"):
        archive_of(world, READER).probe()


def test_the_probe_leaves_nothing_behind(world: World) -> None:
    archive_of(world).probe()
    client = world.stack.s3.client()
    assert world.stored_keys() == set()
    assert client.list_multipart_uploads(Bucket=world.bucket).get("Uploads", []) == []
    assert client.list_object_versions(Bucket=world.bucket).get("Versions", []) == []


def put_manifest(world: World, run_id: str, *, complete: bool, minute: int) -> None:
    started = MOMENT.replace(minute=minute)
    archive_of(world).put_manifest(
        new_manifest(
            run_id=run_id,
            started_at=started,
            finished_at=started,
            complete=complete,
            git_version="2.39",
            entries=(),
            failures=(),
        )
    )


def test_the_days_manifest_is_that_of_the_newest_complete_run_else_of_the_newest(world: World) -> None:
    folder = f"github-backup/{MOMENT:%Y-%m-%d}"
    shown = []
    for run_id, complete, minute in [
        ("stopped", False, 1),
        ("stopped-later", False, 2),
        ("first", True, 3),
        ("stopped-last", False, 9),
        ("second", True, 5),
        ("began-before", True, 4),
    ]:
        put_manifest(world, run_id, complete=complete, minute=minute)
        shown.append(world.read(f"{folder}/manifest.json")["run_id"])
        assert world.read(f"{folder}/runs/{run_id}.json")["run_id"] == run_id
    assert shown == ["stopped", "stopped-later", "first", "first", "second", "second"]
