"""An embedded GitHub: the App's REST API and smart HTTP git on one port of this machine.

It checks what GitHub checks (the JWT's signature, times and issuer; the token of every request) and
answers in GitHub's form and words. Faults are put in by tests, as GitHub would have them.

It can be written to, as a restore does (github_write.py; git_http.py for pushes): repositories that were
created through the API, or added with `writable=True` and a path of the test's own.
"""

import base64
import contextlib
import functools
import io
import itertools
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from embedded import github_json, github_write
from embedded.git_http import Push, request_body, serve_git
from embedded.github_answer import Answer, refusal
from embedded.real_git import git

API = "/api/v3"
GIT_PATH = re.compile(r"/([^/]+)/([^/]+)\.git/(info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.*)")
READ = {"contents": "read", "metadata": "read"}
RESTORE = {"contents": "write", "administration": "write", "workflows": "write", "metadata": "read"}
LEVELS = ("none", "read", "write", "admin")
PUSH_LIMIT = 2 * 1024**3


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
    owner_type: str = "Organization"
    # May be pushed to and changed: its path is nobody else's.
    writable: bool = False
    actions_enabled: bool = True
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


@functools.cache
def _app_key(_: str) -> rsa.RSAPrivateKey:
    """Return an App's key: one a process, it takes a while to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class FakeApp:
    """A GitHub App and the permissions that it was granted."""

    id: str
    slug: str
    permissions: dict[str, str]

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return _app_key(self.id)

    def pem(self, style: serialization.PrivateFormat = serialization.PrivateFormat.TraditionalOpenSSL) -> str:
        """Return the App's private key: PKCS#1 as GitHub gives it, or PKCS#8."""
        return self.key.private_bytes(serialization.Encoding.PEM, style, serialization.NoEncryption()).decode()


@dataclass
class FakeInstallation:
    """One installation of an App: the repositories of one owner."""

    id: int
    owner: str
    app: FakeApp
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
    # The API does what it was asked all the same: it is the answer that got lost.
    after_all: bool = False
    # A body that is not GitHub's.
    raw: str | None = None
    # Seconds between two bytes of the answer's body.
    drip: float = 0.0


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
class Token:
    """An installation's token, or a person's with `owners` (in lower case) and no installation."""

    login: str
    installation: int | None
    expires_at: datetime
    permissions: dict[str, str]
    owners: frozenset[str] = frozenset()

    def may(self, what: str, level: str) -> bool:
        return _covers(self.permissions, what, level)


def _covers(permissions: dict[str, str], what: str, level: str) -> bool:
    return LEVELS.index(permissions.get(what, "none")) >= LEVELS.index(level)


class Dripping(io.BufferedIOBase):
    """A connection over which the body of an answer comes byte by byte, so many seconds apart."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds

    def write(self, data: Any, /) -> int:
        if bytes(data[:5]) == b"HTTP/":  # status and headers
            self._connection.write(data)
            return len(data)
        for byte in bytes(data):
            time.sleep(self._seconds)
            self._connection.write(bytes([byte]))
        return len(data)


class Server(ThreadingHTTPServer):
    """An HTTP server in threads; over TLS it takes its leave, as git takes anything else for a cut answer."""

    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                request.settimeout(2)
                request.unwrap()
        super().shutdown_request(request)


class FakeGitHub:
    """The server. Start it as a context manager; `on_answer` sees every JSON answer."""

    def __init__(self, app_id: str = "123456", latency: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.app_id, self.latency = app_id, latency
        self.app = FakeApp(app_id, "backup", dict(READ))
        self.apps = {app_id: self.app}
        self.key = self.app.key
        # People; every other owner is an organisation.
        self.people: set[str] = set()
        # The largest pack that is taken, in bytes.
        self.push_limit = PUSH_LIMIT
        # Where repositories that are created through the API get their git directories.
        self.new_repositories: Path | None = None
        self.installations: dict[int, FakeInstallation] = {}
        self.repositories: dict[int, FakeRepository] = {}
        self.faults: list[Fault] = []
        self.exchanges: list[Exchange] = []
        self.tokens: dict[str, Token] = {}
        self.issued: list[str] = []
        # How many git requests wait for their answer, and the most there ever were at once.
        self.git_at_once, self.most_git_at_once = 0, 0
        self.token_life = timedelta(hours=1)
        # Called when the last page of a listing has been asked for, before it is sent.
        self.after_listing: Callable[[], None] = lambda: None
        # The most repositories on a page, and what is called with a page's number before it is sent.
        self.page_size = 100
        self.after_page: Callable[[int], None] = lambda _: None
        # Bring the request's own Authorization into the words of every fault, as no server should.
        self.echo_token = False
        # Given as the next page of every listing, whatever page that is.
        self.next_page: str | None = None
        # Fields that a repository is listed with in place of its own, by its id.
        self.listed_as: dict[int, dict[str, Any]] = {}
        self.on_answer: Callable[[str, str, int, Any], None] = lambda *_: None
        self._owners: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), self._handler())
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.server_url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self.api_url = self.server_url + API

    def __enter__(self) -> "FakeGitHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- what a test or the demo puts in ---------------------------------------------------------

    def pem(self, style: serialization.PrivateFormat = serialization.PrivateFormat.TraditionalOpenSSL) -> str:
        """Return the backup App's private key: PKCS#1 as GitHub gives it, or PKCS#8."""
        return self.app.pem(style)

    def secrets(self) -> list[str]:
        """Return what nothing may ever write: the lines of every App's key, and every token."""
        lines = [line for app in self.apps.values() for line in app.pem().splitlines()[1:-1]]
        return lines + self.issued

    def add_app(self, app_id: str, slug: str = "restore", permissions: dict[str, str] | None = None) -> FakeApp:
        """Register a second App, with what a restore needs unless told otherwise."""
        self.apps[app_id] = FakeApp(app_id, slug, RESTORE if permissions is None else permissions)
        return self.apps[app_id]

    def personal_token(self, login: str, owners: list[str], permissions: dict[str, str] | None = None) -> str:
        """Issue a person's fine-grained token for these owners, with what a restore needs unless told otherwise.

        On GitHub such a token is for one owner (docs.github.com "Managing your personal access tokens").
        """
        self.people.add(login)
        value = f"github_pat_{secrets.token_hex(11)}_{secrets.token_hex(29)}"
        expires_at = datetime.now(UTC) + timedelta(days=30)
        reach = frozenset(item.lower() for item in owners)
        self.tokens[value] = Token(login, None, expires_at, RESTORE if permissions is None else permissions, reach)
        self._owners |= {item.lower(): item for item in (*owners, login)}
        self.issued.append(value)
        return value

    def install(self, owner: str, number: int | None = None, app: FakeApp | None = None) -> FakeInstallation:
        """Install the backup App, or another one, in an organisation."""
        installation = FakeInstallation(number or 7000 + next(self._numbers), owner, app or self.app)
        self.installations[installation.id] = installation
        return installation

    def add(self, owner: str, name: str, path: Path, **about: Any) -> FakeRepository:
        """Add a repository, and the owner's installation of the backup App where there is none."""
        if owner not in {
            installation.owner for installation in self.installations.values() if installation.app is self.app
        }:
            self.install(owner)
        return self._keep(owner, name, path, about)

    def _keep(self, owner: str, name: str, path: Path, about: dict[str, Any]) -> FakeRepository:
        given = {"owner_type": self.owner_type(owner)} | about
        repository = FakeRepository(100_000 + next(self._numbers), owner, name, path, **given)
        self.repositories[repository.id] = repository
        return repository

    def revoke_tokens(self) -> None:
        """Make every token invalid before its time."""
        self.tokens.clear()

    def requests(self, pattern: str) -> list[Exchange]:
        """Return the exchanges whose `METHOD path` matches."""
        return [request for request in self.exchanges if re.search(pattern, f"{request.method} {request.path}")]

    # -- who and what there is -------------------------------------------------------------------

    def account(self, login: str) -> str | None:
        """Return an owner's or person's name as it is spelled, None where there is none of that name."""
        seen = [row.owner for row in list(self.installations.values())]
        seen += [repository.owner for repository in list(self.repositories.values())]
        return (self._owners | {item.lower(): item for item in seen}).get(login.lower())

    def owner_type(self, login: str) -> str:
        return "User" if login.lower() in {item.lower() for item in self.people} else "Organization"

    def find(self, owner: str, name: str) -> FakeRepository | None:
        """Return the repository that has, or had, that name. Case is ignored, as GitHub does."""
        there = [
            repository
            for repository in list(self.repositories.values())
            if not repository.gone and repository.owner.lower() == owner.lower()
        ]
        now = [item for item in there if item.name.lower() == name.lower()]
        once = [item for item in there if item.old_name and item.old_name.lower() == name.lower()]
        return next(iter(now + once), None)

    def create(self, owner: str, name: str, private: bool, settings: dict[str, Any]) -> FakeRepository | None:
        """Create an empty repository, None where the name is taken."""
        assert self.new_repositories, "set FakeGitHub.new_repositories first"
        with self._lock:
            same = self.find(owner, name)
            if same and same.name.lower() == name.lower():
                return None
            path = self.new_repositories / owner / f"{name}.git"
            git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", path)
            about = {"private": private, "settings": settings, "size_kb": 0, "writable": True}
            return self._keep(owner, name, path, about)

    # -- the Apps --------------------------------------------------------------------------------

    def _app(self, authorization: str) -> FakeApp | tuple[int, str]:
        """Return the App whose JWT this is, or GitHub's refusal of it."""
        value = authorization.removeprefix("Bearer ")
        try:
            claimed = jwt.decode(value, options={"verify_signature": False}).get("iss")
            app = self.apps.get(str(claimed), self.app)
            options = {"require": ["iat", "exp", "iss"], "verify_iat": False}
            claims = jwt.decode(value, app.key.public_key(), ["RS256"], options)  # type: ignore[arg-type]
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
        if claims["iss"] != app.id:
            return 404, "Integration not found"
        return app

    def _new_token(self, installation: FakeInstallation, permissions: dict[str, str]) -> tuple[str, Token]:
        expires_at = (datetime.now(UTC) + self.token_life).replace(microsecond=0)
        claims = {"exp": expires_at, "jti": str(next(self._numbers))}
        # The stateless form that GitHub began to issue in 2026: ghs_APPID_JWT.
        value = f"ghs_{installation.app.id}_{jwt.encode(claims, 'the embedded GitHub signs with this secret', 'HS256')}"
        token = Token(f"{installation.app.slug}[bot]", installation.id, expires_at, permissions)
        self.tokens[value] = token
        self.issued.append(value)
        return value, token

    def _token(self, value: str) -> Token | None:
        token = self.tokens.get(value)
        return token if token and token.expires_at > datetime.now(UTC) else None

    # -- answers ---------------------------------------------------------------------------------

    def _answer(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: Any) -> Answer:
        authorization = headers.get("Authorization", "")
        if re.match(r"/app/installations(/|$)|/(orgs|users)/[^/]+/installation$", path):
            app = self._app(authorization)
            if not isinstance(app, FakeApp):
                return refusal(path, *app)
            return self._answer_app(app, path, query, body or {})
        token = self._token(authorization.removeprefix("Bearer "))
        if token is None:
            return refusal(path, 401, "Bad credentials")
        if path == "/installation/repositories":
            if token.installation is None:
                words = "You must authenticate with an installation access token in order to list repositories"
                return refusal(path, 403, f"{words} for an installation.")
            return self._answer_repositories(self.installations[token.installation], query)
        if match := re.fullmatch(r"/repositories/(\d+)", path):
            return self._answer_repository(token, int(match[1]))
        return github_write.answer(self, token, method, path, body or {}) or refusal(path, 404, "Not Found")

    def _answer_app(self, app: FakeApp, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        if match := re.fullmatch(r"/app/installations/(\d+)/access_tokens", path):
            return self._answer_token(app, int(match[1]), body)
        if match := re.fullmatch(r"/(orgs|users)/([^/]+)/installation", path):
            return self._answer_installation(app, match[1], match[2])
        # The removed ones too: they were removed a moment later.
        everyone = [
            self._installation(installation) for installation in self.installations.values() if installation.app is app
        ]
        return self._page("/app/installations", everyone, query, None)

    def _answer_installation(self, app: FakeApp, kind: str, login: str) -> Answer:
        """Answer as documented: organisations and people have a path each."""
        template = {"orgs": "/orgs/{org}/installation", "users": "/users/{username}/installation"}[kind]
        for installation in self.installations.values():
            same = (
                installation.app is app
                and installation.owner.lower() == unquote(login).lower()
                and not installation.removed
            )
            if same and (self.owner_type(installation.owner) == "User") == (kind == "users"):
                return Answer(template, 200, self._installation(installation))
        return refusal(template, 404, "Not Found")

    def _installation(self, item: FakeInstallation) -> dict[str, Any]:
        return github_json.installation(self.api_url, item, self.owner_type(item.owner))

    def _answer_token(self, app: FakeApp, number: int, body: dict[str, Any]) -> Answer:
        template = "/app/installations/{installation_id}/access_tokens"
        installation = self.installations.get(number)
        if installation is None or installation.removed or installation.app is not app:
            return refusal(template, 404, "Not Found")
        if installation.suspended:
            return refusal(template, 403, "This installation has been suspended")
        permissions = body.get("permissions", app.permissions)
        if not all(_covers(app.permissions, what, level) for what, level in permissions.items()):
            return refusal(template, 422, "The permissions requested are not granted to this installation.")
        value, token = self._new_token(installation, permissions)
        expires_at = token.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {"token": value, "expires_at": expires_at, "permissions": permissions, "repository_selection": "all"}
        return Answer(template, 201, answer)

    def _answer_repositories(self, installation: FakeInstallation, query: dict[str, list[str]]) -> Answer:
        visible = [r for r in list(self.repositories.values()) if r.owner == installation.owner and not r.gone]
        seen = [item for item in visible if not item.unlisted]
        listed = [self._listed(item) for item in seen]
        total = len(visible) + installation.miscount
        number, size = self._page_of(query)
        if number * size >= len(listed):
            self.after_listing()
            if installation.miscount_once:
                installation.miscount = 0
        self.after_page(number)
        return self._page("/installation/repositories", listed, query, total)

    def _listed(self, repository: FakeRepository) -> dict[str, Any]:
        answer = github_json.repository(self.api_url, self.server_url, repository)
        for name, value in self.listed_as.get(repository.id, {}).items():
            (answer["owner"] if name == "owner" else answer)["login" if name == "owner" else name] = value
        return answer

    def _page_of(self, query: dict[str, list[str]]) -> tuple[int, int]:
        """Return the number of the page that is asked for, and how many items are on it."""
        return int(query.get("page", ["1"])[0]), min(self.page_size, int(query.get("per_page", ["30"])[0]))

    def _page(self, path: str, items: list[Any], query: dict[str, list[str]], total: int | None) -> Answer:
        number, size = self._page_of(query)
        page = items[(number - 1) * size : number * size]
        links = {}
        if number * size < len(items):
            per_page = query.get("per_page", ["30"])[0]
            links["Link"] = f'<{self.api_url}{path}?per_page={per_page}&page={number + 1}>; rel="next"'
        if self.next_page:
            links["Link"] = f'<{self.next_page}>; rel="next"'
        body = page if total is None else {"total_count": total, "repository_selection": "all", "repositories": page}
        return Answer(path, 200, body, links)

    def _answer_repository(self, token: Token, number: int) -> Answer:
        repository = self.repositories.get(number)
        if repository is None or repository.gone or not self.reaches(token, repository.owner):
            return refusal(github_write.REPOSITORY, 404, "Not Found")
        return self.show(token, repository)

    def show(self, token: Token, repository: FakeRepository) -> Answer:
        """Answer with one repository. By id it is the same answer, which is not in the description."""
        template = github_write.REPOSITORY
        if repository.blocked:
            reason = {451: "dmca", 403: "tos"}[repository.blocked]
            block = {"reason": reason, "created_at": github_json.MOMENT, "html_url": f"https://github.com/{reason}"}
            return Answer(
                template,
                repository.blocked,
                github_json.error(repository.blocked, "Repository access blocked", block=block),
            )
        near = self.reaches(token, repository.owner)
        push, admin = (near and token.may(what, "write") for what in ("contents", "administration"))
        return Answer(
            template, 200, github_json.full_repository(self.api_url, self.server_url, repository, push, admin)
        )

    def reaches(self, token: Token, owner: str) -> bool:
        """Return whether a token is for that owner's repositories."""
        if token.installation is None:
            return owner.lower() in token.owners
        return self.installations[token.installation].owner.lower() == owner.lower()

    # -- git -------------------------------------------------------------------------------------

    def _git_token(self, headers: Any) -> Token | None:
        """Return the token that git gives as the password; the user's name does not matter."""
        basic = headers.get("Authorization", "").removeprefix("Basic ")
        return self._token(base64.b64decode(basic).decode(errors="replace").partition(":")[2])

    def _git_refusal(
        self, owner: str, name: str, headers: Any, pushing: bool
    ) -> tuple[FakeRepository | None, int, str]:
        """Return the repository, or None with the status and words of GitHub's git server."""
        found = self.find(owner, name)
        token = self._git_token(headers)
        if not headers.get("User-Agent", "").startswith("git/"):
            return None, 404, "Not Found"  # https://github.com/jelmer/dulwich/issues/562
        if found and not found.private and not headers.get("Authorization") and not pushing:
            pass
        elif token is None:
            return None, 401, "Invalid username or token."
        elif not found or not self.reaches(token, found.owner):
            return None, 404, "Repository not found."
        elif pushing and (refused := self._push_refusal(found, token)):
            return None, *refused
        if found.blocked:
            words = {
                451: "Repository unavailable due to DMCA takedown.",
                403: "Access to this repository has been disabled.",
            }
            return None, found.blocked, words[found.blocked]
        return found, 200, ""

    def _push_refusal(self, repository: FakeRepository, token: Token) -> tuple[int, str] | None:
        if not token.may("contents", "write"):
            return 403, f"Permission to {repository.full_name}.git denied to {token.login}."
        if repository.archived:
            return 403, "This repository was archived so it is read-only."
        if not repository.writable:
            return 501, "This repository is shared by tests, which only read it."
        return None

    def _push(self, repository: FakeRepository, token: Token) -> Push:
        follow = functools.partial(github_write.follow_push, repository)
        return Push(token.login, self.push_limit, token.may("workflows", "write"), follow)

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
        """Count a git request while it waits for its answer: who has the answer may already ask for more."""
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
                    fault = fake._fault(f"{self.command} {self.path}")
                    time.sleep(fault.delay if fault else 0)
                if fault and fault.drip:
                    self.wfile = Dripping(self.wfile, fault.drip)
                    self.close_connection = True
                self.respond(fault)

            def respond(self, fault: Fault | None) -> None:
                if fault:
                    if fault.raw is not None:
                        self.rfile.read(int(self.headers.get("Content-Length", 0)))
                        self.send(fault.status, fault.raw.encode(), {"Content-Type": "text/html"} | fault.headers)
                        return
                    if fault.status and not fault.after_all:
                        self.rfile.read(int(self.headers.get("Content-Length", 0)))
                        words = fault.message + (self.headers.get("Authorization", "") if fake.echo_token else "")
                        self.answer(Answer("", fault.status, github_json.error(fault.status, words), fault.headers))
                        return
                parts = urlsplit(self.path)
                if parts.path.startswith(API + "/"):
                    length = int(self.headers.get("Content-Length", 0))
                    self.body = json.loads(self.rfile.read(length)) if length else None
                    path = parts.path.removeprefix(API)
                    answer = fake._answer(self.command, path, parse_qs(parts.query), self.headers, self.body)
                    self.answer(refusal("", fault.status, fault.message) if fault and fault.after_all else answer)
                elif match := GIT_PATH.fullmatch(parts.path):
                    self.git(match[1], match[2], match[3], parts.query, fault.cut_after if fault else None)
                else:
                    self.answer(refusal("", 404, "Not Found"))

            do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815

            def git(self, owner: str, name: str, rest: str, query: str, cut_after: int | None) -> None:
                pushing = "git-receive-pack" in (rest, query.removeprefix("service="))
                repository, status, words = fake._git_refusal(owner, name, self.headers, pushing)
                # A push to a former name goes through (docs.github.com "Renaming a repository").
                if repository and repository.name.lower() != name.lower() and not pushing:
                    self.text(
                        301, "Moved", {"Location": f"{fake.server_url}/{repository.full_name}.git/{rest}?{query}"}
                    )
                elif repository:
                    self.record(200)
                    token = fake._git_token(self.headers) if pushing else None
                    push = fake._push(repository, token) if token else None
                    serve_git(self, repository.path, rest, query, cut_after, push)
                else:
                    for _ in request_body(self):
                        pass
                    self.text(status, words, {"WWW-Authenticate": 'Basic realm="GitHub"'} if status == 401 else {})

            def answer(self, answer: Answer) -> None:
                fake.on_answer(self.command, answer.template, answer.status, answer.body)
                headers = {"Content-Type": "application/json; charset=utf-8"} | answer.headers
                self.send(answer.status, b"" if answer.body is None else json.dumps(answer.body).encode(), headers)

            def text(self, status: int, words: str, headers: dict[str, str]) -> None:
                # Said, as otherwise the client may take the connection once more while it is being closed.
                self.send(status, words.encode(), {"Content-Type": "text/plain", "Connection": "close"} | headers)
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
