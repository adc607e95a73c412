"""`make release` on a copy of the checkout, and the one version that everything tells."""

import re
import subprocess
from pathlib import Path

import pytest

from embedded.stack import PROJECT
from github_s3_backup.version import TOOL_VERSION
from tools import release
from tools.release import RefusedError, git, pin, prepare, read_notes

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with what a release changes, as it is now."""
    folder = tmp_path / "checkout"
    for name in (release.VERSION, release.MODULE, release.CHANGELOG):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((PROJECT / name).read_bytes())
    changelog = folder / release.CHANGELOG
    changelog.write_text(
        re.sub(r"^## Unreleased\n", "## Unreleased\n\n- A change.\n", changelog.read_text(), flags=re.M)
    )
    git_here = ["git", "-c", "init.defaultBranch=main"]
    subprocess.run([*git_here, "init", "--quiet", folder], check=True)
    for name, value in {"user.name": "A", "user.email": "a@example.com", "commit.gpgsign": "false"}.items():
        git(folder, "config", name, value)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    return folder


def test_everything_tells_the_one_version() -> None:
    module = (PROJECT / release.MODULE).read_text()
    assert re.findall(r'^  release += "(.*)"$', module, re.MULTILINE) == [TOOL_VERSION]
    package = (PROJECT / "container" / "pyproject.toml").read_text()
    assert 'version = { attr = "github_s3_backup.version.TOOL_VERSION" }' in package
    released = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (PROJECT / release.CHANGELOG).read_text(), re.M)
    assert released[:1] in ([], [TOOL_VERSION]), "the newest version in the changelog is the program's"


def test_a_release_is_two_commits_and_a_tag(checkout: Path) -> None:
    said = prepare(checkout, "9.8.7")
    assert "make release VERSION=9.8.7 DIGEST=" in said
    assert 'TOOL_VERSION = "9.8.7"' in (checkout / release.VERSION).read_text()
    module = (checkout / release.MODULE).read_text()
    assert re.search(r'^  release += "9\.8\.7"$', module, re.MULTILINE)
    assert re.search(r'^  image_digest += ""$', module, re.MULTILINE)
    assert read_notes(checkout, "9.8.7").startswith("- A change.")
    assert re.search(r"^## Unreleased\n\n## 9\.8\.7 - ", (checkout / release.CHANGELOG).read_text(), re.MULTILINE)

    said = pin(checkout, "9.8.7", DIGEST)
    assert "git push origin HEAD v9.8.7" in said
    assert f'= "{DIGEST}"' in (checkout / release.MODULE).read_text()
    assert git(checkout, "log", "--format=%s").splitlines() == [
        "Start the image of 9.8.7 by its digest",
        "Release 9.8.7",
        "Start",
    ]
    assert git(checkout, "describe", "--tags") == "v9.8.7"
    assert git(checkout, "status", "--porcelain") == ""

    with pytest.raises(RefusedError, match=r"the tag v9\.8\.7 exists"):
        prepare(checkout, "9.8.7")
    with pytest.raises(RefusedError, match="says nothing under"):
        prepare(checkout, "9.8.8")


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3-rc1", "01.2.3", "latest"])
def test_what_is_no_version_is_refused(checkout: Path, version: str) -> None:
    with pytest.raises(RefusedError, match="three numbers"):
        prepare(checkout, version)


def test_a_version_does_not_go_back(checkout: Path) -> None:
    with pytest.raises(RefusedError, match="does not follow"):
        prepare(checkout, "0.0.1")


def test_the_current_version_is_released_once(checkout: Path) -> None:
    if not release.has_section(checkout, TOOL_VERSION):
        prepare(checkout, TOOL_VERSION)
    with pytest.raises(RefusedError, match=f"{TOOL_VERSION} does not follow {TOOL_VERSION}|the tag v"):
        prepare(checkout, TOOL_VERSION)


def test_nothing_is_released_with_changes_that_are_not_committed(checkout: Path) -> None:
    (checkout / "new").write_text("")
    with pytest.raises(RefusedError, match="not committed"):
        prepare(checkout, "9.8.7")
    assert git(checkout, "log", "--format=%s") == "Start"


def test_a_digest_is_written_only_for_the_version_of_the_checkout(checkout: Path) -> None:
    with pytest.raises(RefusedError, match=r"First: make release VERSION=9\.8\.7"):
        pin(checkout, "9.8.7", DIGEST)
    prepare(checkout, "9.8.7")
    with pytest.raises(RefusedError, match="64 hexadecimal digits"):
        pin(checkout, "9.8.7", "sha256:short")
    assert git(checkout, "tag", "--list") == ""
