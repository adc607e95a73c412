"""The credentials for a push: a token, or a separate restore App. Never the App that makes the backups."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from github_s3_backup.configuration import (
    APP_ID,
    DEFAULT_API_URL,
    DEFAULT_SERVER_URL,
    SECRET_ARN,
)
from github_s3_backup.github.app_key import key_from_file, key_from_secret
from github_s3_backup.github.installations import Installations
from github_s3_backup.github.tokens import App
from github_s3_backup.github.transport.http import new_session
from github_s3_backup.github.transport.rest import Api, GitHubError
from github_s3_backup.runtime.environment import ConfigurationError, EnvironmentReader
from github_s3_backup.runtime.redaction import Redactor
from github_s3_backup.runtime.stop import Stop

# Connections to GitHub's API, which throttles more than a few writers at once.
CONNECTIONS = 10
# Without Workflows, GitHub refuses a push that contains a file in .github/workflows.
READ_AND_WRITE = MappingProxyType(
    {"administration": "write", "contents": "write", "metadata": "read", "workflows": "write"}
)

T = TypeVar("T")


@dataclass(frozen=True)
class WriteAccess:
    """Where to push and as whom, from the environment. `has_limits`: the server limits how fast it is written to."""

    api_url: str
    server_url: str
    token: str | None
    app_id: str | None
    key_file: str | None
    key_secret_arn: str | None
    has_limits: bool


def read_write_access(environment: Mapping[str, str], token_needed: bool) -> WriteAccess:
    """Return the environment's settings, or raise ConfigurationError with every problem at once."""
    read = EnvironmentReader(environment)
    token, app_id = read.text("RESTORE_TOKEN"), read.text("RESTORE_APP_ID")
    file, arn = read.text("RESTORE_APP_KEY_FILE"), read.text("RESTORE_APP_KEY_SECRET_ARN")
    if token_needed and (token is None) == (app_id is None):
        which = "neither is" if token is None else "both are"
        read.problems.append(
            f"set one of RESTORE_TOKEN and RESTORE_APP_ID ({which} set): a token that may write to the target, "
            "or a GitHub App for restores with Administration, Contents and Workflows write"
        )
    if token is not None and re.search(r"\s", token):
        read.problems.append("RESTORE_TOKEN contains spaces or line breaks: it must be the token alone")
    if app_id is not None:
        read.matching("RESTORE_APP_ID", app_id, APP_ID, "the App's id or client id")
        if app_id == read.text("GITHUB_APP_ID"):
            read.problems.append("RESTORE_APP_ID is the App that makes the backups: it must not be able to write")
        if (file is None) == (arn is None):
            read.problems.append("set one of RESTORE_APP_KEY_FILE and RESTORE_APP_KEY_SECRET_ARN for the restore App")
        read.file("RESTORE_APP_KEY_FILE")
        read.matching("RESTORE_APP_KEY_SECRET_ARN", arn, SECRET_ARN, "the ARN of a Secrets Manager secret")
    api_url, server_url = (
        read.url("GITHUB_API_URL", DEFAULT_API_URL),
        read.url("GITHUB_SERVER_URL", DEFAULT_SERVER_URL),
    )
    limits = read.text("RESTORE_WRITE_LIMITS") or "github"
    if limits not in ("github", "none"):
        read.problems.append(f"RESTORE_WRITE_LIMITS must be github (the default) or none, not {limits!r}")
    if read.problems:
        raise ConfigurationError(read.problems)
    return WriteAccess(api_url, server_url, token, app_id, file, arn, limits == "github")


class Credentials(Protocol):
    """What authenticates requests to an owner's repositories."""

    def with_token(self, owner: str, request: Callable[[str], T]) -> T: ...


@dataclass(frozen=True)
class FixedToken:
    """One token for every owner."""

    token: str

    def with_token(self, owner: str, request: Callable[[str], T]) -> T:  # noqa: ARG002
        return request(self.token)


class RestoreApp:
    """A GitHub App with an installation at each owner. Raises GitHubError."""

    def __init__(self, installations: Installations) -> None:
        self._installations = installations
        self._ids = {installation.owner.lower(): installation.id for installation in installations.all()}

    def with_token(self, owner: str, request: Callable[[str], T]) -> T:
        if owner.lower() not in self._ids:
            raise GitHubError(f"the restore App is not installed at {owner}: install it there, for all repositories")
        return self._installations.access(self._ids[owner.lower()]).tokens.with_token(request)


def open_credentials(
    access: WriteAccess, aws: Any, redactor: Redactor, stop: Stop, log: FilteringBoundLogger
) -> Credentials:
    """Return what authenticates a push. Raises AppKeyError and GitHubError."""
    if access.token is not None:
        redactor.hide_token(access.token)
        return FixedToken(access.token)
    if access.key_secret_arn:
        key = key_from_secret(aws.client("secretsmanager"), access.key_secret_arn)
    else:
        key = key_from_file(Path(str(access.key_file)))
    about = (access.api_url, access.server_url, READ_AND_WRITE, frozenset({"issues", "pull_requests"}), "write")
    app = App(str(access.app_id), key, *about, variables="RESTORE_APP")
    session = new_session(os.environ.get("SSL_CERT_FILE"), CONNECTIONS)
    return RestoreApp(Installations(app, Api(app.api_url, session, stop, log), redactor))
