"""The environment of a run, checked whole before anything touches the network."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_PREFIX = "github-backup"
DEFAULT_SERVICE_NAME = "github-backup"
DEFAULT_API_URL = "https://api.github.com"
DEFAULT_SERVER_URL = "https://github.com"
# Four git processes a core keep the core busy while others wait for the network.
WORKERS_PER_CPU = 4
MOST_WORKERS = 256

APP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:\S+")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")
# A CloudWatch dimension value is printable ASCII and does not start with a colon.
SERVICE_NAME = re.compile(r"[!-9;-~][ -~]{0,254}")


class ConfigurationError(Exception):
    """Everything that is wrong with the environment, one sentence a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Configuration:
    """What one run needs to know. Holds no secret: the key is read from where it says."""

    app_id: str
    installation_id: int | None
    key_secret_arn: str | None
    key_file: Path | None
    bucket: str
    prefix: str
    api_url: str
    server_url: str
    service_name: str
    concurrency: int


class _Reader:
    """Reads variables one by one and keeps every problem instead of stopping at the first."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def text(self, name: str) -> str | None:
        """Return the variable without surrounding blanks; unset and empty are the same."""
        return self.environment.get(name, "").strip() or None

    def required(self, name: str, meaning: str) -> str | None:
        if self.text(name) is None:
            self.problems.append(f"{name} is not set: it must hold {meaning}")
        return self.text(name)

    def matching(self, name: str, value: str | None, rule: re.Pattern[str], expected: str) -> None:
        if value is not None and not rule.fullmatch(value):
            self.problems.append(f"{name} must be {expected}, not {value!r}")

    def url(self, name: str, default: str) -> str:
        value = (self.text(name) or default).rstrip("/")
        try:
            parts = urlsplit(value)
            sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            sound = False
        if not sound or re.search(r"[\s\x00-\x1f?#]", value):
            self.problems.append(f"{name} must be a URL such as {default}, not {_no_login(value)!r}")
        elif parts.username or parts.password:
            self.problems.append(f"{name} must not hold a user name or a password: take them out")
        return value

    def workers(self) -> int:
        name, value = "BACKUP_CONCURRENCY", self.text("BACKUP_CONCURRENCY")
        if value is None:
            return WORKERS_PER_CPU * (os.cpu_count() or 1)
        if not NUMBER.fullmatch(value) or int(value) > MOST_WORKERS:
            self.problems.append(f"{name} must be a whole number from 1 to {MOST_WORKERS}, not {value!r}")
            return 1
        return int(value)

    def key(self) -> tuple[str | None, Path | None]:
        arn, file = self.text("GITHUB_APP_KEY_SECRET_ARN"), self.text("GITHUB_APP_KEY_FILE")
        if (arn is None) == (file is None):
            count = "neither is" if arn is None else "both are"
            self.problems.append(
                f"set one of GITHUB_APP_KEY_SECRET_ARN and GITHUB_APP_KEY_FILE ({count} set): "
                "the Secrets Manager secret, or the file, that holds the App's private key"
            )
        example = "the ARN of a Secrets Manager secret (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME)"
        self.matching("GITHUB_APP_KEY_SECRET_ARN", arn, SECRET_ARN, example)
        if file is not None and not (Path(file).is_file() and os.access(file, os.R_OK)):
            self.problems.append(f"GITHUB_APP_KEY_FILE names {file!r}, which is not a file that can be read here")
        return arn, Path(file) if file else None


def _no_login(url: str) -> str:
    """Return the URL without what may be a password in it, fit for a message."""
    return re.sub(r"//[^/]*@", "//", url)


def read_configuration(environment: Mapping[str, str], region: str | None) -> Configuration:
    """Return the run's configuration, or raise ConfigurationError naming every problem at once.

    `region` is what boto3 found in the environment or the AWS profile. Makes no network call.
    """
    read = _Reader(environment)
    app_id = read.required("GITHUB_APP_ID", "the App's id or client id, from the App's settings page")
    read.matching("GITHUB_APP_ID", app_id, APP_ID, "the App's id (123456) or client id (Iv1.8a61f9b3a7aba766)")
    installation = read.text("GITHUB_APP_INSTALLATION_ID")
    read.matching("GITHUB_APP_INSTALLATION_ID", installation, NUMBER, "a number, or not set for all installations")
    arn, file = read.key()
    bucket = read.required("S3_BUCKET", "the name of the bucket that takes the backup")
    read.matching("S3_BUCKET", bucket, BUCKET, "the bare name of a bucket (3 to 63 of a-z 0-9 . -)")
    prefix = (read.text("S3_PREFIX") or DEFAULT_PREFIX).strip("/")
    read.matching("S3_PREFIX", prefix, PREFIX, "a key prefix such as github-backup (letters, digits, !_.*'()-, and /)")
    if {".", ".."} & set(prefix.split("/")):
        read.problems.append(f"S3_PREFIX must not have a part '.' or '..', not {prefix!r}")
    api_url = read.url("GITHUB_API_URL", DEFAULT_API_URL)
    server_url = read.url("GITHUB_SERVER_URL", DEFAULT_SERVER_URL)
    service = read.text("SERVICE_NAME") or DEFAULT_SERVICE_NAME
    read.matching("SERVICE_NAME", service, SERVICE_NAME, "1 to 255 printable ASCII characters, the first not a colon")
    workers = read.workers()
    if not region:
        read.problems.append("AWS_REGION is not set: it must name the bucket's region, for instance eu-central-1")
    if read.problems or app_id is None or bucket is None:
        raise ConfigurationError(read.problems)
    number = int(installation) if installation else None
    return Configuration(app_id, number, arn, file, bucket, prefix, api_url, server_url, service, workers)
