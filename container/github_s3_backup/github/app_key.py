"""The GitHub App's private key: where it comes from, and what can be wrong with it."""

from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


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
    text = answer.get("SecretString") or answer.get("SecretBinary", b"").decode(errors="replace")
    return parse_key(text, f"the secret {arn}")


def key_from_file(path: Path) -> RSAPrivateKey:
    """Return the App's key from a PEM file."""
    try:
        return parse_key(path.read_text(errors="replace"), f"the file {path}")
    except OSError as error:
        raise AppKeyError(f"the file {path} can't be read: {error}") from None


def parse_key(text: str, source: str) -> RSAPrivateKey:
    """Return the RSA key in `text`, a PEM in PKCS#1 or PKCS#8 form.

    A key pasted with a literal \\n for each line end, with quotes around it or with Windows line
    ends is repaired. Raises AppKeyError with the reason; `source` names where the text came from.
    """
    pem = text.strip().strip("\"'").replace("\\r", "").replace("\\n", "\n").replace("\r\n", "\n").strip()
    if not pem.startswith("-----BEGIN"):
        raise AppKeyError(f"{source} does not hold a PEM private key: {_what_it_looks_like(pem)}")
    try:
        key = load_pem_private_key(pem.encode(), password=None)
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


def _what_it_looks_like(text: str) -> str:
    expected = "it must hold the whole .pem file, from -----BEGIN to -----END-----"
    if not text:
        return f"it is empty; {expected}"
    if text.startswith("{"):
        return f"it looks like JSON; {expected}, and nothing else"
    return expected
