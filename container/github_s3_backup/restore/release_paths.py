"""Where the files of releases go in a folder: `<tag>/<file>`, whatever characters the names have.

A character that is not safe in a path is percent-encoded. Nothing leaves its folder, and no two files get one path.
"""

import hashlib
from collections.abc import Iterator
from pathlib import PurePath
from urllib.parse import quote

from github_s3_backup.records.release_list import ReleaseFile, ReleaseList

# The list itself, beside the folders of the tags.
LIST = "releases.json"
# Besides letters and digits of any script.
SAFE = frozenset("-_.+@=,~")
# Bytes. File systems take 255.
MAX_LENGTH = 200


def safe_name(name: str) -> str:
    """Return the name as a path component. It is no hidden file: git would take `.git` for a repository."""
    safe = "".join(char if char in SAFE or char.isalnum() else quote(char, safe="") for char in name)
    if safe.startswith("."):
        safe = f"%2E{safe[1:]}"
    if safe.lower() == LIST:
        safe = safe.replace(".", "%2E")
    if len(safe.encode()) > MAX_LENGTH:
        beginning = safe.encode()[: MAX_LENGTH // 2].decode(errors="ignore")
        safe = f"{beginning}%sha-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return safe


def release_paths(releases: ReleaseList) -> Iterator[tuple[PurePath, ReleaseFile]]:
    """Yield each file of each release with its path below the folder of all releases.

    Several drafts may have the same tag. Some disks ignore case. The second of a name gets its id, as in `v1%id-7`.
    """
    folders: set[str] = set()
    for release in releases.releases:
        folder = _unused(safe_name(release.tag_name), release.id, folders)
        names: set[str] = set()
        for file in release.files:
            yield PurePath(folder, _unused(safe_name(file.name), file.id, names)), file


def _unused(name: str, number: int, used: set[str]) -> str:
    """Return the name, with a number where it is used already; only a forged list repeats that too."""
    numbered = (f"{name}%id-{number}{'-again' * times}" for times in range(len(used) + 1))
    found = next(found for found in (name, *numbered) if found.lower() not in used)
    used.add(found.lower())
    return found
