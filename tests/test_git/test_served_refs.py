"""What a git server says of its refs is believed only in its own form."""

import pytest

from embedded.organisation import AWKWARD, RECIPES
from embedded.real_git import git, served_refs
from github_s3_backup.git.served_refs import CONTENT_TYPE, ServedRefs, ServedRefsError, parse_served_refs
from support.world import Repositories

OID = b"1" * 40


def line(content: bytes) -> bytes:
    return b"%04x%s" % (len(content) + 4, content)


def answer(*lines: bytes) -> bytes:
    """Return a git server's answer with these lines."""
    return line(b"# service=git-upload-pack\n") + b"0000" + b"".join(map(line, lines)) + b"0000"


@pytest.mark.parametrize("name", [recipe.name for recipe in AWKWARD])
def test_the_refs_are_those_that_git_sees(repositories: Repositories, name: str) -> None:
    path = repositories.path(RECIPES[name])
    advertised = git("upload-pack", "--stateless-rpc", "--advertise-refs", path)
    body = line(b"# service=git-upload-pack\n") + b"0000" + advertised
    expected = {ref.encode(errors="surrogateescape"): oid.encode() for ref, oid in served_refs(path).items()}
    served = parse_served_refs(CONTENT_TYPE, body)
    assert served.refs == expected
    head = git(f"--git-dir={path}", "symbolic-ref", "--short", "HEAD").decode().strip()
    assert served.head == (head if b"HEAD" in expected else None)


@pytest.mark.parametrize("body", [answer(), answer(b"0" * 40 + b" capabilities^{}\x00agent=x\n")])
def test_no_refs_are_an_answer_too(body: bytes) -> None:
    assert parse_served_refs(CONTENT_TYPE, body) == ServedRefs({})


WHOLE = answer(OID + b" HEAD\x00agent=x\n", OID + b" refs/heads/main\n")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"0000",
        WHOLE[:-1],
        WHOLE[:-4],
        WHOLE[:-30],
        WHOLE + b"0000",
        WHOLE + b"more",
        WHOLE.replace(b"upload", b"UPLOAD"),
        answer(OID + b" HEAD\n"),
        answer(OID + b" HEAD\x00agent=x\n", b"shallow " + OID + b"\n"),
        answer(OID + b" HEAD\x00agent=x\n", b"x" * 40 + b" refs/heads/main\n"),
        answer(OID + b" HEAD\x00agent=x\n", OID + b" elsewhere\n"),
        answer(b"ERR Repository not found\x00\n"),
    ],
)
def test_anything_else_is_no_answer(body: bytes) -> None:
    with pytest.raises(ServedRefsError):
        parse_served_refs(CONTENT_TYPE, body)


def test_the_right_bytes_of_another_type_are_no_answer() -> None:
    assert parse_served_refs(CONTENT_TYPE, WHOLE).refs == {b"HEAD": OID, b"refs/heads/main": OID}
    with pytest.raises(ServedRefsError, match="text/html"):
        parse_served_refs("text/html", WHOLE)


@pytest.mark.parametrize(
    ("capabilities", "head"),
    [
        (b"symref=HEAD:refs/heads/main", "main"),
        (b"multi_ack symref=HEAD:refs/heads/a/b agent=git/2.50", "a/b"),
        (b"agent=git/2.50 symref=HEAD:refs/heads/\xff\n", "\\xff"),
        (b"symref=refs/heads/alias:refs/heads/main", None),
        (b"symref=HEAD:refs/tags/v1", None),
        (b"xsymref=HEAD:refs/heads/main", None),
    ],
)
def test_the_branch_that_head_points_at_is_among_the_capabilities(capabilities: bytes, head: str | None) -> None:
    body = answer(OID + b" HEAD\x00" + capabilities, OID + b" refs/heads/main\n")
    assert parse_served_refs(CONTENT_TYPE, body).head == head
