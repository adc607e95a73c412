"""Tokens travel encrypted, and to the server that the certificate names."""

import ipaddress
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embedded.github import FakeGitHub, Fault
from embedded.stack import Stack
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.github import lfs
from github_s3_backup.github.transport.http import Link, new_session, same_server
from github_s3_backup.github.transport.links import Downloader, LinkError
from github_s3_backup.github.transport.rest import Api, GitHubError
from github_s3_backup.runtime.environment import EnvironmentReader
from github_s3_backup.runtime.stop import Stop
from support.clients import Log
from support.world import Repositories, World


@pytest.mark.parametrize(
    "url",
    [
        "http://github.example.com/api/v3",
        "HTTP://github.example.com",
        "http://10.0.0.1/api/v3",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://example.com#127.0.0.1",
        "http://[2001:db8::1]/api/v3",
        "http://0.0.0.0",
    ],
)
@pytest.mark.parametrize("name", ["GITHUB_API_URL", "GITHUB_SERVER_URL"])
def test_a_plain_http_github_is_refused(name: str, url: str) -> None:
    read = EnvironmentReader({name: url})
    read.url(name, "https://github.com")
    (problem,) = read.problems
    assert problem.startswith(name)
    assert "https://" in problem


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/api/v3", "http://localhost", "http://[::1]:1", "http://127.1.2.3", "https://ghes.example"],
)
def test_plain_http_on_the_loopback_interface_and_https_anywhere_will_do(url: str) -> None:
    read = EnvironmentReader({"GITHUB_API_URL": url})
    assert read.url("GITHUB_API_URL", "https://github.com") == url
    assert read.problems == []


@pytest.mark.parametrize(
    "url", ["https://GHES.Example/api/v3", "HTTPS://ghes.example:443/api/v3/", "https://Ghes.example:443/api/v3"]
)
def test_a_server_is_the_same_however_it_is_spelled(url: str) -> None:
    read = EnvironmentReader({"GITHUB_API_URL": url})
    assert read.url("GITHUB_API_URL", "https://github.com") == "https://ghes.example/api/v3"
    assert same_server(url, "https://ghes.example/other")
    for other in (
        "http://ghes.example",
        "https://ghes.example:8443",
        "https://ghes.example.com",
        "https://x@ghes.example",
    ):
        assert not same_server(url, other)


# -- a private CA ----------------------------------------------------------------------------------


def signed(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, ca: bool
) -> x509.Certificate:
    """Return a certificate: of a CA, or of a server on 127.0.0.1."""
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .sign(signer, hashes.SHA256())
    )


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def authority(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    """A private CA's certificate, and the TLS of a server that has one of it."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = signed("Acme's CA", ca_key, "Acme's CA", ca_key, ca=True)
    server = signed("GitHub Enterprise Server", key, "Acme's CA", ca_key, ca=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    chain = tmp_path / "server.pem"
    chain.write_text(private + pem(server))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return pem(ca), context


@pytest.fixture
def private_world(
    stack: Stack, repositories: Repositories, authority: tuple[str, ssl.SSLContext], tmp_path: Path
) -> Iterator[World]:
    """A world whose GitHub has a certificate of a private CA."""
    with FakeGitHub(tls=authority[1]) as github:
        bucket = stack.s3.new_bucket("private-ca")
        yield World(stack, github, repositories, tmp_path, bucket, "private-ca")
        stack.s3.remove_bucket(bucket)


def test_a_private_ca_is_trusted_by_the_api_and_git_only_where_it_is_given(
    private_world: World, authority: tuple[str, ssl.SSLContext]
) -> None:
    private_world.add("api")
    run = private_world.run(GITHUB_CA_PEM=authority[0])
    assert run.code == 0, run.output
    assert run.repos["acme/api"]["status"] == "stored"
    assert private_world.github.requests(r"\.git/git-upload-pack")
    refused = private_world.run(GITHUB_APP_INSTALLATION_ID=str(next(iter(private_world.github.installations))))
    assert refused.code == 2
    assert "CERTIFICATE_VERIFY_FAILED" in refused.problems[0]


@pytest.fixture
def session(authority: tuple[str, ssl.SSLContext], tmp_path: Path) -> requests.Session:
    """A session that trusts the private CA."""
    ca = tmp_path / "ca.pem"
    ca.write_text(authority[0])
    return new_session(str(ca), 1)


def test_an_lfs_object_comes_encrypted_or_not_at_all(private_world: World, session: requests.Session) -> None:
    github, oid = private_world.github, "ab" * 32
    actions = {"download": {"href": f"http://127.0.0.1:{github.files.server.server_port}/lfs/1"}}
    body = json.dumps({"objects": [{"oid": oid, "size": 1, "actions": actions}]})
    github.faults = [Fault("POST .*/batch", status=200, raw=body)]
    api = Api(github.api_url, session, Stop(), Log().logger)
    with pytest.raises(GitHubError, match="a link that is not encrypted"):
        lfs.ask(api, f"{github.server_url}/acme/game.git", "a-token", "download", {oid: 1})


def test_a_redirect_to_where_it_is_not_encrypted_is_not_followed(
    private_world: World, session: requests.Session
) -> None:
    github, stop, log = private_world.github, Stop(), Log()
    plain = f"http://127.0.0.1:{github.files.server.server_port}/lfs/1"
    github.faults = [Fault("GET /lfs/", status=302, headers={"Location": plain})]
    link = Link(f"{github.files.url}/lfs/1", {})
    with pytest.raises(LinkError, match="redirects to an address that is not encrypted") as caught:
        list(Downloader(session, stop, log.logger).blocks(1, lambda: link))
    assert caught.value.permanent
    assert len(github.requests("GET /lfs/")) == 1


def test_what_is_no_certificate_is_a_problem() -> None:
    for value in ("/etc/ssl/ca.pem", "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----"):
        read = EnvironmentReader({"GITHUB_CA_PEM": value})
        read.certificates("GITHUB_CA_PEM")
        (problem,) = read.problems
        assert problem.startswith("GITHUB_CA_PEM must contain the certificates")
        assert "MIIE" not in problem


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy"])
def test_git_uses_the_proxy_that_the_api_client_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    git = Git(tmp_path, "http://github.example.com", Stop())
    with pytest.raises(GitError, match=r"127\.0\.0\.1 port 9"):
        git.run("ls-remote", "http://github.example.com/acme/api.git")
