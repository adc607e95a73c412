"""The App's key is found, repaired where that is safe, and refused with the reason where it is not."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from embedded.stack import Stack
from github_s3_backup.github.app_key import AppKeyError, key_from_file, key_from_secret, parse_key

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PKCS1 = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
PKCS8 = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
ENCRYPTED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUE\n-----END CERTIFICATE-----\n"
CURVE = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)


@pytest.mark.parametrize("pem", [PKCS1, PKCS8], ids=["PKCS1", "PKCS8"])
@pytest.mark.parametrize(
    "pasted",
    [
        lambda pem: pem,
        lambda pem: f"\n  {pem}  \n\n",
        lambda pem: pem.replace("\n", "\\n"),
        lambda pem: '"' + pem.replace("\n", "\\n") + '"',
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem.replace("\n", "\\r\\n"),
        lambda pem: pem.strip(),
        lambda pem: pem.replace("\n", " "),
        lambda pem: "\ufeff" + pem,
        lambda pem: "\ufeff" + pem.replace("\n", "\r\n"),
        lambda pem: base64.b64encode(pem.encode()).decode(),
        lambda pem: base64.encodebytes(b"\xef\xbb\xbf" + pem.replace("\n", "\r\n").encode()).decode(),
        lambda pem: f"Bag Attributes\n  friendlyName: backup\nKey Attributes: <No Attributes>\n{pem}",
        lambda pem: f"{CERTIFICATE}{pem}{PUBLIC}",
        lambda pem: f"GITHUB_APP_KEY={pem}",
    ],
)
def test_a_key_is_taken_as_people_paste_it(pem: str, pasted: object) -> None:
    text = pasted(pem)  # type: ignore[operator]
    for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be"):
        assert parse_key(text.encode(encoding), "the secret").private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("ghp_something", "does not hold a PEM private key"),
        ('{"key": "-----BEGIN"}', "looks like JSON"),
        (ENCRYPTED, "encrypted"),
        (PUBLIC, "holds a PUBLIC KEY, which is not a private key"),
        (CERTIFICATE, "holds a CERTIFICATE, which is not a private key"),
        (base64.b64encode(PUBLIC.encode()).decode(), "holds a PUBLIC KEY"),
        (PKCS1 + PKCS8, "holds 2 private keys"),
        ("".join(PKCS1.splitlines()[1:-1]), "BEGIN ...----- and -----END ...----- are missing"),
        ("PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n", "PuTTY"),
        (CURVE, "not RSA"),
        (PKCS1[:400], "damaged"),
        (PKCS1.replace("A", "B").replace("RSB PRIVBTE", "RSA PRIVATE"), "damaged"),
    ],
)
def test_what_is_no_usable_key_is_refused_with_the_reason_and_not_shown(text: str, reason: str) -> None:
    with pytest.raises(AppKeyError, match=reason) as caught:
        parse_key(text.encode(), "the secret arn:x")
    assert "the secret arn:x" in str(caught.value)
    assert not any(line in str(caught.value) for line in text.splitlines() if len(line) > 20)


# -- where it comes from ---------------------------------------------------------------------------


def test_a_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text("MIIEowIBAAKCAQEA-not-a-pem")
    with pytest.raises(AppKeyError, match=f"the file {file} does not hold a PEM private key") as caught:
        key_from_file(file)
    assert "MIIE" not in str(caught.value)


def test_a_key_is_read_from_a_file_and_from_secrets_manager(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(PKCS1)
    arn = stack.aws.new_secret("a key", PKCS1.replace("\n", "\\n"))
    for key in (key_from_file(tmp_path / "key.pem"), key_from_secret(stack.aws.secrets(), arn)):
        assert key.private_numbers() == KEY.private_numbers()


def test_a_secret_that_does_not_exist_is_named(stack: Stack) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:nothing-AbCdEf"
    with pytest.raises(AppKeyError, match=f"the secret {arn} does not exist"):
        key_from_secret(stack.aws.secrets(), arn)


def test_a_secret_without_a_value_says_how_to_give_it_one(stack: Stack) -> None:
    arn = stack.aws.new_secret("without a value", None)
    with pytest.raises(AppKeyError, match="aws secretsmanager put-secret-value"):
        key_from_secret(stack.aws.secrets(), arn)
