"""Verify the list of a repository's issues: its bytes, its lines, and that it has as many as the manifest says."""

import tempfile
from pathlib import Path

from github_s3_backup.records.content import ISSUE_KINDS
from github_s3_backup.records.entry import Entry
from github_s3_backup.records.issue_list import LINE_KINDS, parse_line, read_lines
from github_s3_backup.restore.errors import ContentError
from github_s3_backup.restore.verify.content import Proven
from github_s3_backup.restore.workers import Reading


def verify_issues(entry: Entry, reading: Reading, proven: Proven, scratch: Path) -> None:
    """Read the whole list. Raises ContentError, DownloadError and ListError."""
    if entry.issues is None or entry.issues.list is None:
        return
    found, last = dict.fromkeys(LINE_KINDS.values(), 0), 0
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "issues.gz"
        reading.reader.download(entry.issues.list, path, reading.on_bytes)
        for line in map(parse_line, read_lines(path)):
            if line.number <= last:
                raise ContentError(f"the list is not in order: {line.number} comes after {last}")
            found[line.kind], last = found[line.kind] + 1, line.number
    for kind in ISSUE_KINDS:
        count = entry.issues.count(kind)
        wanted, there = count.stored if count else 0, found[LINE_KINDS[kind]]
        if wanted != there:
            raise ContentError(f"the list has {there} {kind.replace('_', ' ')}, and the manifest says {wanted}")
    proven.add(entry.issues.list.size_bytes, issues=sum(found.values()))
