"""Pushes that a server refuses as a whole because of some refs: find those, and push the others.

The refusal names what is wrong: a file, a commit, an LFS object, or a ref. The local mirror knows which refs hold it,
so that the rest is sent once more and not once for every ref.
https://docs.github.com/en/repositories/working-with-files/managing-large-files/about-large-files-on-github
"""

import re
from collections.abc import Iterable
from pathlib import Path

from github_s3_backup.git.process import Git, GitError
from github_s3_backup.git.refs import Refs
from github_s3_backup.restore.push.remote import REJECTED, Remote, is_rejected, refspecs
from github_s3_backup.restore.push.steps import Step

# What git says of each ref of a push that a server's hook or ruleset refused as a whole.
WHOLE_PUSH = re.compile(r"\(pre-receive hook declined\)|\(push declined due to repository rule violations\)")
TOO_LARGE = re.compile(r"File (.+) is [\d.]+ [KMG]B; this exceeds .* limit of ([\d.]+) ([KMG])B")
UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}
COMMIT = re.compile(r"\bcommit:? ([0-9a-f]{40})\b")
LFS_OBJECT = re.compile(r"^remote:\s+([0-9a-f]{64})\b")
REF = re.compile(r"violations found for (refs/[^\s:]+)")
# Pushes of one step that may be refused before the rest of its refs is given up; objects that are looked for at once.
MAX_REFUSALS, MAX_OBJECTS = 12, 50
ADVICE = (
    (
        TOO_LARGE,
        "`fetch --as mirrors` has it. Move the file to Git LFS with `git lfs migrate import` and push the result, "
        "or push to another server with --url",
    ),
    (re.compile("GH008"), "the backup lacks these LFS objects too, or they could not be uploaded"),
    (
        re.compile("GH013|rule violations"),
        "switch the target's rulesets and push protection off until the restore is done",
    ),
)


def push_step(remote: Remote, mirror: Path, step: Step, overwrite: bool) -> list[str]:
    """Push one step, and return the errors of refs that were refused. Raises GitError.

    Where the server refuses the whole push, the refs that hold what it names are left out; where it names nothing, each
    half of the refs is pushed alone.
    """
    waiting, errors = [step.refs], list[str]()
    while waiting:
        refs = waiting.pop()
        try:
            remote.push(mirror, refspecs(Step(refs, step.milestones), overwrite))
        except GitError as error:
            if step.milestones or not is_rejected(error):
                raise
            errors.append(_explain(error))
            if len(errors) > MAX_REFUSALS:
                errors.append(f"after {MAX_REFUSALS} refusals the other refs were not tried")
                break
            waiting += _others(remote.git, mirror, refs, error)
    return errors


def _others(git: Git, mirror: Path, refs: Refs, error: GitError) -> list[Refs]:
    """Return the refs that can be pushed without those that were refused, in groups."""
    rejected = sum(bool(REJECTED.match(line)) for line in error.lines)
    if len(refs) == 1 or rejected < len(refs) or not WHOLE_PUSH.search(str(error)):
        return []
    guilty = _holders(git, mirror, refs, error)
    if guilty:
        rest = {name: oid for name, oid in refs.items() if name not in guilty}
        return [rest] if rest else []
    pairs = list(refs.items())
    middle = len(pairs) // 2
    return [dict(pairs[middle:]), dict(pairs[:middle])]


def _holders(git: Git, mirror: Path, refs: Refs, error: GitError) -> set[bytes]:
    """Return the refs that hold what the refusal names."""
    words = "\n".join(error.lines)
    named = {name.encode() for name in REF.findall(words)} & refs.keys()
    commits = {oid.encode() for oid in COMMIT.findall(words)}
    if limits := [float(number) * UNITS[unit] for _, number, unit in TOO_LARGE.findall(words)]:
        for blob in _large_blobs(git, mirror, min(limits))[:MAX_OBJECTS]:
            commits |= _log(git, mirror, f"--find-object={blob.decode()}")
    if oids := [found[1] for line in error.lines if (found := LFS_OBJECT.match(line))]:
        commits |= _log(git, mirror, "--pickaxe-regex", f"-Soid sha256:({'|'.join(oids)})")
    return named | _containing(git, mirror, refs, commits)


def _large_blobs(git: Git, mirror: Path, limit: float) -> list[bytes]:
    arguments = ("cat-file", "--batch-all-objects", "--unordered")
    kinds = git.run(f"--git-dir={mirror}", *arguments, "--batch-check=%(objecttype) %(objectsize) %(objectname)")
    rows = (line.split() for line in kinds.splitlines())
    return [oid for kind, size, oid in rows if kind == b"blob" and int(size) > limit]


def _log(git: Git, mirror: Path, *search: str) -> set[bytes]:
    """Return the commits whose changes match."""
    return set(git.run(f"--git-dir={mirror}", "log", "--all", "--format=%H", "-m", "--no-renames", *search).split())


def _containing(git: Git, mirror: Path, refs: Refs, commits: Iterable[bytes]) -> set[bytes]:
    """Return the refs in whose history one of the commits is. Commits that the mirror lacks are in none."""
    lines = b"".join(oid + b"\n" for oid in commits)
    answer = git.run(f"--git-dir={mirror}", "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=lines)
    known = [line.split()[0].decode() for line in answer.splitlines() if line.endswith(b" commit")]
    if not known:
        return set()
    contains = [f"--contains={oid}" for oid in known]
    holders = set(git.run(f"--git-dir={mirror}", "for-each-ref", "--format=%(objectname)", *contains).split())
    return {name for name, oid in refs.items() if oid in holders}


def _explain(error: GitError) -> str:
    """Return the server's words about a refusal, and what helps."""
    said = [line.removeprefix("remote:").strip() for line in error.lines if line.startswith("remote: ")]
    words = " ".join(line for line in said if line) or str(error)
    if not WHOLE_PUSH.search(str(error)):
        words = str(error)
    advice = next((f". {advice}" for sign, advice in ADVICE if sign.search(words)), "")
    return f"{words[:1000]}{advice}"
