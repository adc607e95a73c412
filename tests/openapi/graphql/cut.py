"""Cut GitHub's GraphQL schema down to what a backup asks for: github.graphql beside this file.

npm pack @octokit/graphql-schema && tar xzf octokit-graphql-schema-*.tgz
python tests/openapi/graphql/cut.py package
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from graphql import FieldDefinitionNode, InterfaceTypeDefinitionNode, ObjectTypeDefinitionNode, parse, print_ast

# The types that are kept, and their fields.
FIELDS = {
    "Node": ("id",),
    "Query": ("nodes",),
    "Repository": ("databaseId", "id", "nameWithOwner"),
}
HEADER = "# From npm's @octokit/graphql-schema {version} (MIT license), cut by cut.py.\n\n"

Definition = ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode


def cut(schema: str) -> str:
    """Return the definitions of FIELDS without prose."""
    definitions = parse(schema, no_location=True).definitions
    kept = [item for item in definitions if isinstance(item, Definition) and item.name.value in FIELDS]
    return "\n\n".join(print_ast(_without_the_rest(item)) for item in kept) + "\n"


def _without_the_rest(definition: Definition) -> Definition:
    wanted = FIELDS[definition.name.value]
    fields = [_without_prose(field) for field in definition.fields or () if field.name.value in wanted]
    is_node = "id" in wanted and definition.name.value != "Node"
    interfaces = [interface for interface in definition.interfaces or () if is_node and interface.name.value == "Node"]
    return replace(definition, description=None, directives=(), fields=tuple(fields), interfaces=tuple(interfaces))


def _without_prose(field: FieldDefinitionNode) -> FieldDefinitionNode:
    arguments = tuple(replace(argument, description=None, directives=()) for argument in field.arguments or ())
    return replace(field, description=None, directives=(), arguments=arguments)


if __name__ == "__main__":
    package = Path(sys.argv[1])
    version = json.loads((package / "package.json").read_text())["version"]
    text = HEADER.format(version=version) + cut((package / "schema.graphql").read_text())
    Path(__file__).with_name("github.graphql").write_text(text)
