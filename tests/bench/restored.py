"""Restoring what a run stored, and comparing every ref with its source: one that differs fails the benchmark."""

import hashlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.days import newest_manifest
from bench.organisation import Organisation
from embedded.real_git import git, restore, restore_changes, served_refs
from embedded.s3 import EmbeddedS3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AT_ONCE = 4
BLOCK = 1024**2
Refs = dict[str, str]


class DifferenceError(Exception):
    """What was stored restores to something else than its source, or not at all."""


@dataclass
class Restorer:
    """Restores each content once: a bundle whose bytes were restored before has the same refs again."""

    s3: EmbeddedS3
    place: Path
    restored: dict[str, Refs] = field(default_factory=dict)
    sources: dict[Path, Refs] = field(default_factory=dict)
    refs: int = 0
    bundles: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def source(self, path: Path) -> Refs:
        """Return the refs of a generated repository, without HEAD."""
        if path not in self.sources:
            self.sources[path] = {name: oid for name, oid in served_refs(path).items() if name != "HEAD"}
        return self.sources[path]

    def product(self, organisation: Organisation, bucket: str) -> dict[str, Any]:
        """Restore all that the newest run's manifest names and return the manifest. Raises DifferenceError."""
        manifest = newest_manifest(self.s3, bucket)
        if len(manifest["repos"]) != len(organisation.repositories):
            raise DifferenceError(f"{len(manifest['repos'])} of {len(organisation.repositories)} are in the manifest")
        sources = {repository.id: repository.path for repository in organisation.github.repositories.values()}
        if missing := [entry["full_name"] for entry in manifest["repos"] if entry["s3_key"] is None]:
            raise DifferenceError(f"not stored: {', '.join(missing)}")
        alone = [entry for entry in manifest["repos"] if entry["base"] is None]
        self.bundles_of(bucket, [(entry["s3_key"], sources[entry["id"]], entry["sha256"]) for entry in alone])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            changed = [entry for entry in manifest["repos"] if entry["base"]]
            list(pool.map(lambda entry: self.changes(bucket, entry, sources[entry["id"]]), changed))
        return manifest

    def loop(self, organisation: Organisation, bucket: str) -> None:
        """Restore all that the loop stored. Raises DifferenceError."""
        repositories = organisation.github.repositories.values()
        self.bundles_of(
            bucket,
            [
                (f"github-backup/today/{repository.full_name}.bundle", repository.path, None)
                for repository in repositories
            ],
        )

    def mirrors(self, organisation: Organisation, folder: Path) -> None:
        """Compare the mirrors that github-backup leaves. Raises DifferenceError."""
        for repository in organisation.github.repositories.values():
            mirror = folder / "repositories" / repository.name / "repository"
            found = {name: oid for name, oid in served_refs(mirror).items() if name != "HEAD"}
            self.compare(str(mirror), found, repository.path)
            git(f"--git-dir={mirror}", "fsck", "--connectivity-only")

    def bundles_of(self, bucket: str, stored: list[tuple[str, Path, str | None]]) -> None:
        """Fetch these keys, compare their SHA-256 where one is given, restore them and compare their refs."""
        client = self.s3.client()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda given: self.bundle(client, bucket, *given), stored))

    def bundle(self, client: "S3Client", bucket: str, key: str, source: Path, sha256: str | None) -> None:
        with TemporaryDirectory(dir=self.place) as folder:
            file = Path(folder) / "bundle"
            download(client, bucket, key, file)
            with file.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            if sha256 not in (None, found):
                raise DifferenceError(f"{key} is not what the manifest says it is")
            if found not in self.restored:
                self.restored[found] = restore(file, Path(folder) / "restored.git")
        self.compare(key, self.restored[found], source)

    def changes(self, bucket: str, entry: dict[str, Any], source: Path) -> None:
        """Restore a bundle of changes on its full bundle, and compare its refs."""
        client, base = self.s3.client(), entry["base"]
        name = f"{base['sha256']} {entry['sha256']}"
        if name not in self.restored:
            with TemporaryDirectory(dir=self.place) as folder:
                files = Path(folder) / "full", Path(folder) / "changes"
                for file, stored in zip(files, (base, entry), strict=True):
                    download(client, bucket, stored["s3_key"], file)
                self.restored[name] = restore_changes(*files, Path(folder) / "restored.git")
        self.compare(entry["s3_key"], self.restored[name], source)

    def compare(self, what: str, found: Refs, source: Path) -> None:
        with self.lock:
            if found != self.source(source):
                raise DifferenceError(f"{what}: the restored refs are not those of {source}")
            self.refs += len(found)
            self.bundles += 1


def download(client: "S3Client", bucket: str, key: str, file: Path) -> None:
    """Fetch an object in one piece."""
    with file.open("wb") as content:
        shutil.copyfileobj(client.get_object(Bucket=bucket, Key=key)["Body"], content, BLOCK)
