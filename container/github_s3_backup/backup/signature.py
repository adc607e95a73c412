"""Signs the manifest of a run, where a key for that is configured."""

from github_s3_backup.backup.services import Bucket, RunContext
from github_s3_backup.records.manifest import Manifest
from github_s3_backup.records.signing import PublicKey, SigningError
from github_s3_backup.s3.errors import S3Error


def signing_key(bucket: Bucket, context: RunContext) -> PublicKey | None:
    """Return the public part of the key that signs, None without one, and where it can't be read: that is logged."""
    try:
        return bucket.signer.public_key() if bucket.signer else None
    except SigningError as error:
        context.log.error("manifest not signed", error=str(error))
        return None


def is_signed(body: bytes, manifest: Manifest, key: PublicKey | None, bucket: Bucket, context: RunContext) -> bool:
    """Sign the stored manifest, unless its signature is there. Return False where that failed.

    A task that is tried again signs what is missing, but nothing that does not name its key.
    """
    if bucket.signer is None:
        return True
    if key is None:
        return False
    try:
        if manifest.signing_key != key.id:
            raise SigningError(f"it was written by an earlier attempt, which could not read the key {key.id}")
        bucket.archive.put_signature(manifest.run_id, bucket.signer.sign(body))
    except (SigningError, S3Error) as error:
        context.log.error("manifest not signed", error=str(error))
        return False
    return True
