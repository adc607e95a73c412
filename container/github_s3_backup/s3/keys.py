"""Where things are in the bucket: keys under a prefix, by UTC day; and what is stored once, by its content."""

import datetime

from github_s3_backup.s3.folder import is_folder

BUNDLE, LFS_LIST, RELEASE_LIST, ISSUE_LIST = ".bundle", ".lfs.json", ".releases.json", ".issues.jsonl.gz"
CHANGES, OBJECT_LIST = ".changes.bundle", ".objects"


def url_of(bucket: str, key: str) -> str:
    """Return where an object is, for people: in a bucket, or in a folder with a copy of one."""
    return f"{bucket.rstrip('/')}/{key}" if is_folder(bucket) else f"s3://{bucket}/{key}"


def run_key(prefix: str, date: str, run_id: str) -> str:
    """Return the key of a run's manifest."""
    return f"{runs_folder(prefix, date)}{run_id}.json"


def signature_key(prefix: str, date: str, run_id: str) -> str:
    """Return the key of the signature of a run's manifest."""
    return f"{run_key(prefix, date, run_id)}.sig"


def runs_folder(prefix: str, date: str) -> str:
    """Return what the keys of a day's manifests begin with."""
    return f"{prefix}/{date}/runs/"


def plan_folder(prefix: str, date: str, run_name: str) -> str:
    """Return what the keys of the files begin with that the tasks of a run share."""
    return f"{prefix}/{date}/plans/{run_name}/"


def day_manifest_key(prefix: str, date: str) -> str:
    """Return the key of the manifest that people look at: a copy of one of the day's runs'."""
    return f"{prefix}/{date}/manifest.json"


def repository_key(prefix: str, date: str, full_name: str, suffix: str, time: str | None = None) -> str:
    """Return the key of a repository's bundle or list; with `time` (HHMMSSZ) that of a later run on the same day.

    No repository has an `@` in its name: the key of one is never that of another.
    """
    return f"{prefix}/{date}/{full_name}{f'@{time}' if time else ''}{suffix}"


def bundle_key(prefix: str, date: str, full_name: str, time: str | None = None) -> str:
    """Return the key of a bundle."""
    return repository_key(prefix, date, full_name, BUNDLE, time)


def object_list_key(bundle: str) -> str:
    """Return the key of the list of a full bundle's objects, by the bundle's key."""
    return f"{bundle.removesuffix(BUNDLE)}{OBJECT_LIST}"


def day_of(key: str) -> datetime.date:
    """Return the day in the key of a bundle or a list; of a key that is neither the first day that there is."""
    try:
        return datetime.date.fromisoformat(key.split("/")[-3])
    except (IndexError, ValueError):
        return datetime.date.min


def content_key(root: str, owner: str, oid: str, date: str | None = None) -> str:
    """Return the key of a file that is stored by its content; with `date` that of the same bytes, written again."""
    return f"{root}/{owner}/{oid[:2]}/{oid}{f'.{date}' if date else ''}"


def lfs_root(prefix: str) -> str:
    """Return what the keys of all LFS objects begin with."""
    return f"{prefix}-lfs"


def releases_root(prefix: str) -> str:
    """Return what the keys of all releases' files begin with."""
    return f"{prefix}-releases"
