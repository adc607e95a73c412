"""Which repositories are backed up: patterns of names, forks, archived ones."""

from dataclasses import replace

import pytest

from github_s3_backup.repository import Repository
from github_s3_backup.repository_filter import RepositoryFilter
from github_s3_backup.runtime.environment import EnvironmentReader
from support.world import World

LOOK_UP = r"GET .*/repositories/\d+"
API = Repository(1, "acme", "api", True, False, False, "main", 1, 1)


@pytest.mark.parametrize(
    ("include", "exclude", "selected"),
    [
        ("", "", True),
        ("acme", "", True),
        ("ACME/API", "", True),
        ("acme/*", "", True),
        ("*/api", "", True),
        ("acm?/a[a-p]i", "", True),
        ("other, acme/api", "", True),
        ("other acme/api", "", True),
        ("api", "", False),  # an owner
        ("acme-labs", "", False),
        ("acme/ap", "", False),
        ("acm", "", False),
        ("", "acme/api", False),
        ("", "Acme", False),
        ("", "acme/web-*", True),
        ("acme/api", "acme/*", False),  # what is excluded stays out
    ],
)
def test_patterns(include: str, exclude: str, selected: bool) -> None:
    read = EnvironmentReader({"BACKUP_INCLUDE": include, "BACKUP_EXCLUDE": exclude})
    selection = RepositoryFilter(read.patterns("BACKUP_INCLUDE", ("*/*",)), read.patterns("BACKUP_EXCLUDE", ()))
    assert read.problems == []
    assert selection.selects(API) == selected


@pytest.mark.parametrize("pattern", ["a/b/c", "acme/", "/api", "acme/a$b", "acme/grö*", "!acme;rm"])
def test_what_is_no_pattern_is_a_problem(pattern: str) -> None:
    read = EnvironmentReader({"BACKUP_EXCLUDE": f"acme/* {pattern}"})
    read.patterns("BACKUP_EXCLUDE", ())
    (problem,) = read.problems
    assert "BACKUP_EXCLUDE" in problem
    assert pattern in problem


def test_forks_and_archived_repositories_are_left_out_where_asked() -> None:
    fork, archived = replace(API, fork=True), replace(API, archived=True)
    assert RepositoryFilter().selects(fork)
    assert RepositoryFilter().selects(archived)
    assert not RepositoryFilter(skip_forks=True).selects(fork)
    assert RepositoryFilter(skip_forks=True).selects(archived)
    assert not RepositoryFilter(skip_archived=True).selects(archived)
    assert RepositoryFilter(skip_archived=True).selects(fork)


@pytest.mark.parametrize("value", ["1", "yes", "True"])
def test_a_flag_is_true_or_false(value: str) -> None:
    read = EnvironmentReader({"BACKUP_SKIP_FORKS": value})
    read.flag("BACKUP_SKIP_FORKS")
    assert read.problems == [f"BACKUP_SKIP_FORKS must be true or false, not {value!r}"]


def test_a_run_backs_up_what_is_selected_and_misses_nothing_else(world: World) -> None:
    """What was selected in the last run and no longer is has not vanished, and is not looked up and stored."""
    names = ("api", "fork", "public", "web", "old", "moved", "slipped")
    added = {name: world.add("empty", name=name, fork=name == "fork") for name in names}
    world.add("experiments")
    run = world.run(BACKUP_INCLUDE="acme", BACKUP_SKIP_FORKS="true", BACKUP_EXCLUDE="*/web,acme/secret-*")
    assert run.code == 0
    assert run.repos.keys() == {"acme/api", "acme/public", "acme/old", "acme/moved", "acme/slipped"}
    assert world.github.requests(r"/(fork|web|experiments)\.git/") == []
    assert world.metrics()["BackupSuccess"] == [5]

    world.yesterday()
    added["old"].archived, added["moved"].name = True, "secret-moved"
    slipped = added["slipped"]  # off the pages, so that only a look-up tells its new name
    slipped.name, slipped.unlisted = "secret-slipped", True
    for installation in world.github.installations.values():
        installation.miscount = -(installation.owner == slipped.owner)
    run = world.run(BACKUP_INCLUDE="acme", BACKUP_SKIP_ARCHIVED="true", BACKUP_EXCLUDE="*/web,acme/secret-*,*/public")
    assert run.code == 0
    assert run.manifest is not None
    assert run.repos.keys() == {"acme/api", "acme/fork"}
    assert run.manifest["vanished"] == []
    assert [request.path.rpartition("/")[2] for request in world.github.requests(LOOK_UP)] == [str(slipped.id)]


def test_a_selection_that_leaves_nothing_is_a_problem(world: World) -> None:
    world.add("empty")
    run = world.run(BACKUP_EXCLUDE="*/*")
    assert run.code == 2
    assert run.problems == [
        "BACKUP_INCLUDE, BACKUP_EXCLUDE and BACKUP_SKIP_* exclude all 1 repositories that GitHub lists"
    ]
