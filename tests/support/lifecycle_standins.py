"""Stand-ins for S3 and GitHub in a model of years of backups: as much of them as a run asks for."""

import hashlib
import heapq
import io
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Literal

from botocore.exceptions import ClientError

from github_s3_backup.git.refs import Refs
from github_s3_backup.git.served_refs import ServedRefs
from github_s3_backup.github.lfs import LfsAnswer
from github_s3_backup.github.releases import Releases, read_releases
from github_s3_backup.github.transport.http import Link
from github_s3_backup.github.transport.links import LinkError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.records.json_fields import utc
from github_s3_backup.repository import Repository

DAY = timedelta(days=1)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
# The days after which objects expire, by what their keys begin with.
Expirations = Mapping[str, int]
# The key of an object, and its version.
Name = tuple[str, str | None]
# What GitHub does to requests for content: it lacks a permission, it is down, or downloads break off.
Trouble = Literal["refused", "down", "broken off"]
# All files that there are, by their SHA-256: whoever needs a file takes one of these, so that many share it.
FILES = {hashlib.sha256(body).hexdigest(): body for body in (b"file %d" % number for number in range(7))}


# -- S3 ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """An object in the bucket. S3 counts its age from the beginning of the upload."""

    at: datetime
    version: str
    body: bytes
    checksum: str


@dataclass
class Bucket:
    """S3 as far as a run needs it; stands for a client.

    `shows_age`: False makes every object look as if it had just been written. `writes`: when something was written
    under a key, or under one with a date behind it.
    """

    now: datetime = BEGINNING
    shows_age: bool = True
    objects: dict[str, Kept] = field(default_factory=dict)
    writes: dict[str, list[datetime]] = field(default_factory=dict)
    _by_root: dict[str, list[tuple[datetime, str]]] = field(default_factory=dict)
    _versions: Iterator[int] = field(default_factory=count)

    def put_object(self, Key: str, Body: io.BytesIO, ChecksumSHA256: str, IfNoneMatch: str, **_: Any) -> dict[str, Any]:  # noqa: N803  (as boto3 names them)
        assert IfNoneMatch == "*"
        if Key in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        made = self.objects[Key] = Kept(self.now, str(next(self._versions)), Body.read(), ChecksumSHA256)
        heapq.heappush(self._below(Key), (self.now, Key))
        self.writes.setdefault(Key.partition(".")[0], []).append(self.now)
        return {"VersionId": made.version}

    def head_object(self, Key: str, VersionId: str | None = None, **_: Any) -> dict[str, Any]:  # noqa: N803
        kept = self._get(Key, VersionId)
        return {
            "ContentLength": len(kept.body),
            "VersionId": kept.version,
            "ChecksumSHA256": kept.checksum,
            "LastModified": kept.at if self.shows_age else self.now,
        }

    def get_object(self, Key: str, VersionId: str | None = None, **_: Any) -> dict[str, Any]:  # noqa: N803
        body = self._get(Key, VersionId).body
        return {"Body": io.BytesIO(body), "ContentLength": len(body)}

    def get_paginator(self, operation: str) -> "Bucket":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Prefix: str, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        yield {"Contents": [{"Key": key} for _, key in self._below(Prefix) if key.startswith(Prefix)]}

    def _get(self, key: str, version: str | None) -> Kept:
        if not self.holds((key, version)):
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return self.objects[key]

    def _below(self, key: str) -> list[tuple[datetime, str]]:
        """Return the age and key of all objects below the same root, the oldest first."""
        return self._by_root.setdefault(key.partition("/")[0], [])

    def holds(self, name: Name) -> bool:
        kept = self.objects.get(name[0])
        return kept is not None and name[1] in (None, kept.version)

    def expire(self, midnight: datetime, expirations: Expirations) -> set[Name]:
        """Delete what is so old, and return its names.

        S3 expires an object at the first midnight after so many days.
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html#intro-lifecycle-rules-number-of-days
        """
        gone: set[Name] = set()
        for root, days in expirations.items():
            objects = self._below(root)
            while objects and objects[0][0] <= midnight - days * DAY:
                _, key = heapq.heappop(objects)
                gone.add((key, self.objects.pop(key).version))
        return gone


# -- GitHub --------------------------------------------------------------------------------------


@dataclass
class Project:
    """A repository at GitHub: its commit, the LFS objects that it points at, and its releases as the API shows them."""

    head: int = 0
    pointers: frozenset[str] = frozenset()
    releases: list[dict[str, Any]] = field(default_factory=list)
    # Changes with the releases, and also where nothing in them changes.
    etag: int = 0

    @property
    def refs(self) -> Refs:
        tags = {b"refs/tags/v%d" % release["id"]: b"%040x" % 1 for release in self.releases}
        return {b"refs/heads/main": b"%040x" % self.head, **tags}


@dataclass
class GitHub:
    """All repositories by their ids, tokens that nobody asks for, and downloads.

    Stands for the client and its downloader. `lost`: files that pointers and releases name, and that are not there.
    """

    luck: random.Random
    projects: dict[int, Project] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    trouble: Trouble | None = None
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        for number in (7, 8, 1000):
            self.create(number)

    @property
    def downloader(self) -> "GitHub":
        return self

    @property
    def tokens(self) -> "GitHub":
        return self

    def access(self, _: int) -> "GitHub":
        return self

    def with_token(self, action: Callable[[str], ServedRefs]) -> ServedRefs:
        return action("token")

    def served_refs(self, repository: Repository, _: str) -> ServedRefs:
        return ServedRefs(self.projects[repository.id].refs, "main")

    def lfs_links(self, _: Repository, objects: Mapping[str, int]) -> dict[str, LfsAnswer]:
        self._check()
        gone = LfsAnswer({}, 404, "it is not there")
        return {oid: gone if oid in self.lost else LfsAnswer({"download": Link(oid, {})}) for oid in objects}

    def releases(self, repository: Repository, etag: str | None) -> Releases | None:
        self._check()
        project = self.projects[repository.id]
        return None if etag == str(project.etag) else read_releases([project.releases], str(project.etag))

    def release_file_link(self, repository: Repository, number: int) -> Link:
        files = (file for release in self.projects[repository.id].releases for file in release["assets"])
        return next(Link(file["label"], {}) for file in files if file["id"] == number)

    def blocks(self, _: int, new_link: Callable[[], Link]) -> Iterator[bytes]:
        oid = new_link().url
        if oid in self.lost:
            raise LinkError("it is not there", 404)
        yield FILES[oid][:3]
        if self.trouble == "broken off":
            raise LinkError("it broke off")
        yield FILES[oid][3:]

    def _check(self) -> None:
        if self.trouble in ("refused", "down"):
            raise GitHubError("it does not answer", 403 if self.trouble == "refused" else 502)

    # -- what its users do -----------------------------------------------------------------------

    def create(self, number: int) -> None:
        """Let a repository come, with pointers and a release."""
        project = self.projects[number] = Project()
        self.push(project)
        self.publish(project, BEGINNING)

    def push(self, project: Project) -> None:
        """Let a commit come, with some pointers more and some less."""
        project.head += 1
        project.pointers = frozenset(
            oid for oid in FILES if self.luck.random() < (0.8 if oid in project.pointers else 0.2)
        )

    def publish(self, project: Project, now: datetime) -> None:
        """Let a release come, and the oldest go where there are many."""
        project.etag += 1
        files = [self._new_file(now) for _ in range(self.luck.choice((1, 1, 2)))]
        about = {"tag_name": "v", "target_commitish": "main", "body": "", "draft": False, "prerelease": False}
        release = {"id": next(self._ids), "created_at": utc(now), "assets": files, **about}
        project.releases = [release, *project.releases[:2]]

    def edit(self, project: Project, now: datetime) -> None:
        """Let a release change, or go, or only the ETag change."""
        project.etag += 1
        release = self.luck.choice(project.releases)
        match self.luck.choice(("notes", "file", "all", "ETag")):
            case "notes":
                release["body"] += "x"
            case "file":
                release["assets"] = [*release["assets"][1:], self._new_file(now)]
            case "all":
                project.releases.remove(release)

    def _new_file(self, now: datetime) -> dict[str, Any]:
        """Return a file, whose label is its SHA-256. GitHub itself knows that only of some."""
        number, oid = next(self._ids), self.luck.choice(list(FILES))
        about = {"name": "x.zip", "content_type": "application/zip", "created_at": utc(now), "updated_at": utc(now)}
        digest = f"sha256:{oid}" if number % 3 else None
        return {"id": number, "label": oid, "size": len(FILES[oid]), "digest": digest, **about}

    def delete_content(self) -> None:
        """Let all pointers and releases go."""
        for project in self.projects.values():
            project.head, project.pointers = project.head + 1, frozenset()
            project.etag, project.releases = project.etag + 1, []

    def lose(self) -> None:
        """Let a file go, or come back."""
        self.lost ^= {self.luck.choice(list(FILES))}
