"""Where things are in the bucket: keys under a prefix, by UTC day."""


def run_key(prefix: str, date: str, run_id: str) -> str:
    """Return the key of a run's manifest."""
    return f"{runs_folder(prefix, date)}{run_id}.json"


def runs_folder(prefix: str, date: str) -> str:
    """Return what the keys of a day's manifests begin with."""
    return f"{prefix}/{date}/runs/"


def day_manifest_key(prefix: str, date: str) -> str:
    """Return the key of the manifest that people look at: a copy of one of the day's runs'."""
    return f"{prefix}/{date}/manifest.json"


def bundle_key(prefix: str, date: str, full_name: str, time: str | None = None) -> str:
    """Return the key of a bundle; with `time` (HHMMSSZ) that of a later run on the same day."""
    return f"{prefix}/{date}/{full_name}{f'.{time}' if time else ''}.bundle"
