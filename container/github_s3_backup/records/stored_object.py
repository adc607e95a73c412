"""An object in S3, as manifests and lists name it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from github_s3_backup.records.json_fields import Count, Sha256, Text


class StoredObject(
    msgspec.Struct, frozen=True, kw_only=True, rename={"key": "s3_key", "checksum": "s3_checksum_sha256"}
):
    """An object in S3."""

    key: Text
    version_id: Text | None
    size_bytes: Count
    sha256: Annotated[Sha256, Meta(description="SHA-256 of its bytes")]
    checksum: Annotated[
        Text | None,
        Meta(
            description="SHA-256 of the object as S3 keeps it, in base64; of an upload in parts that of the parts' "
            "checksums, a dash, and their number"
        ),
    ]

    @property
    def s3_key(self) -> str:
        return self.key
