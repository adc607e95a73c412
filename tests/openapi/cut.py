"""Cut GitHub's OpenAPI description down to what backup and restore ask for: github.json beside this file.

The examples of settings, with which the embedded GitHub answers, are in examples.json.

npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
python tests/openapi/cut.py package/generated/api.github.com.json
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

SETTINGS = (
    *("/orgs/{org}/rulesets", "/orgs/{org}/rulesets/{ruleset_id}", "/orgs/{org}/teams"),
    "/orgs/{org}/teams/{team_slug}/members",
    "/repos/{owner}/{repo}/branches/{branch}/protection",
    "/repos/{owner}/{repo}/rulesets/{ruleset_id}",
    *(f"/repos/{{owner}}/{{repo}}/environments/{{environment_name}}/{part}" for part in ("secrets", "variables")),
    *(f"/repos/{{owner}}/{{repo}}/actions/permissions/{part}" for part in ("selected-actions", "workflow")),
    *(f"/repos/{{owner}}/{{repo}}/actions/{part}" for part in ("secrets", "variables")),
    *(
        f"/repos/{{owner}}/{{repo}}/{part}"
        for part in (
            *("autolinks", "branches", "collaborators", "environments", "hooks", "keys", "labels", "milestones"),
            *("pages", "properties/values", "rulesets", "teams"),
        )
    ),
)
PULLS = "/repos/{owner}/{repo}/pulls"
PATHS = {
    "/app/installations": ("get",),
    "/app/installations/{installation_id}": ("get",),
    "/app/installations/{installation_id}/access_tokens": ("post",),
    "/installation/repositories": ("get",),
    "/orgs/{org}/installation": ("get",),
    "/orgs/{org}/repos": ("post",),
    "/repos/{owner}/{repo}": ("get", "patch"),
    "/repos/{owner}/{repo}/actions/permissions": ("get", "put"),
    "/repos/{owner}/{repo}/releases": ("get", "post"),
    "/repos/{owner}/{repo}/releases/assets/{asset_id}": ("get", "delete"),
    "/repos/{owner}/{repo}/releases/{release_id}/assets": ("post",),
    "/repos/{owner}/{repo}/topics": ("put",),
    **dict.fromkeys(SETTINGS, ("get",)),
    **{f"/repos/{{owner}}/{{repo}}/{part}": ("get", "post") for part in ("labels", "milestones", "issues")},
    "/repos/{owner}/{repo}/issues/{issue_number}": ("get", "patch"),
    PULLS: ("post",),
    "/repos/{owner}/{repo}/issues/{issue_number}/comments": ("get", "post"),
    "/repos/{owner}/{repo}/issues/{issue_number}/lock": ("put",),
    "/user": ("get",),
    "/user/repos": ("post",),
    "/users/{username}": ("get",),
    "/users/{username}/installation": ("get",),
}
PROSE = (
    *("description", "summary", "example", "examples", "externalDocs", "x-github", "x-octokit", "tags"),
    *("operationId", "parameters", "headers", "default"),
)


def without_prose(node: Any, names_are_keys: bool = False) -> Any:
    """Return the node without documentation; under `properties` the keys are names, not keywords."""
    if isinstance(node, dict):
        kept = {k: v for k, v in node.items() if names_are_keys or k not in PROSE}
        return {
            k: without_prose(v, k in ("properties", "schemas", "responses") and not names_are_keys)
            for k, v in kept.items()
        }
    return [without_prose(item) for item in node] if isinstance(node, list) else node


def cut(description: dict[str, Any]) -> dict[str, Any]:
    """Return the description of PATHS, with every component that they reach."""
    paths = {path: {item: description["paths"][path][item] for item in methods} for path, methods in PATHS.items()}
    wanted = {"#/components/schemas/basic-error"}
    components: dict[str, Any] = {}
    found = json.dumps(without_prose(paths))
    while wanted := (wanted | set(re.findall(r'"(#/components/[^"]+)"', found))) - components.keys():
        for reference in wanted:
            _, _, kind, name = reference.split("/")
            components[reference] = without_prose(description["components"][kind][name])
        found = json.dumps(list(components.values()))
    tree: dict[str, dict[str, Any]] = {}
    for reference in sorted(components):
        _, _, kind, name = reference.split("/")
        tree.setdefault(kind, {})[name] = components[reference]
    info = {
        "title": description["info"]["title"],
        "version": description["info"]["version"],
        "license": {"name": "MIT"},
    }
    return {"openapi": description["openapi"], "info": info, "paths": without_prose(paths), "components": tree}


def examples(description: dict[str, Any]) -> dict[str, Any]:
    """Return the description's first example of each setting, and of a pull request."""
    found = {}
    for path in (*SETTINGS, PULLS):
        method, status = ("post", "201") if path == PULLS else ("get", "200")
        content = description["paths"][path][method]["responses"][status]["content"]["application/json"]
        example = next(iter(content["examples"].values()))
        name = example["$ref"].rpartition("/")[2] if "$ref" in example else None
        found[path] = _mended((description["components"]["examples"][name] if name else example)["value"])
    return found


def _mended(node: Any) -> Any:
    """Return an example without what its own schema refuses."""
    if isinstance(node, list):
        return [_mended(item) for item in node]
    if not isinstance(node, dict):
        return node
    mended = {key: _mended(value) for key, value in node.items()}
    if "apps" in node:
        mended["apps"] = []
    if "contexts" in node:
        mended.setdefault("checks", [])
    if "slug" in node and "privacy" in node:
        mended.setdefault("type", "organization")
    if node.get("enforcement") == "enabled":
        mended["enforcement"] = "active"
    return mended


def _write(name: str, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    Path(__file__).with_name(name).write_text(re.sub(r"\n {4,}", " ", text))


if __name__ == "__main__":
    whole = json.loads(Path(sys.argv[1]).read_text())
    _write("github.json", cut(whole))
    _write("examples.json", examples(whole))
