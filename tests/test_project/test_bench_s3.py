"""The S3 of the benchmark answers what the real server answers, to everything that a run asks."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError

from bench.frugal_s3 import Counted, FrugalS3, serve_frugal_s3
from embedded.s3 import EmbeddedS3
from embedded.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = bytes(5 * 1024**2)


def base64_sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@pytest.fixture
def frugal(tmp_path: Path) -> Iterator[FrugalS3]:
    with serve_frugal_s3(tmp_path) as s3:
        yield s3


def everything(s3: EmbeddedS3, bucket: str) -> list[Any]:
    """Do what a run does, and return what the server says, without what it makes up."""
    client = s3.client()
    s3.new_bucket(bucket)
    client.head_bucket(Bucket=bucket)
    seen: list[Any] = [client.list_objects_v2(Bucket=bucket, Prefix="a/", Delimiter="/").get("CommonPrefixes")]
    first = client.put_object(Bucket=bucket, Key="a/1/x+y", Body=b"one", ChecksumSHA256=base64_sha256(b"one"))
    seen.append(refused(client.put_object, Bucket=bucket, Key="a/1/x+y", Body=b"other", IfNoneMatch="*"))
    seen.append(told(client, bucket, "a/1/x+y"))
    client.put_object(Bucket=bucket, Key="a/1/x+y", Body=b"second", ChecksumSHA256=base64_sha256(b"second"))
    seen.append(told(client, bucket, "a/1/x+y"))
    seen.append(told(client, bucket, "a/1/x+y", VersionId=first["VersionId"]))
    client.put_object(Bucket=bucket, Key="a/2/once", Body=b"1", ChecksumSHA256=base64_sha256(b"1"), IfNoneMatch="*")
    seen.append(told(client, bucket, "a/2/once"))
    in_parts(client, bucket, "a/3/z", [PART, b"end"])
    seen.append(told(client, bucket, "a/3/z"))
    for asked in (
        f"bytes=0-{len(PART) + 1}",
        f"bytes={len(PART) - 1}-{len(PART) + 9}",
        f"bytes={len(PART) + 1}-{len(PART) + 1}",
    ):
        answer = client.get_object(Bucket=bucket, Key="a/3/z", Range=asked)
        seen += [answer["ResponseMetadata"]["HTTPStatusCode"], answer["ContentRange"], answer["Body"].read()]
    seen.append(refused(in_parts, client, bucket, "a/3/z", [PART, b"another end"]))
    seen.append(told(client, bucket, "a/3/z"))
    seen.append([found["Key"] for found in client.list_objects_v2(Bucket=bucket, Prefix="a/")["Contents"]])
    seen.append(client.list_objects_v2(Bucket=bucket, Prefix="a/1/x").get("CommonPrefixes"))
    given_up = client.create_multipart_upload(Bucket=bucket, Key="a/4", ChecksumAlgorithm="SHA256")["UploadId"]
    client.abort_multipart_upload(Bucket=bucket, Key="a/4", UploadId=given_up)
    seen.append(client.list_objects_v2(Bucket=bucket, Prefix="a/", Delimiter="/").get("CommonPrefixes"))
    seen += [refused(ask, Bucket=bucket, Key="a/4") for ask in (client.head_object, client.get_object)]
    s3.remove_bucket(bucket)
    return [*seen, refused(client.head_bucket, Bucket=bucket)]


def refused(ask: Callable[..., Any], *arguments: Any, **parameters: Any) -> str:
    """Return S3's name of the error with which it refuses."""
    with pytest.raises(ClientError) as error:
        ask(*arguments, **parameters)
    return str(error.value.response["Error"]["Code"])


def in_parts(client: "S3Client", bucket: str, key: str, parts: list[bytes]) -> None:
    upload: Any = {"Bucket": bucket, "Key": key}
    upload["UploadId"] = client.create_multipart_upload(**upload, ChecksumAlgorithm="SHA256")["UploadId"]
    sent: list[Any] = []
    for number, body in enumerate(parts, 1):
        checksum = base64_sha256(body)
        answer = client.upload_part(**upload, PartNumber=number, Body=body, ChecksumSHA256=checksum)
        sent.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
    try:
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": sent}, IfNoneMatch="*")
    except ClientError:
        client.abort_multipart_upload(**upload)
        raise


def told(client: "S3Client", bucket: str, key: str, **version: Any) -> list[Any]:
    """Return length, checksum, whether there is a version, whether it was written just now, and the content's hash."""
    head: Any = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **version)
    body = client.get_object(Bucket=bucket, Key=key, **version)["Body"].read()
    is_new = abs(datetime.now(UTC) - head["LastModified"]) < timedelta(minutes=2)
    return [head["ContentLength"], head.get("ChecksumSHA256"), bool(head["VersionId"]), is_new, base64_sha256(body)]


def test_both_servers_say_the_same(frugal: FrugalS3, stack: Stack) -> None:
    assert everything(frugal, "same") == everything(stack.s3, "same-as-frugal")


def test_files_of_a_removed_bucket_are_written_again(frugal: FrugalS3, tmp_path: Path) -> None:
    for number in range(3):
        bucket = frugal.new_bucket("large")
        content = bytes([number]) * 2 * 1024**2
        frugal.client().put_object(Bucket=bucket, Key="x", Body=content, ChecksumSHA256=base64_sha256(content))
        assert told(frugal.client(), bucket, "x")[-1] == base64_sha256(content)
        frugal.remove_bucket(bucket)
    assert len(list(tmp_path.iterdir())) == 1


def test_requests_and_written_objects_are_counted(frugal: FrugalS3) -> None:
    bucket, client = frugal.new_bucket("counted"), frugal.client()
    frugal.take()
    client.put_object(Bucket=bucket, Key="x", Body=b"1", ChecksumSHA256=base64_sha256(b"1"), IfNoneMatch="*")
    assert refused(client.put_object, Bucket=bucket, Key="x", Body=b"2", IfNoneMatch="*") == "PreconditionFailed"
    in_parts(client, bucket, "y", [PART, b"end"])
    client.head_object(Bucket=bucket, Key="y")
    assert frugal.take() == Counted(objects=2, requests=2 + 4 + 1)
    assert frugal.take() == Counted(objects=0, requests=0)


def test_what_it_does_not_know_it_refuses(frugal: FrugalS3) -> None:
    frugal.new_bucket("b")
    source = {"x-amz-copy-source": "/b/other"}
    assert requests.put(f"{frugal.url}/b/key", headers=source, timeout=10).status_code == 501
    assert requests.post(f"{frugal.url}/b/key", data="?", timeout=10).status_code == 501
    assert requests.delete(f"{frugal.url}/b/key", timeout=10).status_code == 501
