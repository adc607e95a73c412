"""Years of backups under S3's lifecycle: what a manifest within the retention names has never expired.

That is bundles, the lists beside them, and the content that the lists name: LFS objects and files of releases.
Real: what a run stores, writes again and refers to, and what its manifest and its lists say. A model, in
lifecycle_model.py and lifecycle_standins.py: the clock, GitHub, and which objects S3 still has.
"""

import functools
import json
import random
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from embedded.stack import PROJECT
from github_s3_backup.s3.content_store import MAX_AGE_IN_LIST, MAX_CONTENT_DAYS, MAX_LIST_DAYS
from github_s3_backup.s3.keys import lfs_root, releases_root
from support.lifecycle_model import LFS, PREFIX, RELEASES, Rules, Spell, World, live
from support.lifecycle_standins import Bucket, Expirations
from tools import tables

LIFECYCLE = (PROJECT / "modules" / "bucket" / "main.tf").read_text()


@functools.cache
def lifecycle_local(name: str) -> str:
    """Return a local's expression as it is written."""
    (expression,) = re.findall(rf"^  {name} += (.+)$", LIFECYCLE, re.MULTILINE)
    return str(expression)


# The most that the module's input full_backup_days accepts.
MAX_FULL_BACKUP_DAYS = int(lifecycle_local("max_full_backup_days"))


def sum_of(name: str, retention: int) -> int:
    """Return the days that a local of the module adds up to."""
    terms = lifecycle_local(name).removeprefix("local.keeps_forever ? null : ").split(" + ")
    values = {"var.backup_retention_days": retention}
    return sum(values[term] if term in values else number_of(term) for term in terms)


def number_of(term: str) -> int:
    return int(lifecycle_local(term.removeprefix("local.")) if term.startswith("local.") else term)


# -- rules ---------------------------------------------------------------------------------------


def module_rule(retention: int, _: int) -> int:
    """Return the days after which the module lets bundles, lists and manifests expire, by its own sum."""
    return sum_of("expiration_days", retention)


def module_rules(retention: int, full_backup_days: int) -> Expirations:
    """Return the days after which the module lets all that there is expire."""
    content = sum_of("content_expiration_days", retention)
    return {PREFIX: module_rule(retention, full_backup_days), LFS: content, RELEASES: content}


def with_rule(root: str, rule: Callable[[int, int], int]) -> Rules:
    """Return the module's rules, with another one for what is below a root."""
    return lambda retention, days: {**module_rules(retention, days), root: rule(retention, days)}


def without_content(retention: int, full_backup_days: int) -> Expirations:
    """Let content never expire."""
    return {PREFIX: module_rule(retention, full_backup_days)}


# -- what happens --------------------------------------------------------------------------------

RATES = st.sampled_from((0.0, 0.0, 0.0, 0.02, 0.3, 1.0))
RARELY = st.sampled_from((0.0, 0.0, 0.02))
SPELLS = st.builds(
    Spell,
    days=st.integers(1, 150),
    retention=st.integers(1, 100) | st.just(365),
    full_backup_days=st.integers(1, MAX_FULL_BACKUP_DAYS) | st.just(MAX_FULL_BACKUP_DAYS),
    every=st.sampled_from((1, 3, 7, 30)),
    runs_a_day=st.sampled_from((1, 1, 1, 3)),
    missed=RATES,
    changed=RATES,
    released=RATES,
    lost=RARELY,
    troubled=st.sampled_from((0.0, 0.02, 0.3)),
    failed=RATES,
    vanished=RARELY,
    stopped=RATES,
)
Life = tuple[list[Spell], int]
SEEDS = st.integers(0, 2**16)
LIVES = st.tuples(st.lists(SPELLS, min_size=3, max_size=8), SEEDS)


def one_run(days: int, changed: float = 0.0) -> Spell:
    """Return so many days with one run, on the first."""
    full_backup_days = MAX_FULL_BACKUP_DAYS
    return Spell(days, retention=1, full_backup_days=full_backup_days, every=days, changed=changed, released=changed)


# Content is stored on the first day, and looked up on the last day on which it need not be written again.
LOOKED_UP = [one_run(MAX_AGE_IN_LIST), one_run(MAX_LIST_DAYS - 1)]
# Its list is named for as long as it may be; or a change makes a new list on the day before the next look.
NAMED = [*LOOKED_UP, one_run(1), one_run(1), one_run(900)]
LISTED_AGAIN = [*LOOKED_UP, one_run(MAX_LIST_DAYS - 1, changed=1.0), one_run(1), one_run(900)]
OLDEST_LIVES = st.tuples(st.sampled_from([NAMED, LISTED_AGAIN]), SEEDS)


# How many lives a check that must hold in each of them sees.
MANY = pytest.mark.parametrize("examples", [1, pytest.param(20, marks=pytest.mark.exhaustive)])


def in_some_lives(check: Callable[[Life], None], lives: st.SearchStrategy[Life] = LIVES, examples: int = 20) -> None:
    """Raise AssertionError where the check does in one of these lives, the same ones at each call."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(lives)
    def live_one(life: Life) -> None:
        check(life)

    live_one()


def strands_no_manifest(rules: Rules, what: str = "", *, shows_age: bool = True) -> Callable[[Life], None]:
    """Return the check that a life under these rules strands no manifest. `what`: a part of the keys that count."""

    def check(life: Life) -> None:
        spells, seed = life
        world = World(random.Random(seed), Bucket(shows_age=shows_age))  # noqa: S311  (a life can be lived again)
        found = next((words for words in live(world, spells, rules) if what in words), None)
        assert not found, found

    return check


def leaves_no_content(rules: Rules) -> Callable[[Life], None]:
    """Return the check that content expires once nothing at GitHub needs it, while runs go on."""

    def check(life: Life) -> None:
        spells, seed = life
        world = World(random.Random(seed))  # noqa: S311  (a life can be lived again)
        assert not list(live(world, spells, rules))
        world.github.delete_content()
        afterwards = Spell(days=1, every=1, missed=0.9, retention=30, full_backup_days=28)
        # What a run stored on the last day may be a day younger, and expires at the next midnight.
        days = max(module_rules(afterwards.retention, afterwards.full_backup_days).values()) + 2
        assert not list(live(world, [afterwards], rules, days))
        left = {key.partition("/")[0] for key in world.bucket.objects} - {PREFIX}
        assert not left, f"what does not expire: {sorted(left)}"

    return check


def writes_content_again_when_old(life: Life) -> None:
    """Check that no file is written again as long as it is young enough for a list."""
    spells, seed = life
    world = World(random.Random(seed))  # noqa: S311  (a life can be lived again)
    assert not list(live(world, spells, module_rules))
    content = [moments for key, moments in world.bucket.writes.items() if not key.startswith(f"{PREFIX}/")]
    gaps = [(later.date() - earlier.date()).days for moments in content for earlier, later in pairwise(moments)]
    assert gaps
    assert min(gaps) > MAX_AGE_IN_LIST


# -- the tests -----------------------------------------------------------------------------------


def test_the_input_accepts_what_the_rule_allows_for() -> None:
    body = dict(tables.blocks("variables.tf", "variable"))["full_backup_days"]
    assert re.findall(r"var\.full_backup_days <= (\d+)", body) == [str(MAX_FULL_BACKUP_DAYS)]


def test_the_program_keeps_to_the_ages_that_the_rules_allow_for() -> None:
    assert lifecycle_local("max_content_days") == str(MAX_CONTENT_DAYS)
    assert lifecycle_local("max_full_backup_days") == str(MAX_LIST_DAYS)


def test_the_rules_are_for_the_keys_that_the_program_writes() -> None:
    (prefixes,) = re.findall(r"^  content_prefixes += (.+)$", (PROJECT / "names.tf").read_text(), re.MULTILINE)
    assert json.loads(prefixes) == [lfs_root("${local.prefix}"), releases_root("${local.prefix}")]


@MANY
def test_no_manifest_is_stranded_whatever_happens(examples: int) -> None:
    in_some_lives(strands_no_manifest(module_rules), examples=examples)


@MANY
def test_no_manifest_is_stranded_where_all_that_it_names_is_as_old_as_it_may_be(examples: int) -> None:
    in_some_lives(strands_no_manifest(module_rules), OLDEST_LIVES, examples)


@pytest.mark.parametrize(
    ("root", "days", "what"),
    [
        (PREFIX, 90, ".bundle"),
        (PREFIX, 90, ".objects"),
        (PREFIX, 89, ".lfs.json"),
        (PREFIX, 89, ".releases.json"),
        (LFS, 365, LFS),
        (RELEASES, 364, RELEASES),
    ],
)
def test_a_rule_that_is_a_day_short_strands_manifests(root: str, days: int, what: str) -> None:
    """The lists are written after their bundle, and those of releases are due by the day of their run."""
    with pytest.raises(AssertionError, match="has expired"):
        in_some_lives(strands_no_manifest(with_rule(root, lambda retention, _: retention + days), what), OLDEST_LIVES)


def test_a_rule_that_is_far_too_short_strands_bundles_of_changes() -> None:
    """They are younger than their full bundles: what is long enough for these is for them."""
    spell = Spell(days=40, retention=30, full_backup_days=MAX_FULL_BACKUP_DAYS, changed=0.3)
    with pytest.raises(AssertionError, match=r"\.changes\.bundle has expired"):
        strands_no_manifest(with_rule(PREFIX, lambda *_: 2), ".changes.bundle")(([spell], 1))


@pytest.mark.exhaustive
def test_a_rule_that_forgets_a_lowered_full_backup_days_strands_manifests() -> None:
    naive = with_rule(PREFIX, lambda retention, full_backup_days: retention + full_backup_days + 1)
    with pytest.raises(AssertionError, match="has expired"):
        in_some_lives(strands_no_manifest(naive))


@pytest.mark.parametrize("root", [LFS, RELEASES])
def test_content_that_expires_like_bundles_strands_manifests(root: str) -> None:
    with pytest.raises(AssertionError, match="has expired"):
        in_some_lives(strands_no_manifest(with_rule(root, module_rule), root))


@pytest.mark.parametrize("root", [LFS, RELEASES])
def test_content_that_is_never_written_again_strands_manifests(root: str) -> None:
    """It is never, because S3 shows all of it as new."""
    with pytest.raises(AssertionError, match="has expired"):
        in_some_lives(strands_no_manifest(module_rules, root, shows_age=False))


@pytest.mark.parametrize("examples", [1, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_content_is_written_again_only_when_it_is_old(examples: int) -> None:
    in_some_lives(writes_content_again_when_old, examples=examples)


@pytest.mark.parametrize("examples", [1, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_content_expires_once_nothing_names_it(examples: int) -> None:
    in_some_lives(leaves_no_content(module_rules), examples=examples)


def test_content_without_a_rule_stays_for_ever() -> None:
    with pytest.raises(AssertionError, match=f"{LFS}.*{RELEASES}"):
        in_some_lives(leaves_no_content(without_content), OLDEST_LIVES)
