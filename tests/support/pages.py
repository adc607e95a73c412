"""What the commands of a page run against: two days of backups in two buckets, and a place to push to.

The pages name buckets, organizations, and hosts. Here these names lead to the embedded S3 and AWS, and
https://github.com/ to bare repositories in a folder that refuse what GitHub refuses.
"""

import copy
import json
import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded.github import FakeGitHub, FakeRepository
from embedded.github_lfs import LfsStore
from embedded.organisation import RECIPES, make_repository
from embedded.real_git import ENVIRONMENT, git, served_refs
from embedded.s3 import WRITER
from embedded.stack import BACKUP, PROJECT, Stack
from support import content, printed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PRIMARY, REPLICA = "acme-github-backups", "acme-github-backups-replica"
SERVICE = "github-backup"
NAMES = ("api", "archived", "empty", "service-000", "shared-commit", "tags-only")
LFS_FILE, RELEASE_FILE = b"a level\n" * 1000, b"a release\n" * 1000
# The days of the backups, as the pages show them.
DATES = ("2026-11-22", "2026-11-23")
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
    """One day's backup: its manifest, what it stored by its key, and the refs of each repository."""

    manifest: dict[str, Any]
    bundles: dict[str, bytes]
    refs: dict[str, dict[str, str]]
    log: str

    @property
    def date(self) -> str:
        return str(self.manifest["date"])

    def key(self, full_name: str) -> str:
        """Return the key of a repository's bundle, which may be an earlier day's."""
        (entry,) = (entry for entry in self.manifest["repos"] if entry["full_name"] == full_name)
        return str(entry["s3_key"])

    def with_date(self, other: str) -> "Day":
        """Return the same backup as if it had run on another day."""
        text = json.dumps(self.manifest).replace(self.date, other)
        text = text.replace(self.date.replace("-", ""), other.replace("-", ""))  # in the run's id
        bundles = {key.replace(self.date, other): body for key, body in self.bundles.items()}
        return Day(json.loads(text), bundles, self.refs, self.log)

    def put(self, client: "S3Client", bucket: str, versions: dict[str, str]) -> dict[str, str]:
        """Put the backup into a bucket and return the versions of its bundles. `versions`: those to write instead."""
        stored = {
            key: client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="SHA256")["VersionId"]
            for key, body in self.bundles.items()
        }
        body = json.dumps(_with_versions(self.manifest, stored | versions), indent=2).encode()
        for name in (f"runs/{self.manifest['run_id']}.json", "manifest.json"):
            client.put_object(Bucket=bucket, Key=f"github-backup/{self.date}/{name}", Body=body)
        return stored


def _with_versions(value: Any, versions: dict[str, str]) -> Any:
    """Return a part of a manifest with other versions of the objects that it names."""
    if isinstance(value, list):
        return [_with_versions(item, versions) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _with_versions(item, versions) for key, item in value.items()}
    return changed | {"version_id": versions.get(value["s3_key"])} if value.get("s3_key") else changed


def two_days(stack: Stack, folder: Path) -> tuple[Day, Day]:
    """Back up an organisation, let a branch and a repository vanish, back up again, and return yesterday and today.

    Today's backup stores what changed. For the rest it names yesterday's bundles.
    """
    buckets = [stack.s3.new_bucket(f"pages-{uuid.uuid4().hex}") for _ in range(2)]
    with FakeGitHub() as github:
        for name in NAMES:
            recipe = RECIPES[name]
            github.add("acme", name, make_repository(folder, recipe), **recipe.about)
        add_content(next(iter(github.repositories.values())), folder)
        first = back_up(stack, github, buckets[0], folder / "before")
        yesterday = first.with_date(str(date.fromisoformat(first.date) - timedelta(days=1)))
        yesterday.put(stack.s3.client(), buckets[1], {})
        api, vanished = (github.repositories[number] for number in list(github.repositories) if _named(github, number))
        git(f"--git-dir={api.path}", "update-ref", "-d", DELETED_BRANCH)
        vanished.gone = True
        return yesterday, back_up(stack, github, buckets[1], folder / "after")


def add_content(api: FakeRepository, folder: Path) -> None:
    """Give a repository what git alone does not hold: an LFS object on main, a wiki, and a release with a file."""
    api.lfs = LfsStore(folder / "lfs")
    pointer = api.lfs.pointer(api.lfs.add(LFS_FILE))
    content.push(api.path, {".gitattributes": content.ATTRIBUTES, "level.bin": pointer})
    api.wiki = content.make_wiki(folder, "api", {"Home.md": b"# Home"})
    bug = api.issues.open("The server forgets its port", labels=[{"name": "bug", "color": "d73a4a"}])
    api.issues.comment(bug, "Only where the port is 0.")
    api.issues.close(bug)
    api.issues.open("Ask for the port", "pull_requests")
    api.releases = [content.release(content.Numbers(), "v1.0.0", {"api.zip": RELEASE_FILE})]


def _named(github: FakeGitHub, number: int) -> bool:
    return github.repositories[number].full_name in ("acme/api", VANISHED)


def back_up(stack: Stack, github: FakeGitHub, bucket: str, folder: Path) -> Day:
    """Run the backup into the bucket and return what it stored."""
    folder.mkdir()
    (folder / "key.pem").write_text(github.pem())
    environment = stack.environment(github, bucket, folder) | {"GITHUB_APP_KEY_FILE": str(folder / "key.pem")}
    before = keys_in(stack, bucket)
    output = subprocess.run(BACKUP, env=environment, check=True, capture_output=True).stdout
    client, url = stack.s3.client(), json.loads(output.splitlines()[-1])["manifest"]
    manifest = json.loads(client.get_object(Bucket=bucket, Key=url.removeprefix(f"s3://{bucket}/"))["Body"].read())
    written = keys_in(stack, bucket) - before
    keys = sorted(key for key in written if not key.endswith("/manifest.json") and "/runs/" not in key)
    bundles = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    paths = {repository.full_name: repository.path for repository in github.repositories.values()}
    names = [entry["full_name"] for entry in manifest["repos"]]
    return Day(manifest, bundles, {name: served_refs(paths[name]) for name in names}, output.decode())


def keys_in(stack: Stack, bucket: str) -> set[str]:
    pages = stack.s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {item["Key"] for page in pages for item in page.get("Contents", [])}


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
        self.days = copy.deepcopy(self.days)
        self.arrange_buckets()
        return self

    def arrange_buckets(self) -> None:
        """Empty both buckets, and put the days into them."""
        for bucket in (PRIMARY, REPLICA):
            self.empty(bucket)
        client = self.stack.s3.client()
        versions: dict[str, str] = {}
        for day in self.days:
            versions |= day.put(client, PRIMARY, versions)
            # S3 keeps the versions' ids in a replica; this one can't, and has its own.
            day.put(client, REPLICA, versions)

    def forget_wikis(self) -> None:
        """Take the wikis out of the backups: GitHub makes one only when somebody writes its first page on the web."""
        for day in self.days:
            for entry in day.manifest["repos"]:
                entry["wiki"] = None
        self.arrange_buckets()

    def empty(self, bucket: str) -> None:
        """Make the bucket, or delete every version in it."""
        client = self.stack.s3.client()
        if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
            self.stack.s3.new_bucket(bucket)
        found = client.list_object_versions(Bucket=bucket)
        for version in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])

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

    def run_on_a_terminal(self, blocks: list[str]) -> list[str]:
        """Run blocks as a person would see them, and return what each prints."""
        code, outputs = printed.run_in_terminal(blocks, self.folder, self.environment(), f"{self.token}\n")
        assert code == 0, "\n".join(outputs)
        return outputs[: len(blocks)]

    def as_on_the_page(self, output: str) -> str:
        """Return an output with the dates that the pages have, and without this test's folder."""
        for day, shown in zip(self.days, DATES, strict=True):
            output = output.replace(day.date, shown).replace(day.date.replace("-", ""), shown.replace("-", ""))
        for url in (f"file://{self.hosting}", self.github.server_url):
            output = output.replace(url, "https://github.com")
        return output.replace(f"{self.folder}/", "").replace(str(self.folder), ".")

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
            "GIT_CONFIG_KEY_0": f"url.file://{self.hosting}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/",
            "AWS_ENDPOINT_URL": stack.aws.url,
            "AWS_ENDPOINT_URL_S3": stack.s3.url,
            "AWS_ACCESS_KEY_ID": WRITER[0],
            "AWS_SECRET_ACCESS_KEY": WRITER[1],
            "AWS_PAGER": "",
            **self.variables,
        }
