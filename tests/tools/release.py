"""`make release VERSION=`: prepares a release in this checkout, in two commits; it pushes nothing.

First without DIGEST: the version and the changelog, from which the image is built. Then with DIGEST=sha256:...: the
module names that image, and the tag is set. So a released module starts the image that was tested, whatever its tag
in the registry says later.
"""

import argparse
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# The one source of the version; everything else is written from it.
VERSION = "container/github_s3_backup/version.py"
MODULE = "versions.tf"
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "## Unreleased"


class RefusedError(Exception):
    """Why no release can be made of this checkout."""


def main() -> int:
    """Prepare one of the two commits of a release, or print the changelog of one."""
    parser = argparse.ArgumentParser(description="Prepare a release in this checkout; push nothing.")
    parser.add_argument("version", help="such as 1.2.3")
    parser.add_argument("--digest", help="of the image that was built from the release's first commit")
    parser.add_argument("--notes", action="store_true", help="only print what the changelog says about the version")
    given = parser.parse_args()
    try:
        if given.notes:
            print(read_notes(PROJECT, given.version))
        else:
            print(pin(PROJECT, given.version, given.digest) if given.digest else prepare(PROJECT, given.version))
    except RefusedError as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


def prepare(checkout: Path, version: str) -> str:
    """Commit the version and its section of the changelog; return what to do next."""
    check_version(checkout, version)
    check_clean(checkout)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    write_changelog(checkout / CHANGELOG, f"## {version} - {date}")
    replace(checkout / VERSION, r'^TOOL_VERSION = ".*"$', f'TOOL_VERSION = "{version}"')
    replace(checkout / MODULE, r'^(  release +)= ".*"$', rf'\g<1>= "{version}"')
    replace(checkout / MODULE, r'^(  image_digest +)= ".*"$', r'\g<1>= ""')
    git(checkout, "commit", "--all", "--message", f"Release {version}")
    return (
        f"Committed version {version}. Push it; the workflow `image` builds the image and prints its digest. Then:\n"
        f"  make release VERSION={version} DIGEST=sha256:..."
    )


def pin(checkout: Path, version: str, digest: str) -> str:
    """Commit the image's digest into the module and tag that commit; return what to do next."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise RefusedError(f"DIGEST must be sha256: and 64 hexadecimal digits. Got: {digest}")
    if (current := read_version(checkout)) != version:
        raise RefusedError(f"this checkout is of version {current}. First: make release VERSION={version}")
    check_new(checkout, version)
    check_clean(checkout)
    replace(checkout / MODULE, r'^(  image_digest +)= ".*"$', rf'\g<1>= "{digest}"')
    git(checkout, "commit", "--all", "--message", f"Start the image of {version} by its digest")
    git(checkout, "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    return f"Committed the digest and tagged v{version}. To publish:\n  git push origin HEAD v{version}"


def read_version(checkout: Path) -> str:
    found = re.search(r'^TOOL_VERSION = "(.*)"$', (checkout / VERSION).read_text(), re.MULTILINE)
    assert found, VERSION
    return found[1]


def read_notes(checkout: Path, version: str) -> str:
    """Return what the changelog says about a version."""
    text = (checkout / CHANGELOG).read_text()
    found = re.search(rf"^## {re.escape(version)} - .*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise RefusedError(f"{CHANGELOG} has no section {version}")
    return found[1].strip()


def check_version(checkout: Path, version: str) -> None:
    """Raise RefusedError unless the version may follow the current one."""
    if not re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version):
        raise RefusedError(f"VERSION must be three numbers, such as 1.2.3. Got: {version}")
    check_new(checkout, version)
    current = read_version(checkout)
    if numbers(version) < numbers(current) or (version == current and has_section(checkout, version)):
        raise RefusedError(f"version {version} does not follow {current}")


def check_new(checkout: Path, version: str) -> None:
    if git(checkout, "tag", "--list", f"v{version}"):
        raise RefusedError(f"the tag v{version} exists")


def check_clean(checkout: Path) -> None:
    if changed := git(checkout, "status", "--porcelain"):
        raise RefusedError(f"there are changes that are not committed:\n{changed}")


def has_section(checkout: Path, version: str) -> bool:
    return f"\n## {version} - " in (checkout / CHANGELOG).read_text()


def numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def write_changelog(path: Path, heading: str) -> None:
    """Put everything that is not released under a heading."""
    before, mark, after = path.read_text().partition(f"{UNRELEASED}\n")
    if not mark or not re.match(r"\s*(###|-)", after):
        raise RefusedError(f"{path.name} says nothing under '{UNRELEASED}'")
    path.write_text(f"{before}{UNRELEASED}\n\n{heading}\n{after}")


def replace(path: Path, pattern: str, text: str) -> None:
    """Replace the one line that the pattern matches."""
    content, number = re.subn(pattern, text, path.read_text(), flags=re.MULTILINE)
    assert number == 1, f"{number} lines in {path.name} match {pattern}"
    path.write_text(content)


def git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
