"""An embedded GitHub: the App's REST API, smart HTTP git and Git LFS on one port of this machine, files on a second.

It checks what GitHub checks (the JWT's signature, times and issuer; the token of every request) and
answers in GitHub's form and words. Faults are put in by tests, as GitHub would have them.

It can be written to, as a restore does (github_write.py; git_http.py for pushes): repositories that were
created through the API, or added with `writable=True` and a path of the test's own.

What it knows is in github_model.py; wikis are served like repositories (github_access.py), Git LFS in
github_lfs_api.py, releases in github_release_api.py, what people wrote in github_issues.py and github_graphql.py, and
the port from which LFS objects and releases' files come in github_files.py.
"""

import contextlib
import itertools
import re
import secrets
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import jwt
from cryptography.hazmat.primitives import serialization

from embedded import github_issue_api, github_json, github_release_api, github_settings, github_write
from embedded.github_answer import Answer, Request, blocked, refusal
from embedded.github_files import FileServer
from embedded.github_http import Exchange, Fault, down, new_server
from embedded.github_model import ISSUES, READ, RESTORE, FakeApp, FakeInstallation, FakeRepository, Token, covers
from embedded.github_server import API, UPLOADS, GitHubHandler
from embedded.real_git import git

__all__ = ["API", "FakeApp", "FakeGitHub", "FakeInstallation", "FakeRepository", "Fault", "down"]

PUSH_LIMIT = 2 * 1024**3
# The limit of GitHub Enterprise Cloud (docs.github.com "About Git Large File Storage").
LFS_LIMIT = 5 * 1024**3


class FakeGitHub:
    """The server. Start it as a context manager; `on_answer` sees every JSON answer."""

    def __init__(self, app_id: str = "123456", latency: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.app_id, self.latency = app_id, latency
        self.app = FakeApp(app_id, "backup", READ | ISSUES)
        self.apps = {app_id: self.app}
        self.key = self.app.key
        # People; every other owner is an organisation.
        self.people: set[str] = set()
        # Enterprises, which own no repositories.
        self.enterprises: set[str] = set()
        # What the REST API tells of an organisation's settings, by its name and the path below it (github_settings.py).
        self.owners: dict[str, dict[str, Any]] = {}
        # The largest pack that is taken, in bytes.
        self.push_limit = PUSH_LIMIT
        # Bytes of the largest file in a push, the words that refuse every push, and the sizes of all blocks pushed.
        self.file_limit, self.refusal, self.pushed = 100 * 1024**2, "", list[int]()
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
        # Refuse pushes of pointers to LFS objects that are not there; False: take them, as other servers do.
        self.checks_lfs_pointers = True
        # The largest LFS object that is taken, in bytes, and the secrets that stand for one's verification: its
        # repository's id and its oid.
        self.lfs_limit = LFS_LIMIT
        self.verifications: dict[str, tuple[int, str]] = {}
        # How long a link to the second port is good for.
        self.link_life = timedelta(minutes=15)
        # An ETag is the same for every token; False: each token has its own, as on GitHub.
        self.stable_etags = True
        # Files of releases are uploaded to the second port, as on github.com; False: below the API's URL, as on GHES.
        self.uploads_elsewhere = False
        # The scopes of classic tokens, as `GET /user` tells them.
        self.scopes: str | None = None
        # Points of GraphQL that an installation has in an hour, and what each has used.
        self.points, self.points_used = 5_000, Counter[int | None]()
        # The largest query that is answered in time, by the nodes that it may return.
        self.most_nodes = 500_000
        # Refuses too much new content at once where a test switches it on; its clock may be the test's.
        self.content_limits = github_issue_api.ContentLimits()
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
        # Sees the body of every request to Git LFS' API, and of those to create a release.
        self.on_request: Callable[[str, str, Any], None] = lambda *_: None
        self._owners: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server = new_server(GitHubHandler, self, tls)
        self.server_url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self.api_url = self.server_url + API
        # The second port: LFS objects and releases' files.
        self.files = FileServer(self, tls)

    def __enter__(self) -> "FakeGitHub":
        for server in (self._server, self.files.server):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._server, self.files.server):
            server.shutdown()
            server.server_close()

    @property
    def uploads_url(self) -> str:
        """Return the URL below which releases get their files."""
        return self.files.url if self.uploads_elsewhere else self.server_url + UPLOADS

    # -- what a test or the demo puts in ---------------------------------------------------------

    def pem(self, style: serialization.PrivateFormat = serialization.PrivateFormat.TraditionalOpenSSL) -> str:
        """Return the backup App's private key: PKCS#1 as GitHub gives it, or PKCS#8."""
        return self.app.pem(style)

    def secrets(self) -> list[str]:
        """Return what nothing may ever write: the lines of every App's key, every token, and what signs links."""
        lines = [line for app in self.apps.values() for line in app.pem().splitlines()[1:-1]]
        return lines + self.issued + self.files.signatures()

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
        repository = FakeRepository(self.new_id(), owner, name, path, **given)
        self.repositories[repository.id] = repository
        return repository

    def expire_links(self) -> None:
        """Make every link that was given so far too old."""
        self.files.expire_links()

    def new_id(self) -> int:
        """Return an id that nothing has yet."""
        return 100_000 + next(self._numbers)

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
        if login in self.enterprises:
            return "Enterprise"
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
            about = {"private": private, "settings": settings, "size_kb": 0, "writable": True, "has_wiki": True}
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

    def token(self, value: str) -> Token | None:
        """Return what a token is for, None where it is unknown or too old."""
        token = self.tokens.get(value)
        return token if token and token.expires_at > datetime.now(UTC) else None

    # -- answers ---------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, list[str]], headers: Any, body: Any) -> Answer:
        """Answer a request to the REST API."""
        authorization = headers.get("Authorization", "")
        if re.match(r"/app/installations(/|$)|/(orgs|users)/[^/]+/installation$", path):
            app = self._app(authorization)
            if not isinstance(app, FakeApp):
                return refusal(path, *app)
            return self._answer_app(app, path, query, body or {})
        token = self.token(authorization.removeprefix("Bearer "))
        if token is None:
            return refusal(path, 401, "Bad credentials")
        if path == "/installation/repositories":
            if token.installation is None:
                words = "You must authenticate with an installation access token in order to list repositories"
                return refusal(path, 403, f"{words} for an installation.")
            return self._answer_repositories(self.installations[token.installation], query)
        if match := re.fullmatch(r"/repositories/(\d+)", path):
            return self._answer_repository(token, int(match[1]))
        asked = Request(method, path, query, headers, body or {})
        return (
            github_release_api.answer(self, token, asked)
            or github_settings.answer(self, token, asked)
            or github_issue_api.answer(self, token, asked)
            or github_write.answer(self, token, method, path, body or {})
            or refusal(path, 404, "Not Found")
        )

    def _answer_app(self, app: FakeApp, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        if match := re.fullmatch(r"/app/installations/(\d+)/access_tokens", path):
            return self._answer_token(app, int(match[1]), body)
        if match := re.fullmatch(r"/(orgs|users)/([^/]+)/installation", path):
            return self._answer_installation(app, match[1], match[2])
        if match := re.fullmatch(r"/app/installations/(\d+)", path):
            template, found = "/app/installations/{installation_id}", self.installations.get(int(match[1]))
            if found is None or found.removed or found.app is not app:
                return refusal(template, 404, "Not Found")
            return Answer(template, 200, self._installation(found))
        # The removed ones too: they were removed a moment later.
        everyone = [
            self._installation(installation) for installation in self.installations.values() if installation.app is app
        ]
        return self.page("/app/installations", everyone, query, None)

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
        granted = all(covers(app.permissions, what, level) for what, level in permissions.items())
        if installation.owner in self.enterprises or not granted:
            return refusal(template, 422, "The permissions requested are not granted to this installation.")
        value, token = self._new_token(installation, permissions)
        expires_at = token.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {"token": value, "expires_at": expires_at, "permissions": permissions, "repository_selection": "all"}
        return Answer(template, 201, answer)

    def _answer_repositories(self, installation: FakeInstallation, query: dict[str, list[str]]) -> Answer:
        visible = [r for r in list(self.repositories.values()) if r.owner == installation.owner and not r.gone]
        listed: list[Any] = [item for item in visible if not item.unlisted]
        total = len(visible) + installation.miscount
        number, size = self._page_of(query)
        page = slice((number - 1) * size, number * size)
        listed[page] = [self._listed(item) for item in listed[page]]  # as it is now, whatever happens below
        if number * size >= len(listed):
            self.after_listing()
            if installation.miscount_once:
                installation.miscount = 0
        self.after_page(number)
        return self.page("/installation/repositories", listed, query, total)

    def _listed(self, repository: FakeRepository) -> dict[str, Any]:
        answer = github_json.repository(self.api_url, self.server_url, repository)
        for name, value in self.listed_as.get(repository.id, {}).items():
            (answer["owner"] if name == "owner" else answer)["login" if name == "owner" else name] = value
        return answer

    def _page_of(self, query: dict[str, list[str]]) -> tuple[int, int]:
        """Return the number of the page that is asked for, and how many items are on it."""
        return int(query.get("page", ["1"])[0]), min(self.page_size, int(query.get("per_page", ["30"])[0]))

    def page(self, path: str, items: list[Any], query: dict[str, list[str]], total: int | None) -> Answer:
        """Answer with one page of a listing."""
        number, size = self._page_of(query)
        page = items[(number - 1) * size : number * size]
        links = {}
        if number * size < len(items):
            kept = {name: values[0] for name, values in query.items() if name not in ("page", "per_page")}
            asked = urlencode({"per_page": query.get("per_page", ["30"])[0], **kept})
            url = f"{self.api_url}{path}?{asked}&page="
            links["Link"] = f'<{url}{number + 1}>; rel="next", <{url}{-(-len(items) // size)}>; rel="last"'
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
            return blocked(template, repository.blocked)
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

    # -- HTTP ------------------------------------------------------------------------------------

    def next_fault(self, what: str) -> Fault | None:
        """Return the fault that befalls a request, and count it."""
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
    def counting(self) -> Iterator[None]:
        """Count a git request while it waits for its answer: who has the answer may already ask for more."""
        with self._lock:
            self.git_at_once += 1
            self.most_git_at_once = max(self.most_git_at_once, self.git_at_once)
        try:
            yield
        finally:
            with self._lock:
                self.git_at_once -= 1
