"""A full bundle and a bundle of changes restore with stock git to exactly what the server serves."""

import random
import shutil
import tempfile
import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from embedded.git_server import GitServer
from embedded.real_git import restore_changes
from github_s3_backup.backup.repository.changes import MEMORY_PER_LIST_BYTE
from github_s3_backup.git.bundle import BundleError
from github_s3_backup.git.changes import fetch_changes
from github_s3_backup.git.object_list import ObjectList, ObjectListError, parse_object_list
from github_s3_backup.git.objects import list_objects
from github_s3_backup.git.pkt_line import pkt_line
from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.proof import links_of, prove
from github_s3_backup.git.wire import ChangesNotPossibleError
from github_s3_backup.github.transport.rest import GitHubError
from github_s3_backup.runtime.stop import Stop
from support.changing import MAIN, Changing, ballast, random_change

OLD = "refs/heads/old"
MANY = (10_100, 50_000)


@pytest.fixture(scope="module")
def tool() -> Iterator[Git]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Git(Path(scratch), "https://github.com", Stop())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def original(tool: Git, server: GitServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A branch of ten commits, an old branch that forked early, a folder of branches, and two tags."""
    repository = Changing(tool, server, server.folder / "original.git", tmp_path_factory.mktemp("original")).init()
    tip = repository.commit(ref=MAIN)
    for number in range(9):
        tip = repository.commit(tip, ref=MAIN)
        if number == 2:
            repository.commit(tip, ref=OLD)
    repository.point("refs/heads/folder/one", repository.rev("main~4"))
    repository.git("tag", "light", "main~3")
    repository.git("tag", "-a", "-m", "release", "annotated", "main~1")
    return repository.path


@pytest.fixture
def repository(tool: Git, server: GitServer, tmp_path: Path, original: Path) -> Changing:
    path = server.folder / f"{tmp_path.name}.git"
    shutil.copytree(original, path)
    return Changing(tool, server, path, tmp_path, count=100)


@pytest.fixture
def empty(tool: Git, server: GitServer, tmp_path: Path) -> Changing:
    return Changing(tool, server, server.folder / f"{tmp_path.name}.git", tmp_path)


# What happens to a repository between two days. The name says what a backup must survive.
Change = Callable[[Changing], object]


def force_push(repository: Changing) -> None:
    repository.commit("main~4", ref=MAIN)


def force_push_and_gc(repository: Changing) -> None:
    force_push(repository)
    repository.delete("refs/tags/light", "refs/tags/annotated")
    repository.git("-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")


def tags_of_everything(repository: Changing) -> None:
    repository.point("refs/heads/new", repository.rev("main~5"))
    repository.git("tag", "another", "main~6")
    repository.git("tag", "-a", "-m", "of a tag", "of-a-tag", "annotated")
    repository.git("tag", "-a", "-m", "of a tree", "of-a-tree", "main~2^{tree}")
    repository.git("tag", "-a", "-m", "of a file", "of-a-file", "main:file")
    repository.point("refs/tags/tree", repository.rev("main^{tree}"))
    repository.point("refs/tags/new-file", repository.blob("nothing else has this"))


def rewrite_everything(repository: Changing) -> None:
    repository.delete(OLD, "refs/heads/folder/one", "refs/tags/light", "refs/tags/annotated")
    tip = repository.commit()
    for _ in range(5):
        tip = repository.commit(tip)
    repository.point(MAIN, tip)


def commit_on_a_deleted_branch(repository: Changing) -> None:
    repository.commit(OLD, ref="refs/heads/on-old")
    repository.delete(OLD)


def octopus(repository: Changing) -> None:
    sides = [repository.commit(f"main~{number}") for number in (2, 4, 6)]
    repository.commit("main", *sides, OLD, ref=MAIN)


def pull_requests_and_notes(repository: Changing) -> None:
    head = repository.commit("main~2", ref="refs/pull/1/head")
    repository.commit("main", head, ref="refs/pull/1/merge")
    repository.git("notes", "add", "-m", "seen", "main")


def a_ref_becomes_a_folder(repository: Changing) -> None:
    repository.delete(OLD)
    repository.commit("main", ref="refs/heads/old/one")


def move_head(repository: Changing) -> None:
    repository.git("symbolic-ref", "HEAD", OLD)
    repository.commit(OLD, ref=OLD)


def detach_head(repository: Changing) -> None:
    repository.point("HEAD", repository.commit("main~1"))


def submodule(repository: Changing) -> None:
    files = {"file": "x", "module": f"160000 commit {'5' * 40}", "folder": repository.tree("main~2")}
    repository.commit("main", ref=MAIN, files=files)


def keep_only_a_tag(repository: Changing) -> None:
    repository.delete(MAIN, OLD, "refs/heads/folder/one", "refs/tags/light")


def a_folder_becomes_a_ref(repository: Changing) -> None:
    repository.delete("refs/heads/folder/one")
    repository.commit("main", ref="refs/heads/folder")


def on_a_hidden_ref(repository: Changing) -> None:
    """Commit on what the server has, and shows nobody."""
    repository.git("config", "transfer.hideRefs", "refs/hidden")
    hidden = repository.commit("main~3", ref="refs/hidden/1")
    repository.commit("main", hidden, ref=MAIN)


def nothing_in_it(repository: Changing) -> None:
    """Commit no files at all: git knows the empty tree, whether or not it is stored."""
    tree = repository.git("hash-object", "-t", "tree", "--stdin")
    repository.point(MAIN, repository.git("commit-tree", tree, "-p", "main", "-m", "empty"))


def replaced(repository: Changing) -> None:
    """Let git show another commit in place of an old one, and move a tag."""
    repository.git("replace", "main~2", repository.commit("main~4"))
    repository.git("tag", "--force", "-a", "-m", "again", "annotated", "main~5")


def strange_name(repository: Changing) -> None:
    name = "refs/heads/caf\udce9"  # the byte e9, as Python holds it
    repository.git("update-ref", name, repository.commit("main"))


CHANGES: dict[str, Change] = {
    "a commit": lambda repository: repository.commit("main", ref=MAIN),
    "a force-push": force_push,
    "a force-push and the server's gc": force_push_and_gc,
    "a deleted branch": lambda repository: repository.delete(OLD),
    "a new branch and tags of everything": tags_of_everything,
    "a merge of an old branch": lambda repository: repository.commit("main", OLD, ref=MAIN),
    "everything rewritten": rewrite_everything,
    "an orphan": lambda repository: repository.commit(ref="refs/heads/orphan"),
    "HEAD moved": move_head,
    "HEAD detached": detach_head,
    "HEAD's branch deleted": lambda repository: repository.delete(MAIN),
    "HEAD unborn, the rest as it was": lambda repository: repository.git("symbolic-ref", "HEAD", "refs/heads/none"),
    "notes and pull requests": pull_requests_and_notes,
    "a branch that becomes a folder": a_ref_becomes_a_folder,
    "a rewind": lambda repository: repository.point(MAIN, repository.rev("main~4")),
    "a submodule": submodule,
    "a commit on a branch that is deleted": commit_on_a_deleted_branch,
    "an octopus": octopus,
    "only an annotated tag is left": keep_only_a_tag,
    "a folder of branches that becomes a branch": a_folder_becomes_a_ref,
    "a hidden ref": on_a_hidden_ref,
    "a commit without files": nothing_in_it,
    "a replaced commit, and a moved tag": replaced,
    "a name that is not UTF-8": strange_name,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_restores_on_its_full_bundle(repository: Changing, change: str) -> None:
    full = repository.full()
    CHANGES[change](repository)
    changes = repository.check(full)
    assert changes.prerequisites
    assert {repository.git("cat-file", "-t", oid.decode()) for oid in changes.prerequisites} <= {"commit"}


@pytest.mark.parametrize("count", [300, *(pytest.param(count, marks=pytest.mark.exhaustive) for count in MANY)])
def test_all_refs_are_told_to_the_server_in_the_one_request(empty: Changing, server: GitServer, count: int) -> None:
    """More haves than git itself ever sends over HTTP, and SHA-256."""
    empty.init("sha256")
    old = empty.commit(ref=MAIN)
    tag = "tag {0}\nfrom {1}\ntagger A <a@b.c> {0} +0000\ndata 0\n\n"
    empty.git("fast-import", "--quiet", stdin="".join(tag.format(number, old) for number in range(count)).encode())
    empty.git("pack-refs", "--all")
    full = empty.full()
    new = empty.commit(old, ref=MAIN)
    empty.update("delete refs/tags/5", *(f"create refs/tags/new/{number} {new}" for number in range(count)))
    empty.git("pack-refs", "--all")
    before = len(server.authorizations)
    changes = empty.check(full)
    assert changes.prerequisites == (old.encode(),)
    assert len(list(list_objects(empty.tool, changes.pack.parents[2]))) == 3
    assert server.authorizations[before:] == ["Basic Zm9vOmJhcg=="]


def test_the_verdict_of_the_proof_is_that_of_a_restore(repository: Changing) -> None:
    """Each object that the server could have left out is left out in turn."""
    full = repository.full()
    merge_everything(repository)
    repository.git("tag", "-a", "-m", "of a tree", "of-a-tree", "main^{tree}")
    whole = repository.check(full)
    oids = [header.oid.decode() for header in list_objects(repository.tool, whole.pack.parents[2])]
    assert len(oids) == 8
    for oid in oids:
        lacking = repository.without(whole, oid)
        try:
            prove(repository.tool, lacking.pack.parents[2], whole.refs, full.objects)
        except ChangesNotPossibleError:
            with pytest.raises(RuntimeError):
                restore_changes(full.path, repository.write(lacking), repository.new("restored.git"))
        else:
            restore_changes(full.path, repository.write(lacking), repository.new("restored.git"))


def merge_everything(repository: Changing) -> None:
    """Change a folder, bring an old file back, and merge."""
    files = {"file": "content 2", "folder": repository.tree("main~2"), "new": "new"}
    side = repository.commit("main~2", files=files)
    repository.commit("main", side, OLD, ref=MAIN, files=files | {"other": "other"})


def test_a_real_server_that_cannot_send_what_is_needed_is_told_from_one_that_can(
    repository: Changing, server: GitServer
) -> None:
    full, answer = repository.full(), server.respond
    refused = (ChangesNotPossibleError, GitHubError)
    commit = repository.commit("main", ref=MAIN)
    before = repository.refs()

    def without_protocol_2(handler: BaseHTTPRequestHandler) -> None:
        del handler.headers["Git-Protocol"]
        answer(handler)

    server.respond = without_protocol_2
    with pytest.raises(refused):
        repository.changes(full.objects)
    server.respond = answer

    shallow = repository.path / "shallow"
    shallow.write_text(f"{repository.rev('main~2')}\n")
    with pytest.raises(ChangesNotPossibleError, match="'shallow-info' instead of a pack"):
        repository.changes(full.objects)
    shallow.unlink()

    blob = repository.rev("main:file")
    loose = repository.path / "objects" / blob[:2] / blob[2:]
    content = loose.read_bytes()
    loose.unlink()
    with pytest.raises(ChangesNotPossibleError, match="the server stopped"):
        repository.changes(full.objects)
    loose.write_bytes(content)
    assert repository.check(full).prerequisites == (repository.rev("main~1").encode(),)

    repository.point(MAIN, repository.rev("main~1"))  # between the two requests
    repository.git("-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")
    with pytest.raises(ChangesNotPossibleError, match=f"the server refused: upload-pack: not our ref {commit}"):
        fetch_changes(repository.tool, before, full.objects, repository.new("changes.git"), repository.fetch)


def test_a_pack_that_git_cannot_hash_whole_or_that_changes_on_the_disk_is_no_bundle(repository: Changing) -> None:
    """A thin pack is one with differences from objects outside: a server may send it only where it is asked to."""
    repository.commit("main", ref=MAIN, files={"large": ballast(2000)})
    full = repository.full()
    repository.commit("main", ref=MAIN, files={"large": f"{ballast(2000)} and more"})

    def fetch_thin(request: bytes) -> Iterator[bytes]:
        asked, more = pkt_line(b"no-progress\n"), pkt_line(b"thin-pack\n")
        assert asked in request
        return repository.fetch(request.replace(asked, asked + more))

    with pytest.raises(GitError, match="unresolved delta"):
        fetch_changes(repository.tool, repository.refs(), full.objects, repository.new("changes.git"), fetch_thin)
    changes = repository.check(full)
    pack = bytearray(changes.pack.read_bytes())
    pack[20] ^= 1
    changes.pack.chmod(0o600)
    changes.pack.write_bytes(pack)
    with pytest.raises(BundleError, match="checksum"):
        repository.write(changes)


def test_a_list_is_read_within_the_memory_that_is_reserved_for_it() -> None:
    prefixes = array("Q", range(1_000_000))
    body = ObjectList("0" * 64, "sha1", {b"1" * 40: b"commit"}, prefixes).to_bytes()
    tracemalloc.start()
    try:
        assert parse_object_list(body, "0" * 64).prefixes == prefixes
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) + peak < (MEMORY_PER_LIST_BYTE + 0.2) * len(body)


def test_an_object_that_the_list_lacks_is_missed(repository: Changing) -> None:
    full = repository.full()
    repository.commit("main", ref=MAIN)
    lacking = replace(full.objects, prefixes=full.objects.prefixes[:0])
    with pytest.raises(ChangesNotPossibleError, match="neither in the pack nor in the full bundle"):
        repository.changes(lacking)


@pytest.mark.parametrize(
    ("seed", "days"), [(1, 5), *(pytest.param(seed, 20, marks=pytest.mark.exhaustive) for seed in range(2, 22))]
)
def test_after_random_days_every_day_restores(repository: Changing, seed: int, days: int) -> None:
    """The model is the server itself, as it was on each day. A new full bundle is made now and then."""
    choice = random.Random(seed)  # noqa: S311
    full = repository.full()
    for day in range(days):
        for _ in range(choice.randrange(1, 4)):
            random_change(repository, choice)
        repository.check(full)
        if day % 5 == 2:
            full = repository.full()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"commit", b"parent " + b"1" * 40 + b"\n"),
        (b"commit", b"tree " + b"1" * 39 + b"\n"),
        (b"commit", b"tree " + b"1" * 40 + b"\nparent xyz\n"),
        (b"tag", b"object " + b"1" * 40 + b"\ntype folder\n"),
        (b"tree", b"100644 a\0" + b"1" * 19),
        (b"tree", b"100644 a/b\0" + b"1" * 20),
        (b"tree", b"100644 a\0" + b"1" * 20 + b"x"),
        (b"tree", b"file a\0" + b"1" * 20),
    ],
)
def test_an_object_of_an_unknown_form_is_not_believed(kind: bytes, content: bytes) -> None:
    with pytest.raises(ChangesNotPossibleError, match="unknown form"):
        links_of(kind, content, 20)


def test_a_bundle_without_commits_has_no_changes(empty: Changing) -> None:
    empty.init()
    empty.point("refs/tags/file", empty.blob("content"))
    full = empty.full()
    empty.point("refs/tags/other", empty.blob("other"))
    with pytest.raises(ChangesNotPossibleError, match="no commit"):
        empty.changes(full.objects)
    with pytest.raises(ChangesNotPossibleError, match="another object format"):
        empty.changes(replace(full.objects, object_format="sha256"))


def test_a_damaged_list_or_that_of_another_bundle_is_refused(repository: Changing) -> None:
    objects = repository.full().objects
    body = objects.to_bytes()
    for damaged in (b"", body[:-1], body[: body.index(b"\n\n")], body[5:], body.replace(b"sha1", b"md5 ")):
        with pytest.raises(ObjectListError):
            parse_object_list(damaged, objects.bundle_sha256)
    with pytest.raises(ObjectListError, match="another bundle"):
        parse_object_list(body, "0" * 64)
    everything = [header.oid.decode() for header in list_objects(repository.tool, repository.path)]
    assert all(objects.holds(bytes.fromhex(oid)) for oid in everything)
    assert not any(objects.holds(bytes.fromhex(oid[::-1])) for oid in everything)
