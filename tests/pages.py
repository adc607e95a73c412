"""What the commands of a page run against: two days of backups in two buckets, and a place to push to.

The pages name buckets, organizations, and hosts. Here these names lead to the embedded S3 and AWS, and
https://github.com/ to bare repositories in a folder that refuse what GitHub refuses.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from embedded.github import FakeGitHub
from embedded.organisation import RECIPES, make_repository
from embedded.real_git import ENVIRONMENT, git, served_refs
from embedded.s3 import WRITER
from embedded.stack import BACKUP, PROJECT, Stack

PRIMARY, REPLICA = "acme-github-backups", "acme-github-backups-replica"
SERVICE = "github-backup"
NAMES = ("api", "archived", "empty", "service-000", "shared-commit", "tags-only")
# In the older day only.
VANISHED, DELETED_BRANCH = "acme/service-000", "refs/heads/feature/login"


def sections(page: str) -> dict[str, list[str]]:
    """Return the shell blocks below each second heading of a page."""
    text = (PROJECT / "docs" / page).read_text()
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    found = {
        heading: re.findall(r"^```sh\n(.*?)^```", body, re.MULTILINE | re.DOTALL) for heading, body in _pairs(parts)
    }
    return {heading: blocks for heading, blocks in found.items() if blocks}


def _pairs(parts: list[str]) -> list[tuple[str, str]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


@dataclass(frozen=True)
class Day:
    """One day's backup: its manifest, each bundle by `owner/name.bundle`, and the refs that each repository had."""

    manifest: dict[str, Any]
    bundles: dict[str, bytes]
    refs: dict[str, dict[str, str]]

    @property
    def date(self) -> str:
        return str(self.manifest["date"])

    def with_date(self, other: str) -> "Day":
        """Return the same backup as if it had run on another day."""
        text = json.dumps(self.manifest).replace(self.date, other)
        text = text.replace(self.date.replace("-", ""), other.replace("-", ""))  # in the run's id
        return Day(json.loads(text), self.bundles, self.refs)


def two_days(stack: Stack, folder: Path) -> tuple[Day, Day]:
    """Back up an organisation, let a branch and a repository vanish, back up again, and return yesterday and today."""
    with FakeGitHub() as github:
        for name in NAMES:
            recipe = RECIPES[name]
            github.add("acme", name, make_repository(folder, recipe), **recipe.about)
        before = back_up(stack, github, folder / "before")
        api, vanished = (github.repositories[number] for number in list(github.repositories) if _named(github, number))
        git(f"--git-dir={api.path}", "update-ref", "-d", DELETED_BRANCH)
        vanished.gone = True
        after = back_up(stack, github, folder / "after")
    return before.with_date(str(date.fromisoformat(after.date) - timedelta(days=1))), after


def _named(github: FakeGitHub, number: int) -> bool:
    return github.repositories[number].full_name in ("acme/api", VANISHED)


def back_up(stack: Stack, github: FakeGitHub, folder: Path) -> Day:
    """Run the backup into a bucket of its own and return what it stored."""
    folder.mkdir()
    (folder / "key.pem").write_text(github.pem())
    client, bucket = stack.s3.client(), stack.s3.new_bucket(f"pages-{os.getpid()}-{folder.name}")
    environment = stack.environment(github, bucket, folder) | {"GITHUB_APP_KEY_FILE": str(folder / "key.pem")}
    subprocess.run(BACKUP, env=environment, check=True, capture_output=True)
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]]
    stored = {key.split("/", 2)[2]: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    manifest = json.loads(stored["manifest.json"])
    bundles = {path: body for path, body in stored.items() if path.endswith(".bundle")}
    paths = {repository.full_name: repository.path for repository in github.repositories.values()}
    names = [entry["full_name"] for entry in manifest["repos"]]
    return Day(manifest, bundles, {name: served_refs(paths[name]) for name in names})


@dataclass
class Place:
    """Where a page's commands run: a folder of their own, two filled buckets, and what stands for github.com."""

    stack: Stack
    github: FakeGitHub
    folder: Path
    days: tuple[Day, Day]
    variables: dict[str, str] = field(default_factory=dict)
    token: str = ""

    @property
    def today(self) -> Day:
        return self.days[1]

    @property
    def hosting(self) -> Path:
        return self.folder / "hosting"

    def arrange(self) -> "Place":
        """Fill both buckets."""
        (self.folder / "tmp").mkdir()
        for bucket in (PRIMARY, REPLICA):
            self.empty(bucket)
        versions = [self.fill(PRIMARY, day) for day in self.days]
        # S3 keeps the versions' ids in a replica; this one can't, and has its own.
        for day, known in zip(self.days, versions, strict=True):
            self.fill(REPLICA, day, known)
        return self

    def empty(self, bucket: str) -> None:
        """Make the bucket, or delete every version in it."""
        client = self.stack.s3.client()
        if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
            self.stack.s3.new_bucket(bucket)
        found = client.list_object_versions(Bucket=bucket)
        for version in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])

    def fill(self, bucket: str, day: Day, versions: dict[str, str] | None = None) -> dict[str, str]:
        """Put a day's backup into a bucket, its manifest with `versions` or the bucket's own, and return these."""
        client, stored = self.stack.s3.client(), {}
        for path, body in day.bundles.items():
            key = f"github-backup/{day.date}/{path}"
            stored[key] = client.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
        named = versions or stored
        repositories = [entry | {"version_id": named.get(entry["s3_key"])} for entry in day.manifest["repos"]]
        body = json.dumps(day.manifest | {"repos": repositories}, indent=2).encode()
        for name in (f"runs/{day.manifest['run_id']}.json", "manifest.json"):
            client.put_object(Bucket=bucket, Key=f"github-backup/{day.date}/{name}", Body=body)
        return named

    def host(self, full_name: str, source: Path | None = None) -> Path:
        """Make a repository on what stands for github.com: empty, or with what a source has."""
        path = self.hosting / f"{full_name}.git"
        git("init", "--quiet", "--bare", path)
        if source:
            git("-C", source, "push", "--quiet", path, "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
        git("-C", path, "config", "receive.hideRefs", "refs/pull")
        return path

    def run(self, blocks: list[str]) -> str:
        """Run blocks one after the other in one shell, as a person would, and return what they print."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "".join(blocks)],
            cwd=self.folder,
            env=self.environment(),
            input=f"{self.token}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def environment(self) -> dict[str, str]:
        """Return what points the commands at this machine and this checkout, and not at the user's configuration."""
        stack = self.stack
        return {
            **ENVIRONMENT,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT / "container"),
            "HOME": str(self.folder / "tmp"),
            "TMPDIR": str(self.folder / "tmp"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.hosting}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/",
            "AWS_ENDPOINT_URL": stack.aws.url,
            "AWS_ENDPOINT_URL_S3": stack.s3.url,
            "AWS_ACCESS_KEY_ID": WRITER[0],
            "AWS_SECRET_ACCESS_KEY": WRITER[1],
            "AWS_PAGER": "",
            **self.variables,
        }
