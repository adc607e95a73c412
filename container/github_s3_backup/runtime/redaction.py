"""Keeps secrets and unprintable characters out of logs, manifests and errors."""

import base64
import re
import threading
from datetime import UTC, datetime, timedelta

HIDDEN = "***"
# A token that has expired may still be in the words of a server that was slow.
KEPT_AFTER_EXPIRY = timedelta(hours=1)
NEVER = datetime.max.replace(tzinfo=UTC)
# What is secret by its shape: GitHub tokens, JWTs, PEM blocks, RSA keys without their PEM frame, logins in URLs.
# https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
SHAPES = (
    re.compile(r"\b(?:gh[a-z]_|github_pat_)[\w.-]+"),  # since 2026 a JWT may follow the prefix
    re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"),
    re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL),
    re.compile(r"\bMII[A-Za-z0-9+/=\s\\]{60,}"),
    re.compile(r"(?<=://)[^/@\s]+@"),
    re.compile(r"(?i)(?<=authorization: )\S+ \S+"),
)
# A server's text may contain escape sequences, which a terminal must not obey, line breaks, which would forge lines,
# and what changes the direction of writing, which would hide words.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Redactor:
    """Removes secrets from text: those it was told of, and whatever has the shape of one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Each with the moment when it expires.
        self._secrets: tuple[tuple[str, datetime], ...] = ()

    def hide_token(self, token: str, expires_at: datetime = NEVER) -> None:
        """Remember a token until it is of no use, and the form in which Basic authentication sends it."""
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        outdated = datetime.now(UTC) - KEPT_AFTER_EXPIRY
        with self._lock:
            kept = [known for known in self._secrets if known[1] > outdated]
            self._secrets = (*kept, (token, expires_at), (basic, expires_at))

    def clean(self, text: str) -> str:
        """Return the text fit for one line: every known or likely secret is ***, what is no text is escaped."""
        return printable(self._hide(text))

    def clean_lines(self, text: str) -> str:
        """Return the same of text of our own that has several lines, such as a traceback."""
        return "\n".join(printable(line) for line in self._hide(text).split("\n"))

    def _hide(self, text: str) -> str:
        for secret, _ in self._secrets:
            text = text.replace(secret, HIDDEN)
        for shape in SHAPES:
            text = shape.sub(HIDDEN, text)
        return text


def printable(text: str) -> str:
    """Return the text as one line of UTF-8: control characters and lone surrogates are escaped."""
    text = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return text.encode("utf-8", "backslashreplace").decode()
