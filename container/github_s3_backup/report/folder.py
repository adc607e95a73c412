"""A copy of a bucket in a folder of this machine, as `aws s3 sync` makes it."""

from pathlib import Path
from typing import Any

from github_s3_backup.s3.errors import AbsentError, S3Error
from github_s3_backup.s3.objects import Objects


class FolderObjects(Objects):
    """The objects in a folder. A key is a path below it; there are no versions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bucket = str(folder)

    def url(self, key: str) -> str:
        return str(self._folder / key)

    def get(self, key: str, version_id: str | None = None) -> bytes:  # noqa: ARG002  (there is one version)
        """Return a file's bytes."""
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            raise AbsentError(f"there is no {self.url(key)}") from None
        except OSError as error:
            raise S3Error(f"{self.url(key)} can't be read: {error}") from None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the files in the folder that `prefix` names, or of the one file that it names."""
        place = self._folder / prefix
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        return [path.relative_to(self._folder).as_posix() for path in files if path.is_file()]

    def folders(self, prefix: str) -> list[str]:
        """Return the folders in the one that `prefix` names, with a slash at the end."""
        place = self._folder / prefix
        found = sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
        return [f"{path.relative_to(self._folder).as_posix()}/" for path in found]

    def versions(self, prefix: str) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return nothing: a folder keeps no versions."""
        return []
