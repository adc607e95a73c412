"""How the backup and the restore commands begin and end."""

import contextlib
import fcntl
import io
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from github_s3_backup.runtime.stop import ignore_signals

# Seconds from a signal until the process exits, whatever still hangs.
EXIT_DEADLINE = 16.0
# In a temporary folder: locked as long as the process that made it is alive.
LOCK = "lock"


def prepare_process(encoding: str | None = None) -> None:
    """Keep secrets out of core files, and write what the output's encoding can't hold as escapes.

    `encoding`: of the standard output, None for the terminal's own.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Yield a temporary folder, removed afterwards whatever happens. Raises OSError where there can be none."""
    for stale in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_stale(stale)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name, _locked(Path(name)):
        yield Path(name)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock in the folder, which ends with this process and is not passed on to its children."""
    unnamed = folder / "new"
    with unnamed.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(folder / LOCK)
        yield


def _remove_stale(folder: Path) -> None:
    """Remove the folder of an earlier process of this user that was killed: nobody holds its lock any more."""
    with contextlib.suppress(OSError):
        if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
            return
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def aws_session() -> tuple[boto3.session.Session, list[str]]:
    """Return boto3's session and what is wrong with the environment that it was made from."""
    # boto3 by itself knows AWS_DEFAULT_REGION only; Fargate sets AWS_REGION.
    region = os.environ.get("AWS_REGION", "").strip() or None
    try:
        return boto3.session.Session(region_name=region), []
    except ProfileNotFound as error:
        problem = f"AWS_PROFILE can't be used: {error}"
    except BotoCoreError as error:
        problem = f"the AWS configuration can't be used: {error}"
        os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    os.environ.pop("AWS_PROFILE", None)
    return boto3.session.Session(region_name=region), [problem]


def s3_config(workers: int) -> Config:
    """Return the S3 client's settings: retries by botocore, a connection for each worker and for parts at once."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=workers + 8,
        connect_timeout=10,
        read_timeout=60,
    )


def trust_private_ca(folder: Path) -> None:
    """Have GitHub's certificate checked against the CA in GITHUB_CA_PEM too, for requests and for git."""
    if pem := os.environ.get("GITHUB_CA_PEM", "").strip():
        bundle = folder / "ca.pem"
        known = Path(os.environ.get("SSL_CERT_FILE") or DEFAULT_CA_BUNDLE_PATH).read_text()
        bundle.write_text(f"{known}\n{pem}\n")
        os.environ["SSL_CERT_FILE"] = str(bundle)


def exit_now(code: int) -> NoReturn:
    """Exit at once with the code, whatever comes in between: a signal, or a pipe that nobody reads any more.

    Python's normal shutdown takes a quarter of a second.
    """
    ignore_signals()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
