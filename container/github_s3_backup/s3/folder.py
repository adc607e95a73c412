"""A copy of a bucket in a folder of this machine, as `aws s3 sync` makes it: what an S3 client answers of it."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ClientError


def is_folder(bucket: str) -> bool:
    """Return whether a bucket is named as a folder is: the name of a bucket has no slash."""
    return not bucket.startswith(("arn:", "s3://")) and ("/" in bucket)


class FolderClient:
    """Has what reading a bucket takes of boto3's S3 client. A key is a path below the folder; there are no versions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_object(self, *, Key: str, Range: str | None = None, **_: Any) -> dict[str, Any]:  # noqa: N803  (as boto3 names them)
        """Return a file's bytes, or those of a range such as `bytes=0-99`. Raises ClientError."""
        try:
            file = self._path(Key).open("rb")
            size = os.fstat(file.fileno()).st_size
        except (FileNotFoundError, NotADirectoryError):
            raise _error("NoSuchKey", "there is no such file", "GetObject") from None
        except (OSError, ValueError) as error:
            raise _error("AccessDenied", str(error), "GetObject") from None
        first, last = map(int, Range.removeprefix("bytes=").split("-")) if Range else (0, size - 1)
        if first >= size and Range:
            file.close()
            raise _error("InvalidRange", f"the file has {size} bytes", "GetObject")
        file.seek(first)
        length = min(last, size - 1) - first + 1
        return {"Body": _Part(file, length), "ContentLength": length}

    def get_paginator(self, operation: str) -> "_Pages":
        return _Pages(self._folder, operation)

    def _path(self, key: str) -> Path:
        """Return a key's file. Raises FileNotFoundError for what is outside of the folder."""
        if ".." in key.split("/"):
            raise FileNotFoundError
        return self._folder / key.lstrip("/")


class _Part(io.RawIOBase):
    """Some bytes of a file, as boto3's bodies are read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(block)
        return block

    def close(self) -> None:
        self._file.close()
        super().close()


class _Pages:
    """The pages of a listing: one. No version is listed, as there are none."""

    def __init__(self, folder: Path, operation: str) -> None:
        self._folder, self._operation = folder, operation

    def paginate(self, *, Prefix: str, Delimiter: str | None = None, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        place = self._folder / Prefix.rpartition("/")[0]
        if self._operation != "list_objects_v2" or not place.is_dir():
            yield {}
        elif Delimiter:
            yield {"CommonPrefixes": [{"Prefix": f"{key}/"} for key in self._keys(place, Prefix) if self._is_dir(key)]}
        else:
            files = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
            keys = sorted(path.relative_to(self._folder).as_posix() for path in files)
            yield {"Contents": [{"Key": key} for key in keys if key.startswith(Prefix)]}

    def _keys(self, place: Path, prefix: str) -> list[str]:
        keys = sorted(path.relative_to(self._folder).as_posix() for path in place.iterdir())
        return [key for key in keys if key.startswith(prefix)]

    def _is_dir(self, key: str) -> bool:
        return (self._folder / key).is_dir()


def _error(code: str, message: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
