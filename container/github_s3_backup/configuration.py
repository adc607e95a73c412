"""The environment of a run, checked whole before anything touches the network."""

import os
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

DEFAULT_PREFIX = "github-backup"
DEFAULT_SERVICE_NAME = "github-backup"
DEFAULT_API_URL = "https://api.github.com"
DEFAULT_SERVER_URL = "https://github.com"
# Four clones keep a CPU busy; most repositories only ask for refs, and wait for the network (docs/performance.md). By
# default no more in all than GitHub serves well to one client.
WORKERS_PER_CPU, MAX_DEFAULT_WORKERS = 8, 64
MAX_WORKERS = 256
# Days within which each repository is cloned afresh though it did not change.
DEFAULT_FULL_BACKUP_DAYS, MAX_FULL_BACKUP_DAYS = 28, 90
DEFAULT_ANOMALY_PERCENT = 5.0
MIN_DEADLINE_HOURS, MAX_DEADLINE_HOURS = 0.0001, 24 * 31
MAX_SHOWN = 100
LOOPBACK = re.compile(r"localhost|127(\.[0-9]+){3}|::1")

APP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
PATTERN = re.compile(r"[\w.*?\[\]!-]+(/[\w.*?\[\]!-]+)?", re.ASCII)
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


class Selectable(Protocol):
    """A repository, as GitHub lists it or as a manifest has it."""

    @property
    def full_name(self) -> str: ...
    @property
    def archived(self) -> bool: ...
    @property
    def fork(self) -> bool: ...


@dataclass(frozen=True)
class Selection:
    """Which repositories are backed up: globs of `owner/name`, a bare glob means every repository of that owner."""

    include: tuple[str, ...] = ("*/*",)
    exclude: tuple[str, ...] = ()
    skip_forks: bool = False
    skip_archived: bool = False

    def selects(self, repository: Selectable) -> bool:
        """Return whether the repository is to be backed up."""
        if (self.skip_forks and repository.fork) or (self.skip_archived and repository.archived):
            return False
        return self.selects_name(repository.full_name)

    def selects_name(self, full_name: str) -> bool:
        """Return whether a repository of this name may be backed up."""
        return matches_any(full_name, self.include) and not matches_any(full_name, self.exclude)


def matches_any(full_name: str, patterns: Iterable[str]) -> bool:
    """Return whether `owner/name`, a glob of it, or an owner alone matches. GitHub ignores case, and so does this."""
    name = full_name.lower()
    wanted = (pattern.lower() for pattern in patterns)
    return any(fnmatchcase(name, pattern if "/" in pattern else f"{pattern}/*") for pattern in wanted)


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
    deadline_hours: float | None
    anomaly_percent: float
    selection: Selection


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
        elif parts.scheme == "http" and not LOOPBACK.fullmatch(parts.hostname or ""):
            self.problems.append(f"{name} must be an https:// URL: {_shown(value)} would send tokens unencrypted")
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

    def decimal(self, name: str, least: float, most: float) -> float | None:
        """Return a number, fractions allowed; None if the variable is not set."""
        value = self.text(name)
        if value is None:
            return None
        if not DECIMAL.fullmatch(value) or not least <= float(value) <= most:
            self.problems.append(f"{name} must be a number from {least:g} to {most:g}, not {_shown(value)}")
            return None
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.text(name)
        if value not in (None, "true", "false"):
            self.problems.append(f"{name} must be true or false, not {_shown(value)}")
        return value == "true"

    def patterns(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return globs of repositories, separated by commas or blanks."""
        patterns = tuple((self.text(name) or "").replace(",", " ").split())
        for pattern in patterns:
            if not PATTERN.fullmatch(pattern):
                self.problems.append(f"{name} must hold patterns such as acme/* or acme/api, not {_shown(pattern)}")
        return patterns or default

    def key(self) -> tuple[str | None, str | None]:
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
        return arn, file

    def file(self, name: str) -> None:
        """Note a problem if the variable names something else than a file that can be read."""
        value = self.text(name)
        # os.path.isfile answers where Path.is_file raises: a pasted key is too long to be a path.
        if value is not None and not (os.path.isfile(value) and os.access(value, os.R_OK)):  # noqa: PTH113
            self.problems.append(f"{name} names {_shown(value)}, which is not a file that can be read here")

    def certificates(self, name: str) -> None:
        """Note a problem if the variable holds something else than certificates in PEM form."""
        value = self.text(name)
        if value is None:
            return
        try:
            ssl.create_default_context(cadata=value)
        except (ssl.SSLError, ValueError) as error:
            self.problems.append(f"{name} must hold the certificates of a private CA in PEM form: {error}")

    def folder(self, name: str) -> None:
        """Note a problem if the variable names something else than a folder that can be written to."""
        value = self.text(name)
        if value is not None and not (os.path.isdir(value) and os.access(value, os.W_OK | os.X_OK)):  # noqa: PTH112
            self.problems.append(f"{name} names {_shown(value)}, which is not a folder that can be written to")


def _shown(value: str) -> str:
    """Return a wrong value fit for a message: short, and not what may be a key or a password in the wrong place."""
    without_login = re.sub(r"//[^/]*@", "//", value)
    if len(without_login) > MAX_SHOWN or re.search(r"[A-Za-z0-9+/=]{40}", without_login):
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
        "BACKUP_CONCURRENCY", min(MAX_DEFAULT_WORKERS, WORKERS_PER_CPU * (os.cpu_count() or 1)), MAX_WORKERS
    )
    full = read.number("FULL_BACKUP_DAYS", DEFAULT_FULL_BACKUP_DAYS, MAX_FULL_BACKUP_DAYS)
    deadline = read.decimal("RUN_DEADLINE_HOURS", MIN_DEADLINE_HOURS, MAX_DEADLINE_HOURS)
    anomaly = read.decimal("ANOMALY_PERCENT", 0, 100)
    selection = Selection(
        include=read.patterns("BACKUP_INCLUDE", ("*/*",)),
        exclude=read.patterns("BACKUP_EXCLUDE", ()),
        skip_forks=read.flag("BACKUP_SKIP_FORKS"),
        skip_archived=read.flag("BACKUP_SKIP_ARCHIVED"),
    )
    read.certificates("GITHUB_CA_PEM")
    read.file("SSL_CERT_FILE")
    read.folder("TMPDIR")
    if not region:
        read.problems.append("AWS_REGION is not set: it must name the bucket's region, for instance eu-central-1")
    elif not REGION.fullmatch(region):
        read.problems.append(f"AWS_REGION must be the name of a region such as eu-central-1, not {_shown(region)}")
    if read.problems or app_id is None or bucket is None:
        raise ConfigurationError(read.problems)
    return Configuration(
        app_id=app_id,
        installation_id=int(installation) if installation else None,
        key_secret_arn=arn,
        key_file=Path(file) if file else None,
        bucket=bucket,
        prefix=prefix,
        api_url=api_url,
        server_url=server_url,
        service_name=service,
        concurrency=workers,
        full_backup_days=full,
        deadline_hours=deadline,
        anomaly_percent=DEFAULT_ANOMALY_PERCENT if anomaly is None else anomaly,
        selection=selection,
    )
