"""The recorded GitHub, as the harness holds it."""

import contextlib
import ipaddress
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SERVER = Path(__file__).with_name("recorded_server.py")


class UnrecordedError(Exception):
    """A measured run asked for something that was never recorded."""


@dataclass(frozen=True)
class Traffic:
    """What was asked since the last look: the requests in their order, and the bytes of the answers' bodies.

    `peak`: the most requests in flight at once.
    """

    asked: list[dict[str, str]]
    sent: int
    peak: int = 0


@dataclass(frozen=True)
class RecordedGitHub:
    """A running server. `host` speaks HTTP; `https_host` HTTPS, with a certificate of its own."""

    host: str
    https_host: str
    certificate: Path
    process: int

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def set(self, **values: Any) -> None:
        """Change the settings of recorded_server.Recordings."""
        requests.post(f"{self.url}/-/set", data=json.dumps(values), timeout=60).raise_for_status()

    def take(self) -> Traffic:
        """Return the traffic since the last look. Raises UnrecordedError where an answer was missing."""
        taken = requests.post(f"{self.url}/-/take", timeout=60).json()
        if taken["unknown"]:
            raise UnrecordedError(f"never recorded: {', '.join(taken['unknown'][:5])}")
        return Traffic(taken["asked"], taken["sent"], taken["peak"])


@contextlib.contextmanager
def serve_recorded(folder: Path) -> Iterator[RecordedGitHub]:
    """Run the server for this block, its recordings in `folder`."""
    folder.mkdir(parents=True)
    certificate = folder / "certificate.pem"
    certificate.write_bytes(self_signed())
    command = [sys.executable, str(SERVER), str(folder), str(certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        plain, encrypted = (f"127.0.0.1:{port}" for port in json.loads(process.stdout.readline()))
        github = RecordedGitHub(plain, encrypted, certificate, process.pid)
        try:
            github.set(https_url=f"https://{github.https_host}")
            yield github
        finally:
            process.terminate()


def self_signed() -> bytes:
    """Return a throwaway key and its certificate for this machine, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "recorded GitHub")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    authority = x509.BasicConstraints(ca=True, path_length=None)
    signed = dated.add_extension(address, False).add_extension(authority, True).sign(key, hashes.SHA256())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()) + signed.public_bytes(pem)
