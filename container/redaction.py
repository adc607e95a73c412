"""What keeps secrets out of logs, manifests and error texts."""

import base64
import re
from collections.abc import Iterable

HIDDEN = "***"
# Shapes that are secrets whoever made them: GitHub's tokens, JWTs, PEM blocks, and a login in a URL.
# https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
SHAPES = (
    re.compile(r"\b(?:gh[a-z]_|github_pat_)[\w.-]+"),  # since 2026 a JWT may follow the prefix
    re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"),
    re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^/@\s]+@"),
    re.compile(r"(?i)(?<=authorization: )\S+ \S+"),
)


class Redactor:
    """Removes secrets from text: those it was told of, and whatever has the shape of one."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Remember secrets (not empty) that must not appear in any text from now on."""
        self._secrets = (*self._secrets, *(s for s in secrets if s))

    def hide_token(self, token: str) -> None:
        """Remember an installation token and the form in which Basic authentication sends it."""
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        self.hide([token, basic])

    def clean(self, text: str) -> str:
        """Return the text with every known or likely secret replaced by ***."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for shape in SHAPES:
            text = shape.sub(HIDDEN, text)
        return text
