"""The embedded GitHub's first port: the REST API, git and Git LFS."""

import contextlib
import dataclasses
import json
import re
from contextlib import AbstractContextManager
from urllib.parse import parse_qs, urlsplit

from embedded import github_graphql, github_json, github_lfs_api
from embedded.git_http import request_body, serve_git
from embedded.github_access import Denied, Place, enter, push_of
from embedded.github_answer import Answer, refusal
from embedded.github_http import Fault, Handler
from embedded.github_release_write import refuse_upload, serve_upload

API = "/api/v3"
UPLOADS = "/api/uploads"
GRAPHQL = "/api/graphql"
GIT_PATH = re.compile(r"/([^/]+)/([^/]+)\.git/(info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.*)")
LFS_PATH = re.compile(r"/([^/]+)/([^/]+)\.git/info/lfs/(.*)")


class GitHubHandler(Handler):
    """One request to the API, to git or to Git LFS."""

    def waiting(self) -> AbstractContextManager[None]:
        is_git = GIT_PATH.fullmatch(urlsplit(self.path).path)
        return self.fake.counting() if is_git else contextlib.nullcontext()

    def serve(self, fault: Fault | None) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith(API + "/"):
            self.read_json()
            path = parts.path.removeprefix(API)
            answer = self.fake.answer(self.command, path, parse_qs(parts.query), self.headers, self.body)
            self.answer(refusal("", fault.status, fault.message) if fault and fault.after_all else answer)
        elif parts.path == GRAPHQL and self.command == "POST":
            self.read_json()
            self.send(*github_graphql.answer(self.fake, self.headers, self.body))
        elif parts.path.startswith(UPLOADS + "/"):
            serve_upload(self, parts.path.removeprefix(UPLOADS), parts.query, fault)
        elif match := LFS_PATH.fullmatch(parts.path):
            self.lfs(match[1], match[2], match[3], fault)
        elif match := GIT_PATH.fullmatch(parts.path):
            self.git(match[1], match[2], match[3], parts.query, fault.cut_after if fault else None)
        else:
            self.answer(refusal("", 404, "Not Found"))

    def refuse(self, status: int, words: str, headers: dict[str, str]) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith(UPLOADS + "/"):
            refuse_upload(self, parts.path.removeprefix(UPLOADS), parts.query, (status, words, headers))
        elif LFS_PATH.fullmatch(parts.path):
            answer = github_lfs_api.refusal(status, words)
            self.answer(dataclasses.replace(answer, headers=answer.headers | headers))
        else:
            self.answer(Answer("", status, github_json.error(status, words), headers))

    def read_json(self) -> None:
        content = b"".join(request_body(self))
        self.body = json.loads(content) if content else None

    def lfs(self, owner: str, name: str, rest: str, fault: Fault | None) -> None:
        self.read_json()
        answer = github_lfs_api.answer(self.fake, (self.command, rest), owner, name, self.headers, self.body)
        if fault and fault.after_all:
            self.refuse_as(fault)
        else:
            self.answer(answer)

    def git(self, owner: str, name: str, rest: str, query: str, cut_after: int | None) -> None:
        pushing = "git-receive-pack" in (rest, query.removeprefix("service="))
        place: Place | Denied = Denied(404, "Not Found")  # https://github.com/jelmer/dulwich/issues/562
        if self.headers.get("User-Agent", "").startswith("git/"):
            place = enter(self.fake, owner, name, self.headers, pushing)
        if isinstance(place, Denied):
            self.skip_body()
            headers = {"WWW-Authenticate": 'Basic realm="GitHub"'} if place.status == 401 else {}
            self.text(place.status, place.words, headers)
        # A push to a former name goes through (docs.github.com "Renaming a repository").
        elif place.full_name.lower() != f"{owner}/{name}".lower() and not pushing:
            self.text(301, "Moved", {"Location": f"{self.fake.server_url}/{place.full_name}.git/{rest}?{query}"})
        else:
            self.record(200)
            push = push_of(self.fake, place, self.headers) if pushing else None
            serve_git(self, place.path, rest, query, cut_after, push)

    def text(self, status: int, words: str, headers: dict[str, str]) -> None:
        # Said, as otherwise the client may take the connection once more while it is being closed.
        self.send(status, words.encode(), {"Content-Type": "text/plain", "Connection": "close"} | headers)
        self.close_connection = True
