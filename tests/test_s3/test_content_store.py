"""Content that is stored once by its SHA-256: never over anything, never under a wrong key, again before it expires."""

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from embedded.s3_proxy import S3Fault, S3Proxy
from github_s3_backup.records.content import StoredContent
from github_s3_backup.s3.content_store import MAX_AGE_IN_LIST, ContentStore, WrongContentError
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.objects import Objects
from github_s3_backup.s3.upload import PART_SIZE, KeyTakenError
from support.clients import Log, new_uploader
from support.world import World
from test_backup.test_write_once import versions

TODAY = datetime.now(UTC)
ROOT = "github-backup-lfs"
SIZES = [0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1]
SMALL, IN_PARTS = 1000, 2 * PART_SIZE + 5


class Store:
    """A world's store, as a run so many days from now sees it. `opened`: how often content was asked for."""

    def __init__(self, world: World, days: int = 0, url: str | None = None) -> None:
        s3 = world.stack.s3 if url is None else type(world.stack.s3)(url)
        self.client, self.bucket, self.log, self.opened = s3.client(), world.bucket, Log(), 0
        self.moment = TODAY + timedelta(days)
        uploader = new_uploader(self.client, world.bucket, self.log.logger)
        self.content = ContentStore(Objects(self.client, world.bucket), uploader, ROOT, self.moment, self.log.logger)

    def put(self, oid: str, size: int, content: bytes | Callable[[], Iterable[bytes]]) -> StoredContent:
        @contextlib.contextmanager
        def open_blocks() -> Iterator[Iterable[bytes]]:
            self.opened += 1
            yield blocks_of(content) if isinstance(content, bytes) else content()

        return self.content.put("acme", oid, size, open_blocks)

    def find(self, oid: str, size: int) -> StoredContent | None:
        return self.content.find("acme", oid, size)

    def write(self, key: str, content: bytes) -> str:
        """Write something beside the program, and return its version."""
        return self.client.put_object(Bucket=self.bucket, Key=key, Body=content)["VersionId"]

    def read(self, stored: StoredContent) -> bytes:
        version = {"VersionId": stored.version_id} if stored.version_id else {}
        answer = self.client.get_object(Bucket=self.bucket, Key=stored.s3_key, **version)  # type: ignore[arg-type]
        return answer["Body"].read()

    def open_uploads(self) -> int:
        return len(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))


def blocks_of(content: bytes) -> Iterator[bytes]:
    return (content[start : start + 999_983] for start in range(0, len(content), 999_983))


def oid_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def key_of(oid: str) -> str:
    return f"{ROOT}/acme/{oid[:2]}/{oid}"


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_stored_by_its_content_and_found_again(world: World, size: int) -> None:
    store, content = Store(world), os.urandom(size)
    assert store.find(oid_of(content), size) is None
    stored = store.put(oid_of(content), size, content)
    assert stored.s3_key == key_of(oid_of(content))
    assert store.read(stored) == content
    found = Store(world).find(oid_of(content), size)
    assert found is not None
    assert (found.oid, found.s3_key, found.version_id) == (stored.oid, stored.s3_key, stored.version_id)


@pytest.mark.parametrize("size", [SMALL, IN_PARTS])
@pytest.mark.parametrize("what", ["other", "short", "long", "nothing"])
def test_wrong_bytes_never_get_there(world: World, what: str, size: int) -> None:
    store, content = Store(world), os.urandom(size)
    wrong = {
        "other": content[:-1] + bytes([content[-1] ^ 1]),
        "short": content[:-1],
        "long": content + b"x",
        "nothing": b"",
    }[what]
    with pytest.raises(WrongContentError):
        store.put(oid_of(content), size, wrong)
    assert (world.stored_keys(), store.open_uploads()) == (set(), 0)


@pytest.mark.parametrize("size", [0, SMALL, PART_SIZE, IN_PARTS])
def test_a_file_without_an_end_is_given_up_where_it_should_have_ended(world: World, size: int) -> None:
    store, asked = Store(world), itertools.count()
    endless = lambda: (bytes(100_000) for _ in asked)  # noqa: E731
    with pytest.raises(WrongContentError, match="more than"):
        store.put("ab" * 32, size, endless)
    assert next(asked) <= size // 100_000 + 2
    assert (world.stored_keys(), store.open_uploads()) == (set(), 0)


@pytest.mark.parametrize("size", [SMALL, PART_SIZE, IN_PARTS])
def test_a_file_that_breaks_off_leaves_nothing(world: World, size: int) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(size)
        raise ConnectionError("cut")

    store = Store(world)
    with pytest.raises(ConnectionError):
        store.put(oid_of(bytes(size)), size, broken)
    assert (world.stored_keys(), store.open_uploads()) == (set(), 0)


@pytest.mark.parametrize("size", [SMALL, IN_PARTS])
def test_the_same_file_of_two_repositories_is_one_object(world: World, size: int) -> None:
    """Both found nothing and asked GitHub at the same time: the second finds the first one's when it has uploaded."""
    content = os.urandom(size)
    first, second = (Store(world).put(oid_of(content), size, content) for _ in range(2))
    assert first == second
    assert versions(world) == {key_of(oid_of(content)): 1}


@pytest.mark.parametrize("size", [SMALL, IN_PARTS])
def test_something_else_under_the_key_stays_and_the_file_goes_beside_it(world: World, size: int) -> None:
    store, content = Store(world), os.urandom(size)
    oid, dated = oid_of(content), f"{key_of(oid_of(content))}.{TODAY:%Y-%m-%d}"
    others = store.write(key_of(oid), b"x" * size)
    assert store.find(oid, size) is None
    stored = store.put(oid, size, content)
    assert (stored.s3_key, store.opened) == (dated, 2)
    assert store.read(stored) == content
    assert len(store.log.named("key taken by another object")) == 1
    head = store.client.head_object(Bucket=world.bucket, Key=key_of(oid))
    assert head["VersionId"] == others
    found = Store(world, days=1).find(oid, size)
    assert found is not None, "it is found where it is, not uploaded each time"
    assert found.s3_key == dated
    store.write(dated, b"y")
    with pytest.raises(KeyTakenError):
        Store(world).put(oid, size, content)


@pytest.mark.parametrize("size", [SMALL, IN_PARTS])
def test_a_file_is_written_again_from_s3_before_it_is_too_old(world: World, size: int) -> None:
    content = os.urandom(size)
    oid = oid_of(content)
    Store(world).put(oid, size, content)
    young = Store(world, days=MAX_AGE_IN_LIST).find(oid, size)
    assert young is not None
    assert young.s3_key == key_of(oid)
    later = Store(world, days=MAX_AGE_IN_LIST + 1)
    again = later.find(oid, size)
    assert again is not None
    assert again.s3_key == f"{key_of(oid)}.{later.moment:%Y-%m-%d}"
    assert again.stored_at[:10] == f"{later.moment:%Y-%m-%d}"
    assert later.read(again) == content
    assert later.opened == 0
    assert len(later.log.named("writing content again")) == 1
    assert later.read(young) == content, "the old one stays"
    assert versions(world) == {key_of(oid): 1, again.s3_key: 1}
    same_day = Store(world, days=MAX_AGE_IN_LIST + 1).find(oid, size)
    assert same_day is not None
    assert same_day.s3_key == again.s3_key


def test_of_several_copies_the_youngest_is_named(world: World, s3_proxy: S3Proxy) -> None:
    store, content = Store(world), b"content"
    oid = oid_of(content)
    store.put(oid, len(content), content)
    for name, days in ((oid, 300), (f"{oid}.2020-01-01", 200), (f"{oid}.2020-01-02", 290), (f"{oid}.2020-01-03", 0)):
        body = content if days else b"rubbish"
        if name != oid:
            store.client.put_object(
                Bucket=world.bucket, Key=f"{key_of(oid)[:-64]}{name}", Body=body, ChecksumAlgorithm="SHA256"
            )
        made = format_datetime(TODAY - timedelta(days), usegmt=True)
        s3_proxy.answer_headers[f"HEAD .*/{re.escape(name)}$"] = {"Last-Modified": made}
    before = world.stored_keys()
    found = Store(world, url=s3_proxy.url).find(oid, len(content))
    assert found is not None
    assert found.s3_key == f"{key_of(oid)}.2020-01-01"
    assert world.stored_keys() == before


def test_an_old_file_whose_bytes_in_s3_are_others_is_asked_for_again(world: World) -> None:
    """Of an object in parts S3 knows no SHA-256 of the whole: only reading it shows what it is."""
    store, content = Store(world), os.urandom(IN_PARTS)
    oid = oid_of(content)
    begun = store.client.create_multipart_upload(Bucket=world.bucket, Key=key_of(oid), ChecksumAlgorithm="SHA256")
    upload = {"Bucket": world.bucket, "Key": key_of(oid), "UploadId": begun["UploadId"]}
    sent = store.client.upload_part(**upload, PartNumber=1, Body=bytes(IN_PARTS), ChecksumAlgorithm="SHA256")  # type: ignore[arg-type]
    parts = [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]}]
    store.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})  # type: ignore[arg-type, typeddict-item]
    later = Store(world, days=MAX_AGE_IN_LIST + 1)
    assert later.find(oid, IN_PARTS) is None
    assert len(later.log.named("key taken by another object")) == 1
    assert world.stored_keys() == {key_of(oid)}
    assert store.open_uploads() == 0
    stored = later.put(oid, IN_PARTS, content)
    assert stored.s3_key == f"{key_of(oid)}.{later.moment:%Y-%m-%d}"
    assert later.read(stored) == content


@pytest.mark.parametrize("fault", ["deny", "cut"])
def test_an_old_file_that_s3_does_not_give_is_an_error(world: World, s3_proxy: S3Proxy, fault: str) -> None:
    content = os.urandom(SMALL)
    Store(world).put(oid_of(content), SMALL, content)
    s3_proxy.faults = [S3Fault("GET .*github-backup-lfs/acme/../", fault)]  # type: ignore[arg-type]
    with pytest.raises(S3Error):
        Store(world, days=MAX_AGE_IN_LIST + 1, url=s3_proxy.url).find(oid_of(content), SMALL)


def test_a_key_that_s3_does_not_show_is_uploaded_to(world: World, s3_proxy: S3Proxy) -> None:
    """Without s3:ListBucket a missing key is a 403."""
    s3_proxy.faults = [S3Fault("HEAD ", "deny", times=1)]
    store, content = Store(world, url=s3_proxy.url), b"content"
    assert store.find(oid_of(content), len(content)) is None
    assert store.put(oid_of(content), len(content), content).s3_key == key_of(oid_of(content))


@pytest.mark.parametrize("size", [SMALL, IN_PARTS])
def test_a_lost_answer_to_an_upload_is_looked_into(world: World, s3_proxy: S3Proxy, size: int) -> None:
    content = os.urandom(size)
    s3_proxy.faults = [S3Fault(r"(PUT [^?]*$|POST .*uploadId)", "lose", times=1)]
    store = Store(world, url=s3_proxy.url)
    assert store.put(oid_of(content), size, content).s3_key == key_of(oid_of(content))
    assert versions(world) == {key_of(oid_of(content)): 1}
    assert store.open_uploads() == 0
