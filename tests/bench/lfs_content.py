"""What LFS objects cost, beside the LFS client that everybody has: `git lfs fetch --all`."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from statistics import median

from bench.contenders import environment
from bench.days import a_day_passes
from bench.measure import Usage
from bench.organisation import Organisation
from bench.plan import Plan
from bench.session import Session
from embedded.github import FakeGitHub
from embedded.github_lfs import LfsStore
from embedded.organisation import OWNER, Recipe, Stream, make_repository
from embedded.real_git import ENVIRONMENT
from embedded.stack import RESTORE


@dataclass(frozen=True)
class LfsContent:
    """Seconds, bytes and requests. `client` and `ratio` are None where git-lfs is not installed.

    `ratio` and `restore_ratio`: of the seconds to those of `git lfs fetch --all`, medians of the rounds' ratios.
    """

    objects: int
    size: int
    backup: float
    restore: float
    client: float | None
    ratio: float | None
    restore_ratio: float | None
    first_day_requests: int
    unchanged_requests: int
    unchanged_objects: int
    large: int
    large_memory: int


def lfs_content(session: Session, plan: Plan) -> LfsContent:
    """Measure one repository with many objects, and one with a large one."""
    session.recorded.set(recording=True)
    with FakeGitHub() as github:
        many = _repository(session, github, "many", [os.urandom(plan.lfs_size) for _ in range(plan.lfs_objects)])
        rounds = [_round(session, many) for _ in range(plan.rounds)]
    with FakeGitHub() as github, session.bucket() as bucket:
        large = _repository(session, github, "large", [], plan.lfs_large)
        memory = session.product(large, bucket)[0].memory
    clients = [item.client for item in rounds if item.client is not None]
    return LfsContent(
        objects=plan.lfs_objects,
        size=plan.lfs_objects * plan.lfs_size,
        backup=median(item.backup.wall for item in rounds),
        restore=median(item.restore for item in rounds),
        client=median(clients) if clients else None,
        ratio=_ratio([(item.backup.wall, item.client) for item in rounds]),
        restore_ratio=_ratio([(item.restore, item.client) for item in rounds]),
        first_day_requests=rounds[0].first_day_requests,
        unchanged_requests=rounds[0].unchanged_requests,
        unchanged_objects=rounds[0].unchanged_objects,
        large=plan.lfs_large,
        large_memory=memory,
    )


@dataclass(frozen=True)
class _Round:
    """What one round took."""

    backup: Usage
    restore: float
    client: float | None
    first_day_requests: int
    unchanged_requests: int
    unchanged_objects: int


def _round(session: Session, many: Organisation) -> _Round:
    """Back up, restore, and let a day pass; then the LFS client in its turn."""
    with session.bucket() as bucket:
        many.github.exchanges.clear()
        backup, _ = session.product(many, bucket)
        first_day_requests = len(many.github.exchanges)
        restore = _restore(session, many, bucket)
        a_day_passes(session.s3, bucket)
        many.github.exchanges.clear()
        unchanged, _ = session.product(many, bucket)
        unchanged_requests = len(many.github.exchanges)
    client = _fetch_all(session, many) if shutil.which("git-lfs") else None
    return _Round(backup, restore, client, first_day_requests, unchanged_requests, unchanged.s3_objects)


def _repository(session: Session, github: FakeGitHub, name: str, contents: list[bytes], large: int = 0) -> Organisation:
    """Return an organisation of one repository whose history points at these objects."""
    place = session.place / f"beside-git-{next(session.numbers)}"
    store = LfsStore(place / "lfs")
    oids = [store.add(content) for content in contents] + ([store.add_sparse(large)] if large else [])

    def fill(stream: Stream) -> None:
        stream.commit("refs/heads/main", {f"{oid[:8]}.bin": store.pointer(oid) for oid in oids})

    path = make_repository(place, Recipe(name, fill))
    github.add(OWNER, name, path, lfs=store)
    return Organisation(github, session.recorded, [])


def _restore(session: Session, many: Organisation, bucket: str) -> float:
    """Return the seconds in which a mirror with its LFS objects is restored."""
    with session.scratch() as scratch:
        given = environment(session.stack, many, bucket, scratch)
        into = scratch / "restored"
        usage, _ = session.meter.run(
            (*RESTORE, "fetch", "--all", "--into", str(into), "--as", "mirrors"), given, scratch
        )
        found = sum(1 for path in into.rglob("*") if "lfs" in path.parts and path.is_file())
        assert found == len(next(iter(many.github.repositories.values())).lfs.oids()), found
        return usage.wall


def _fetch_all(session: Session, many: Organisation) -> float:
    """Return the seconds in which git-lfs fetches all objects into a mirror that is there."""
    repository = next(iter(many.github.repositories.values()))
    token = many.github.issued[-1]
    url = f"{many.github.server_url}/{repository.full_name}.git".replace("://", f"://x-access-token:{token}@")
    with session.scratch() as scratch:
        home = {"HOME": str(scratch)}
        mirror = scratch / "mirror.git"
        subprocess.run(["git", "clone", "--quiet", "--mirror", url, mirror], env=ENVIRONMENT | home, check=True)
        begun = time.monotonic()
        subprocess.run(
            ["git", "-C", mirror, "lfs", "fetch", "--all", "origin"],
            env=ENVIRONMENT | home,
            check=True,
            capture_output=True,
        )
        return time.monotonic() - begun


def _ratio(pairs: list[tuple[float, float | None]]) -> float | None:
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    return median(ratios) if ratios else None
