"""S3's errors: what is absent, what can't be read, and what to check.

Absent and unreadable are different answers: only 404, NoSuchKey and NoSuchVersion mean that there is no such object.
"""

import contextlib
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

S3_ERRORS = (ClientError, BotoCoreError)
FORBIDDEN = ("AccessDenied", "403")
ABSENT = ("NoSuchKey", "NoSuchVersion", "404")
# A conditional write found an object under the key, or another write to it is in progress.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
KEY_TAKEN = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")

CREDENTIALS = "check the credentials, and that they may s3:ListBucket the bucket and s3:GetObject what is in it"
HINTS = {
    "NoSuchBucket": "check the bucket's name and the account",
    "AccessDenied": CREDENTIALS,
    "403": CREDENTIALS,
    "InvalidAccessKeyId": "check the credentials",
    "SignatureDoesNotMatch": "check the credentials",
    "ExpiredToken": "sign in again",
    "NoSuchKey": "the other bucket, primary or replica, may have it; a deleted object keeps its versions for some days",
    "NoSuchVersion": "`aws s3api list-object-versions` shows the versions",
    "InvalidObjectState": "it is in an archive storage class: run `aws s3api restore-object` first, which takes hours",
}


class S3Error(Exception):
    """S3 refused or can't be reached; the text holds S3's own words. `code`: S3's name of the error, "" without one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    @property
    def forbidden(self) -> bool:
        return self.code in FORBIDDEN


class AbsentError(S3Error):
    """S3 says that there is no such object."""


class DamagedError(S3Error):
    """The object was read, and is not what was stored."""


def error_code(error: Exception) -> str:
    """Return S3's name of an error, "" where S3 did not answer."""
    return error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""


def explain(error: Exception, url: str) -> str:
    """Return S3's own words about `url`, and what to check."""
    hint = HINTS.get(error_code(error))
    return f"{url}: {error} ({hint})" if hint else f"{url}: {error}"


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """Raise AbsentError or S3Error in place of botocore's errors."""
    try:
        yield
    except S3_ERRORS as error:
        kind = AbsentError if error_code(error) in ABSENT else S3Error
        raise kind(explain(error, url), error_code(error)) from None
