"""GitHub, S3 and AWS on this machine, and the environment with which the backup runs against them."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embedded.aws import EmbeddedAws, serve_aws
from embedded.github import FakeGitHub
from embedded.s3 import REGION, WRITER, EmbeddedS3, serve_s3

# What most tests and the benchmark leave out.
WRITTEN_BY_PEOPLE = ("BACKUP_ISSUES", "BACKUP_PULL_REQUESTS", "BACKUP_DISCUSSIONS")
PROJECT = Path(__file__).parents[2]
BACKUP = (sys.executable, str(PROJECT / "container" / "backup.py"))
RESTORE = (sys.executable, str(PROJECT / "container" / "restore.py"))


def measured() -> dict[str, str]:
    """Return the variable by which coverage.py measures a process, for those that get an environment of their own."""
    return {name: value for name, value in os.environ.items() if name == "COVERAGE_PROCESS_CONFIG"}


@dataclass(frozen=True)
class Stack:
    """What a backup needs around it."""

    s3: EmbeddedS3
    aws: EmbeddedAws

    def environment(self, github: FakeGitHub, bucket: str, scratch: Path) -> dict[str, str]:
        """Return what Fargate would give the container, pointed at this machine; the key is not in it yet."""
        return {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(scratch),
            "GITHUB_APP_ID": github.app_id,
            "GITHUB_API_URL": github.api_url,
            "GITHUB_SERVER_URL": github.server_url,
            "S3_BUCKET": bucket,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": WRITER[0],
            "AWS_SECRET_ACCESS_KEY": WRITER[1],
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ENDPOINT_URL_S3": self.s3.url,
            **measured(),
        }


@contextlib.contextmanager
def serve_stack(folder: Path, new_session: bool = False) -> Iterator[Stack]:
    """Run S3 and AWS for this block, S3's data in `folder`. In a new session Ctrl-C does not reach S3."""
    with serve_s3(folder, new_session) as s3, serve_aws() as aws:
        yield Stack(s3, aws)
