"""Cut GitHub's GraphQL schema down to what a backup asks for: github.graphql beside this file.

npm pack @octokit/graphql-schema && tar xzf octokit-graphql-schema-*.tgz
PYTHONPATH=container python tests/openapi/graphql/cut.py package
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_ast_schema,
    get_named_type,
    parse,
    print_ast,
    validate,
    visit,
)

from github_s3_backup.github import names
from github_s3_backup.github.issues import queries
from github_s3_backup.records.content import ISSUE_KINDS

HEADER = "# From npm's @octokit/graphql-schema {version} (MIT license), cut by cut.py.\n\n"
# What the embedded GitHub needs to answer, whatever is asked.
ALWAYS = {"Node": {"id"}, "Query": {"nodes"}}


def all_queries() -> Iterator[str]:
    """Yield every query of a backup."""
    yield names.QUERY
    yield queries.overview_query(frozenset(ISSUE_KINDS))
    for kind in ISSUE_KINDS:
        yield queries.listing_query(kind)
        yield queries.details_query(kind)
        for name, connection in queries.NODES[kind].connections.items():
            yield queries.rest_query(queries.NODES[kind].type, name, connection)
            if below := connection.below:
                yield queries.rest_query(below.owner, below.name, below.connection)


class _Used(Visitor):
    """Collects the fields of each type that a query asks for, and the types that are in its arguments."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self.fields: dict[str, set[str]] = defaultdict(set)
        self.named: set[str] = set()
        self._types = types

    def enter_field(self, node: Any, *_: Any) -> None:
        parent, field = self._types.get_parent_type(), self._types.get_field_def()
        assert parent
        if field is not None and not node.name.value.startswith("__"):
            self.fields[parent.name].add(node.name.value)
            self.named |= {get_named_type(field.type).name}
            for argument in field.args.values():
                self._add_input(get_named_type(argument.type))

    def _add_input(self, kind: Any) -> None:
        self.named.add(kind.name)
        for field in getattr(kind, "fields", {}).values():
            self._add_input(get_named_type(field.type))

    def enter_inline_fragment(self, node: Any, *_: Any) -> None:
        self.named.add(node.type_condition.name.value)


def used(schema: GraphQLSchema) -> _Used:
    """Return what the queries use. Raises GraphQLError where GitHub would refuse one."""
    types = TypeInfo(schema)
    found = _Used(types)
    for query in all_queries():
        document = parse(query)
        for error in validate(schema, document):
            raise error
        visit(document, TypeInfoVisitor(types, found))
    return found


def cut(document: DocumentNode) -> str:
    """Return the definitions that the queries use, without prose."""
    found = used(build_ast_schema(document, assume_valid=True))
    fields = {name: found.fields[name] | ALWAYS.get(name, set()) for name in {*found.fields, *found.named, *ALWAYS}}
    return "\n\n".join(print_ast(d) for d in _definitions(document, fields)) + "\n"


def _definitions(document: DocumentNode, fields: dict[str, set[str]]) -> Iterator[Any]:
    """Yield the kept types: objects and interfaces with the fields that are used, unions with the types that are."""
    kept = dict(fields)
    for definition in document.definitions:
        given: Any = definition
        if given.name.value not in fields:
            continue
        if given.kind == "union_type_definition":
            types = tuple(member for member in given.types if member.name.value in fields)
            yield replace(given, description=None, directives=(), types=types)
        elif given.kind in ("object_type_definition", "interface_type_definition"):
            wanted = fields[given.name.value]
            interfaces = [item for item in given.interfaces or () if item.name.value in kept]
            wanted = wanted.union(*(kept[item.name.value] for item in interfaces)) or {"id"}
            yield replace(
                given,
                description=None,
                directives=(),
                fields=tuple(_bare_field(field) for field in given.fields or () if field.name.value in wanted),
                interfaces=tuple(interfaces),
            )
        elif given.kind == "enum_type_definition":
            yield replace(given, description=None, directives=(), values=tuple(map(_bare, given.values)))
        elif given.kind == "input_object_type_definition":
            yield replace(given, description=None, directives=(), fields=tuple(map(_bare, given.fields or ())))
        else:
            yield _bare(given)


def _bare_field(field: Any) -> Any:
    return replace(_bare(field), arguments=tuple(map(_bare, field.arguments or ())))


def _bare(node: Any) -> Any:
    return replace(node, description=None, directives=())


if __name__ == "__main__":
    package = Path(sys.argv[1])
    version = json.loads((package / "package.json").read_text())["version"]
    text = HEADER.format(version=version) + cut(parse((package / "schema.graphql").read_text(), no_location=True))
    Path(__file__).with_name("github.graphql").write_text(text)
