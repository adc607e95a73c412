"""S3's errors: their names, and what to check for each."""

from botocore.exceptions import BotoCoreError, ClientError

S3_ERRORS = (ClientError, BotoCoreError)
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


def error_code(error: Exception) -> str:
    """Return S3's name of an error, "" where S3 did not answer."""
    return error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""


def explain(error: Exception, url: str) -> str:
    """Return S3's own words about `url`, and what to check."""
    hint = HINTS.get(error_code(error))
    return f"{url}: {error} ({hint})" if hint else f"{url}: {error}"
