"""`make demo`: a real backup and a real restore on this machine, without an account and without a key.

Everything is real but GitHub itself: git, the S3 server, the program that runs on Fargate.
"""

import argparse
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.github import FakeGitHub, FakeRepository
from embedded.organisation import AWKWARD, LARGE, OWNER, add_repository, plain
from embedded.real_git import git, restore, restore_changes, served_refs
from embedded.stack import BACKUP, PROJECT, Stack, serve_stack
from github_s3_backup.runtime.units import format_bytes

OUTPUT = PROJECT / "build" / "demo"
BUCKET = "demo-backups"
SERVICE = "github-backup"
ORDINARY = 15
# The repository that changes between the two runs.
CHANGED = "api"
COMMIT = """commit refs/heads/{branch}
committer A <a@b.c> 1800000000 +0000
data 7
change
from refs/heads/{branch}^0
M 100644 inline changed.txt
data 8
changed

"""


@dataclass(frozen=True)
class Restored:
    """One repository of the manifest, restored from S3 and compared with its source."""

    entry: dict[str, Any]
    refs: int
    equal: bool


def main() -> int:
    """Run the demo and return its exit code: 0 when everything was stored, restored and equal."""
    parser = argparse.ArgumentParser(description="Back up and restore repositories on this machine.")
    parser.add_argument("--repositories", type=Path, metavar="FOLDER", help="the git repositories in this folder")
    folder = parser.parse_args().repositories
    if folder is not None and not folder.is_dir():
        parser.error(f"{folder} is not a folder")
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:  # all like Ctrl-C, so that nothing is left running
        signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="backup-demo-") as name:
            return demonstrate(Path(name), folder)
    except KeyboardInterrupt:
        say("stopped")
        return 130


def demonstrate(place: Path, folder: Path | None) -> int:
    """Start GitHub and S3 in `place`, back up, restore, compare, and sum up."""
    say("1  starting an embedded GitHub and an embedded S3 (SeaweedFS)")
    # Ctrl-C must not end S3 before the backup has written its manifest.
    with serve_stack(place / "s3", new_session=True) as stack, FakeGitHub() as github:
        add_folder(github, folder.resolve()) if folder else add_organisation(github, place / "organisation")
        if not github.repositories:
            print(f"there is no git repository in {folder}", file=sys.stderr)
            return 1
        stack.s3.new_bucket(BUCKET)
        say(f"2  backing up {len(github.repositories)} repositories with container/backup.py, as Fargate runs it")
        begun = time.monotonic()
        code = back_up(stack, github, place / "scratch")
        seconds = time.monotonic() - begun
        manifest = fetch_manifest(stack)
        if manifest is None:
            return code
        say("3  restoring every bundle from S3 with stock git, comparing every ref with its source")
        begun = time.monotonic()
        restored = restore_all(stack, github, manifest, place / "restored")
        took, metrics = (seconds, time.monotonic() - begun), stack.aws.metrics(SERVICE)
        changed = None if folder or code else show_changes(stack, github, place)
        summarise(manifest, restored, changed, metrics, took)
    return code or int(not all(repository.equal for repository in (*restored, *([changed] if changed else []))))


def show_changes(stack: Stack, github: FakeGitHub, place: Path) -> Restored | None:
    """Commit, back up once more, and restore the repository that changed from its two bundles."""
    repository = next(found for found in github.repositories.values() if found.name == CHANGED)
    say(f"4  one more commit in {repository.full_name}, and a run that stores what changed")
    commit(repository)
    back_up(stack, github, place / "scratch-again")
    manifest = fetch_manifest(stack)
    assert manifest is not None
    entry = next(entry for entry in manifest["repos"] if entry["id"] == repository.id)
    say("5  restoring it from its full bundle and its bundle of changes")
    (place / "restored-again").mkdir()
    return restore_one(stack, github, entry, place / "restored-again")


def commit(repository: FakeRepository) -> None:
    """Add a commit to the default branch."""
    stream = COMMIT.format(branch=repository.default_branch).encode()
    git("-C", repository.path, "fast-import", "--quiet", stdin=stream)


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


# -- the repositories ----------------------------------------------------------------------------


def add_organisation(github: FakeGitHub, place: Path) -> None:
    """Generate an organisation with every awkward repository, and add this project's own checkout."""
    for recipe in (*AWKWARD, *LARGE, *plain(ORDINARY)):
        add_repository(github, place, recipe)
    checkout = git_directory(PROJECT)
    if checkout is None or (checkout / "shallow").exists():
        print("   this project's own checkout has no full git history, so it is not among the repositories")
    else:
        # A copy, as somebody may commit while the demo runs.
        copy = place / "checkout.git"
        git("-c", "safe.directory=*", "clone", "--quiet", "--mirror", checkout, copy)
        add_existing(github, OWNER, "terraform-aws-github-backup", copy)


def add_folder(github: FakeGitHub, folder: Path) -> None:
    """Add every git repository in the folder, bare or not."""
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        if directory := git_directory(path):
            add_existing(github, as_name(folder.name).lstrip("._-") or "local", as_name(path.name), directory)
        else:
            print(f"   {path.name} is left out: git finds no repository in it")


def git_directory(path: Path) -> Path | None:
    """Return the git directory of the repository at `path`, None where there is none."""
    if not (path / ".git").exists() and not (path / "objects").is_dir():
        return None
    try:
        found = git("-C", path, "-c", "safe.directory=*", "rev-parse", "--path-format=absolute", "--git-common-dir")
        return Path(found.decode().strip())
    except RuntimeError:
        return None


def as_name(text: str) -> str:
    """Return a folder's name as GitHub would allow it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text.removesuffix(".git")).lstrip("-")[:100] or "repository"


def add_existing(github: FakeGitHub, owner: str, name: str, directory: Path) -> None:
    size_kb = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) // 1024
    head = (directory / "HEAD").read_text().strip()
    branch = head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else "main"
    github.add(owner, name, directory, size_kb=size_kb, default_branch=branch)


# -- backup and restore --------------------------------------------------------------------------


def back_up(stack: Stack, github: FakeGitHub, scratch: Path) -> int:
    """Run the backup with Fargate's environment and return its exit code."""
    scratch.mkdir()
    environment = stack.environment(github, BUCKET, scratch) | {"SERVICE_NAME": SERVICE}
    environment["GITHUB_APP_KEY_SECRET_ARN"] = stack.aws.new_secret(f"github-app-key-{scratch.name}", github.pem())
    with subprocess.Popen(BACKUP, env=environment) as backup:
        try:
            return backup.wait()
        except KeyboardInterrupt:
            backup.terminate()  # it stops git, and writes a manifest of what is stored
            backup.wait()
            raise


def fetch_manifest(stack: Stack) -> dict[str, Any] | None:
    """Copy the manifest into OUTPUT and return it."""
    client = stack.s3.client()
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        if item["Key"].endswith("/manifest.json"):
            path = OUTPUT / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, item["Key"], str(path))
            manifest: dict[str, Any] = json.loads(path.read_text())
            return manifest
    return None


def restore_all(stack: Stack, github: FakeGitHub, manifest: dict[str, Any], place: Path) -> list[Restored]:
    """Restore what the manifest names, several at once."""
    place.mkdir()
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda entry: restore_one(stack, github, entry, place), manifest["repos"]))


def restore_one(stack: Stack, github: FakeGitHub, entry: dict[str, Any], place: Path) -> Restored:
    """Fetch a repository's bundles into OUTPUT, restore it in `place`, and compare its refs with the source's."""
    source = served_refs(github.repositories[entry["id"]].path)
    source.pop("HEAD", None)
    if entry["s3_key"] is None:
        return Restored(entry, 0, source == {})
    bundle, into = fetch(stack, entry["s3_key"]), place / f"{entry['id']}.git"
    base = entry["base"]
    refs = restore_changes(fetch(stack, base["s3_key"]), bundle, into) if base else restore(bundle, into)
    if refs != source:
        print(f"   {entry['full_name']}: the restored refs are not those of the source", file=sys.stderr)
    return Restored(entry, len(refs), refs == source)


def fetch(stack: Stack, key: str) -> Path:
    """Copy one object into OUTPUT and return the file."""
    path = OUTPUT / key
    path.parent.mkdir(parents=True, exist_ok=True)
    stack.s3.client().download_file(BUCKET, key, str(path))
    return path


# -- the end -------------------------------------------------------------------------------------


def summarise(
    manifest: dict[str, Any],
    restored: list[Restored],
    changed: Restored | None,
    metrics: dict[str, list[float]],
    seconds: tuple[float, float],
) -> None:
    """Print what was done, where it lies, and how to restore one repository by hand."""
    day = shown(OUTPUT / "github-backup" / manifest["date"])
    size = sum(repository.entry["size_bytes"] for repository in restored)
    wrong = sum(not repository.equal for repository in restored)
    published = ", ".join(f"{name} {values[0]:.0f}" for name, values in sorted(metrics.items()))
    states = [repository.entry["status"] for repository in restored] + ["failed"] * manifest["failure_count"]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    rows = {
        "repositories": f"{manifest['total_repos']} listed: {counted}",
        "refs": f"{sum(repository.refs for repository in restored)} restored and compared, "
        + (f"{wrong} REPOSITORIES DIFFER" if wrong else "all equal to the source"),
        "bytes": f"{format_bytes(size)} in bundles",
        **({"changes": about_changes(changed)} if changed else {}),
        "seconds": f"{seconds[0]:.1f} to back up, {seconds[1]:.1f} to restore and compare",
        "metrics": published,
        "manifest": f"{day}/manifest.json",
        "bundles": f"{day}/<owner>/<name>.bundle",
    }
    say("done")
    for name, value in rows.items():
        print(f"   {name:<14}{value}")
    for failure in manifest["failures"]:
        print(f"   failed        {failure['full_name']} ({failure['stage']}): {failure['error']}")
    stored = [repository.entry for repository in restored if repository.entry["s3_key"] and repository.entry["sha"]]
    if stored:
        print("\nThe bundles are yours to look at. Restore one by hand, with stock git and nothing else:\n")
        print("\n".join(f"    {command}" for command in commands(changed.entry if changed else stored[0])), flush=True)


def about_changes(changed: Restored) -> str:
    """Return what the second run stored of the repository that changed."""
    name, base = changed.entry["full_name"], changed.entry["base"]
    sizes = f"{format_bytes(changed.entry['size_bytes'])} on top of {format_bytes(base['size_bytes'])}" if base else "?"
    return f"{name}: {sizes}, {'equal to the source' if changed.equal else 'DIFFERS'}"


def commands(entry: dict[str, Any]) -> list[str]:
    """Return the commands that restore a repository from its bundles."""
    base = entry["base"]
    bundle = shlex.quote(shown(OUTPUT / (base or entry)["s3_key"]))
    mirror = shlex.quote(shown(OUTPUT / f"{entry['name']}.git"))
    work_tree = shlex.quote(shown(OUTPUT / entry["name"]))
    changes = shlex.quote(shown(OUTPUT / entry["s3_key"]))
    fetch = [f"git --git-dir={mirror} fetch --prune {changes} '+refs/*:refs/*'"] if base else []
    return [
        f"git clone --mirror {bundle} {mirror}",
        *fetch,
        f"git --git-dir={mirror} symbolic-ref HEAD {shlex.quote('refs/heads/' + entry['default_branch'])}",
        f"git clone {mirror} {work_tree}",
    ]


def shown(path: Path) -> str:
    """Return the path as a person in the current folder would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    sys.exit(main())
