"""Push a repository in steps below a size limit: GitHub refuses a push of more than 2 GiB.

https://docs.github.com/en/get-started/using-git/troubleshooting-the-2-gb-push-limit
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from github_s3_backup.git.process import Git
from github_s3_backup.git.refs import Refs

# Refs in one push at most, whatever their size: servers check each of them.
REFS_PER_STEP = 1000


@dataclass(frozen=True)
class Step:
    """One push. `milestones`: commits on the way to a ref, kept on the server until the ref is there."""

    refs: Refs
    milestones: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class History:
    """The history of a local mirror, asked how many bytes a push takes."""

    git: Git
    mirror: Path

    def known(self, oids: Iterable[bytes]) -> set[bytes]:
        """Return the objects that the mirror holds."""
        lines = b"".join(oid + b"\n" for oid in oids)
        answer = self.git.run(f"--git-dir={self.mirror}", "cat-file", "--batch-check=%(objectname)", stdin=lines)
        return {line for line in answer.splitlines() if b" " not in line}

    def size(self, wanted: Iterable[bytes], on_target: Iterable[bytes]) -> int:
        """Return the size on disk of all objects reachable from `wanted` and not from `on_target`."""
        revisions = b"\n".join([*wanted, *(b"^" + oid for oid in on_target)]) + b"\n"
        return int(self._rev_list("--objects", "--disk-usage", stdin=revisions))

    def first_parents(self, tip: bytes, on_target: Iterable[bytes]) -> list[bytes]:
        """Return the missing commits from the oldest to `tip`, each the first parent of the next."""
        revisions = b"\n".join([tip, *(b"^" + oid for oid in on_target)]) + b"\n"
        return self._rev_list("--first-parent", "--reverse", stdin=revisions).split()

    def other_parents(self, commit: bytes) -> list[bytes]:
        """Return the parents of a merge, without the first."""
        return self._rev_list("--parents", "--max-count=1", stdin=commit + b"\n").split()[2:]

    def workflows(self, commits: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the tree of the GitHub workflows of each commit that has some, and is known."""
        asked = list(commits)
        lines = b"".join(oid + b":.github/workflows\n" for oid in asked)
        answer = self.git.run(f"--git-dir={self.mirror}", "cat-file", "--batch-check=%(objectname)", stdin=lines)
        found = zip(asked, answer.splitlines(), strict=True)
        return {oid: tree for oid, tree in found if b" " not in tree}

    def _rev_list(self, *options: str, stdin: bytes) -> bytes:
        return self.git.run(f"--git-dir={self.mirror}", "rev-list", *options, "--stdin", stdin=stdin)


def plan_steps(history: History, refs: Refs, on_target: Refs, limit: int) -> list[Step]:
    """Return the pushes, in order, that bring `refs` to a server that has `on_target`: none larger than `limit` bytes.

    A single commit above the limit is a step of its own: it can't be divided.
    """
    missing = {name: oid for name, oid in refs.items() if on_target.get(name) != oid}
    if not missing:
        return []
    done = history.known(on_target.values())
    if history.size(missing.values(), done) <= limit:
        return [Step(chunk) for chunk in _chunks(missing)]
    steps: list[Step] = []
    waiting = list(missing.items())
    while waiting:
        oids = [oid for _, oid in waiting]
        for milestone in _milestones(history, oids[0], done, limit):
            steps.append(Step({}, (milestone,)))
            done.add(milestone)
        fitting = _count_fitting(len(oids), lambda count: history.size(oids[:count], done) <= limit)  # noqa: B023
        batch, waiting = dict(waiting[: max(fitting, 1)]), waiting[max(fitting, 1) :]
        steps.extend(Step(chunk) for chunk in _chunks(batch))
        done |= set(batch.values())
    return steps


def _chunks(refs: Refs) -> Iterator[Refs]:
    pairs = list(refs.items())
    for start in range(0, len(pairs), REFS_PER_STEP):
        yield dict(pairs[start : start + REFS_PER_STEP])


def _milestones(history: History, tip: bytes, on_target: Iterable[bytes], limit: int) -> list[bytes]:
    """Return commits below `tip` to push one by one, so that each push is at most `limit` bytes."""
    done, found = set(on_target), list[bytes]()
    chain = history.first_parents(tip, done)
    while len(chain) > 1 and history.size([tip], done) > limit:
        fitting = _count_fitting(len(chain), lambda count: history.size([chain[count - 1]], done) <= limit)  # noqa: B023
        if not fitting:  # the oldest alone is too large: push what was merged into it first
            for parent in history.other_parents(chain[0]):
                between = [*_milestones(history, parent, done, limit), parent]
                found.extend(between)
                done |= set(between)
        reached = chain[max(fitting, 1) - 1]
        chain = chain[max(fitting, 1) :]
        if chain:
            found.append(reached)
            done.add(reached)
    return found


def _count_fitting(most: int, fits: Callable[[int], bool]) -> int:
    """Return how many fit into one push, by binary search: each question to git takes time."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
