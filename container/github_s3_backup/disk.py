"""Temporary disk: how much a clone takes of it, and how sizes are said."""

from pathlib import Path

# A mirror has an index beside its pack, and GitHub's cached `size` may be behind. A bundle is never on the disk.
PER_BYTE = 1.25
# What even an empty mirror may take.
LEAST = 8 * 1024**2
# Left free for logs, git's own temporary files and the neighbours. Share of the free space.
USABLE = 0.95


class DiskFullError(Exception):
    """The repository needs more temporary disk than the task has."""


def too_small(what: str, usable: int, folder: Path) -> str:
    """Return the message for a repository that does not fit, with the input that helps."""
    return (
        f"{what}, {readable(usable)} usable in {folder}: raise the module's "
        "task_ephemeral_storage_gb (outside AWS: point TMPDIR at a larger disk)"
    )


def readable(size: float) -> str:
    """Return a number of bytes as a person reads it: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
