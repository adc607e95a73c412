"""Every command on the restore and the disaster recovery page is executed as it stands there."""

import json
import re
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from embedded.aws import CREDENTIALS
from embedded.github import FakeGitHub
from embedded.real_git import git, served_refs
from embedded.s3 import REGION
from embedded.stack import PROJECT, Stack
from github_s3_backup.version import TOOL_VERSION
from support import printed
from support.pages import (
    DELETED_BRANCH,
    LFS_FILE,
    NAMES,
    PRIMARY,
    RELEASE_FILE,
    REPLICA,
    SERVICE,
    VANISHED,
    Day,
    Place,
    sections,
    two_days,
)

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

FIRST = "Before you begin"
# Complete in themselves; the primary bucket, at which the page begins, is gone in the last one.
INSTALL = "Install the restore command"
GONE = "The organization is gone"
ALONE = (GONE, FIRST, INSTALL, "From the replica")
PUSHED = ("refs/heads/", "refs/tags/", "refs/notes/")
PAGES = {page: sections(page) for page in ("restore.md", "disaster-recovery.md")}
SECTIONS = [(page, heading) for page, found in PAGES.items() for heading in found]


@pytest.fixture(scope="module")
def days(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Day, Day]:
    return two_days(stack, tmp_path_factory.mktemp("days"))


@pytest.fixture
def place(stack: Stack, github: FakeGitHub, days: tuple[Day, Day], tmp_path: Path) -> Place:
    return Place(stack, github, tmp_path, days).arrange()


def blocks(page: str, heading: str) -> list[str]:
    """Return what a person types who reads a section: on the restore page what comes before all sections too."""
    found = PAGES[page]
    first = found[FIRST] if page == "restore.md" and heading not in ALONE else []
    return [*first, *found[heading]]


# -- what a section needs, and what must be true after it ------------------------------------------

Check = Callable[[str], None]


def refs_of(path: Path) -> dict[str, str]:
    """Return a repository's refs without HEAD."""
    return {name: oid for name, oid in served_refs(path).items() if name != "HEAD"}


def today(place: Place, full_name: str) -> dict[str, str]:
    """Return the refs that a repository had when the newest backup ran."""
    return {name: oid for name, oid in place.today.refs[full_name].items() if name != "HEAD"}


def pushable(refs: dict[str, str]) -> dict[str, str]:
    return {name: oid for name, oid in refs.items() if name.startswith(PUSHED)}


def stored(place: Place) -> list[str]:
    """Return the repositories of today's backup that have a bundle."""
    return [entry["full_name"] for entry in place.today.manifest["repos"] if entry["s3_key"]]


def before_you_begin(place: Place) -> Check:
    def check(output: str) -> None:
        for day in place.days:
            assert re.search(rf"^{day.date}$", output, re.MULTILINE)
        assert f'"date": "{place.today.date}"' in output
        assert '"complete": true' in output
        assert f'"total_repos": {len(NAMES) - 1}' in output
        assert f'"s3_key": "{place.today.key("acme/api")}"' in output

    return check


def install_the_command(place: Place) -> Check:
    """Install a copy, as the build leaves files there, with the dependencies of these tests and no package index."""
    shutil.copytree(
        PROJECT / "container", place.folder / "container", ignore=shutil.ignore_patterns("build", "*.egg-info")
    )
    dependencies = sysconfig.get_path("purelib")
    # pip turns build isolation off where the value is false.
    place.variables |= {"PYTHONPATH": dependencies, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "false"}

    def check(output: str) -> None:
        assert output.splitlines()[-1] == TOOL_VERSION
        installed = place.folder / "tmp" / "github-s3-backup" / "bin" / "github-s3-backup"
        place.variables |= {"S3_BUCKET": PRIMARY, "AWS_REGION": REGION}
        assert place.today.date in place.run([f"{installed} restore list\n"])

    return check


def one_repository(place: Place) -> Check:
    target = place.host("acme-restored/api")
    assert place.today.date in place.today.key("acme/api")

    def check(_output: str) -> None:
        assert refs_of(target) == pushable(today(place, "acme/api"))
        assert refs_of(place.folder / "api.git") == today(place, "acme/api")
        main = git("-C", place.folder / "just-looking", "rev-parse", "HEAD").decode().strip()
        assert main == today(place, "acme/api")["refs/heads/main"]

    return check


def find_the_last_good_day(place: Place) -> Check:
    def check(output: str) -> None:
        for day in place.days:
            (entry,) = (each for each in day.manifest["repos"] if each["full_name"] == "acme/api")
            (line,) = re.findall(rf'^{day.date} .*"sha".*', output, re.MULTILINE)
            for name in ("status", "sha", "size_bytes", "ref_count"):
                assert f'"{name}": {json.dumps(entry[name])},' in line
        assert VANISHED in output
        assert DELETED_BRANCH.removeprefix("refs/heads/") in output

    return check


def issues_without_github(place: Place) -> Check:
    def check(output: str) -> None:
        page = (place.folder / "issues" / "acme" / "api@issues" / "1.html").read_text()
        assert "The server forgets its port" in page
        assert "Only where the port is 0." in page
        assert '"title":"Ask for the port"' in output

    return check


def content_besides_git(place: Place) -> Check:
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed: apt install git-lfs")
    target = place.host("acme-restored/api")

    def check(output: str) -> None:
        assert "Git LFS fsck OK" in output
        assert (place.folder / "working" / "level.bin").read_bytes() == LFS_FILE
        pushed = [path for path in (target / "lfs" / "objects").rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in pushed] == [LFS_FILE]
        expected = {n: o for n, o in pushable(today(place, "acme/api")).items() if not n.startswith("refs/notes/")}
        assert refs_of(target) == expected
        assert git(f"--git-dir={place.folder}/api.wiki.git", "show", "HEAD:Home.md") == b"# Home"
        assert (place.folder / "release-file").read_bytes() == RELEASE_FILE
        assert '"tag_name": "v1.0.0"' in output

    return check


def everything(place: Place) -> Check:
    check_pushed = expect_pushed(place, stored(place), "acme")

    def check(output: str) -> None:
        check_verified(place)
        check_mirrors(place)
        check_pushed(output)

    return check


def check_verified(place: Place) -> None:
    report = json.loads((place.folder / "verified.json").read_text())
    assert report["failed"] == 0
    assert {each["full_name"] for each in report["repositories"] if each["status"] == "verified"} >= set(stored(place))


def check_mirrors(place: Place) -> None:
    for full_name in stored(place):
        assert refs_of(place.folder / "restored" / f"{full_name}.git") == today(place, full_name), full_name


def expect_pushed(place: Place, full_names: list[str], owner: str) -> Check:
    """Let the token write to the owner, and return the check that these repositories, and their settings, are there."""
    place.forget_wikis()
    place.github.new_repositories = place.folder / "created"
    place.token = place.github.personal_token("admin", [owner])
    place.variables |= {"GITHUB_API_URL": place.github.api_url, "GITHUB_SERVER_URL": place.github.server_url}
    place.variables["RESTORE_WRITE_LIMITS"] = "none"
    entries = {entry["full_name"]: entry for entry in place.today.manifest["repos"]}

    def check(output: str) -> None:
        assert place.token not in output
        created = {repository.full_name: repository for repository in place.github.repositories.values()}
        for full_name in full_names:
            entry, new = entries[full_name], created[f"{owner}/{full_name.partition('/')[2]}"]
            assert refs_of(new.path) == pushable(today(place, full_name)), full_name
            assert new.private
            assert new.archived == entry["archived"]
            if entry["sha"]:
                assert new.default_branch == entry["default_branch"], full_name

    return check


def from_the_replica(place: Place) -> Check:
    place.empty(PRIMARY)

    def check(_: str) -> None:
        assert refs_of(place.folder / "api.git") == today(place, "acme/api")
        check_mirrors(place)

    return check


def a_deleted_object(place: Place) -> Check:
    client, key = place.stack.s3.client(), place.today.key("acme/api")
    client.delete_object(Bucket=PRIMARY, Key=key)

    def check(output: str) -> None:
        assert refs_of(place.folder / "api.git") == today(place, "acme/api")
        restored = client.get_object(Bucket=PRIMARY, Key=key)["Body"].read()
        assert restored == place.today.bundles[key]
        assert place.today.manifest["run_id"] in output

    return check


def into_another_organization(place: Place) -> Check:
    return expect_pushed(place, stored(place), "acme-restored")


def the_organization_is_gone(place: Place) -> Check:
    check_pushed = expect_pushed(place, stored(place), "acme-restored")

    def check(output: str) -> None:
        check_pushed(output)
        report = json.loads((place.folder / "restored.json").read_text())
        assert report["done"] >= len(stored(place))
        assert report["failures"] == []

    return check


def work_while_github_is_down(place: Place) -> Check:
    (entry,) = (entry for entry in place.today.manifest["repos"] if entry["full_name"] == "acme/api")
    full, bundle = place.folder / "source.full.bundle", place.folder / "source.bundle"
    bundles = {key: body for day in place.days for key, body in day.bundles.items()}
    full.write_bytes(bundles[(entry["base"] or entry)["s3_key"]])
    bundle.write_bytes(place.today.bundles[entry["s3_key"]])
    git("clone", "--quiet", "--mirror", full, place.folder / "source.git")
    git(f"--git-dir={place.folder}/source.git", "fetch", "--quiet", "--prune", str(bundle), "+refs/*:refs/*")
    github = place.host("acme/api", place.folder / "source.git")
    # Somebody pushed between the backup and the outage.
    newer = git(f"--git-dir={github}", "commit-tree", "-p", "main", "-m", "newer", "main^{tree}").decode().strip()
    git(f"--git-dir={github}", "update-ref", "refs/heads/main", newer)

    def check(_: str) -> None:
        pushed = refs_of(github)
        assert pushed.pop("refs/heads/main") == newer
        fix = pushed.pop("refs/heads/fix")
        assert git(f"--git-dir={github}", "rev-parse", f"{fix}^").decode().strip() == newer
        assert pushed == {
            n: o
            for n, o in pushable(today(place, "acme/api")).items()
            if n not in ("refs/heads/main", "refs/notes/commits")
        }
        message = git("-C", place.folder / "colleague", "log", "-1", "--format=%s", "FETCH_HEAD").decode().strip()
        assert message == "A fix made while GitHub was down"
        for full_name in stored(place):
            assert (place.folder / "work" / full_name / ".git").is_dir(), full_name

    return check


def put_report(place: Place) -> None:
    """Let the drill write its report, as its task does."""
    bucket = f"s3://{PRIMARY}/github-backup-drills/"
    place.variables |= {"AWS_REGION": REGION}
    place.run([f"github-s3-backup restore verify --all --bucket {REPLICA} --report {bucket}\n"])
    del place.variables["AWS_REGION"]


def the_drill(place: Place) -> Check:
    put_report(place)

    def check(output: str) -> None:
        vanished = len(place.today.manifest["vanished"])
        assert vanished
        assert f'"verified": {place.today.manifest["success_count"] + vanished}' in output
        assert '"failed": 0' in output
        assert '"backup_age_seconds": ' in output

    return check


def game_day(place: Place) -> Check:
    cloudwatch = arrange_account(place.stack)
    check_pushed = expect_pushed(place, [name for name in stored(place) if name.startswith("acme/a")], "acme-restored")

    def check(output: str) -> None:
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=[f"{SERVICE}-backup-failure"])["MetricAlarms"]
        assert (alarm["StateValue"], alarm["StateReason"]) == ("ALARM", "game day")
        assert "oncall@example.com" in output
        assert "backup/backup/0123" in output
        assert f'"date": "{place.today.date}"' in output
        assert refs_of(place.folder / "api.git") == today(place, "acme/api")
        check_verified(place)
        check_pushed(output)

    return check


EXPECTATIONS: dict[str, Callable[[Place], Check]] = {
    GONE: the_organization_is_gone,
    FIRST: before_you_begin,
    INSTALL: install_the_command,
    "One repository": one_repository,
    "Find the last good day": find_the_last_good_day,
    "Wikis, LFS objects, and releases": content_besides_git,
    "Issues, pull requests, and discussions": issues_without_github,
    "Everything": everything,
    "From the replica": from_the_replica,
    "A deleted object": a_deleted_object,
    "Into another organization": into_another_organization,
    "Work while GitHub is down": work_while_github_is_down,
    "The drill": the_drill,
    "Game day": game_day,
}


def arrange_account(stack: Stack) -> "CloudWatchClient":
    """Make what the module makes, as far as the commands of the game day look at it."""
    cloudwatch = stack.aws.cloudwatch()
    cloudwatch.put_metric_alarm(
        AlarmName=f"{SERVICE}-backup-failure",
        Namespace="GitHubBackup",
        MetricName="BackupFailure",
        Statistic="Sum",
        ComparisonOperator="GreaterThanThreshold",
        Threshold=0,
        Period=3600,
        EvaluationPeriods=1,
    )
    clients: dict[str, Any] = {
        name: boto3.client(name, endpoint_url=stack.aws.url, **CREDENTIALS) for name in ("ecs", "logs", "sns")
    }
    clients["ecs"].create_cluster(clusterName=SERVICE)
    group = f"/ecs/{SERVICE}"
    if not clients["logs"].describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        clients["logs"].create_log_group(logGroupName=group)
        clients["logs"].create_log_stream(logGroupName=group, logStreamName="backup/backup/0123")
    topic = clients["sns"].create_topic(Name=f"{SERVICE}-alarms")["TopicArn"]
    clients["sns"].subscribe(TopicArn=topic, Protocol="email", Endpoint="oncall@example.com")
    return cloudwatch


@pytest.mark.parametrize(("page", "heading"), SECTIONS, ids=[heading for _, heading in SECTIONS])
def test_the_commands_of_a_section_do_what_it_says(place: Place, page: str, heading: str) -> None:
    check = EXPECTATIONS[heading](place)
    outputs = place.run_on_a_terminal(blocks(page, heading))
    check("\n".join(outputs))
    check_printed(page, heading, [place.as_on_the_page(each) for each in outputs[-len(PAGES[page][heading]) :]])


def check_printed(page: str, heading: str, outputs: list[str]) -> None:
    """Compare what the commands of a section printed with what the page shows below them."""
    path = PROJECT / "docs" / page
    body = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)
    (section,) = (each for each in body if each.startswith(f"{heading}\n"))
    for (commands, shown), output in zip(printed.blocks(section), outputs, strict=True):
        printed.compare(path, commands, shown, output, f"\n## {heading}\n")


@pytest.mark.exhaustive
def test_the_three_commands_restore_a_repository_that_did_not_change(place: Place) -> None:
    """Its bundle is in an earlier day's folder. The manifest says so, and the commands go by the manifest."""
    unchanged = [entry for entry in place.today.manifest["repos"] if entry["status"] == "unchanged" and entry["sha"]]
    assert unchanged
    for entry in unchanged:
        full_name, name = entry["full_name"], entry["name"]
        assert entry["s3_key"].split("/")[1] == place.days[0].date
        target = place.host(f"acme-restored/{name}")
        page = "".join([*PAGES["restore.md"][FIRST], *PAGES["restore.md"]["One repository"][:2]])
        place.run(
            [page.replace("NAME=api", f"NAME={name}").replace("acme-restored/api.git", f"acme-restored/{name}.git")]
        )
        assert refs_of(target) == pushable(today(place, full_name)), full_name
        assert refs_of(place.folder / f"{name}.git") == today(place, full_name)


def test_the_entry_of_a_repository_is_not_that_of_another_one(place: Place) -> None:
    """A failure has no key, names may differ in a dot, and what vanished comes last."""
    old = {"full_name": "acme/new", "s3_key": "old"}
    manifest = {
        "repos": [{"full_name": name, "s3_key": name} for name in ("acme/a-b", "acme/a.b", "acme/new", "other/acme/a")],
        "failures": [{"full_name": "acme/failed", "stage": "clone", "error": "a } in the error"}],
        "vanished": [old, {"full_name": "acme/gone", "s3_key": "gone"}],
    }
    (place.folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    (function,) = [line for line in PAGES["restore.md"][FIRST][-1].splitlines() if line.startswith("entry()")]
    found = {"a.b": "acme/a.b", "a-b": "acme/a-b", "new": "acme/new", "gone": "gone", "failed": "", "a": "", "A.B": ""}
    for name, key in found.items():
        command = f"{function}\nentry acme/{name} | grep s3_key | cut -d '\"' -f 4 || true\n"
        assert place.run([command]).strip() == key, name


def test_nothing_on_the_pages_escapes_these_tests() -> None:
    for page, found in PAGES.items():
        text = (PROJECT / "docs" / page).read_text()
        languages = re.findall(r"^ *```(\w*)", text, re.MULTILINE)
        assert set(languages) <= {"", "sh", "text", "json"}, page
        assert sum(len(each) for each in found.values()) == languages.count("sh"), page


def test_the_three_commands_are_those_of_the_readme() -> None:
    readme = (PROJECT / "README.md").read_text()
    given, three = PAGES["restore.md"]["One repository"][:2]
    function = PAGES["restore.md"][FIRST][-1].splitlines()[0]
    assert three in readme
    assert all(line in readme for line in [function, *given.splitlines()[:-1]])


def test_the_policy_for_restoring_reads_and_does_nothing_else() -> None:
    text = (PROJECT / "docs" / "restore.md").read_text()
    (policy,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert actions == {"s3:ListBucket", "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion"}
