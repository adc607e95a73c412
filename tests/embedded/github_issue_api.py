"""Issues, comments, labels and milestones made through the embedded GitHub's REST API, as a restore does.

Modelled from docs.github.com, REST API: "Issues", "Comments", "Labels", "Milestones", and "Rate limits for the REST
API" (creating content). They are those of github_issues.py, with the names of REST.
"""

import re
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from embedded import github_json
from embedded.github_answer import Answer, Request, invalid, refusal
from embedded.github_settings import EXAMPLES
from embedded.github_write import branches, not_accessible, not_modelled

if TYPE_CHECKING:
    from embedded.github import FakeGitHub
    from embedded.github_model import FakeRepository, Token

ROOT = "/repos/{owner}/{repo}"
LONGEST = {"title": 256, "body": 65_536}
REASONS = {"completed": "COMPLETED", "not_planned": "NOT_PLANNED", "duplicate": "DUPLICATE", "reopened": "REOPENED"}
# Content in a minute and in an hour, "in general".
LIMITS = ((60.0, 80), (3600.0, 500))


class ContentLimits:
    """Counts what is created. `now` is in seconds; GitHub counts for each token, which is one here."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now, self.is_on = now, False
        self._created: deque[float] = deque(maxlen=LIMITS[-1][1])

    def refusal(self) -> Answer | None:
        """Count one more; return what refuses it where it is too many."""
        now = self.now()
        for seconds, most in LIMITS if self.is_on else ():
            recent = [moment for moment in self._created if moment > now - seconds]
            if len(recent) >= most:
                words = (
                    "You have exceeded a secondary rate limit and have been temporarily blocked from content creation."
                )
                body = github_json.error(403, f"{words} Please retry your request again later.")
                return Answer("", 403, body, {"Retry-After": str(round(recent[-most] + seconds - now) + 1)})
        self._created.append(now)
        return None


def answer(fake: "FakeGitHub", token: "Token", asked: Request) -> Answer | None:
    """Return the answer to a request about issues, None where it is about something else."""
    for method, template, handle in ROUTES:
        pattern = re.sub(r"\{\w+\}", "([^/]+)", ROOT + template)
        if asked.method == method and (match := re.fullmatch(pattern, asked.path)):
            owner, name, *rest = map(unquote, match.groups())
            repository = fake.find(owner, name)
            if refused := _refusal(fake, token, ROOT + template, repository, method):
                return refused
            if method == "POST" and (limited := fake.content_limits.refusal()):
                return limited
            assert repository
            return handle(_Place(fake, token, repository, ROOT + template), asked, *rest)
    return None


def _refusal(
    fake: "FakeGitHub", token: "Token", template: str, repository: "FakeRepository | None", method: str
) -> Answer | None:
    if repository is None or not fake.reaches(token, repository.owner):
        return refusal(template, 404, "Not Found")
    needed = "pull_requests" if template.endswith("/pulls") else "issues"
    if not token.may(needed, "read" if method == "GET" else "write"):
        return not_accessible(template, token)
    if method != "GET" and not repository.writable:
        return refusal(template, 501, "This repository is shared by tests, which only read it.")
    if method != "GET" and repository.archived:
        return refusal(template, 403, "Repository was archived so is read-only.")
    if "/issues" in template and not repository.settings.get("has_issues", True):
        return refusal(template, 410, "Issues has been disabled in this repository.")
    return None


class _Place:
    """A repository that a token may ask about. `template`: what it asks for."""

    def __init__(self, fake: "FakeGitHub", token: "Token", repository: "FakeRepository", template: str) -> None:
        self.fake, self.token, self.repository, self.template = fake, token, repository, template
        self.api, self.issues = f"{fake.api_url}/repos/{repository.full_name}", repository.issues

    def page(self, asked: Request, items: list[Any]) -> Answer:
        page = self.fake.page(asked.path, items, asked.query, None)
        return Answer(self.template, 200, page.body, page.headers)

    def account(self, person: dict[str, Any]) -> dict[str, Any]:
        return github_json.account(self.fake.api_url, person["databaseId"], person["login"], person["__typename"])

    # -- in REST's names ---------------------------------------------------------------------

    def issue(self, item: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.api}/issues/{item['number']}"
        milestone = item.get("milestone")
        reason = item.get("stateReason")
        return {
            **self._written(item, url),
            "number": item["number"],
            "title": item["title"],
            "state": "open" if item.get("state") == "OPEN" else "closed",
            "state_reason": reason.lower() if reason else None,
            "locked": item.get("locked", False),
            "active_lock_reason": None,
            "labels": [self._label_named(label["name"]) for label in item.get("labels", [])],
            "milestone": next((m for m in self.milestones if milestone and m["number"] == milestone["number"]), None),
            "assignee": None,
            "assignees": [],
            "closed_at": item.get("closedAt"),
            "comments": len(item.get("comments", [])),
            "repository_url": self.api,
            **{f"{part}_url": f"{url}/{part}" for part in ("comments", "events")},
            "labels_url": f"{url}/labels{{/name}}",
            **({"pull_request": _pull_request(self.api, item)} if item["__typename"] == "PullRequest" else {}),
        }

    def comment(self, item: dict[str, Any], comment: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.api}/issues/comments/{comment['databaseId']}"
        return self._written(comment, url) | {"issue_url": f"{self.api}/issues/{item['number']}"}

    def _written(self, item: dict[str, Any], url: str) -> dict[str, Any]:
        return {
            "id": item["databaseId"],
            "node_id": item["id"],
            "url": url,
            "html_url": url.replace(self.fake.api_url + "/repos", self.fake.server_url),
            "user": self.account(item["author"]),
            "author_association": "NONE",
            "body": item["body"],
            "created_at": item["createdAt"],
            "updated_at": item["updatedAt"],
        }

    # -- labels and milestones -----------------------------------------------------------------

    @property
    def labels(self) -> list[dict[str, Any]]:
        labels: list[dict[str, Any]] = self.repository.parts.setdefault("labels", [])
        return labels

    @property
    def milestones(self) -> list[dict[str, Any]]:
        milestones: list[dict[str, Any]] = self.repository.parts.setdefault("milestones", [])
        return milestones

    def find_label(self, name: str) -> dict[str, Any] | None:
        return next((label for label in self.labels if label["name"].lower() == name.lower()), None)

    def new_label(self, name: str, color: str, description: str | None) -> dict[str, Any]:
        number = self.fake.new_id()
        about = {"id": number, "node_id": f"LA_{number}", "url": f"{self.api}/labels/{name}", "default": False}
        self.labels.append(about | {"name": name, "color": color, "description": description})
        return self.labels[-1]

    def _label_named(self, name: str) -> dict[str, Any]:
        """Return a label; GitHub makes one that an issue gets and that is not there."""
        return self.find_label(name) or self.new_label(name, "ededed", None)


def _pull_request(api: str, item: dict[str, Any]) -> dict[str, str]:
    url = f"{api}/pulls/{item['number']}"
    return {"url": url, "html_url": url, "diff_url": f"{url}.diff", "patch_url": f"{url}.patch"}


# -- requests --------------------------------------------------------------------------------------


def _issues(place: _Place, asked: Request) -> Answer:
    state = asked.query.get("state", ["open"])[0]
    found = [item for item in place.issues.by_number.values() if item["__typename"] != "Discussion"]
    items = [place.issue(item) for item in sorted(found, key=lambda item: item["number"])]
    if asked.query.get("direction", ["desc"])[0] == "desc":
        items.reverse()
    return place.page(asked, [item for item in items if state in ("all", item["state"])])


def _new_issue(place: _Place, asked: Request) -> Answer:
    body = asked.body
    if unknown := body.keys() - {"title", "body", "labels", "milestone"}:
        return not_modelled(place.template, unknown)
    milestone = next((m for m in place.milestones if m["number"] == body.get("milestone")), None)
    if "milestone" in body and milestone is None:
        return invalid(place.template, "Validation Failed", "milestone", "invalid", None, "Issue")
    if refused := _too_long(place, body):
        return refused
    labels = [{"name": name} for name in body.get("labels", [])]
    about: dict[str, Any] = {"labels": labels, "milestone": {"number": body["milestone"]} if milestone else None}
    item = place.issues.open(body["title"], author=place.token.login, body=body.get("body", ""), **about)
    return Answer(place.template, 201, place.issue(item) | {"closed_by": None})


def _too_long(place: _Place, body: dict[str, Any]) -> Answer | None:
    for field, longest in LONGEST.items():
        if len(body.get(field) or "") > longest:
            words = f"{field} is too long (maximum is {longest} characters)"
            return invalid(place.template, "Validation Failed", field, "custom", words, "Issue")
        if field == "title" and field in body and not body[field]:
            return invalid(place.template, "Validation Failed", field, "missing_field", None, "Issue")
    return None


def _new_pull(place: _Place, asked: Request) -> Answer:
    """Create a pull request; what GitHub says of it is its own example, but for what was asked for."""
    body = asked.body
    if refused := _too_long(place, body):
        return refused
    for field in ("head", "base"):
        if body[field] not in branches(place.repository):
            return invalid(place.template, "Validation Failed", field, "invalid", None, "PullRequest")
    about = {"headRefName": body["head"], "baseRefName": body["base"], "isDraft": body.get("draft", False)}
    item = place.issues.open(body["title"], "pull_requests", place.token.login, body=body.get("body", ""), **about)
    said = {name: value for name, value in place.issue(item).items() if name in EXAMPLES[place.template]}
    return Answer(place.template, 201, EXAMPLES[place.template] | said | {"draft": about["isDraft"]})


def _with_issue(handle: Callable[..., Answer]) -> Callable[..., Answer]:
    """Look the issue up first."""

    def found(place: _Place, asked: Request, number: str) -> Answer:
        item = place.issues.by_number.get(int(number))
        if item is None or item["__typename"] == "Discussion":
            return refusal(place.template, 404, "Not Found")
        return handle(place, asked, item)

    return found


def _issue(place: _Place, _: Request, item: dict[str, Any]) -> Answer:
    return Answer(place.template, 200, place.issue(item) | {"closed_by": None})


def _change_issue(place: _Place, asked: Request, item: dict[str, Any]) -> Answer:
    body = asked.body
    if unknown := body.keys() - {"title", "body", "state", "state_reason", "labels", "milestone"}:
        return not_modelled(place.template, unknown)
    if refused := _too_long(place, body):
        return refused
    place.issues.edit(item, **{name: body[name] for name in LONGEST if name in body})
    if "labels" in body:
        place.issues.edit(item, labels=[{"name": name} for name in body["labels"]])
    if "milestone" in body:
        place.issues.edit(item, milestone={"number": body["milestone"]})
    if body.get("state") == "closed":
        place.issues.close(item, REASONS[body.get("state_reason") or "completed"])
    elif body.get("state") == "open":
        place.issues.edit(item, state="OPEN", stateReason="REOPENED", closedAt=None)
    return _issue(place, asked, item)


def _comments(place: _Place, asked: Request, item: dict[str, Any]) -> Answer:
    return place.page(asked, [place.comment(item, comment) for comment in item.get("comments", [])])


def _new_comment(place: _Place, asked: Request, item: dict[str, Any]) -> Answer:
    if item.get("locked") and not place.token.may("administration", "write"):
        return refusal(place.template, 403, "Unable to create comment because issue is locked.")
    if refused := _too_long(place, asked.body):
        return refused
    comment = place.issues.comment(item, asked.body["body"], place.token.login)
    return Answer(place.template, 201, place.comment(item, comment))


def _lock(place: _Place, _: Request, item: dict[str, Any]) -> Answer:
    place.issues.edit(item, locked=True)
    return Answer(place.template, 204, None)


def _new_label(place: _Place, asked: Request) -> Answer:
    body = asked.body
    if place.find_label(body["name"]):
        return invalid(place.template, "Validation Failed", "name", "already_exists", None, "Label")
    if not re.fullmatch(r"[0-9a-fA-F]{6}", body.get("color", "ededed")):
        return invalid(place.template, "Validation Failed", "color", "invalid", None, "Label")
    if len(body["name"]) > 50 or len(body.get("description") or "") > 100:
        return invalid(place.template, "Validation Failed", "name", "custom", "is too long", "Label")
    label = place.new_label(body["name"], body.get("color", "ededed"), body.get("description"))
    return Answer(place.template, 201, label)


def _new_milestone(place: _Place, asked: Request) -> Answer:
    body = asked.body
    if any(item["title"] == body["title"] for item in place.milestones):
        return invalid(place.template, "Validation Failed", "title", "already_exists", None, "Milestone")
    number, identity = len(place.milestones) + 1, place.fake.new_id()
    url = f"{place.api}/milestones/{number}"
    milestone = {
        **{"id": identity, "node_id": f"MI_{identity}", "number": number, "title": body["title"]},
        **{"url": url, "html_url": url, "labels_url": f"{url}/labels", "state": body.get("state", "open")},
        **{"description": body.get("description"), "due_on": body.get("due_on"), "closed_at": None},
        **{"open_issues": 0, "closed_issues": 0, "created_at": github_json.MOMENT, "updated_at": github_json.MOMENT},
        "creator": github_json.account(place.fake.api_url, 1000, place.token.login, "User"),
    }
    place.milestones.append(milestone)
    return Answer(place.template, 201, milestone)


ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/issues", _issues),
    ("POST", "/issues", _new_issue),
    ("GET", "/issues/{issue_number}", _with_issue(_issue)),
    ("PATCH", "/issues/{issue_number}", _with_issue(_change_issue)),
    ("GET", "/issues/{issue_number}/comments", _with_issue(_comments)),
    ("POST", "/issues/{issue_number}/comments", _with_issue(_new_comment)),
    ("PUT", "/issues/{issue_number}/lock", _with_issue(_lock)),
    ("POST", "/pulls", _new_pull),
    ("POST", "/labels", _new_label),
    ("POST", "/milestones", _new_milestone),
)
