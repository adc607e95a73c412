"""The GraphQL queries for issues, pull requests, and discussions, and what is asked of each.

Names are GitHub's: https://docs.github.com/en/graphql/reference/objects
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from github_s3_backup.records.content import IssueKind

# GitHub returns no more of a list at once, and takes no more ids in one request.
PAGE_SIZE = 100

ACTOR = """__typename login ... on User { databaseId name } ... on Bot { databaseId }
    ... on Organization { databaseId name } ... on Mannequin { databaseId }"""
USER = "login databaseId name"
ISSUE_NAME = "number repository { nameWithOwner }"
SUBJECT = f"__typename ... on Issue {{ {ISSUE_NAME} }} ... on PullRequest {{ {ISSUE_NAME} }}"
REACTIONS = "reactionGroups { content reactors { totalCount } }"
# Of everything that somebody wrote.
WRITTEN = f"id databaseId url author {{ {ACTOR} }} authorAssociation body createdAt updatedAt lastEditedAt"
COMMENT = f"{WRITTEN} isMinimized minimizedReason {REACTIONS}"
REVIEW_COMMENT = f"""{COMMENT} path line startLine originalLine originalStartLine diffHunk outdated subjectType
    commit {{ oid }} originalCommit {{ oid }} replyTo {{ databaseId }} pullRequestReview {{ databaseId }}"""
DISCUSSION_REPLY = f"{COMMENT} deletedAt isAnswer upvoteCount"

CLOSER = f"__typename ... on PullRequest {{ {ISSUE_NAME} }} ... on Commit {{ oid }}"
EVENT = f"id createdAt actor {{ {ACTOR} }}"
ASSIGNEE = "assignee { __typename ... on User { login } ... on Bot { login } ... on Mannequin { login } }"
# The events that tell how something came to be as it is, by type, and what is asked of each besides EVENT.
ISSUE_EVENTS = MappingProxyType(
    {
        "AssignedEvent": ASSIGNEE,
        "ClosedEvent": f"stateReason closer {{ {CLOSER} }}",
        "CommentDeletedEvent": "deletedCommentAuthor { login }",
        "ConnectedEvent": f"subject {{ {SUBJECT} }}",
        "ConvertedToDiscussionEvent": "discussion { number }",
        "CrossReferencedEvent": f"isCrossRepository willCloseTarget source {{ {SUBJECT} }}",
        "DemilestonedEvent": "milestoneTitle",
        "LabeledEvent": "label { name }",
        "LockedEvent": "lockReason",
        "MarkedAsDuplicateEvent": f"canonical {{ {SUBJECT} }}",
        "MilestonedEvent": "milestoneTitle",
        "PinnedEvent": "",
        "ReferencedEvent": "commit { oid } commitRepository { nameWithOwner }",
        "RenamedTitleEvent": "previousTitle currentTitle",
        "ReopenedEvent": "stateReason",
        "TransferredEvent": "fromRepository { nameWithOwner }",
        "UnassignedEvent": ASSIGNEE,
        "UnlabeledEvent": "label { name }",
        "UnlockedEvent": "",
        "UnpinnedEvent": "",
    }
)
NOT_OF_PULL_REQUESTS = ("ConvertedToDiscussionEvent",)
PULL_REQUEST_EVENTS = MappingProxyType(
    {
        "BaseRefChangedEvent": "previousRefName currentRefName",
        "BaseRefForcePushedEvent": "beforeCommit { oid } afterCommit { oid }",
        "ConvertToDraftEvent": "",
        "HeadRefDeletedEvent": "headRefName",
        "HeadRefForcePushedEvent": "beforeCommit { oid } afterCommit { oid }",
        "HeadRefRestoredEvent": "",
        "MergedEvent": "mergeRefName commit { oid }",
        "ReadyForReviewEvent": "",
        "ReviewDismissedEvent": "dismissalMessage previousReviewState review { databaseId }",
        "ReviewRequestedEvent": "requestedReviewer { __typename ... on User { login } ... on Team { slug } }",
    }
    | {name: asked for name, asked in ISSUE_EVENTS.items() if name not in NOT_OF_PULL_REQUESTS}
)


@dataclass(frozen=True)
class Connection:
    """A list that belongs to a node, of which GitHub returns a page at a time.

    `below`: a list that belongs to each of its items. It is asked for separately: lists within lists cost the most.
    """

    selection: str
    arguments: str = ""
    below: "Below | None" = None


@dataclass(frozen=True)
class Below:
    """A list of the items of another list: its name, and the type of the items that have it."""

    name: str
    owner: str
    connection: Connection


@dataclass(frozen=True)
class Node:
    """What is asked of a type: its own fields, and its lists by their names."""

    type: str
    fields: str
    connections: Mapping[str, Connection] = field(default_factory=dict)

    def fragment(self) -> str:
        """Return what a query asks of it, the first page of each list included."""
        lists = " ".join(f"{name}: {page(name, connection)}" for name, connection in self.connections.items())
        return f"... on {self.type} {{ {self.fields} {lists} }}"


def page(name: str, connection: Connection, after: str = "") -> str:
    """Return what a query asks for a page of a list."""
    below = f"{connection.below.name} {{ totalCount }}" if connection.below else ""
    arguments = ", ".join(filter(None, (f"first: {PAGE_SIZE}", after, connection.arguments)))
    return f"{name}({arguments}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ {connection.selection} {below} }} }}"


def _events(asked: Mapping[str, str]) -> Connection:
    types = ", ".join(sorted(_constant(name) for name in asked))
    fragments = " ".join(f"... on {name} {{ {EVENT} {more} }}" for name, more in sorted(asked.items()))
    return Connection(f"__typename {fragments}", f"itemTypes: [{types}]")


def _constant(name: str) -> str:
    """Return the name of a type of event as GitHub's enumeration has it: ClosedEvent is CLOSED_EVENT."""
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)[1:]


LABELS = Connection("name color description")
ASSIGNEES = Connection(USER)
COMMENTS = Connection(COMMENT)
STATE = f"""{WRITTEN} number title state closedAt locked activeLockReason milestone {{ number title }}
    {REACTIONS}"""

ISSUE = Node(
    "Issue",
    f"{STATE} stateReason isPinned parent {{ {ISSUE_NAME} }}",
    {
        "labels": LABELS,
        "assignees": ASSIGNEES,
        "comments": COMMENTS,
        "subIssues": Connection(ISSUE_NAME),
        "timelineItems": _events(ISSUE_EVENTS),
    },
)
PULL_REQUEST = Node(
    "PullRequest",
    f"""{STATE} isDraft isCrossRepository merged mergedAt mergedBy {{ {ACTOR} }} mergeCommit {{ oid }}
    headRefName headRefOid headRepository {{ nameWithOwner }} baseRefName baseRefOid
    additions deletions changedFiles reviewDecision""",
    {
        "labels": LABELS,
        "assignees": ASSIGNEES,
        "comments": COMMENTS,
        "reviewRequests": Connection(
            "requestedReviewer { __typename ... on User { login databaseId } ... on Team { slug databaseId } }"
        ),
        "reviews": Connection(f"{WRITTEN} state submittedAt commit {{ oid }} {REACTIONS}"),
        "reviewThreads": Connection(
            "id isResolved isOutdated path line startLine originalLine diffSide subjectType resolvedBy { login }",
            below=Below("comments", "PullRequestReviewThread", Connection(REVIEW_COMMENT)),
        ),
        "closingIssuesReferences": Connection(ISSUE_NAME),
        "timelineItems": _events(PULL_REQUEST_EVENTS),
    },
)
DISCUSSION = Node(
    "Discussion",
    f"""{WRITTEN} number title closed closedAt stateReason locked activeLockReason upvoteCount {REACTIONS}
    category {{ name slug isAnswerable emoji }} isAnswered answerChosenAt answerChosenBy {{ {ACTOR} }} answer {{ id }}
    poll {{ question totalVoteCount options(first: 10) {{ nodes {{ option totalVoteCount }} }} }}""",
    {
        "labels": LABELS,
        "comments": Connection(
            DISCUSSION_REPLY, below=Below("replies", "DiscussionComment", Connection(DISCUSSION_REPLY))
        ),
    },
)
NODES: Mapping[IssueKind, Node] = MappingProxyType(
    {"issues": ISSUE, "pull_requests": PULL_REQUEST, "discussions": DISCUSSION}
)
# What a repository calls its lists of them.
LISTS: Mapping[IssueKind, str] = MappingProxyType(
    {"issues": "issues", "pull_requests": "pullRequests", "discussions": "discussions"}
)
NEWEST = "orderBy: {field: UPDATED_AT, direction: DESC}"


def details_query(kind: IssueKind) -> str:
    """Return the query for everything of up to PAGE_SIZE nodes."""
    return f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ {NODES[kind].fragment()} }} }}"


def rest_query(owner: str, name: str, connection: Connection) -> str:
    """Return the query for a page of a list that several nodes have, or for a later page of one node's."""
    asked = page(name, connection, "after: $after")
    return f"query($ids: [ID!]!, $after: String) {{ nodes(ids: $ids) {{ ... on {owner} {{ id {name}: {asked} }} }} }}"


def listing_query(kind: IssueKind) -> str:
    """Return the query for a page of a repository's list, what changed last first."""
    asked = f"{LISTS[kind]}(first: {PAGE_SIZE}, after: $after, {NEWEST})"
    found = "totalCount pageInfo { hasNextPage endCursor } nodes { id number updatedAt }"
    nodes = f"nodes(ids: $ids) {{ ... on Repository {{ listed: {asked} {{ {found} }} }} }}"
    return f"query($ids: [ID!]!, $after: String) {{ {nodes} }}"


def overview_query(kinds: frozenset[IssueKind]) -> str:
    """Return the query for how many there are in each repository, and when the last one changed."""
    asked = " ".join(
        f"{kind}: {LISTS[kind]}(first: 1, {NEWEST}) {{ totalCount nodes {{ updatedAt }} }}" for kind in sorted(kinds)
    )
    return f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Repository {{ databaseId {asked} }} }} }}"
