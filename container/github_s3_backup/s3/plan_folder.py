"""The folder of one run in several tasks: through it they tell each other what is to be done, and what was done."""

import hashlib
from typing import TYPE_CHECKING

from github_s3_backup.s3.errors import ABSENT, KEY_TAKEN, S3_ERRORS, error_code, explain
from github_s3_backup.s3.keys import plan_folder
from github_s3_backup.s3.upload import to_base64

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class PlanFolderError(Exception):
    """S3 refused; the text holds S3's own words."""


class PlanFolder:
    """JSON files below `<prefix>/<date>/plans/<run name>/`."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str, date: str, run_name: str) -> None:
        self._client, self._bucket, self._folder = client, bucket, plan_folder(prefix, date, run_name)

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._folder}"

    def put(self, name: str, body: bytes, **condition: str) -> None:
        """Write a file. Raises PlanFolderError."""
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._folder + name,
                Body=body,
                ContentType="application/json",
                ChecksumSHA256=to_base64(hashlib.sha256(body).digest()),
                **condition,  # type: ignore[arg-type]
            )
        except S3_ERRORS as error:
            if condition and error_code(error) in KEY_TAKEN:
                return
            raise PlanFolderError(explain(error, self.url + name)) from None

    def put_once(self, name: str, body: bytes) -> None:
        """Write a file, unless there is one: it stays as it is. Raises PlanFolderError."""
        self.put(name, body, IfNoneMatch="*")

    def get(self, name: str) -> bytes | None:
        """Return a file, None where there is none. Raises PlanFolderError."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._folder + name)["Body"].read()
        except S3_ERRORS as error:
            if error_code(error) in ABSENT:
                return None
            raise PlanFolderError(explain(error, self.url + name)) from None

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder below this one. Raises PlanFolderError."""
        paginator = self._client.get_paginator("list_objects_v2")
        try:
            pages = paginator.paginate(Bucket=self._bucket, Prefix=self._folder + folder)
            return [item["Key"].removeprefix(self._folder) for page in pages for item in page.get("Contents", [])]
        except S3_ERRORS as error:
            raise PlanFolderError(explain(error, self.url + folder)) from None
