"""The docs site: it builds without a warning, needs nothing from elsewhere, and says what the code does."""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

import costs
import diagram
import durations
import tables
from bench.year import a_year
from embedded.stack import PROJECT
from github_s3_backup.configuration import WORKERS_PER_CPU
from github_s3_backup.github import client as github
from github_s3_backup.records.manifest import RefSummary, new_entry, new_manifest
from github_s3_backup.records.stored_object import StoredObject
from github_s3_backup.repository import Repository
from github_s3_backup.runtime.capacity import DISK_PER_BYTE, USABLE_DISK
from github_s3_backup.s3.content_store import MAX_AGE_IN_LIST, MAX_CONTENT_DAYS

DOCS = PROJECT / "docs"
CONTAINER = PROJECT / "container"
MKDOCS = [str(Path(sys.executable).parent / "mkdocs"), "build", "--strict"]
TROUBLESHOOTING = (DOCS / "troubleshooting.md").read_text()
# What a browser would fetch by itself.
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
# In the theme's own script, which asks there on pages with a repository's URL, a Mermaid diagram or an old browser.
THEMES_OWN = re.compile(r"https://(unpkg\.com|api\.github\.com|clipboardjs\.com|\$\{e\}/api/v4)/")


def build(project: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*MKDOCS, "--site-dir", str(site)],
        cwd=project,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def copy_of_the_project(folder: Path) -> Path:
    """Return a copy of what the site is built from."""
    shutil.copytree(DOCS, folder / "docs")
    for name in ("mkdocs.yml", "CONTRIBUTING.md"):
        shutil.copy(PROJECT / name, folder)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(PROJECT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


class Elements(HTMLParser):
    """The elements of a page, each with its attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attributes[attribute] for name, attributes in self.found if name == tag and attribute in attributes]


# -- the site ------------------------------------------------------------------------------------


def test_every_page_is_built_and_can_be_searched(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert any(
        "--overwrite" in section["text"] for section in index["docs"] if section["location"].startswith("restore.html")
    )


@pytest.mark.parametrize(
    ("name", "link"), [("page", "nowhere.md"), ("anchor", "restore.md#nowhere"), ("own anchor", "#nowhere")]
)
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, name: str, link: str) -> None:
    project = copy_of_the_project(tmp_path / "project")
    with (project / "docs" / "index.md").open("a") as file:
        file.write(f"\n[{name}]({link})\n")
    done = build(project, tmp_path / "site")
    assert done.returncode != 0
    assert link in done.stdout + done.stderr


def test_a_page_that_is_not_in_the_navigation_fails_the_build(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    (project / "docs" / "forgotten.md").write_text("# Forgotten\n")
    done = build(project, tmp_path / "site")
    assert done.returncode != 0
    assert "forgotten.md" in done.stdout + done.stderr


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        elements = Elements(page)
        fetched = [value for tag, attribute in FETCHED.items() for value in elements.values(tag, attribute)]
        assert [url for url in fetched if re.match(r"(https?:)?//", url)] == [], page
        assert "mermaid" not in page.read_text(), page
    for file in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        assert re.findall(r"(?:url\(|@import|href=)\s*[\"']?(?:https?:)?//[^)\"']*", file.read_text()) == [], file
    for file in site.rglob("*.js"):
        if file.name != "search_index.js":  # the words of our own pages
            found = re.findall(r"[\"'`](https?://[^\"'`]+)", file.read_text())
            assert [url for url in found if not THEMES_OWN.match(url)] == [], file


def test_links_out_of_the_site_are_https(site: Path) -> None:
    outside: set[str] = set()
    for page in site.rglob("*.html"):
        links = Elements(page).values("a", "href")
        outside |= {link for link in links if re.match(r"[a-z]+:|//", link)}
    assert outside
    assert {link for link in outside if not link.startswith("https://")} == set()


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for path in re.findall(r"terraform-aws-github-backup/blob/main/([^)#\s]+)", page.read_text()):
            assert (PROJECT / path).exists(), f"{page.name}: {path}"


def test_the_diagram_in_the_page_is_the_one_that_is_described(site: Path) -> None:
    assert diagram.DIAGRAM.read_text() == diagram.svg(), "it differs: run `make docs`"
    assert diagram.svg().strip() in (site / "architecture.html").read_text()
    for arrow in diagram.ARROWS:
        assert {arrow.start, arrow.end} <= diagram.BOXES.keys()


def test_contributing_is_the_project_s_own(site: Path) -> None:
    page = (site / "contributing.html").read_text()
    assert "<h1" in page
    for heading in re.findall(r"^## (.*)", (PROJECT / "CONTRIBUTING.md").read_text(), re.MULTILINE):
        assert heading in page


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "decisions" / "index.md").read_text()
    for page in (DOCS / "decisions").glob("0*.md"):
        assert f"({page.name})" in index


# -- what the pages say --------------------------------------------------------------------------


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    assert tables.filled(page.read_text()) == page.read_text(), "they differ: run `make docs`"


def test_the_tables_of_inputs_and_outputs_are_complete() -> None:
    page = (DOCS / "configuration.md").read_text()
    assert len(re.findall(r"^\| .*\[github_app_id\].* \| `string` \| n/a \| yes \|$", page, re.MULTILINE)) == 1
    for kind, file in (("input", "variables.tf"), ("output", "outputs.tf")):
        names = [name for name, _ in tables.blocks(file, kind.replace("input", "variable"))]
        assert names
        assert re.findall(rf'<a name="{kind}_(\w+)">', page) == names
    existing = re.search(
        r"^\| .*\[existing\].*\| (<pre>object\(\{<br/>    bucket .*\}\)</pre>) \| `\{\}` \| no \|$", page, re.MULTILINE
    )
    assert existing
    assert "validation" not in existing[1]


def calls(file: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))


def named(call: ast.Call) -> str:
    """Return what a call calls, without what it is an attribute of."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def texts(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression may be; what is filled in is `…`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from [*texts(node.body), *texts(node.orelse)]
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


# A logger's methods, and the names under which they are passed on.
WARNINGS = {"warning", "error", "exception", "critical", "log"}


def events() -> set[str]:
    """Return the event of every log line that is, or may be, a warning or an error."""
    found = {
        text
        for file in CONTAINER.rglob("*.py")
        for call in calls(file)
        if named(call) in WARNINGS and call.args and not ast.unparse(call.func).startswith("parser.")
        for text in texts(call.args[0])
    }
    commands = ("fetch", "verify", "push", "list", "check", "diff")
    return found - {"… finished"} | {f"{command} finished" for command in commands}


def test_every_warning_and_error_of_the_log_has_a_section() -> None:
    headings = re.findall(r"^### (.*)", TROUBLESHOOTING, re.MULTILINE)
    sections = {event for heading in headings for event in re.findall(r"`([^`]+)`", heading)}
    assert events() - sections == set(), "docs/troubleshooting.md lacks them"
    assert sections - events() == set(), "docs/troubleshooting.md knows them, the code does not"


def longest(node: ast.AST) -> str:
    """Return the longest text in an expression: what a person would search for."""
    found = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return max(found, key=len, default="").strip(" :")


def problems() -> set[str]:
    """Return what each problem of the environment and of the App's key says, without the values in it."""
    found = set()
    for file in (
        CONTAINER / "github_s3_backup" / name
        for name in (
            "github/app_key.py",
            "configuration.py",
            "runtime/environment.py",
            "restore/push/credentials.py",
            "runtime/capacity.py",
        )
    ):
        said = [call for call in calls(file) if named(call) in ("AppKeyError", "DiskFullError")]
        said += [call for call in calls(file) if ast.unparse(call.func).endswith("problems.append")]
        found |= {longest(call) for call in said}
    hints = {hint.format(variables="GITHUB_APP", permissions="") for hint in github.HINTS.values()}
    return {text.strip(" :") for text in found | hints if text}


def test_every_problem_of_the_start_is_listed_in_its_own_words() -> None:
    page = " ".join(TROUBLESHOOTING.replace("`", "").split())
    assert len(problems()) > 20
    assert [problem for problem in problems() if " ".join(problem.split()) not in page] == []


def test_every_alarm_is_on_the_page() -> None:
    code = "".join(path.read_text() for path in PROJECT.glob("*.tf"))
    alarms = set(re.findall(r"^    ([a-z-]+) = \{\n +description", code, re.MULTILINE))
    assert len(alarms) >= 7
    for alarm in alarms | {"task-failed"}:
        assert re.search(rf"^\| .*(\[{alarm}\]|`{alarm}`).* \| .* \| .* \|$", TROUBLESHOOTING, re.MULTILINE), alarm


def test_every_role_is_on_the_security_page() -> None:
    page = (DOCS / "security.md").read_text()
    code = "".join(path.read_text() for path in PROJECT.glob("*.tf"))
    for role in re.findall(r'^resource "aws_iam_role" "(\w+)"', code, re.MULTILINE):
        assert re.search(rf"^\| {role}\b", page, re.MULTILINE), role


# -- costs ---------------------------------------------------------------------------------------


def test_the_calculator_runs_alone_and_prints_what_the_table_says() -> None:
    done = subprocess.run(
        ["python3", "-E", "-s", str(DOCS / "costs.py"), "--repositories", "50", "--gigabytes", "2"],
        capture_output=True,
        text=True,
        check=True,
    )
    total = re.search(r"^per month +(\S+)$", done.stdout, re.MULTILINE)
    assert total
    assert f"| **{total[1]}** |" in (DOCS / "costs.md").read_text()


@pytest.mark.parametrize("page", ["costs.md"])
def test_the_command_on_the_page_runs(page: str) -> None:
    (command,) = re.findall(r"```sh\n(python3 .*)\n```", (DOCS / page).read_text())
    output = subprocess.run(["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "per month" in output


def test_the_targets_of_the_page_are_met() -> None:
    """Hold the costs of the two organisations of the page to what they were designed for."""
    for (repositories, gigabytes), most in zip(costs.EXAMPLES[1:], (40, 400), strict=True):
        assert costs.estimate(repositories=repositories, gigabytes=gigabytes).total <= most


def test_the_defaults_of_the_calculator_are_the_modules() -> None:
    inputs = dict(tables.blocks("variables.tf", "variable"))
    given = costs.options().parse_args([])
    assert tables.argument(inputs["backup_retention_days"], "default") == str(given.retention)
    assert tables.argument(inputs["full_backup_days"], "default") == str(given.full_backup_days)
    cold = f'[{{ days = {given.cold_after}, storage_class = "GLACIER_IR" }}]'
    assert tables.argument(inputs["storage_transitions"], "default") == cold
    # The class of the original, which is S3 Standard.
    assert (tables.argument(inputs["replica_storage_class"], "default"), given.replica) == ("null", "STANDARD")
    lifecycle = (PROJECT / "modules" / "bucket" / "main.tf").read_text()
    kept = {"max_full_backup_days": costs.MAX_FULL_BACKUP_DAYS, "noncurrent_days": costs.UNDO_DAYS}
    kept["max_content_days"] = costs.MAX_CONTENT_DAYS
    assert {name: int(re.findall(rf"^  {name} += (\d+)$", lifecycle, re.MULTILINE)[0]) for name in kept} == kept
    assert (costs.MAX_CONTENT_DAYS, costs.WRITTEN_AGAIN_DAYS) == (MAX_CONTENT_DAYS, MAX_AGE_IN_LIST)


def test_content_costs_what_the_formula_says() -> None:
    given = {"content_gigabytes": 289, "content_growth": 0.3, "retention": 100}
    added = costs.estimate(**given).content
    assert added == pytest.approx((2.89 + 1) * 2 * (30 * 0.023 + (100 + 366 + 7 - 30) * 0.004))
    assert costs.estimate().content == 0


def test_storage_is_what_the_formula_says() -> None:
    changed = {"gigabytes": 10, "changed_gigabytes": 0.1, "full_backup_days": 9}
    found = costs.estimate(**changed, retention=100)
    assert found.written_gb == pytest.approx(2)
    assert found.held_gb == pytest.approx(2 * (100 + 91 + 7))
    assert found.storage == pytest.approx(2 * 2 * (30 * 0.023 + 168 * 0.004))
    cold = costs.estimate(**changed, retention=100, replica="GLACIER_IR")
    assert cold.storage == pytest.approx(2 * (30 * 0.023 + 168 * 0.004 + 198 * 0.004))
    warm = costs.estimate(**changed, retention=100, cold_after=0)
    assert warm.storage == pytest.approx(2 * 2 * 198 * 0.023)


def test_manifests_are_kept_twice_and_all_but_the_last_of_a_day_once() -> None:
    gigabytes = 1000 * costs.ENTRY_BYTES / 1e9
    assert costs.estimate(repositories=1000).manifests_gb == pytest.approx(gigabytes * 2 * 463)
    hourly = costs.estimate(repositories=1000, runs_a_day=24)
    assert hourly.manifests_gb == pytest.approx(gigabytes * (25 * 463 + 23 * 7))


def test_a_busy_repository_is_stored_in_each_run_that_finds_a_push() -> None:
    one_push = {"changed_gigabytes": 0.5, "full_backup_days": 50, "gigabytes": 100}
    assert costs.estimate(**one_push, pushes=1, runs_a_day=24).written_gb == pytest.approx(51)
    assert costs.estimate(**one_push, pushes=50, runs_a_day=1).written_gb == pytest.approx(51)
    assert costs.estimate(**one_push, pushes=1000, runs_a_day=24).written_gb == pytest.approx(8 * 50 + 1)


def test_a_simulated_year_leaves_what_the_page_says() -> None:
    year = a_year(200, 40, days=120)
    assert year.gigabytes == pytest.approx(costs.first_year_gb(200, 40, days=120), rel=0.05)
    assert year.before_gb == 40 * 120
    assert a_year(20, 40, days=30, full_backup_days=1).gigabytes == pytest.approx(40 * 30)


def test_an_entry_of_a_manifest_has_about_as_many_bytes_as_assumed() -> None:
    stored = StoredObject(
        key=f"github-backup/2026-11-23/acme-engineering/{'a' * 20}.bundle",
        version_id="v" * 32,
        size_bytes=10**8,
        sha256="a" * 64,
        checksum="A" * 47,
    )
    repository = Repository(10**9, "acme-engineering", "a" * 20, True, False, False, "main", 1, 1)
    entry = new_entry(repository, "stored", stored, RefSummary(ref_count=99, refs_sha256="b" * 64, sha="c" * 40), 1.234)
    now = datetime.now(UTC)
    manifest = new_manifest(
        run_id="r",
        started_at=now,
        finished_at=now,
        complete=True,
        git_version="2",
        entries=[entry] * 100,
        failures=[],
    )
    assert len(manifest.to_json()) / 100 == pytest.approx(costs.ENTRY_BYTES, rel=0.05)


def test_a_run_takes_as_long_as_the_longest_of_what_it_does_at_once() -> None:
    minute = durations.TASK_START
    cpu = durations.Work(cloned=0, unchanged=0, gigabytes=10, largest=0)
    assert [durations.seconds(cpu, vcpu) for vcpu in (1, 2)] == [minute + 600, minute + 300]
    waiting = durations.Work(cloned=80, unchanged=800, gigabytes=0, largest=0)
    assert durations.seconds(waiting, 1) == pytest.approx(minute + (80 * 0.6 + 800 * 0.25) / 8)
    network = durations.Work(cloned=0, unchanged=0, gigabytes=100, largest=0)
    assert durations.seconds(network, 100) == pytest.approx(minute + 1000)
    largest = durations.Work(cloned=1, unchanged=0, gigabytes=10, largest=10)
    assert durations.seconds(largest, 8) == pytest.approx(minute + 500 + 600)


def test_the_smallest_task_is_the_modules_default_and_holds_what_the_program_admits() -> None:
    inputs = dict(tables.blocks("variables.tf", "variable"))
    cpu, memory, disk = (
        int(str(tables.argument(inputs[name], "default")))
        for name in ("task_cpu", "task_memory", "task_ephemeral_storage_gb")
    )
    task = durations.task_for(50, 2, 0.5, costs.LONGEST_FIRST_RUN)
    assert (task.vcpu * 1024, task.memory_gb * 1024, task.disk_gb) == (cpu, memory, disk)
    assert (durations.DISK, durations.USABLE_DISK) == (DISK_PER_BYTE, USABLE_DISK)
    assert durations.IN_FLIGHT == WORKERS_PER_CPU
    for repositories, gigabytes, largest in costs.SIZES:
        task = durations.task_for(repositories, gigabytes, largest, costs.LONGEST_FIRST_RUN)
        assert task.disk_gb * USABLE_DISK >= largest * DISK_PER_BYTE
        assert task.disk_gb <= 200
        first = durations.first_run(repositories, gigabytes, largest)
        assert durations.seconds(first, task.vcpu) <= costs.LONGEST_FIRST_RUN


def test_every_price_is_an_option_that_changes_the_result() -> None:
    def with_a_gateway(**given: object) -> float:
        found = costs.estimate(**given)
        return found.total + found.nat

    for name, price, _ in costs.PRICES:
        assert with_a_gateway(**{f"price_{name}": price * 2 + 1}) > with_a_gateway(), name


def test_the_help_says_that_every_price_is_assumed() -> None:
    assert isinstance(costs.options(), argparse.ArgumentParser)
    text = costs.options().format_help()
    assert text.count("assumed price of") == len(costs.PRICES)
