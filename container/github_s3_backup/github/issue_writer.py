"""Writes issues at GitHub: creates issues, comments, labels and milestones, closes and locks. It changes no text.

https://docs.github.com/en/rest/issues
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.release_writer import WithToken
from github_s3_backup.github.transport.rest import Api, GitHubError, as_documented
from github_s3_backup.runtime.retry import retrying
from github_s3_backup.runtime.stop import Stop

PAGE_SIZE = 100
ATTEMPTS = 4
# What GitHub takes, in characters.
LONGEST_TITLE, LONGEST_TEXT, LONGEST_LABEL, LONGEST_DESCRIPTION = 256, 65_536, 50, 100
COLOR = re.compile(r"[0-9a-fA-F]{6}")

T = TypeVar("T")


@dataclass(frozen=True)
class ExistingIssue:
    """An issue or a pull request that the repository has. `node_id`: GraphQL's."""

    number: int
    node_id: str
    body: str
    is_open: bool
    locked: bool
    comments: int


@dataclass(frozen=True)
class NewIssue:
    """An issue to create. `milestone`: its number."""

    title: str
    body: str
    labels: Sequence[str] = ()
    milestone: int | None = None


@dataclass(frozen=True)
class Branches:
    """What a pull request is about."""

    head: str
    base: str
    draft: bool = False


class IssueWriter:
    """Writes the issues of one repository. Every method raises GitHubError.

    `path`: the repository's, as in `/repos/acme/api`. `with_token` gives a request a token for it.
    """

    def __init__(self, api: Api, path: str, with_token: WithToken, stop: Stop, log: FilteringBoundLogger) -> None:
        self._api, self._with_token, self._stop, self._log = api, with_token, stop, log
        self._url = f"{api.url}{path}"

    # -- what is there ---------------------------------------------------------------------------

    def existing(self) -> list[ExistingIssue]:
        """Return the issues and pull requests that there are, by number."""
        found = [_read(answer) for answer in self._all("issues?state=all&sort=created&direction=asc")]
        return sorted(found, key=lambda issue: issue.number)

    def comments(self, number: int) -> list[str]:
        """Return the texts of an issue's comments."""
        return [str(answer.get("body") or "") for answer in self._all(f"issues/{number}/comments?")]

    def labels(self) -> set[str]:
        """Return the names of the labels that there are, in lower case: GitHub ignores case."""
        return {str(answer["name"]).lower() for answer in self._all("labels?")}

    def milestones(self) -> dict[str, int]:
        """Return the numbers of the milestones that there are, by their titles."""
        return {str(answer["title"]): int(answer["number"]) for answer in self._all("milestones?state=all")}

    # -- what is written -------------------------------------------------------------------------

    def create(self, issue: NewIssue) -> ExistingIssue:
        """Create an issue, once: where an answer got lost, what was made last is looked at first.

        The last line of its text tells it from all others.
        """
        return self._create("issues", issue, {"title": issue.title, "body": issue.body, **_about(issue)})

    def create_pull(self, issue: NewIssue, branches: Branches) -> ExistingIssue:
        """Create a pull request, once."""
        wanted = {"title": issue.title, "body": issue.body, **asdict(branches)}
        made = self._create("pulls", issue, wanted)
        if about := _about(issue):
            self._send("PATCH", f"{self._url}/issues/{made.number}", json=about)
        return made

    def _create(self, path: str, issue: NewIssue, wanted: dict[str, Any]) -> ExistingIssue:
        newest = f"{self._url}/issues?state=all&sort=created&direction=desc&per_page=10"

        def find() -> ExistingIssue | None:
            made = [_read(answer) for answer in self._send("GET", newest).json()]
            return next((found for found in made if _mark(found.body) == _mark(issue.body)), None)

        return self._once(find, lambda: _read(self._post(path, wanted)))

    def comment(self, number: int, body: str) -> None:
        """Comment on an issue, once. The last line tells the text from all others."""
        path = f"issues/{number}/comments"

        def find() -> bool | None:
            return _mark(body) in map(_mark, self.comments(number)) or None

        self._once(find, lambda: bool(self._post(path, {"body": body})))

    def close(self, number: int, reason: str) -> None:
        self._send("PATCH", f"{self._url}/issues/{number}", json={"state": "closed", "state_reason": reason})

    def lock(self, number: int) -> None:
        self._send("PUT", f"{self._url}/issues/{number}/lock")

    def create_label(self, name: str, color: str, description: str | None) -> None:
        wanted = {"name": name, "color": color if COLOR.fullmatch(color) else "ededed"}
        about = {"description": description[:LONGEST_DESCRIPTION]} if description else {}
        self._once(
            lambda: name.lower() in self.labels() or None, lambda: bool(self._post("labels", {**wanted, **about}))
        )

    def create_milestone(self, title: str) -> int:
        """Create a milestone and return its number."""
        return self._once(
            lambda: self.milestones().get(title), lambda: int(self._post("milestones", {"title": title})["number"])
        )

    # -- requests --------------------------------------------------------------------------------

    def _once(self, find: Callable[[], T | None], write: Callable[[], T]) -> T:
        """Write something; before another attempt, look whether the first one was done all the same."""
        attempts = 0

        def attempt() -> T:
            nonlocal attempts
            attempts += 1
            found = find() if attempts > 1 else None
            return write() if found is None else found

        return retrying(ATTEMPTS, self._stop, self._log)(attempt)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """Send one request, without another attempt."""
        answer = self._ask(self._api.send_once, "POST", f"{self._url}/{path}", json=body)
        with as_documented(self._url):
            return answer.json()

    def _all(self, path: str) -> Iterator[Any]:
        url = f"{self._url}/{path}&per_page={PAGE_SIZE}".replace("?&", "?")
        for page in self._api.pages(url, lambda page_url: self._send("GET", page_url)):
            with as_documented(url):
                yield from page

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        return self._ask(self._api.send, method, url, **options)

    def _ask(self, send: Callable[..., requests.Response], method: str, url: str, **options: Any) -> requests.Response:
        try:
            request = lambda token: send(method, url, lambda: f"Bearer {token}", **options)  # noqa: E731
            answer: requests.Response = self._with_token(request)
        except GitHubError as error:
            if error.status == 403 and error.refused:
                raise GitHubError(f"{error} (does the token have Issues: write?)", 403) from None
            raise
        return answer


def _about(issue: NewIssue) -> dict[str, Any]:
    labels = {"labels": list(issue.labels)} if issue.labels else {}
    return {**labels, **({"milestone": issue.milestone} if issue.milestone else {})}


def _mark(body: str) -> str:
    return body.rstrip().rpartition("\n")[2]


def _read(answer: Any) -> ExistingIssue:
    return ExistingIssue(
        number=int(answer["number"]),
        node_id=str(answer["node_id"]),
        body=str(answer.get("body") or ""),
        is_open=answer["state"] == "open",
        locked=bool(answer["locked"]),
        comments=int(answer["comments"]),
    )
