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
# Four that clone keep a CPU busy; most only ask for refs, and wait for the network (docs/performance.md). By default
# not more in all than GitHub is glad to serve to one client.
WORKERS_PER_CPU, MOST_BY_DEFAULT = 8, 64
MOST_WORKERS = 256
# A repository that does not change is cloned afresh this often. Days.
DEFAULT_FULL_BACKUP_DAYS, MOST_FULL_BACKUP_DAYS = 7, 365
LONGEST_SHOWN = 100

APP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
SECRET_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:\S+")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION = re.compile(r"[A-Za-z0-9-]+")
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
    full_backup_days: int


class Reader:
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
            self.problems.append(f"{name} must be {expected}, not {_shown(value)}")

    def url(self, name: str, default: str) -> str:
        value = (self.text(name) or default).rstrip("/")
        try:
            parts = urlsplit(value)
            sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            sound = False
        if not sound or re.search(r"[\s\x00-\x1f?#]", value):
            self.problems.append(f"{name} must be a URL such as {default}, not {_shown(value)}")
        elif parts.username or parts.password:
            self.problems.append(f"{name} must not hold a user name or a password: take them out")
        scheme, _, rest = value.partition("://")
        return f"{scheme.lower()}://{rest}"

    def number(self, name: str, default: int, most: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not NUMBER.fullmatch(value) or int(value) > most:
            self.problems.append(f"{name} must be a whole number from 1 to {most}, not {_shown(value)}")
            return default
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
        self.file("GITHUB_APP_KEY_FILE")
        return arn, Path(file) if file else None

    def file(self, name: str) -> None:
        """Note a problem if the variable names something else than a file that can be read."""
        value = self.text(name)
        # os.path.isfile answers where Path.is_file raises: a pasted key is too long to be a path.
        if value is not None and not (os.path.isfile(value) and os.access(value, os.R_OK)):  # noqa: PTH113
            self.problems.append(f"{name} names {_shown(value)}, which is not a file that can be read here")

    def folder(self, name: str) -> None:
        """Note a problem if the variable names something else than a folder that can be written to."""
        value = self.text(name)
        if value is not None and not (os.path.isdir(value) and os.access(value, os.W_OK | os.X_OK)):  # noqa: PTH112
            self.problems.append(f"{name} names {_shown(value)}, which is not a folder that can be written to")


def _shown(value: str) -> str:
    """Return a wrong value fit for a message: short, and not what may be a key or a password in the wrong place."""
    without_login = re.sub(r"//[^/]*@", "//", value)
    if len(without_login) > LONGEST_SHOWN or re.search(r"[A-Za-z0-9+/=]{40}", without_login):
        return f"{len(value)} characters that begin with {value[:4]!r}"
    return repr(without_login)


def read_configuration(environment: Mapping[str, str], region: str | None) -> Configuration:
    """Return the run's configuration, or raise ConfigurationError naming every problem at once.

    `region` is what boto3 found in the environment or the AWS profile. Makes no network call.
    """
    read = Reader(environment)
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
    workers = read.number(
        "BACKUP_CONCURRENCY", min(MOST_BY_DEFAULT, WORKERS_PER_CPU * (os.cpu_count() or 1)), MOST_WORKERS
    )
    full = read.number("FULL_BACKUP_DAYS", DEFAULT_FULL_BACKUP_DAYS, MOST_FULL_BACKUP_DAYS)
    read.file("SSL_CERT_FILE")
    read.folder("TMPDIR")
    if not region:
        read.problems.append("AWS_REGION is not set: it must name the bucket's region, for instance eu-central-1")
    elif not REGION.fullmatch(region):
        read.problems.append(f"AWS_REGION must be the name of a region such as eu-central-1, not {_shown(region)}")
    if read.problems or app_id is None or bucket is None:
        raise ConfigurationError(read.problems)
    number = int(installation) if installation else None
    return Configuration(app_id, number, arn, file, bucket, prefix, api_url, server_url, service, workers, full)
