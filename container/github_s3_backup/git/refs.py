"""Refs: which there are, and what a manifest says of them."""

import hashlib

from github_s3_backup.records.entry import RefSummary
from github_s3_backup.runtime.redaction import printable

# A ref's full name (or HEAD) and the object id it points at, both as git prints them.
Refs = dict[bytes, bytes]


def parse_refs(lines: bytes) -> Refs:
    """Return the refs from lines `<oid> <ref>`. Raises ValueError."""
    pairs = (line.split(b" ", 1) for line in lines.splitlines())
    return {name: oid for oid, name in pairs}


def branch_name(ref: bytes) -> str | None:
    """Return the name of the branch that a ref is, None for any other ref."""
    branch = ref.removeprefix(b"refs/heads/")
    return None if branch == ref else printable(branch.decode(errors="backslashreplace"))


def default_branch(refs: Refs, head: str | None, otherwise: str) -> str:
    """Return the branch that HEAD points at (`head`), `otherwise` where there is no such branch."""
    return head if head and f"refs/heads/{head}".encode() in refs else otherwise


def refs_sha256(refs: Refs) -> str:
    """Return the SHA-256 (hex) of the sorted lines `<oid> <ref>\\n`."""
    lines = sorted(oid + b" " + name + b"\n" for name, oid in refs.items())
    return hashlib.sha256(b"".join(lines)).hexdigest()


def summarize(refs: Refs, default_branch: str) -> RefSummary:
    """Return what a manifest says of these refs."""
    sha = refs.get(f"refs/heads/{default_branch}".encode())
    return RefSummary(
        ref_count=len(refs) - (b"HEAD" in refs),
        refs_sha256=refs_sha256(refs),
        sha=sha.decode() if sha else None,
    )
