"""The docs site: it builds without a warning, needs nothing from elsewhere, and says what the code does."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from embedded.stack import PROJECT
from github_s3_backup.github.installations import HINTS
from github_s3_backup.version import TOOL_VERSION
from tools import diagram, tables

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
    (folder / "container" / "github_s3_backup").mkdir(parents=True)
    for name in ("mkdocs.yml", "CONTRIBUTING.md", "container/github_s3_backup/version.py"):
        shutil.copy(PROJECT / name, folder / name)
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


def test_a_link_that_leads_nowhere_and_a_page_that_is_not_in_the_navigation_fail_the_build(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    links = {"page": "nowhere.md", "anchor": "restore.md#nowhere", "own anchor": "#nowhere-here"}
    with (project / "docs" / "index.md").open("a") as file:
        file.writelines(f"\n[{name}]({link})\n" for name, link in links.items())
    (project / "docs" / "forgotten.md").write_text("# Forgotten\n")
    done = build(project, tmp_path / "site")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    for mistake in (*links.values(), "forgotten.md"):
        assert re.search(rf"{re.escape(mistake)}\b", output), mistake
    assert f"Aborted with {len(links) + 1} warnings in strict mode" in output


def test_each_page_has_its_version_and_a_link_to_edit_it(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert f"Version {TOOL_VERSION}." in text, page
        edit = re.findall(r'href="https://github.com/[^"]*/edit/main/([^"]*)"', text)
        assert all((PROJECT / path).exists() for path in edit), page
        assert len(edit) == (page.name != "404.html"), page


def test_a_phone_shows_the_name_of_each_column_beside_its_cell(site: Path) -> None:
    cells = re.findall(r'<td data-label="([^"]*)"[^>]*>([^<]*)', (site / "costs.html").read_text())
    assert ("What is backed up", "50 repositories, 2&nbsp;GB") in cells
    assert ("Task", "1&nbsp;vCPU, 4&nbsp;GB, 50&nbsp;GB disk") in cells


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
    ends = {f"{command} finished" for command in commands} | {
        f"{command} stopped" for command in (*commands[:3], "diff")
    }
    return found - {"… finished", "… stopped"} | ends


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
            "restore/push/targets/credentials.py",
            "runtime/capacity.py",
        )
    ):
        said = [call for call in calls(file) if named(call) in ("AppKeyError", "DiskFullError")]
        said += [call for call in calls(file) if ast.unparse(call.func).endswith("problems.append")]
        found |= {longest(call) for call in said}
    hints = {hint.format(variables="GITHUB_APP", permissions="") for hint in HINTS.values()}
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
    roles = re.findall(r"^ +([a-z-]+) += \{\s+purpose", (PROJECT / "iam.tf").read_text(), re.MULTILINE)
    assert len(roles) >= 9
    for role in roles:
        assert re.search(rf"^\| {role}\b", page, re.MULTILINE), role
