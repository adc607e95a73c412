"""Reads environment variables, and says what is wrong with each."""

import os
import re
import ssl
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

MAX_SHOWN = 100
LOOPBACK = re.compile(r"localhost|127(\.[0-9]+){3}|::1")
NUMBER = re.compile(r"[1-9][0-9]{0,17}")
# Terraform writes a third with many digits.
DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,40})?")
REPOSITORY_PATTERN = re.compile(r"[\w.*?\[\]!-]+(/[\w.*?\[\]!-]+)?", re.ASCII)

PORTS = {"https": 443, "http": 80}

T = TypeVar("T")


class ConfigurationError(Exception):
    """Everything that is wrong with the environment, one sentence a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class EnvironmentReader:
    """Reads variables one by one, and keeps every problem instead of stopping at the first."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def text(self, name: str) -> str | None:
        """Return the variable without surrounding blanks; unset and empty are the same."""
        return self.environment.get(name, "").strip() or None

    def required(self, name: str, meaning: str) -> str | None:
        if self.text(name) is None:
            self.problems.append(f"{name} is not set: set it to {meaning}")
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
            self.problems.append(f"{name} must not contain a user name or password: remove them")
        elif parts.scheme == "http" and not LOOPBACK.fullmatch(parts.hostname or ""):
            self.problems.append(f"{name} must be an https:// URL: {_shown(value)} would send tokens unencrypted")
        return normalized(value) if sound else value

    def number(self, name: str, default: int, most: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not NUMBER.fullmatch(value) or int(value) > most:
            self.problems.append(f"{name} must be a whole number from 1 to {most}, not {_shown(value)}")
            return default
        return int(value)

    def decimal(self, name: str, default: T, least: float, most: float) -> float | T:
        """Return a number, fractions allowed; the default if the variable is not set."""
        value = self.text(name)
        if value is None:
            return default
        if not DECIMAL.fullmatch(value) or not least <= float(value) <= most:
            self.problems.append(f"{name} must be a number from {least:g} to {most:g}, not {_shown(value)}")
            return default
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name)
        if value not in (None, "true", "false"):
            self.problems.append(f"{name} must be true or false, not {_shown(value)}")
        return default if value is None else value == "true"

    def patterns(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return globs of repositories, separated by commas or blanks."""
        patterns = tuple((self.text(name) or "").replace(",", " ").split())
        for pattern in patterns:
            if not REPOSITORY_PATTERN.fullmatch(pattern):
                self.problems.append(f"{name} must contain patterns such as acme/* or acme/api, not {_shown(pattern)}")
        return patterns or default

    def file(self, name: str) -> None:
        """Note a problem unless the variable is the path of a readable file."""
        value = self.text(name)
        # os.path.isfile answers where Path.is_file raises: a pasted key is too long to be a path.
        if value is not None and not (os.path.isfile(value) and os.access(value, os.R_OK)):  # noqa: PTH113
            self.problems.append(f"{name} is {_shown(value)}, which is not a readable file")

    def certificates(self, name: str) -> None:
        """Note a problem unless the variable contains certificates in PEM form."""
        value = self.text(name)
        if value is None:
            return
        try:
            ssl.create_default_context(cadata=value)
        except (ssl.SSLError, ValueError) as error:
            self.problems.append(f"{name} must contain the certificates of a private CA in PEM form: {error}")

    def folder(self, name: str) -> None:
        """Note a problem unless the variable is the path of a writable folder."""
        value = self.text(name)
        if value is not None and not (os.path.isdir(value) and os.access(value, os.W_OK | os.X_OK)):  # noqa: PTH112
            self.problems.append(f"{name} is {_shown(value)}, which is not a writable folder")


def _shown(value: str) -> str:
    """Return a wrong value as a message may show it: short, and nothing that may be a misplaced key or password."""
    without_login = re.sub(r"//[^/]*@", "//", value)
    if len(without_login) > MAX_SHOWN or re.search(r"[A-Za-z0-9+/=]{40}", without_login):
        return f"{len(value)} characters that begin with {value[:4]!r}"
    return repr(without_login)


def normalized(url: str) -> str:
    """Return a URL with its scheme and host in small letters, and without the port that it has anyway."""
    parts = urlsplit(url)
    netloc = parts.netloc.lower()
    default = f":{PORTS.get(parts.scheme)}"
    return urlunsplit(parts._replace(netloc=netloc.removesuffix(default)))
