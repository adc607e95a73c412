"""A bundle counts only when it is proven: its refs, its completeness, its pack's own checksum."""

import hashlib
from pathlib import Path

import pytest

from bundle import BLOCK_SIZE, PART_SIZE, BundleError, prove_bundle, write_bundle
from embedded.organisation import RECIPES
from embedded.real_git import bundled_refs, git, restore, served_refs
from git import Git, Mirror, fingerprint, parse_refs
from stop import Stop
from world import Repositories


@pytest.fixture
def tool(tmp_path: Path) -> Git:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Git(scratch, "https://github.com", Stop())


def mirror_of(repositories: Repositories, name: str) -> Mirror:
    recipe = RECIPES[name]
    path = repositories.path(recipe)
    refs = {ref.encode(errors="surrogateescape"): oid.encode() for ref, oid in served_refs(path).items()}
    return Mirror(path, refs, recipe.object_format)


@pytest.mark.parametrize(
    "name", ["api", "ambiguous-refs", "sha256", "odd-tags", "unicode-refs", "head-at-missing-branch"]
)
def test_a_written_bundle_is_proven_and_restores(
    repositories: Repositories, tool: Git, tmp_path: Path, name: str
) -> None:
    mirror, path = mirror_of(repositories, name), tmp_path / "bundle"
    write_bundle(tool, mirror, path)
    bundle = prove_bundle(path, mirror)
    source = served_refs(mirror.path)
    assert bundled_refs(path) == source
    assert restore(path, tmp_path / "restored.git") == {k: v for k, v in source.items() if k != "HEAD"}
    content = path.read_bytes()
    assert bundle.size == len(content)
    assert bundle.sha256 == hashlib.sha256(content).digest()
    assert bundle.parts == (bundle.sha256,)
    assert bundle.ref_count == len(source.keys() - {"HEAD"})


def test_stock_git_bundle_create_loses_refs_that_it_finds_ambiguous(
    repositories: Repositories, tool: Git, tmp_path: Path
) -> None:
    """The reason why the bundle's refs are compared: git says nothing of this in its exit code."""
    mirror = mirror_of(repositories, "ambiguous-refs")
    tool.bundle(mirror, tmp_path / "stock")
    lost = served_refs(mirror.path).keys() - bundled_refs(tmp_path / "stock").keys()
    assert {"HEAD", "refs/heads/main"} <= lost


@pytest.fixture
def written(repositories: Repositories, tool: Git, tmp_path: Path) -> tuple[Mirror, Path]:
    mirror, path = mirror_of(repositories, "api"), tmp_path / "bundle"
    write_bundle(tool, mirror, path)
    return mirror, path


@pytest.mark.parametrize("back", [1, 30, 1000])
def test_a_flipped_byte_is_refused_though_git_bundle_verify_says_okay(written: tuple[Mirror, Path], back: int) -> None:
    mirror, path = written
    content = bytearray(path.read_bytes())
    content[-back] ^= 1
    path.write_bytes(content)
    git(f"--git-dir={mirror.path}", "bundle", "verify", path)
    with pytest.raises(BundleError, match="does not match its own checksum"):
        prove_bundle(path, mirror)


@pytest.mark.parametrize("cut", [1, 20, 500])
def test_a_bundle_cut_short_is_refused(written: tuple[Mirror, Path], cut: int) -> None:
    mirror, path = written
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(BundleError, match="checksum"):
        prove_bundle(path, mirror)


def test_a_bundle_cut_inside_its_header_is_refused(written: tuple[Mirror, Path]) -> None:
    mirror, path = written
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BundleError, match=r"refs|header"):
        prove_bundle(path, mirror)


def test_a_bundle_without_one_of_the_refs_is_refused_by_name(written: tuple[Mirror, Path]) -> None:
    mirror, path = written
    head, pack = path.read_bytes().split(b"\n\n", 1)
    lines = [line for line in head.splitlines() if b"refs/tags/light" not in line]
    path.write_bytes(b"\n".join(lines) + b"\n\n" + pack)
    with pytest.raises(BundleError, match="refs/tags/light"):
        prove_bundle(path, mirror)


def test_a_bundle_that_needs_objects_from_elsewhere_is_refused(written: tuple[Mirror, Path]) -> None:
    mirror, path = written
    signature, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(signature + b"\n-" + mirror.refs[b"HEAD"] + b" commit\n" + rest)
    with pytest.raises(BundleError, match="needs objects"):
        prove_bundle(path, mirror)


def test_what_is_no_bundle_is_refused(written: tuple[Mirror, Path]) -> None:
    mirror, path = written
    path.write_bytes(b"PACK" + path.read_bytes())
    with pytest.raises(BundleError, match="does not start like a git bundle"):
        prove_bundle(path, mirror)


def test_parts_are_hashed_as_they_will_be_uploaded(repositories: Repositories, tmp_path: Path) -> None:
    """A pack of any bytes with its checksum behind it will do: only objects are git's concern."""
    mirror = mirror_of(repositories, "api")
    header = b"# v2 git bundle\n" + b"".join(b"%s %s\n" % (oid, name) for name, oid in mirror.refs.items()) + b"\n"
    pack = bytes(2 * PART_SIZE + BLOCK_SIZE + 7 - len(header))
    content = header + pack + hashlib.sha1(pack, usedforsecurity=False).digest()
    (tmp_path / "bundle").write_bytes(content)
    bundle = prove_bundle(tmp_path / "bundle", mirror)
    parts = [content[start : start + PART_SIZE] for start in range(0, len(content), PART_SIZE)]
    assert bundle.parts == tuple(hashlib.sha256(part).digest() for part in parts)
    assert bundle.sha256 == hashlib.sha256(content).digest()


def test_the_fingerprint_of_refs_is_that_of_their_sorted_lines() -> None:
    refs = parse_refs(b"bb refs/heads/a\naa refs/heads/z\nbb HEAD\n")
    assert fingerprint(refs) == hashlib.sha256(b"aa refs/heads/z\nbb HEAD\nbb refs/heads/a\n").hexdigest()
