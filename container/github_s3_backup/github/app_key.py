"""The GitHub App's private key: where it comes from, and what can be wrong with it."""

import base64
import binascii
import codecs
import re
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# A private key in its armour, whatever stands around it.
PRIVATE_KEY = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
OTHER_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
# PowerShell writes UTF-16 and byte order marks.
ENCODINGS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
EXPECTED = "it must hold the whole .pem file, from -----BEGIN to -----END-----"


class AppKeyError(Exception):
    """The key can't be had or used; the text says why and what to do, and never holds the key."""


def key_from_secret(client: "SecretsManagerClient", arn: str) -> RSAPrivateKey:
    """Return the App's key from the Secrets Manager secret `arn`."""
    try:
        answer = client.get_secret_value(SecretId=arn)
    except client.exceptions.ResourceNotFoundException as error:
        raise AppKeyError(
            f"the secret {arn} does not exist or has no value yet ({error}): store the App's .pem in it with "
            f"'aws secretsmanager put-secret-value --secret-id {arn} --secret-string file://KEY.pem'"
        ) from None
    except (ClientError, BotoCoreError) as error:
        raise AppKeyError(f"the secret {arn} can't be read: {error}") from None
    content = answer.get("SecretString", "").encode() or answer.get("SecretBinary", b"")
    return parse_key(content, f"the secret {arn}")


def key_from_file(path: Path) -> RSAPrivateKey:
    """Return the App's key from a PEM file."""
    try:
        return parse_key(path.read_bytes(), f"the file {path}")
    except OSError as error:
        raise AppKeyError(f"the file {path} can't be read: {error}") from None


def parse_key(content: bytes, source: str) -> RSAPrivateKey:
    """Return the RSA key in a PEM in PKCS#1 or PKCS#8 form.

    What editors, shells and consoles make of a PEM is undone: a literal \\n for each line end, quotes, Windows line
    ends, a byte order mark, UTF-16, base64 of it all, text around it. Raises AppKeyError with the reason; `source`
    names where the content came from.
    """
    text = _unpacked(_decode(content))
    blocks = [found[0] for found in PRIVATE_KEY.finditer(text)]
    if len(blocks) > 1:
        raise AppKeyError(f"{source} holds {len(blocks)} private keys: store the App's alone")
    if not blocks or text.startswith("{"):
        raise AppKeyError(f"{source} does not hold a PEM private key: {_what_it_looks_like(text)}")
    try:
        key = load_pem_private_key(blocks[0].encode(), password=None)
    except TypeError:
        raise AppKeyError(f"{source} holds an encrypted key: store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise AppKeyError(
            f"{source} holds a PEM that is damaged or not a private key: store the .pem again, as GitHub gave it"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise AppKeyError(
            f"{source} holds a key that is not RSA: GitHub Apps use the RSA key from the App's settings page"
        )
    return key


def _decode(content: bytes) -> str:
    for mark, encoding in ENCODINGS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if b"\0" in content[:2]:
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be", errors="replace")
    return content.decode(errors="replace")


def _unpacked(text: str) -> str:
    """Return the text without quotes around it, with line ends as they were, and out of base64."""
    text = text.strip("\ufeff \t\r\n").strip("\"'").replace("\\r", "").replace("\\n", "\n")
    text = text.replace("\r\n", "\n").strip()
    try:
        inside = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return text
    decoded = _decode(inside)
    return decoded.replace("\r\n", "\n") if OTHER_ARMOUR.search(decoded) else text


def _what_it_looks_like(text: str) -> str:
    """Return what is there in place of a key, without showing it."""
    if not text:
        return f"it is empty; {EXPECTED}"
    if text.startswith("{"):
        return f"it looks like JSON; {EXPECTED}, and nothing else"
    if found := OTHER_ARMOUR.search(text):
        return _what_is_in_armour(found[1])
    if text.startswith("PuTTY-User-Key-File"):
        return "it is a key in PuTTY's format; store the .pem from the App's settings page"
    is_bare = text.startswith("MII")
    return f"the lines -----BEGIN ...----- and -----END ...----- are missing; {EXPECTED}" if is_bare else EXPECTED


def _what_is_in_armour(what: str) -> str:
    if what.endswith("PRIVATE KEY"):
        return f"it is cut off or damaged, -----END {what}----- is missing; {EXPECTED}"
    return f"it holds a {what}, which is not a private key; store the .pem from the App's settings page"
