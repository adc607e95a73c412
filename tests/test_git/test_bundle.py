"""A bundle is made and proven in one reading: its refs, its completeness, its pack's own checksum."""

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedded.github import FakeGitHub
from embedded.organisation import RECIPES, WHO, Stream
from embedded.real_git import bundled_refs, git, restore, served_refs
from github_s3_backup.git.bundle import (
    MAX_HEADER,
    SIGNATURES,
    Bundle,
    BundleError,
    only_pack,
    open_bundle,
    read_header,
    write_header,
)
from github_s3_backup.git.mirror import Mirror, clone_mirror
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import parse_refs, refs_sha256
from github_s3_backup.runtime.stop import Stop
from support.world import Repositories


@pytest.fixture(scope="module")
def tool() -> Iterator[Git]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Git(Path(scratch), "https://github.com", Stop())


def mirror_at(path: Path, object_format: str = "sha1") -> Mirror:
    refs = {ref.encode(errors="surrogateescape"): oid.encode() for ref, oid in served_refs(path).items()}
    return Mirror(path, refs, object_format)


def header_of(mirror: Mirror) -> bytes:
    return write_header(mirror.refs, mirror.object_format)


def mirror_of(repositories: Repositories, name: str) -> Mirror:
    recipe = RECIPES[name]
    return mirror_at(repositories.path(recipe), recipe.object_format)


def write(tool: Git, mirror: Mirror, path: Path) -> Bundle:
    with open_bundle(tool, mirror) as bundle, path.open("wb") as file:
        file.writelines(bundle)
    return bundle


@pytest.mark.parametrize(
    "name", ["api", "ambiguous-refs", "sha256", "odd-tags", "unicode-refs", "head-at-missing-branch"]
)
@pytest.mark.parametrize("packed", [True, False], ids=["one-pack", "loose"])
def test_a_bundle_is_proven_and_restores(
    repositories: Repositories, tool: Git, tmp_path: Path, name: str, packed: bool
) -> None:
    mirror, path = mirror_of(repositories, name), tmp_path / "bundle"
    mirror = repacked(mirror, tmp_path / "mirror.git") if packed else unpacked(mirror, tmp_path / "mirror.git")
    assert (only_pack(mirror.path) is not None) == packed
    bundle = write(tool, mirror, path)
    source = served_refs(mirror.path)
    assert bundled_refs(path) == source
    assert restore(path, tmp_path / "restored.git") == {k: v for k, v in source.items() if k != "HEAD"}
    content = path.read_bytes()
    assert (bundle.size, bundle.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def repacked(mirror: Mirror, path: Path) -> Mirror:
    """Return a copy of the mirror in one pack."""
    shutil.copytree(mirror.path, path)
    git(f"--git-dir={path}", "repack", "-adq")
    return Mirror(path, mirror.refs, mirror.object_format)


def unpacked(mirror: Mirror, path: Path) -> Mirror:
    """Return a copy of the mirror without any pack."""
    shutil.copytree(mirror.path, path)
    for pack in list(path.glob("objects/pack/*.pack")):
        content = pack.read_bytes()
        for item in path.glob(f"objects/pack/{pack.stem}.*"):
            item.unlink()
        git(f"--git-dir={path}", "unpack-objects", "-q", stdin=content)
    return Mirror(path, mirror.refs, mirror.object_format)


def test_stock_git_bundle_create_loses_refs_that_it_finds_ambiguous(
    repositories: Repositories, tool: Git, tmp_path: Path
) -> None:
    """The reason why the bundle's refs are compared: git says nothing of this in its exit code."""
    mirror = mirror_of(repositories, "ambiguous-refs")
    (tmp_path / "stock").write_bytes(
        b"".join(tool.stream(f"--git-dir={mirror.path}", "bundle", "create", "-", "--all"))
    )
    lost = served_refs(mirror.path).keys() - bundled_refs(tmp_path / "stock").keys()
    assert {"HEAD", "refs/heads/main"} <= lost


@pytest.mark.parametrize("name", ["api", "sha256", "tags-only", "service-001"])
def test_what_git_clones_is_one_pack(repositories: Repositories, github: FakeGitHub, tmp_path: Path, name: str) -> None:
    """Under protocol version 0 git would unpack what is small into one file an object."""
    github.add("acme", name, mirror_of(repositories, name).path, private=False)
    mirror = clone_mirror(
        Git(tmp_path, github.server_url, Stop()), f"{github.server_url}/acme/{name}.git", tmp_path / "m", "token"
    )
    assert only_pack(mirror.path)


# -- what can't be one pack ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "objects/pack/pack-2.pack",
        "objects/ab/cdef",
        "objects/info/alternates",
        "objects/pack/pack-1.promisor",
    ],
)
def test_a_repository_that_is_more_than_one_pack_is_left_to_git(tmp_path: Path, name: str) -> None:
    for item in ("objects/pack/pack-1.pack", "objects/pack/pack-1.idx", "config"):
        (tmp_path / item).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / item).touch()
    assert only_pack(tmp_path) == tmp_path / "objects/pack/pack-1.pack"
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert only_pack(tmp_path) is None


@pytest.mark.parametrize("setting", ["extensions.partialClone", "remote.origin.promisor"])
def test_a_partial_clone_is_left_to_git(repositories: Repositories, tmp_path: Path, setting: str) -> None:
    mirror = repacked(mirror_of(repositories, "api"), tmp_path / "mirror.git")
    assert only_pack(mirror.path)
    git(f"--git-dir={mirror.path}", "config", setting, "true")
    assert only_pack(mirror.path) is None


def test_a_pack_without_its_index_is_left_to_git(repositories: Repositories, tmp_path: Path) -> None:
    mirror = repacked(mirror_of(repositories, "api"), tmp_path / "mirror.git")
    next(mirror.path.glob("objects/pack/*.idx")).unlink()
    assert only_pack(mirror.path) is None


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [1, 30, 1000])
def test_a_byte_that_changed_on_the_disk_is_found_with_the_last_block(
    repositories: Repositories, tool: Git, tmp_path: Path, back: int
) -> None:
    mirror = repacked(mirror_of(repositories, "api"), tmp_path / "mirror.git")
    pack = next(mirror.path.glob("objects/pack/*.pack"))
    content = bytearray(pack.read_bytes())
    content[-back] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    with pytest.raises(BundleError, match="does not match its own checksum"):
        write(tool, mirror, tmp_path / "bundle")


@pytest.mark.parametrize("cut", [1, 20, 500])
def test_a_pack_cut_short_is_refused(repositories: Repositories, tool: Git, tmp_path: Path, cut: int) -> None:
    mirror = repacked(mirror_of(repositories, "api"), tmp_path / "mirror.git")
    pack = next(mirror.path.glob("objects/pack/*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:-cut])
    with pytest.raises(BundleError, match="checksum"):
        write(tool, mirror, tmp_path / "bundle")


@pytest.mark.parametrize("size", [1, 7, 20, 21, 1000])
def test_a_packs_checksum_is_found_however_the_blocks_fall(size: int) -> None:
    content = os.urandom(5000)
    pack = content + hashlib.sha1(content, usedforsecurity=False).digest()
    blocks = [pack[start : start + size] for start in range(0, len(pack), size)]
    assert b"".join(Bundle(b"header", blocks, "sha1", 0)) == b"header" + pack
    with pytest.raises(BundleError):
        list(Bundle(b"header", [*blocks[:-1], bytes(byte ^ 1 for byte in blocks[-1])], "sha1", 0))


def test_what_git_says_of_a_repository_it_cannot_pack_is_the_error(
    repositories: Repositories, tool: Git, tmp_path: Path
) -> None:
    mirror = unpacked(mirror_of(repositories, "api"), tmp_path / "mirror.git")
    oid = mirror.refs[b"refs/heads/main"].decode()
    (mirror.path / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(GitError, match=r"git bundle ended with 128: .*bad object refs/heads/main"):
        write(tool, mirror, tmp_path / "bundle")


def test_a_header_cut_short_is_refused(repositories: Repositories) -> None:
    header = header_of(mirror_of(repositories, "api"))
    with pytest.raises(BundleError, match="ends inside the header"):
        read_header(io.BytesIO(header[:-1]))


def test_a_bundle_that_needs_objects_from_elsewhere_is_refused(repositories: Repositories) -> None:
    mirror = mirror_of(repositories, "api")
    signature, rest = header_of(mirror).split(b"\n", 1)
    with pytest.raises(BundleError, match="needs objects"):
        read_header(io.BytesIO(signature + b"\n-" + mirror.refs[b"HEAD"] + b" commit\n" + rest))


def test_what_is_no_bundle_is_refused(repositories: Repositories) -> None:
    with pytest.raises(BundleError, match="does not start like a git bundle"):
        read_header(io.BytesIO(b"PACK" + header_of(mirror_of(repositories, "api"))))


def test_the_fingerprint_of_refs_is_that_of_their_sorted_lines() -> None:
    refs = parse_refs(b"bb refs/heads/a\naa refs/heads/z\nbb HEAD\n")
    assert refs_sha256(refs) == hashlib.sha256(b"aa refs/heads/z\nbb HEAD\nbb refs/heads/a\n").hexdigest()


# -- any repository --------------------------------------------------------------------------------

REF_NAMES = ("heads/main", "heads/HEAD", "heads/refs/heads/main", "tags/heads/main", "heads/größe/ключ", "tags/100%")
REFS = tuple(f"refs/{name}" for name in (*REF_NAMES, "notes/commits", "pull/1/head", "heads/a&b;c$d'e"))
CONTENTS = (b"", b"text\n", bytes(range(256)) * 40)


@st.composite
def histories(draw: st.DrawFn) -> Stream:
    """Draw a history: lines, merges, octopuses, empty trees, binary files, tags, any refs."""
    stream = Stream()
    for number in range(1, draw(st.integers(1, 6)) + 1):
        parents = draw(st.lists(st.integers(1, number - 1), unique=True, max_size=4)) if number > 1 else []
        files = draw(st.dictionaries(st.sampled_from(("a", "b/c", "d e")), st.sampled_from(CONTENTS), max_size=2))
        commit(stream, number, parents, files)
        if draw(st.booleans()):
            stream.tag(f"v{number}", number)
    for ref in draw(st.lists(st.sampled_from(REFS), unique=True, max_size=5)):
        stream.point(ref, draw(st.integers(1, number)))
    return stream


def commit(stream: Stream, number: int, parents: list[int], files: dict[str, bytes]) -> None:
    """Commit on a branch of its own, with any number of parents."""
    stream.data += f"commit refs/heads/line-{number}\nmark :{number}\ncommitter {WHO}\ndata 1\nx\n".encode()
    for word, parent in zip(("from", *["merge"] * len(parents)), parents, strict=False):
        stream.data += f"{word} :{parent}\n".encode()
    stream.data += b"deleteall\n" if not files else b""
    for path, content in files.items():
        quoted = f'"{path}"'
        stream.data += f"M 100644 inline {quoted}\ndata {len(content)}\n".encode() + content + b"\n"
    stream.data += b"\n"


def everything(repository: Path) -> tuple[dict[str, str], list[bytes]]:
    """Return all refs but HEAD and all objects of a repository."""
    refs = {name: oid for name, oid in served_refs(repository).items() if name != "HEAD"}
    return refs, sorted(git(f"--git-dir={repository}", "cat-file", "--batch-all-objects", "--batch-check").splitlines())


@settings(max_examples=settings().max_examples // 5)
@given(history=histories(), object_format=st.sampled_from(("sha1", "sha256")), loose=st.booleans())
def test_every_ref_and_object_of_any_repository_comes_back(
    tool: Git, history: Stream, object_format: str, loose: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        source, clone = Path(name) / "source.git", Path(name) / "clone.git"
        git("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", source)
        unpack_limit = f"fastimport.unpackLimit={1000 if loose else 0}"
        git(f"--git-dir={source}", "-c", unpack_limit, "fast-import", "--quiet", stdin=bytes(history.data))
        # Pack it as a clone would, and leave the other as it is, in a pack too many.
        shutil.copytree(source, clone)
        git(f"--git-dir={clone}", "repack", "-adq")
        git(f"--git-dir={source}", "pack-objects", "-q", "objects/pack/pack", stdin=head_of(source), cwd=source)
        assert only_pack(clone)
        assert loose or not only_pack(source)
        for number, path in enumerate((source, clone)):
            write(tool, mirror_at(path, object_format), Path(name) / f"{number}.bundle")
            git("clone", "--quiet", "--mirror", f"{name}/{number}.bundle", f"{name}/{number}.git")
            assert everything(Path(name) / f"{number}.git") == everything(source)


def head_of(repository: Path) -> bytes:
    return git(f"--git-dir={repository}", "rev-parse", "refs/heads/line-1")


def test_a_header_that_is_longer_than_any_is_read_to_a_limit() -> None:
    line = b"a" * 40 + b" refs/heads/" + b"b" * 60_000 + b"\n"
    forged = io.BytesIO(SIGNATURES[0] + line * (MAX_HEADER // len(line) + 100))
    with pytest.raises(BundleError, match="the header is too long"):
        read_header(forged)
    assert forged.tell() <= MAX_HEADER + len(line)
