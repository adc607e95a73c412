"""Content in a vault: a repository with LFS files, releases and a wiki, as a backup stores them."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedded.real_git import ENVIRONMENT, git, served_refs
from github_s3_backup.git.refs import refs_sha256
from support.vault import FIRST, PREFIX, Vault

API = "acme/api"
WIKI = "acme/api.wiki"
MOMENT = "2025-11-20T04:05:00Z"
FILES = {"design.psd": b"a design " * 1000, "video.bin": b"a video " * 3000, "old.bin": b"replaced " * 500}
TAG, DRAFT_TAG = "v1.0.0", "release/2.0 beta"

needs_git_lfs = pytest.mark.skipif(
    subprocess.run(["git", "lfs", "version"], capture_output=True, check=False).returncode != 0,
    reason="git-lfs is not installed: its client is not tested",
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pointer(content: bytes) -> bytes:
    """Return the pointer to an LFS object, as git-lfs writes it."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\nsize {len(content)}\n".encode()


@dataclass(frozen=True)
class Content:
    """A repository with all kinds of content, in a vault's bucket. `entry`: what the manifest says of it."""

    vault: Vault
    source: Path
    wiki: Path
    entry: dict[str, Any]

    @property
    def lfs_list(self) -> dict[str, Any]:
        return read_list(self.vault, self.entry["lfs"]["list"])

    @property
    def release_list(self) -> dict[str, Any]:
        return read_list(self.vault, self.entry["releases"]["list"])

    def object(self, name: str) -> dict[str, Any]:
        """Return the LFS object of one of FILES."""
        oid = sha256(FILES[name])
        found: dict[str, Any] = next(item for item in self.lfs_list["objects"] if item["oid"] == oid)
        return found

    def release_file(self, name: str) -> dict[str, Any]:
        """Return what is stored of a release's file."""
        files = [file for release in self.release_list["releases"] for file in release["files"]]
        found: dict[str, Any] = next(file for file in files if file["name"] == name)["content"]
        return found

    def write(self, date: str = FIRST, **about: Any) -> dict[str, Any]:
        """Write the manifest of a backup with this repository alone."""
        return self.vault.store(date, **{"repos": [self.entry]} | about)


def make_content(vault: Vault, date: str = FIRST) -> Content:
    """Store the repository's bundle, its LFS objects, releases and wiki, as a backup of that day does."""
    source, wiki = make_lfs_repository(vault.folder / "source"), make_wiki(vault.folder / "source.wiki")
    entry = store_bundle(vault, date, API, source)
    entry["wiki"] = store_bundle(vault, date, WIKI, wiki) | {"id": entry["id"]}
    entry["lfs"] = store_lfs(vault, date, list(FILES.values()))
    entry["releases"] = store_releases(vault, date, releases(vault))
    return Content(vault, source, wiki, entry)


def make_lfs_repository(path: Path) -> Path:
    """Make a repository whose files are LFS pointers; one of them is in its history alone."""
    git("init", "--quiet", "--initial-branch=main", path)
    (path / ".gitattributes").write_text("*.psd filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs -text\n")
    (path / "readme.txt").write_text("plain\n")
    (path / "design.psd").write_bytes(pointer(FILES["design.psd"]))
    (path / "video.bin").write_bytes(pointer(FILES["old.bin"]))
    _commit(path, "first")
    git("-C", path, "tag", TAG)
    (path / "video.bin").write_bytes(pointer(FILES["video.bin"]))
    _commit(path, "second")
    return path


def make_wiki(path: Path) -> Path:
    git("init", "--quiet", "--initial-branch=master", path)
    (path / "Home.md").write_text("welcome\n")
    _commit(path, "home")
    return path


def _commit(path: Path, message: str) -> None:
    git("-C", path, "add", ".")
    git("-C", path, "commit", "--quiet", f"--message={message}")


def store_bundle(vault: Vault, date: str, name: str, source: Path) -> dict[str, Any]:
    """Store a repository's bundle and return its entry."""
    bundle = vault.folder / "made.bundle"
    git("-C", source, "bundle", "create", "--quiet", bundle, "--all")
    refs = {ref.encode(): oid.encode() for ref, oid in served_refs(source).items()}
    entry = vault.put(date, name, bundle.read_bytes(), refs_sha256(refs), name_of=API)
    branch = git("-C", source, "symbolic-ref", "--short", "HEAD").decode().strip()
    about = {"full_name": name, "name": name.partition("/")[2], "ref_count": len(refs) - 1}
    return entry | about | {"default_branch": branch, "sha": refs[b"HEAD"].decode()}


def put(vault: Vault, key: str, body: bytes) -> dict[str, Any]:
    """Store bytes and return what a manifest says of the object."""
    version_id = vault.client.put_object(Bucket=vault.bucket, Key=key, Body=body)["VersionId"]
    stored = {"s3_key": key, "version_id": version_id, "size_bytes": len(body)}
    return stored | {"sha256": sha256(body), "s3_checksum_sha256": None}


def put_content(vault: Vault, kind: str, body: bytes) -> dict[str, Any]:
    """Store a file by its content and return what a list says of it."""
    oid = sha256(body)
    stored = put(vault, f"{PREFIX}-{kind}/acme/{oid[:2]}/{oid}", body)
    return {name: stored[name] for name in ("s3_key", "version_id", "size_bytes")} | {"oid": oid, "stored_at": MOMENT}


def put_list(vault: Vault, key: str, document: dict[str, Any]) -> dict[str, Any]:
    return put(vault, key, json.dumps(document).encode())


def read_list(vault: Vault, stored: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(vault.read(stored))
    return document


def store_lfs(
    vault: Vault, date: str, objects: list[bytes], missing: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    """Store LFS objects and their list, and return the manifest's summary."""
    return lfs_summary(vault, date, [put_content(vault, "lfs", body) for body in objects], list(missing))


def lfs_summary(
    vault: Vault, date: str, objects: list[dict[str, Any]], missing: list[dict[str, Any]]
) -> dict[str, Any]:
    document = {"schema_version": 1, "full_name": API, "checked_at": MOMENT, "objects": objects, "missing": missing}
    size = sum(item["size_bytes"] for item in objects)
    stored = put_list(vault, f"{PREFIX}/{date}/{API}.lfs.json", document)
    return {"objects": len(objects), "size_bytes": size, "missing": len(missing), "list": stored}


def release(number: int, tag: str, files: list[dict[str, Any]], **about: Any) -> dict[str, Any]:
    """Return a release as a list has it."""
    return {
        "id": number,
        "tag_name": tag,
        "target_commitish": "main",
        "name": f"Release {tag}",
        "body": f"Notes of {tag}\n",
        "draft": False,
        "prerelease": False,
        "author": "octocat",
        "created_at": MOMENT,
        "published_at": MOMENT,
        "files": files,
    } | about


def release_file(vault: Vault, number: int, name: str, body: bytes | None, label: str | None = None) -> dict[str, Any]:
    """Return a file of a release, stored unless it has no body."""
    content = None if body is None else put_content(vault, "releases", body)
    return {
        "id": number,
        "name": name,
        "label": label,
        "content_type": "application/octet-stream",
        "size_bytes": len(body or b""),
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "content": content,
        "error": None if content else "Not Found",
    }


def releases(vault: Vault) -> list[dict[str, Any]]:
    """Return a draft and the release before it, the newest first; they have a file in common."""
    tool, notes = b"tool " * 2000, b"notes " * 10
    new = [release_file(vault, 21, "tool.tar.gz", tool), release_file(vault, 22, "new.txt", b"new")]
    old = [release_file(vault, 11, "tool.tar.gz", tool), release_file(vault, 12, "notes.txt", notes, "The notes")]
    return [
        release(2, DRAFT_TAG, new, draft=True, prerelease=True, published_at=None, body=None),
        release(1, TAG, old),
    ]


def store_releases(vault: Vault, date: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Store the list of releases and return the manifest's summary."""
    document = {"schema_version": 1, "full_name": API, "releases": items}
    contents = [file["content"] for item in items for file in item["files"]]
    stored = [content for content in contents if content]
    return {
        "count": len(items),
        "files": len(stored),
        "size_bytes": sum(content["size_bytes"] for content in stored),
        "missing": len(contents) - len(stored),
        "etag": '"1"',
        "releases_sha256": "0" * 64,
        "backed_up_at": MOMENT,
        "list": put_list(vault, f"{PREFIX}/{date}/{API}.releases.json", document),
    }


def path_without_git_lfs(folder: Path) -> str:
    """Return a PATH on which there is git and no git-lfs."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("git", "sh", "env"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    return str(tools)


def run_git(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run git, whatever comes of it."""
    command = ["git", *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, check=False)
