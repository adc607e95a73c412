"""The S3 that costs next to no CPU, as the harness holds it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from embedded.s3 import EmbeddedS3

SERVER = Path(__file__).with_name("frugal_s3_server.py")


@dataclass(frozen=True)
class Counted:
    """Objects that were written, and requests of any kind."""

    objects: int
    requests: int


@dataclass(frozen=True)
class FrugalS3(EmbeddedS3):
    """A running server."""

    def rename(self, bucket: str, source: str, target: str) -> None:
        """Give all keys that begin with `source` another beginning; versions and checksums stay what they are."""
        names = {"bucket": bucket, "source": source, "target": target}
        requests.post(f"{self.url}/-/rename", json=names, timeout=600).raise_for_status()

    def take(self) -> Counted:
        """Return what was counted since the last look."""
        counted: dict[str, int] = requests.post(f"{self.url}/-/take", timeout=60).json()
        objects = counted.pop("objects", 0)
        return Counted(objects=objects, requests=sum(counted.values()))


@contextlib.contextmanager
def serve_frugal_s3(folder: Path) -> Iterator[FrugalS3]:
    """Run the server with its data in `folder` for this block."""
    folder.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, str(SERVER), str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield FrugalS3(url=f"http://127.0.0.1:{int(process.stdout.readline())}", process=process.pid)
        finally:
            process.terminate()
