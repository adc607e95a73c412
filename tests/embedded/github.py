"""An embedded GitHub: the App's REST API and smart HTTP git on one port of this machine.

It checks what GitHub checks (the JWT's signature, times and issuer; the token of every request) and
answers in GitHub's form and words. Faults are put in by tests, as GitHub would have them.
"""

import base64
import contextlib
import functools
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from embedded import github_json
from embedded.git_http import serve_git

API = "/api/v3"
GIT_PATH = re.compile(r"/([^/]+)/([^/]+)\.git/(info/refs|git-upload-pack|HEAD|objects/.*)")


@dataclass
class FakeRepository:
    """A repository as GitHub knows it; `path` is the git directory that is served."""

    id: int
    owner: str
    name: str
    path: Path
    private: bool = True
    archived: bool = False
    fork: bool = False
    default_branch: str = "main"
    size_kb: int = 1
    gone: bool = False
    # 451 is a takedown by law, 403 by GitHub's staff.
    blocked: int | None = None
    old_name: str | None = None
    # Counted, and left out of listings.
    unlisted: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass
class FakeInstallation:
    """One installation of the App: the repositories of one owner."""

    id: int
    owner: str
    suspended: bool = False
    removed: bool = False
    # Added to the true count in every listing, or in the first one only.
    miscount: int = 0
    miscount_once: bool = False


@dataclass
class Fault:
    """What happens instead of the answer to the requests whose `METHOD path` matches, `times` times."""

    match: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Server Error"
    times: int = 1
    # Let so many matching requests through before the fault begins.
    after: int = 0
    # Seconds to wait first; with status 0 the true answer follows.
    delay: float = 0.0
    # With status 0: close the connection after so many bytes of git's answer.
    cut_after: int | None = None
    # A body that is not GitHub's.
    raw: str | None = None


@dataclass(frozen=True)
class Exchange:
    """One request and the status of its answer."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: Any
    at: float
    # Of the connection that it came over.
    port: int


@dataclass(frozen=True)
class _Token:
    installation: int
    expires_at: datetime
    permissions: dict[str, str]


@functools.cache
def _app_key() -> rsa.RSAPrivateKey:
    """Return the App's key: one a process, it takes a while to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class FakeGitHub:
    """The server. Start it as a context manager; `on_answer` sees every JSON answer."""

    def __init__(self, app_id: str = "123456", latency: float = 0.0) -> None:
        self.app_id, self.latency = app_id, latency
        self.key = _app_key()
        self.installations: dict[int, FakeInstallation] = {}
        self.repositories: dict[int, FakeRepository] = {}
        self.faults: list[Fault] = []
        self.exchanges: list[Exchange] = []
        self.tokens: dict[str, _Token] = {}
        self.issued: list[str] = []
        # How many git requests are being answered, and the most there ever were at once.
        self.git_at_once, self.most_git_at_once = 0, 0
        self.token_life = timedelta(hours=1)
        # Called when the last page of a listing has been asked for, before it is sent.
        self.after_listing: Callable[[], None] = lambda: None
        # Bring the request's own Authorization into the words of every fault, as no server should.
        self.echo_token = False
        # Given as the next page of every listing, whatever page that is.
        self.next_page: str | None = None
        # Fields that a repository is listed with in place of its own, by its id.
        self.listed_as: dict[int, dict[str, Any]] = {}
        self.on_answer: Callable[[str, str, int, Any], None] = lambda *_: None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.server_url = f"http://127.0.0.1:{self._server.server_port}"
        self.api_url = self.server_url + API

    def __enter__(self) -> "FakeGitHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- what a test or the demo puts in ---------------------------------------------------------

    def pem(self, style: serialization.PrivateFormat = serialization.PrivateFormat.TraditionalOpenSSL) -> str:
        """Return the App's private key: PKCS#1 as GitHub gives it, or PKCS#8."""
        return self.key.private_bytes(serialization.Encoding.PEM, style, serialization.NoEncryption()).decode()

    def install(self, owner: str, number: int | None = None) -> FakeInstallation:
        """Install the App in an organisation."""
        installation = FakeInstallation(number or 7000 + next(self._numbers), owner)
        self.installations[installation.id] = installation
        return installation

    def add(self, owner: str, name: str, path: Path, **about: Any) -> FakeRepository:
        """Add a repository, and the owner's installation where there is none."""
        if owner not in {one.owner for one in self.installations.values()}:
            self.install(owner)
        repository = FakeRepository(100_000 + next(self._numbers), owner, name, path, **about)
        self.repositories[repository.id] = repository
        return repository

    def revoke_tokens(self) -> None:
        """Make every token invalid before its time."""
        self.tokens.clear()

    def requests(self, pattern: str) -> list[Exchange]:
        """Return the exchanges whose `METHOD path` matches."""
        return [one for one in self.exchanges if re.search(pattern, f"{one.method} {one.path}")]

    # -- the App ---------------------------------------------------------------------------------

    def _app_problem(self, authorization: str) -> tuple[int, str] | None:
        """Return GitHub's refusal of a JWT, None where it is good."""
        try:
            options = {"require": ["iat", "exp", "iss"], "verify_iat": False}
            claims = jwt.decode(authorization.removeprefix("Bearer "), self.key.public_key(), ["RS256"], options)  # type: ignore[arg-type]
        except jwt.ExpiredSignatureError:
            return 401, "'Expiration time' claim ('exp') must be a numeric value representing the future time"
        except jwt.PyJWTError:
            return 401, "A JSON web token could not be decoded"
        now = time.time()
        if claims["exp"] > now + 600:
            return 401, "'Expiration time' claim ('exp') is too far in the future"
        if claims["iat"] > now:
            return (
                401,
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            )
        if claims["iss"] != self.app_id:
            return 404, "Integration not found"
        return None

    def _new_token(self, installation: int, permissions: dict[str, str]) -> tuple[str, _Token]:
        expires_at = (datetime.now(UTC) + self.token_life).replace(microsecond=0)
        claims = {"exp": expires_at, "jti": str(next(self._numbers))}
        # The stateless form that GitHub began to issue in 2026: ghs_APPID_JWT.
        value = f"ghs_{self.app_id}_{jwt.encode(claims, 'the embedded GitHub signs with this secret', 'HS256')}"
        token = _Token(installation, expires_at, permissions)
        self.tokens[value] = token
        self.issued.append(value)
        return value, token

    def _token(self, value: str) -> _Token | None:
        token = self.tokens.get(value)
        return token if token and token.expires_at > datetime.now(UTC) else None

    # -- answers ---------------------------------------------------------------------------------

    def _answer(self, path: str, query: dict[str, list[str]], headers: Any, body: Any) -> "_Answer":
        authorization = headers.get("Authorization", "")
        if path == "/app/installations" or path.startswith("/app/installations/"):
            if problem := self._app_problem(authorization):
                return _error(path, *problem)
            if match := re.fullmatch(r"/app/installations/(\d+)/access_tokens", path):
                return self._answer_token(int(match[1]), body or {})
            return self._page("/app/installations", self._installations(), query, None)
        token = self._token(authorization.removeprefix("Bearer "))
        if token is None:
            return _error(path, 401, "Bad credentials")
        if path == "/installation/repositories":
            return self._answer_repositories(token, query)
        if match := re.fullmatch(r"/repositories/(\d+)", path):
            return self._answer_repository(token, int(match[1]))
        return _error(path, 404, "Not Found")

    def _installations(self) -> list[Any]:
        everyone = self.installations.values()  # the removed ones too: they were removed a moment later
        return [github_json.installation(self.api_url, 1, one.id, one.owner, one.suspended) for one in everyone]

    def _answer_token(self, number: int, body: dict[str, Any]) -> "_Answer":
        template = "/app/installations/{installation_id}/access_tokens"
        installation = self.installations.get(number)
        if installation is None or installation.removed:
            return _error(template, 404, "Not Found")
        if installation.suspended:
            return _error(template, 403, "This installation has been suspended")
        permissions = body.get("permissions", {"contents": "read", "metadata": "read"})
        if set(permissions.items()) - {("contents", "read"), ("metadata", "read")}:
            return _error(template, 422, "The permissions requested are not granted to this installation.")
        value, token = self._new_token(number, permissions)
        expires_at = token.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {"token": value, "expires_at": expires_at, "permissions": permissions, "repository_selection": "all"}
        return _Answer(template, 201, answer)

    def _answer_repositories(self, token: _Token, query: dict[str, list[str]]) -> "_Answer":
        installation = self.installations[token.installation]
        visible = [r for r in self.repositories.values() if r.owner == installation.owner and not r.gone]
        seen = [one for one in visible if not one.unlisted]
        listed = [self._listed(one) for one in seen]
        total = len(visible) + installation.miscount
        if int(query.get("page", ["1"])[0]) * int(query.get("per_page", ["30"])[0]) >= len(listed):
            self.after_listing()
            if installation.miscount_once:
                installation.miscount = 0
        return self._page("/installation/repositories", listed, query, total)

    def _listed(self, repository: FakeRepository) -> dict[str, Any]:
        answer = github_json.repository(self.api_url, self.server_url, repository)
        for name, value in self.listed_as.get(repository.id, {}).items():
            (answer["owner"] if name == "owner" else answer)["login" if name == "owner" else name] = value
        return answer

    def _page(self, path: str, items: list[Any], query: dict[str, list[str]], total: int | None) -> "_Answer":
        number, size = int(query.get("page", ["1"])[0]), min(100, int(query.get("per_page", ["30"])[0]))
        page = items[(number - 1) * size : number * size]
        links = {}
        if number * size < len(items):
            links["Link"] = f'<{self.api_url}{path}?per_page={size}&page={number + 1}>; rel="next"'
        if self.next_page:
            links["Link"] = f'<{self.next_page}>; rel="next"'
        body = page if total is None else {"total_count": total, "repository_selection": "all", "repositories": page}
        return _Answer(path, 200, body, links)

    def _answer_repository(self, token: _Token, number: int) -> "_Answer":
        template = "/repos/{owner}/{repo}"  # the same answer; by id is not in the description
        repository = self.repositories.get(number)
        if repository is None or repository.gone or not self._sees(token, repository):
            return _error(template, 404, "Not Found")
        if repository.blocked:
            reason = {451: "dmca", 403: "tos"}[repository.blocked]
            block = {"reason": reason, "created_at": github_json.MOMENT, "html_url": f"https://github.com/{reason}"}
            return _Answer(
                template, repository.blocked, github_json.error(repository.blocked, "Repository access blocked", block)
            )
        return _Answer(template, 200, github_json.full_repository(self.api_url, self.server_url, repository))

    def _sees(self, token: _Token, repository: FakeRepository) -> bool:
        return self.installations[token.installation].owner == repository.owner

    # -- git -------------------------------------------------------------------------------------

    def _git_refusal(self, owner: str, name: str, headers: Any) -> tuple[FakeRepository | None, int, str]:
        """Return the repository, or None with the status and words of GitHub's git server."""
        basic = headers.get("Authorization", "").removeprefix("Basic ")
        _, _, value = base64.b64decode(basic).decode(errors="replace").partition(":")
        found = [
            r for r in self.repositories.values() if not r.gone and r.owner == owner and name in (r.name, r.old_name)
        ]
        token = self._token(value)
        if not headers.get("User-Agent", "").startswith("git/"):
            return None, 404, "Not Found"  # https://github.com/jelmer/dulwich/issues/562
        if found and not found[0].private and not basic:
            pass
        elif token is None:
            return None, 401, "Invalid username or token."
        elif not found or not self._sees(token, found[0]):
            return None, 404, "Repository not found."
        if found[0].blocked:
            words = {
                451: "Repository unavailable due to DMCA takedown.",
                403: "Access to this repository has been disabled.",
            }
            return None, found[0].blocked, words[found[0].blocked]
        return found[0], 200, ""

    # -- HTTP ------------------------------------------------------------------------------------

    def _fault(self, what: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.match, what):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    @contextlib.contextmanager
    def counting(self, is_git: bool) -> Iterator[None]:
        """Count a git request while it is answered."""
        with self._lock:
            self.git_at_once += is_git
            self.most_git_at_once = max(self.most_git_at_once, self.git_at_once)
        try:
            yield
        finally:
            with self._lock:
                self.git_at_once -= is_git

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # noqa: N805  (`self` is the request's, below)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            body: Any = None

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, BrokenPipeError):
                    self.close_connection = True

            def do_GET(self) -> None:
                with fake.counting(GIT_PATH.fullmatch(urlsplit(self.path).path) is not None):
                    time.sleep(fake.latency)
                    self.respond()

            def respond(self) -> None:
                fault = fake._fault(f"{self.command} {self.path}")
                if fault:
                    time.sleep(fault.delay)
                    if fault.raw is not None:
                        self.rfile.read(int(self.headers.get("Content-Length", 0)))
                        self.send(fault.status, fault.raw.encode(), {"Content-Type": "text/html"})
                        return
                    if fault.status:
                        self.rfile.read(int(self.headers.get("Content-Length", 0)))
                        words = fault.message + (self.headers.get("Authorization", "") if fake.echo_token else "")
                        self.answer(_Answer("", fault.status, github_json.error(fault.status, words), fault.headers))
                        return
                parts = urlsplit(self.path)
                if parts.path.startswith(API + "/"):
                    length = int(self.headers.get("Content-Length", 0))
                    self.body = json.loads(self.rfile.read(length)) if length else None
                    path = parts.path.removeprefix(API)
                    self.answer(fake._answer(path, parse_qs(parts.query), self.headers, self.body))
                elif match := GIT_PATH.fullmatch(parts.path):
                    self.git(match[1], match[2], match[3], parts.query, fault.cut_after if fault else None)
                else:
                    self.answer(_error("", 404, "Not Found"))

            do_POST = do_GET  # noqa: N815

            def git(self, owner: str, name: str, rest: str, query: str, cut_after: int | None) -> None:
                repository, status, words = fake._git_refusal(owner, name, self.headers)
                if repository and repository.old_name == name:
                    self.text(
                        301, "Moved", {"Location": f"{fake.server_url}/{repository.full_name}.git/{rest}?{query}"}
                    )
                elif repository:
                    self.record(200)
                    serve_git(self, repository.path, rest, query, cut_after)
                else:
                    self.text(status, words, {"WWW-Authenticate": 'Basic realm="GitHub"'} if status == 401 else {})

            def answer(self, answer: "_Answer") -> None:
                fake.on_answer(self.command, answer.template, answer.status, answer.body)
                headers = {"Content-Type": "application/json; charset=utf-8"} | answer.headers
                self.send(answer.status, json.dumps(answer.body).encode(), headers)

            def text(self, status: int, words: str, headers: dict[str, str]) -> None:
                self.send(status, words.encode(), {"Content-Type": "text/plain"} | headers)
                self.close_connection = True

            def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.record(status)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def record(self, status: int) -> None:
                headers = dict(self.headers.items())
                fake.exchanges.append(
                    Exchange(
                        self.command, self.path, status, headers, self.body, time.monotonic(), self.client_address[1]
                    )
                )

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@dataclass(frozen=True)
class _Answer:
    template: str
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def _error(template: str, status: int, message: str) -> _Answer:
    return _Answer(template, status, github_json.error(status, message))
