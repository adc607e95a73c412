"""GitHub's answers, as its OpenAPI description says they look (tests/openapi/)."""

from typing import Any
from urllib.parse import quote

MOMENT = "2026-01-02T03:04:05Z"

# Fields of a repository that hold a URL below it, by their ending.
REPOSITORY_URLS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}
ACCOUNT_URLS = (
    *("followers_url", "following_url", "gists_url", "starred_url", "subscriptions_url"),
    *("organizations_url", "repos_url", "events_url", "received_events_url"),
)


def account(api: str, number: int, login: str, kind: str = "Organization") -> dict[str, Any]:
    """Return a user or organisation in short form (schema simple-user)."""
    plain, login = login, quote(login)
    urls = {field: f"{api}/users/{login}/{field.removesuffix('_url')}" for field in ACCOUNT_URLS}
    return urls | {
        "login": plain,
        "id": number,
        "node_id": f"O_{number}",
        "avatar_url": f"{api}/avatars/{number}",
        "gravatar_id": "",
        "url": f"{api}/users/{login}",
        "html_url": f"{api}/{login}",
        "type": kind,
        "site_admin": False,
    }


def public_account(api: str, number: int, login: str, kind: str) -> dict[str, Any]:
    """Return a user or organisation asked for by itself (schema public-user)."""
    unknown = ("bio", "blog", "company", "email", "hireable", "location", "name")
    return account(api, number, login, kind) | {
        "user_view_type": "public",
        **dict.fromkeys(unknown),
        **dict.fromkeys(("followers", "following", "public_gists", "public_repos"), 0),
        **dict.fromkeys(("created_at", "updated_at"), MOMENT),
    }


def _installed_account(api: str, number: int, login: str, kind: str) -> dict[str, Any]:
    """Return an account with the fields of an enterprise too: the description asks for both at once."""
    enterprise = {"name": login, "slug": login, "description": None, "website_url": None}
    return account(api, number, login, kind) | enterprise | {"created_at": MOMENT, "updated_at": MOMENT}


def installation(api: str, item: Any, kind: str) -> dict[str, Any]:
    """Return one installation (schema installation); `item` is a FakeInstallation."""
    number, login = item.id, item.owner
    return {
        "id": number,
        "account": _installed_account(api, number, login, kind),
        "app_id": int(item.app.id),
        "app_slug": item.app.slug,
        "target_id": number,
        "target_type": kind,
        "repository_selection": "all",
        "access_tokens_url": f"{api}/app/installations/{number}/access_tokens",
        "repositories_url": f"{api}/installation/repositories",
        "html_url": f"{api}/organizations/{quote(login)}/settings/installations/{number}",
        "permissions": item.app.permissions,
        "events": [],
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "single_file_name": None,
        "suspended_by": account(api, 1, "admin", "User") if item.suspended else None,
        "suspended_at": MOMENT if item.suspended else None,
    }


def repository(api: str, server: str, item: Any) -> dict[str, Any]:
    """Return a repository (schema repository); `item` is a FakeRepository."""
    full_name = f"{item.owner}/{item.name}"
    quoted = quote(full_name)
    base = f"{api}/repos/{quoted}"
    return {field: base + ending for field, ending in REPOSITORY_URLS.items()} | {
        "id": item.id,
        "node_id": f"R_{item.id}",
        "name": item.name,
        "full_name": full_name,
        "owner": account(api, 1000, item.owner, item.owner_type),
        "private": item.private,
        "visibility": "private" if item.private else "public",
        "fork": item.fork,
        "archived": item.archived,
        "disabled": False,
        "default_branch": item.default_branch,
        "size": item.size_kb,
        "url": base,
        "html_url": f"{server}/{quoted}",
        "clone_url": f"{server}/{quoted}.git",
        "git_url": f"git:{full_name}.git",
        "ssh_url": f"git@{full_name}.git",
        "svn_url": f"{server}/{quoted}",
        "mirror_url": None,
        "description": None,
        "homepage": None,
        "language": None,
        "license": None,
        "topics": [],
        "permissions": {"admin": False, "maintain": False, "push": False, "triage": False, "pull": True},
        **dict.fromkeys(("has_issues", "has_projects", "has_downloads"), True),
        "has_wiki": item.wiki_is_on,
        **dict.fromkeys(("has_pages", "has_discussions", "is_template"), False),
        **dict.fromkeys(("forks", "forks_count", "open_issues", "open_issues_count"), 0),
        **dict.fromkeys(("stargazers_count", "watchers", "watchers_count"), 0),
        **dict.fromkeys(("created_at", "updated_at", "pushed_at"), MOMENT),
        **item.settings,
    }


def full_repository(api: str, server: str, item: Any, push: bool, admin: bool) -> dict[str, Any]:
    """Return a repository asked for by itself (schema full-repository), with what the asker may do."""
    answer = repository(api, server, item)
    may = {"admin": admin, "maintain": admin, "push": push, "triage": push, "pull": True}
    return answer | {"network_count": 0, "subscribers_count": 0, "permissions": may}


def error(status: int, message: str, **about: Any) -> dict[str, Any]:
    """Return an error (schema basic-error), with `block` where a repository is blocked, `errors` of validation."""
    body: dict[str, Any] = {
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": str(status),
    }
    return body | about
