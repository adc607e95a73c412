"""Cut GitHub's OpenAPI description down to what backup and restore ask for: github.json beside this file.

npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
python tests/openapi/cut.py package/generated/api.github.com.json
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

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
    "/user": ("get",),
    "/user/repos": ("post",),
    "/users/{username}": ("get",),
    "/users/{username}/installation": ("get",),
}
PROSE = ("description", "summary", "example", "examples", "externalDocs", "x-github", "x-octokit", "tags")


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


if __name__ == "__main__":
    result = cut(json.loads(Path(sys.argv[1]).read_text()))
    Path(__file__).with_name("github.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
