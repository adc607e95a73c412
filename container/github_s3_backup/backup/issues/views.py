"""What GitHub has of a shard's issues, pull requests and discussions, asked for a hundred repositories at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from github_s3_backup.backup.issues.repository import RESERVE
from github_s3_backup.backup.repository.errors import Failed, attempt
from github_s3_backup.backup.services import Services
from github_s3_backup.github.graphql import Hidden
from github_s3_backup.github.issues.queries import PAGE_SIZE
from github_s3_backup.github.issues.reader import Seen, overview
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.content import IssueKind
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.runtime.threads import map_at_once, within_grace

# Requests at once, and the seconds that each has to finish after the run was stopped.
AT_ONCE, GRACE = 8, 8.0


@dataclass(frozen=True)
class View:
    """The kinds that the App may read in a repository, and what there is of each.

    `seen`: None where GitHub was not asked, for want of points, and where the repository was just deleted.
    """

    granted: frozenset[IssueKind]
    seen: Mapping[IssueKind, Seen] | None


def views_of(
    repositories: Sequence[Repository], wanted: frozenset[IssueKind], services: Services
) -> dict[int, View | Failed]:
    """Return what GitHub has of each repository, or the error that it answered."""
    groups: dict[int, list[Repository]] = defaultdict(list)
    for repository in repositories:
        groups[repository.installation_id].append(repository)
    batches = [group[n : n + PAGE_SIZE] for group in groups.values() for n in range(0, len(group), PAGE_SIZE)]

    def view(batch: Sequence[Repository]) -> dict[int, View | Failed]:
        try:
            return within_grace(lambda: _views(batch, wanted, services), services.context.stop, GRACE)
        except Stopped:
            return {}

    return {number: one for views in map_at_once(view, batches, AT_ONCE) for number, one in views.items()}


def _views(batch: Sequence[Repository], wanted: frozenset[IssueKind], services: Services) -> dict[int, View | Failed]:
    """Return what GitHub has of up to a hundred repositories of one installation."""
    to = services.github.access(batch[0].installation_id)
    granted = attempt(lambda: frozenset(kind for kind in wanted if kind in to.granted()))
    if isinstance(granted, Failed):
        return {repository.id: granted for repository in batch}
    unknown = View(granted, None)
    if granted and to.points.share_left <= RESERVE:
        services.context.log.warning("issues not looked at, few points are left", repositories=len(batch))
    if not granted or to.points.share_left <= RESERVE:
        return {repository.id: unknown for repository in batch}
    found = attempt(lambda: overview(to, [repository.node_id for repository in batch], granted))
    if isinstance(found, Failed):
        is_limit = isinstance(found.error, GitHubError) and found.error.retry.is_limit
        return {repository.id: unknown if is_limit else found for repository in batch}
    return {repository.id: _view(seen, granted) for repository, seen in zip(batch, found, strict=True)}


def _view(found: Mapping[IssueKind, Seen] | Hidden, granted: frozenset[IssueKind]) -> View | Failed:
    if not isinstance(found, Hidden):
        return View(granted, found)
    return View(granted, None) if found.is_gone else Failed(GitHubError(found.words, 403), "list")
