"""Detached signatures of manifests: made by a key in AWS KMS or a local one, and checked with the public key alone."""

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

# Signs the SHA-256 of the manifest. https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html
KMS_ALGORITHM = "ECDSA_SHA_256"
PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n?", re.DOTALL)
KEY_ERRORS = (ValueError, TypeError, UnsupportedAlgorithm)
# A call is tried again by botocore, and must end within the seconds that a stopped run has.
KMS_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=3)


class SigningError(Exception):
    """A key can't be had or used; the text says why and what to do."""


class PublicKey:
    """A key that signatures are checked with: ECDSA on P-256, as KMS signs, or Ed25519."""

    def __init__(self, key: EllipticCurvePublicKey | Ed25519PublicKey) -> None:
        self._key = key
        # The SHA-256 of the key's DER form (SubjectPublicKeyInfo), in hex.
        self.id = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def has_signed(self, body: bytes, signature: bytes) -> bool:
        """Return whether the signature is this key's, of these bytes."""
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, body)
            else:
                self._key.verify(signature, body, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class Kms(Protocol):
    """boto3's client of AWS KMS, as far as it is used here."""

    def sign(self, **request: Any) -> Any: ...
    def get_public_key(self, **request: Any) -> Any: ...


class Signer(Protocol):
    """Signs manifests with one key. Both methods raise SigningError."""

    def public_key(self) -> PublicKey: ...
    def sign(self, body: bytes) -> bytes: ...


class KmsSigner:
    """Signs with an asymmetric key in AWS KMS, which never leaves it."""

    def __init__(self, client: Kms, arn: str) -> None:
        self._client, self._arn = client, arn

    @functools.cache  # noqa: B019  (one signer a task)
    def public_key(self) -> PublicKey:
        """Return the key's public part, as KMS has it."""
        return public_key_from_kms(self._client, self._arn)

    def sign(self, body: bytes) -> bytes:
        """Return the signature, in DER."""
        try:
            answer = self._client.sign(
                KeyId=self._arn,
                Message=hashlib.sha256(body).digest(),
                MessageType="DIGEST",
                SigningAlgorithm=KMS_ALGORITHM,
            )
        except (ClientError, BotoCoreError) as error:
            raise SigningError(f"{self._arn} can't sign: {error}") from None
        return bytes(answer["Signature"])


class FileSigner:
    """Signs with an Ed25519 key from a file."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def public_key(self) -> PublicKey:
        """Return the key's public part."""
        return PublicKey(self._key.public_key())

    def sign(self, body: bytes) -> bytes:
        """Return the signature: 64 bytes."""
        return self._key.sign(body)


def signer_from_file(path: Path) -> FileSigner:
    """Return the signer whose Ed25519 key is in a PEM file. Raises SigningError, which never holds the key."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SigningError(f"the file {path} can't be read: {error}") from None
    except KEY_ERRORS:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        advice = f"make one with 'openssl genpkey -algorithm ed25519 -out {path.name}'"
        raise SigningError(f"the file {path} does not hold an Ed25519 private key without a passphrase: {advice}")
    return FileSigner(key)


def public_keys_from_file(path: Path) -> list[PublicKey]:
    """Return the public keys in a PEM file. Raises SigningError."""
    try:
        keys = [load_pem_public_key(pem) for pem in PUBLIC_KEY.findall(path.read_bytes())]
    except OSError as error:
        raise SigningError(f"the file {path} can't be read: {error}") from None
    except KEY_ERRORS:
        keys = []
    if not keys:
        raise SigningError(f"the file {path} does not hold a public key in PEM form")
    return [_checked(key, f"the file {path}") for key in keys]


def public_key_from_kms(client: Kms, arn: str) -> PublicKey:
    """Return the public key of a key in AWS KMS. Raises SigningError."""
    try:
        return _checked(load_der_public_key(client.get_public_key(KeyId=arn)["PublicKey"]), arn)
    except (ClientError, BotoCoreError) as error:
        raise SigningError(f"the public key of {arn} can't be read: {error}") from None
    except KEY_ERRORS:
        raise SigningError(f"{arn} is not a key that this program knows") from None


def keys_named(text: str, new_kms: Callable[[str | None], Kms]) -> list[PublicKey]:
    """Return the keys that a PEM file holds, or the one that the ARN of a KMS key names. Raises SigningError.

    `new_kms`: makes a client for a region.
    """
    if not text.startswith("arn:"):
        return public_keys_from_file(Path(text))
    region = [*text.split(":"), "", "", ""][3]
    return [public_key_from_kms(new_kms(region or None), text)]


def _checked(key: object, source: str) -> PublicKey:
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return PublicKey(key)
    raise SigningError(f"{source} is neither an Ed25519 key nor one on the curve P-256 (KMS: ECC_NIST_P256)")
