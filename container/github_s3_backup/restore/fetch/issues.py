"""Fetch the list of a repository's issues, and write pages of it that need no GitHub."""

import shutil
from pathlib import Path

from github_s3_backup.records.entry import Entry
from github_s3_backup.restore.errors import FetchError
from github_s3_backup.restore.fetch.destination import Destination, move_finished
from github_s3_backup.restore.pages.write import write_pages
from github_s3_backup.restore.workers import Reading
from github_s3_backup.s3.download import is_copy_of

# The list as it was stored, beside the pages.
LIST = "issues.jsonl.gz"


def fetch_issues(entry: Entry, destination: Destination, reading: Reading) -> bool:
    """Fetch the issues. Return False if they are already there, or if there are none.

    Raises DownloadError, ListError, FetchError and OSError.
    """
    if entry.issues is None or entry.issues.list is None:
        return False
    stored, folder = entry.issues.list, destination.issues(entry)
    if folder.exists() or folder.is_symlink():
        if not is_copy_of(stored, folder / LIST):
            raise FetchError(f"{folder} already exists and is not what was stored: move it away")
        reading.on_bytes(stored.size_bytes)
        return False
    lines, pages = destination.partial(entry, ".issues.gz"), destination.partial(entry, ".issues")
    reading.reader.download(stored, lines, reading.on_bytes)
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    write_pages(entry.full_name, _date(entry), lines, pages)
    lines.rename(pages / LIST)
    move_finished(pages, folder)
    return True


def _date(entry: Entry) -> str:
    """Return the day of the backup in which the list was written."""
    assert entry.issues
    assert entry.issues.list
    return str(Path(entry.issues.list.key).parts[-3])
