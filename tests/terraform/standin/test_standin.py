"""The stand-in is held to what the project's other tests rely on; the real terraform runs against it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import aws, mirror, rules
from .checks import Problem
from .computed import Settings, complete, imported, resolve, words
from .forms import DATA_FORMS
from .policy import PolicyError, document
from .provider import Catalogue
from .schema import HERE, SOURCE
from .wire import UNKNOWN, Json

VERSIONS = (mirror.OLDEST, mirror.NEWEST)
SAMPLE = HERE / "sample"

REQUIRED = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}
"""

needs_terraform = pytest.mark.skipif(
    shutil.which("terraform") is None, reason="terraform is not on PATH: nothing here ran against the real one"
)


@dataclass(frozen=True)
class Workspace:
    """A directory with a configuration, and the environment to run terraform in."""

    directory: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run terraform, whatever comes of it."""
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, *arguments: str) -> str:
        """Run terraform and return what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refuse(self, *arguments: str) -> str:
        """Run terraform, expect an error and return it without its line breaks."""
        done = self.run(*arguments)
        assert done.returncode == 1, done.stdout
        return " ".join(done.stderr.split())

    def write(self, configuration: str) -> None:
        """Replace the configuration and initialise it."""
        (self.directory / "main.tf").write_text(REQUIRED + configuration)
        self.succeed("init", "-no-color")

    def resources(self) -> dict[str, Json]:
        """The values in the state, by address."""
        root = json.loads(self.succeed("show", "-json"))["values"]["root_module"]
        return {resource["address"]: resource["values"] for resource in root["resources"]}

    def planned(self, *arguments: str) -> dict[str, Json]:
        """The changes that a plan would make, by address."""
        self.succeed("plan", "-out=plan", "-no-color", *arguments)
        plan = json.loads(self.succeed("show", "-json", "plan"))
        return {change["address"]: change["change"] for change in plan.get("resource_changes", [])}


@pytest.fixture(scope="module", params=[mirror.NEWEST, pytest.param(mirror.OLDEST, marks=pytest.mark.exhaustive)])
def any_version(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    with mirror.serve(request.param) as environment:
        yield environment


@pytest.fixture(scope="module")
def newest() -> Iterator[dict[str, str]]:
    with mirror.serve() as environment:
        yield environment


@pytest.fixture
def workspace(newest: dict[str, str], tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, newest)


# The schema, as terraform itself enforces it


MISTAKES = {
    "misspelt argument": ('resource "aws_s3_bucket" "b" { bukket = "abc" }', 'named "bukket" is not expected here'),
    "wrong type": ('resource "aws_cloudwatch_log_group" "l" { retention_in_days = "long" }', "a number is required"),
    "missing argument": ('resource "aws_iam_role" "r" {}', '"assume_role_policy" is required'),
    "wrong block": (
        'resource "aws_s3_bucket_versioning" "v" {\n bucket = "abc"\n versioning { status = "Enabled" }\n}',
        'Blocks of type "versioning" are not expected here',
    ),
    "missing block": ('resource "aws_s3_bucket_versioning" "v" { bucket = "abc" }', "versioning_configuration"),
    "too many blocks": (
        'resource "aws_cloudwatch_event_target" "t" {\n arn = ""\n rule = "r"\n retry_policy {}\n retry_policy {}\n}',
        "Too many retry_policy blocks",
    ),
    "attribute of a resource": (
        'resource "aws_sqs_queue" "q" {}\noutput "o" { value = aws_sqs_queue.q.uri }',
        'This object has no argument, nested block, or exported attribute named "uri"',
    ),
    "attribute of a data source": (
        'data "aws_region" "r" {}\noutput "o" { value = data.aws_region.r.nmae }',
        'no argument, nested block, or exported attribute named "nmae"',
    ),
    "computed attribute": ('resource "aws_sqs_queue" "q" { arn = "a" }', 'Can\'t configure a value for "arn"'),
    "id": ('resource "aws_sqs_queue" "q" { id = "a" }', 'Can\'t configure a value for "id"'),
    "unknown resource type": ('resource "aws_s3_buckets" "b" {}', "Invalid resource type"),
}


@needs_terraform
@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_validate_refuses(workspace: Workspace, mistake: str) -> None:
    configuration, message = MISTAKES[mistake]
    workspace.write(configuration)
    refused = workspace.refuse("validate", "-no-color")
    assert message in refused


@needs_terraform
def test_the_floor_of_the_constraint_lacks_what_came_later(any_version: dict[str, str], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, any_version)
    workspace.write('resource "aws_cloudwatch_log_group" "l" { deletion_protection_enabled = true }')
    schema = json.loads(workspace.succeed("providers", "schema", "-json"))["provider_schemas"][SOURCE]
    served = schema["resource_schemas"]["aws_cloudwatch_log_group"]["block"]["attributes"]
    done = workspace.run("validate", "-no-color")
    assert (done.returncode == 0) == ("deletion_protection_enabled" in served)


@needs_terraform
def test_terraform_reads_back_the_schema_in_the_file(any_version: dict[str, str], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, any_version)
    workspace.write("")
    served = json.loads(workspace.succeed("providers", "schema", "-json"))["provider_schemas"][SOURCE]
    matches = [version for version in VERSIONS if comparable(served) == comparable(stored(version))]
    assert len(matches) == 1


def stored(version: str) -> Json:
    schema: Json = json.loads((HERE / f"aws-{version}.json").read_text())["provider_schemas"][SOURCE]
    return schema


def comparable(value: Any) -> Any:
    """A schema without what terraform adds, and without what it leaves out because it is empty."""
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = {key: comparable(inner) for key, inner in value.items() if key != "description_kind"}
    return {key: inner for key, inner in kept.items() if inner != {}}


# Plan, apply and destroy


@needs_terraform
def test_the_sample_is_applied_and_then_nothing_is_left_to_change(any_version: dict[str, str], tmp_path: Path) -> None:
    workspace = sample(tmp_path, any_version)
    workspace.succeed("validate", "-no-color")
    workspace.succeed("apply", "-auto-approve", "-no-color")
    has_shape_of_real_values(workspace.resources())
    again = workspace.run("plan", "-detailed-exitcode", "-no-color")
    assert again.returncode == 0, again.stdout + again.stderr
    workspace.succeed("destroy", "-auto-approve", "-no-color")
    assert "resources" not in json.loads(workspace.succeed("show", "-json")).get("values", {}).get("root_module", {})


def has_shape_of_real_values(state: dict[str, Json]) -> None:
    assert state["aws_s3_bucket.primary"]["arn"] == "arn:aws:s3:::sample-123456789012"
    assert state["aws_s3_bucket.replica"]["bucket_regional_domain_name"].endswith(".s3.us-west-2.amazonaws.com")
    assert state["aws_s3_bucket.replica"]["bucket"].startswith("sample-replica-")
    assert state["aws_kms_key.replica"]["arn"].startswith("arn:aws:kms:us-west-2:123456789012:key/")
    assert state["aws_kms_key.replica"]["key_id"] != state["aws_kms_key.this"]["key_id"]
    assert state["aws_iam_role.schedule"]["arn"] == "arn:aws:iam::123456789012:role/service/sample-schedule"
    assert state["aws_ecs_task_definition.this"]["arn"].endswith(":task-definition/sample:1")
    assert state["aws_cloudwatch_event_target.task"]["ecs_target"][0]["task_count"] == 1
    assert state["aws_sqs_queue.dead_letters"]["url"].endswith(".amazonaws.com/123456789012/sample-dead-letters")
    written = json.loads(state["aws_iam_role_policy.task"]["policy"])
    assert written["Statement"][0]["Resource"] == "arn:aws:s3:::sample-123456789012/*"


def sample(directory: Path, environment: dict[str, str]) -> Workspace:
    shutil.copytree(SAMPLE, directory, dirs_exist_ok=True)
    workspace = Workspace(directory, environment)
    workspace.succeed("init", "-no-color")
    return workspace


@needs_terraform
def test_a_plan_knows_what_the_real_one_knows(workspace: Workspace) -> None:
    workspace.write(
        'provider "aws" {\n region = "eu-central-1"\n default_tags { tags = { Owner = "us", Stage = "a" } }\n}\n'
        'resource "aws_sns_topic" "t" {\n name = "t"\n tags = { Stage = "b" }\n}\n'
        'resource "aws_s3_bucket" "b" { region = "eu-west-1" }\n'
    )
    planned = workspace.planned()
    topic, unknown = planned["aws_sns_topic.t"]["after"], planned["aws_sns_topic.t"]["after_unknown"]
    assert topic["tags_all"] == {"Owner": "us", "Stage": "b"}
    assert topic["region"] == "eu-central-1"
    assert topic["fifo_topic"] is False
    assert unknown["arn"]
    assert unknown["id"]
    assert planned["aws_s3_bucket.b"]["after"]["region"] == "eu-west-1"


@needs_terraform
def test_two_provider_blocks_keep_their_regions_apart(workspace: Workspace) -> None:
    workspace.write(
        'provider "aws" { region = "eu-central-1" }\n'
        'provider "aws" {\n alias = "replica"\n region = "us-west-1"\n}\n'
        'data "aws_region" "here" {}\n'
        'data "aws_region" "there" { provider = aws.replica }\n'
        'output "regions" { value = [data.aws_region.here.region, data.aws_region.there.region] }\n'
    )
    workspace.succeed("apply", "-auto-approve", "-no-color")
    assert json.loads(workspace.succeed("output", "-json", "regions")) == ["eu-central-1", "us-west-1"]


@needs_terraform
def test_a_provider_block_that_assumes_a_role_is_in_the_roles_account(workspace: Workspace) -> None:
    workspace.write(
        'provider "aws" {}\n'
        'provider "aws" {\n alias = "vault"\n assume_role { role_arn = "arn:aws:iam::210987654321:role/admin" }\n}\n'
        'data "aws_caller_identity" "a" {}\n'
        'data "aws_caller_identity" "b" { provider = aws.vault }\n'
        'output "accounts" { value = [data.aws_caller_identity.a.account_id, data.aws_caller_identity.b.account_id] }\n'
    )
    workspace.succeed("apply", "-auto-approve", "-no-color")
    assert json.loads(workspace.succeed("output", "-json", "accounts")) == ["123456789012", "210987654321"]


@pytest.mark.exhaustive
@needs_terraform
def test_runs_at_the_same_time_do_not_mix(newest: dict[str, str], tmp_path: Path) -> None:
    def applied(region: str) -> str:
        (tmp_path / region).mkdir()
        workspace = Workspace(tmp_path / region, newest)
        workspace.write(
            f'provider "aws" {{ region = "{region}" }}\nresource "aws_sns_topic" "t" {{ name = "t" }}\n'
            'output "arn" { value = aws_sns_topic.t.arn }'
        )
        workspace.succeed("apply", "-auto-approve", "-no-color")
        return workspace.succeed("output", "-raw", "arn")

    regions = ("ap-south-1", "eu-west-1", "us-west-2")
    with ThreadPoolExecutor(len(regions)) as pool:
        assert list(pool.map(applied, regions)) == [f"arn:aws:sns:{region}:123456789012:t" for region in regions]


@needs_terraform
def test_blocks_whose_number_is_unknown_are_planned_and_default_tags_are_updated(workspace: Workspace) -> None:
    workspace.write(
        'variable "owner" { default = "a" }\nprovider "aws" {\n default_tags { tags = { Owner = var.owner } }\n}\n'
        'resource "terraform_data" "names" { input = ["a", "b"] }\n'
        'resource "aws_ecs_task_definition" "t" {\n family = "t"\n'
        ' container_definitions = jsonencode([{ name = "c", image = "i" }])\n'
        ' dynamic "volume" {\n  for_each = terraform_data.names.output\n  content { name = volume.value }\n }\n}\n'
    )
    workspace.succeed("apply", "-auto-approve", "-no-color")
    assert [volume["name"] for volume in workspace.resources()["aws_ecs_task_definition.t"]["volume"]] == ["a", "b"]
    change = workspace.planned("-var", "owner=b")["aws_ecs_task_definition.t"]
    assert (change["actions"], change["after"]["tags_all"]) == (["update"], {"Owner": "b"})


@pytest.mark.exhaustive
@needs_terraform
def test_a_new_name_makes_a_new_resource_and_a_new_number_an_update(workspace: Workspace) -> None:
    group = 'resource "aws_cloudwatch_log_group" "l" {{\n name = "{}"\n retention_in_days = {}\n}}'
    workspace.write(group.format("a", 7))
    workspace.succeed("apply", "-auto-approve", "-no-color")
    workspace.write(group.format("a", 14))
    assert workspace.planned()["aws_cloudwatch_log_group.l"]["actions"] == ["update"]
    workspace.write(group.format("b", 7))
    assert workspace.planned()["aws_cloudwatch_log_group.l"]["actions"] == ["delete", "create"]


@pytest.mark.exhaustive
@needs_terraform
def test_a_changed_container_makes_a_new_task_definition(workspace: Workspace) -> None:
    task = (
        'resource "aws_ecs_task_definition" "t" {{\n family = "t"\n tags = {{ a = "{}" }}\n'
        ' container_definitions = jsonencode([{{ name = "c", image = "{}" }}])\n}}'
    )
    workspace.write(task.format(1, "x:1"))
    workspace.succeed("apply", "-auto-approve", "-no-color")
    workspace.write(task.format(2, "x:1"))
    assert workspace.planned()["aws_ecs_task_definition.t"]["actions"] == ["update"]
    workspace.write(task.format(2, "x:2"))
    assert workspace.planned()["aws_ecs_task_definition.t"]["actions"] == ["delete", "create"]


IMPORTED_AS_IS = {
    "aws_cloudwatch_log_group": ('name = "/a/b"', "/a/b"),
    "aws_ecs_cluster": ('name = "c"', "c"),
    "aws_s3_bucket": ('bucket = "abc"\n region = "eu-west-1"', "abc@eu-west-1"),
    "aws_sns_topic": ('name = "t"', "arn:aws:sns:us-east-1:123456789012:t"),
    "aws_sqs_queue": ('name = "q"', "https://sqs.us-east-1.amazonaws.com/123456789012/q"),
}


@needs_terraform
def test_import_blocks_find_what_their_ids_name(workspace: Workspace) -> None:
    workspace.write(
        "\n".join(
            f'import {{\n to = {kind}.x\n id = "{identifier}"\n}}\nresource "{kind}" "x" {{\n {arguments}\n}}'
            for kind, (arguments, identifier) in IMPORTED_AS_IS.items()
        )
    )
    assert {address: change["actions"] for address, change in workspace.planned().items()} == {
        f"{kind}.x": ["no-op"] for kind in IMPORTED_AS_IS
    }
    workspace.succeed("apply", "-auto-approve", "-no-color")
    assert workspace.resources()["aws_s3_bucket.x"]["arn"] == "arn:aws:s3:::abc"


@pytest.mark.exhaustive
@needs_terraform
def test_terraform_test_runs_mocked_and_unmocked(any_version: dict[str, str], tmp_path: Path) -> None:
    workspace = sample(tmp_path, any_version)
    assert "2 passed, 0 failed" in workspace.succeed("test", "-no-color")


@needs_terraform
def test_secrets_stay_out_of_what_terraform_prints_and_write_only_ones_out_of_the_state(workspace: Workspace) -> None:
    workspace.write(
        'resource "aws_secretsmanager_secret" "s" { name = "s" }\n'
        'resource "aws_secretsmanager_secret_version" "a" {\n'
        ' secret_id = aws_secretsmanager_secret.s.id\n secret_string = "visible-not"\n}\n'
        'resource "aws_secretsmanager_secret_version" "b" {\n secret_id = aws_secretsmanager_secret.s.id\n'
        ' secret_string_wo = "nowhere"\n secret_string_wo_version = 1\n}\n'
    )
    printed = workspace.succeed("apply", "-auto-approve", "-no-color")
    assert "visible-not" not in printed
    assert "nowhere" not in printed + (workspace.directory / "terraform.tfstate").read_text()


# The filesystem mirror


@pytest.mark.exhaustive
@needs_terraform
def test_init_takes_the_newest_version_that_the_constraint_allows(tmp_path: Path) -> None:
    environment = mirror.install(tmp_path / "mirror", *VERSIONS)
    (tmp_path / "module").mkdir()
    workspace = Workspace(tmp_path / "module", environment)
    workspace.write('data "aws_region" "here" {}')
    workspace.succeed("plan", "-no-color")
    assert f'version     = "{mirror.NEWEST}"' in (workspace.directory / ".terraform.lock.hcl").read_text()


@needs_terraform
def test_init_refuses_a_constraint_that_no_version_meets(tmp_path: Path) -> None:
    environment = mirror.install(tmp_path / "mirror", mirror.OLDEST)
    (tmp_path / "module").mkdir()
    workspace = Workspace(tmp_path / "module", environment)
    (workspace.directory / "main.tf").write_text(REQUIRED.replace("~> 6.0", "~> 6.0, < 6.40"))
    refused = workspace.refuse("init", "-no-color")
    assert "no available releases match the given constraints" in refused


# Refusals


ROLE = "arn:aws:iam::123456789012:role/r"
TASK: Json = {
    "family": "t",
    "requires_compatibilities": ["FARGATE"],
    "network_mode": "awsvpc",
    "cpu": "512",
    "memory": "1024",
    "container_definitions": '[{"name": "c", "image": "i"}]',
}
ALARM: Json = {"alarm_name": "a", "metric_name": "m", "statistic": "Sum", "period": 3600, "evaluation_periods": 24}


def machine(**states: Json) -> Json:
    """Return a state machine of which only some states are given."""
    definition = {"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}, **states}}
    return {"definition": json.dumps(definition), "role_arn": ROLE}


def mapped(**states: Json) -> Json:
    """Return a state machine whose only state is a Map of some states."""
    inner = {"StartAt": "b", "States": states}
    return machine(a={"Type": "Map", "ItemProcessor": inner, "End": True})


def policy(**elements: str) -> str:
    return json.dumps({"Statement": [{"Effect": "Allow", **elements}]})


REFUSED: list[tuple[str, Json, str]] = [
    ("aws_cloudwatch_log_group", {"retention_in_days": 366}, "retention_in_days"),
    ("aws_cloudwatch_log_group", {"name": "l" * 513}, "name"),
    ("aws_cloudwatch_log_group", {"kms_key_id": "alias/k"}, "invalid ARN"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "treat_missing_data": "notbreaching"}, "treat_missing_data"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "comparison_operator": ">"}, "comparison_operator"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "period": 90}, "period"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "evaluation_periods": 169}, "604800"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "period": 60, "evaluation_periods": 1441}, "86400"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "statistic": None}, "statistic"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "datapoints_to_alarm": 25}, "datapoints_to_alarm"),
    ("aws_cloudwatch_metric_alarm", {**ALARM, "alarm_name": "a" * 256}, "alarm_name"),
    ("aws_cloudwatch_metric_alarm", {"alarm_name": "a"}, "metric_name"),
    ("aws_cloudwatch_event_rule", {"name": "a b", "schedule_expression": "rate(1 day)"}, "name"),
    ("aws_cloudwatch_event_rule", {"name": "r"}, "schedule_expression"),
    ("aws_cloudwatch_event_rule", {"schedule_expression": "rate(1 days)"}, "ScheduleExpression"),
    ("aws_cloudwatch_event_rule", {"schedule_expression": "rate(0 days)"}, "ScheduleExpression"),
    ("aws_cloudwatch_event_rule", {"schedule_expression": "cron(0 3 * * * *)"}, "ScheduleExpression"),
    ("aws_cloudwatch_event_rule", {"schedule_expression": "at(2030-01-01T00:00:00)"}, "ScheduleExpression"),
    ("aws_cloudwatch_event_rule", {"event_pattern": "{"}, "valid JSON"),
    ("aws_cloudwatch_event_target", {"arn": "arn:aws:ecs"}, "invalid ARN"),
    ("aws_cloudwatch_event_target", {"retry_policy": [{"maximum_retry_attempts": 186}]}, "maximum_retry_attempts"),
    ("aws_cloudwatch_event_target", {"input": "{}", "input_path": "$"}, "conflicts"),
    ("aws_ecs_cluster", {"name": "c" * 256}, "name"),
    ("aws_ecs_task_definition", {**TASK, "cpu": None}, "cpu"),
    ("aws_ecs_task_definition", {**TASK, "memory": None}, "memory"),
    ("aws_ecs_task_definition", {**TASK, "memory": "8192"}, "no Fargate configuration"),
    ("aws_ecs_task_definition", {**TASK, "network_mode": None}, "awsvpc"),
    ("aws_ecs_task_definition", {**TASK, "container_definitions": "[{]"}, "valid JSON"),
    ("aws_ecs_task_definition", {**TASK, "container_definitions": '[{"name": "c"}]'}, "image"),
    ("aws_ecs_task_definition", {**TASK, "ephemeral_storage": [{"size_in_gib": 20}]}, "21 - 200"),
    ("aws_ecs_task_definition", {**TASK, "ephemeral_storage": [{"size_in_gib": 201}]}, "21 - 200"),
    ("aws_ecs_task_definition", {**TASK, "volume": [{"name": n, "configure_at_launch": True} for n in "ab"]}, "launch"),
    ("aws_iam_policy", {"policy": "[]"}, "policy"),
    ("aws_iam_policy", {"policy": policy(Action="s3:*")}, "Resource is missing"),
    ("aws_iam_policy", {"policy": policy(Action="s3:*", Resource="*", Principal="*")}, "Principal has no place"),
    ("aws_iam_policy", {"policy": policy(Action="s3:*", Resource="*" * 6144)}, "6144"),
    ("aws_iam_role", {"assume_role_policy": policy(Action="sts:AssumeRole")}, "Principal is missing"),
    ("aws_s3_bucket_policy", {"policy": policy(Action="s3:*", Resource="*")}, "Principal is missing"),
    ("aws_sns_topic", {"region": "us-east"}, "invalid AWS Region"),
    ("aws_iam_role", {"name": "r" * 65}, "name"),
    ("aws_iam_role", {"name_prefix": "r" * 39}, "name_prefix"),
    ("aws_iam_role", {"assume_role_policy": "{"}, "assume_role_policy"),
    ("aws_iam_role", {"max_session_duration": 60}, "max_session_duration"),
    ("aws_iam_role", {"description": "d" * 1001}, "description"),
    ("aws_iam_role", {"name": "r", "name_prefix": "r"}, "conflicts"),
    ("aws_kms_key", {"deletion_window_in_days": 6}, "deletion_window_in_days"),
    ("aws_kms_alias", {"name": "backup"}, "alias/"),
    ("aws_s3_bucket", {"bucket": "Backup"}, "lowercase"),
    ("aws_s3_bucket", {"bucket": "b" * 64}, "length"),
    ("aws_s3_bucket", {"bucket": "a..b"}, "dots"),
    ("aws_s3_bucket_lifecycle_configuration", {"rule": [{"id": "r", "status": "On"}]}, "rule.status"),
    ("aws_s3_bucket_replication_configuration", {"role": "r"}, "invalid ARN"),
    ("aws_scheduler_schedule", {"schedule_expression": "daily"}, "ScheduleExpression"),
    ("aws_secretsmanager_secret", {"recovery_window_in_days": 3}, "recovery_window_in_days"),
    ("aws_sfn_state_machine", {"name": "a b"}, "name"),
    ("aws_sfn_state_machine", {"type": "FAST"}, "type"),
    ("aws_sfn_state_machine", {"definition": "{"}, "valid JSON"),
    ("aws_sfn_state_machine", machine(a={"Type": "Pass", "Next": "c"}), "there is no state 'c'"),
    ("aws_sfn_state_machine", machine(a={"Type": "Pass"}), "either Next or End"),
    ("aws_sfn_state_machine", machine(a={"Type": "Choose", "End": True}), "has the type 'Choose'"),
    ("aws_sfn_state_machine", machine(b={"Type": "Fail"}), "'b' is not reachable"),
    ("aws_sfn_state_machine", mapped(c={"Type": "Fail"}), "there is no state 'b'"),
    ("aws_sns_topic", {"name": "t" * 257}, "name"),
    ("aws_sns_topic_subscription", {"protocol": "mail"}, "protocol"),
    ("aws_sqs_queue", {"message_retention_seconds": 1209601}, "message_retention_seconds"),
    ("aws_sqs_queue", {"visibility_timeout_seconds": 43201}, "visibility_timeout_seconds"),
    ("aws_sqs_queue", {"tags": {"aws:a": "b"}}, "tag keys"),
    ("aws_sqs_queue", {"tags": {"a": "b" * 257}}, "tag values"),
    ("aws_vpc_security_group_egress_rule", {"ip_protocol": "-1"}, "exactly one"),
    ("data.aws_iam_policy_document", {"statement": [{"sid": "a b"}]}, "statement.sid"),
    ("data.aws_iam_policy_document", {"statement": [{"effect": "allow"}]}, "statement.effect"),
]


@pytest.mark.parametrize(("kind", "config", "message"), REFUSED)
def test_what_fits_the_schema_may_still_be_refused(kind: str, config: Json, message: str) -> None:
    assert message in " ".join(problem.message for problem in problems(kind, config))


def problems(kind: str, config: Json) -> list[Problem]:
    """What the provider refuses; where it has nothing to say, what AWS does."""
    return list(rules.problems(kind, config)) or list(aws.problems(kind, config))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("aws_ecs_task_definition", TASK),
        ("aws_ecs_task_definition", {**TASK, "cpu": UNKNOWN, "memory": UNKNOWN, "network_mode": UNKNOWN}),
        ("aws_cloudwatch_metric_alarm", ALARM),
        ("aws_cloudwatch_metric_alarm", {**ALARM, "evaluation_periods": 168}),
        ("aws_cloudwatch_event_rule", {"schedule_expression": "cron(0 3 ? * MON *)"}),
        ("aws_cloudwatch_event_rule", {"schedule_expression": UNKNOWN}),
        ("aws_iam_policy", {"policy": UNKNOWN}),
        ("aws_iam_role", {"name": UNKNOWN, "name_prefix": UNKNOWN}),
        ("aws_vpc_security_group_egress_rule", {"cidr_ipv4": UNKNOWN, "prefix_list_id": UNKNOWN}),
        ("aws_iam_role", {"permissions_boundary": "arn:aws-us-gov:iam::aws:policy/Boundary"}),
        ("aws_secretsmanager_secret", {"recovery_window_in_days": 0}),
        ("aws_sqs_queue", {"tags": UNKNOWN}),
        (
            "aws_sfn_state_machine",
            mapped(b={"Type": "Task", "Catch": [{"Next": "c"}], "End": True}, c={"Type": "Fail"}),
        ),
        ("aws_sfn_state_machine", {"definition": UNKNOWN}),
    ],
)
def test_what_is_right_or_not_yet_known_is_not_refused(kind: str, config: Json) -> None:
    assert problems(kind, config) == []


@needs_terraform
def test_what_only_aws_refuses_is_left_to_the_plan_and_out_of_mocked_tests(workspace: Workspace) -> None:
    (workspace.directory / "mocked.tftest.hcl").write_text('mock_provider "aws" {}\nrun "plan" { command = plan }\n')
    workspace.write('resource "aws_s3_bucket" "b" { bucket = "Not-A-Name" }')
    workspace.succeed("validate", "-no-color")
    workspace.succeed("test", "-no-color")
    assert "only lowercase letters" in workspace.refuse("plan", "-no-color")


@needs_terraform
def test_a_refusal_points_at_its_argument(workspace: Workspace) -> None:
    workspace.write('resource "aws_cloudwatch_log_group" "l" {\n  retention_in_days = 366\n}')
    refused = workspace.refuse("validate", "-no-color")
    assert "expected retention_in_days to be one of" in refused
    assert "retention_in_days = 366" in refused


# Policy documents


def statement(**arguments: Any) -> Json:
    return {"effect": None, "sid": None, **arguments}


def minified(config: Json) -> str:
    written: str = document(config)["minified_json"]
    return written


def test_a_document_is_laid_out_as_by_the_real_provider() -> None:
    config = {
        "statement": [
            statement(
                sid="Read",
                actions=["s3:GetObject", "s3:ListBucket"],
                resources=["arn:aws:s3:::b"],
                principals=[{"type": "AWS", "identifiers": ["arn:aws:iam::1:root", "arn:aws:iam::2:root"]}],
                condition=[{"test": "StringLike", "variable": "s3:prefix", "values": ["", "home/&{aws:username}/"]}],
            )
        ]
    }
    assert document(config)["json"] == (
        """\
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "Read",
      "Effect": "Allow",
      "Action": [
        "s3:ListBucket",
        "s3:GetObject"
      ],
      "Resource": "arn:aws:s3:::b",
      "Principal": {
        "AWS": [
          "arn:aws:iam::2:root",
          "arn:aws:iam::1:root"
        ]
      },
      "Condition": {
        "StringLike": {
          "s3:prefix": [
            "",
            "home/${aws:username}/"
          ]
        }
      }
    }
  ]
}"""
    )


def test_only_a_lone_star_is_written_without_its_type() -> None:
    star = {"type": "*", "identifiers": ["*"]}
    assert '"Principal":"*"' in minified({"statement": [statement(principals=[star])]})
    aws = {"type": "AWS", "identifiers": ["*"]}
    assert '"Principal":{"AWS":"*"}' in minified({"statement": [statement(principals=[aws])]})
    assert '"Principal":{"*":"*","AWS":"*"}' in minified({"statement": [statement(principals=[star, aws])]})


def test_principals_of_one_type_are_joined() -> None:
    blocks = [{"type": "Service", "identifiers": ["b", "a"]}, {"type": "Service", "identifiers": ["c"]}]
    written = json.loads(minified({"statement": [statement(principals=blocks)]}))["Statement"][0]["Principal"]
    assert written in ({"Service": ["b", "a", "c"]}, {"Service": ["c", "b", "a"]})
    assert minified({"statement": [statement(principals=blocks)]}) == minified(
        {"statement": [statement(principals=blocks[::-1])]}
    )


def test_conditions_are_sorted_by_test_and_variable_and_keep_the_order_of_their_values() -> None:
    condition = [
        {"test": "StringEquals", "variable": "b", "values": ["z", "a"]},
        {"test": "Bool", "variable": "aws:SecureTransport", "values": ["false"]},
        {"test": "StringEquals", "variable": "a", "values": ["1"]},
    ]
    assert minified({"statement": [statement(condition=condition)]}) == (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Condition":'
        '{"Bool":{"aws:SecureTransport":"false"},"StringEquals":{"a":"1","b":["z","a"]}}}]}'
    )


def test_overrides_replace_statements_in_place_and_sources_come_first() -> None:
    def made(*sids: str, action: str) -> str:
        return minified({"statement": [statement(sid=sid, actions=[action], resources=["*"]) for sid in sids]})

    merged = minified(
        {
            "policy_id": "mine",
            "source_policy_documents": [made("A", "B", action="s:1"), made("C", action="s:1")],
            "statement": [statement(sid="B", actions=["own:1"], resources=["*"]), statement(actions=["own:2"])],
            "override_policy_documents": [made("A", "D", action="over:1")],
        }
    )
    assert [(entry.get("Sid"), entry["Action"]) for entry in json.loads(merged)["Statement"]] == [
        ("A", "over:1"),
        ("B", "own:1"),
        ("C", "s:1"),
        (None, "own:2"),
        ("D", "over:1"),
    ]
    assert merged.startswith('{"Version":"2012-10-17","Id":"mine","Statement":[')


def test_a_source_keeps_its_order_of_actions_and_loses_what_a_policy_does_not_have() -> None:
    source = (
        '{"Statement": [{"Resource": "*", "Comment": "x", "Action": ["a", "b"], "Effect": "Deny", "Principal":'
        ' {"AWS": ["1", "2"]}, "Condition": {"Bool": {"x": true, "y": ["1"]}}}]}'
    )
    assert minified({"source_policy_documents": [source]}) == (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["a","b"],"Resource":"*",'
        '"Principal":{"AWS":["2","1"]},"Condition":{"Bool":{"x":"true","y":"1"}}}]}'
    )


def test_what_could_end_a_script_is_escaped_as_go_does() -> None:
    assert r'"Resource":"a\u003cb\u003e\u0026é\u2028"' in minified(
        {"statement": [statement(resources=["a<b>&é\u2028"])]}
    )


def test_an_empty_document_has_a_version_only() -> None:
    assert document({"version": "2008-10-17"})["json"] == '{\n  "Version": "2008-10-17"\n}'


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"statement": [statement(sid="A"), statement(sid="A")]}, "duplicate Sid"),
        ({"source_policy_documents": ['{"Statement":[{"Sid":"A"}]}'] * 2}, "duplicate Sid"),
        ({"source_policy_documents": ['{"Statement":{"Sid":"A"}}']}, "merging source document 0"),
        ({"version": "2008-10-17", "statement": [statement(resources=["&{aws:username}"])]}, "not supported"),
    ],
)
def test_a_document_that_the_provider_refuses_is_refused(config: Json, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        document(config)


@needs_terraform
def test_terraform_gets_the_document_byte_for_byte(workspace: Workspace) -> None:
    workspace.write(
        'data "aws_iam_policy_document" "d" {\n statement {\n  actions = ["s3:GetObject"]\n  resources = ["*"]\n }\n}\n'
        'output "d" { value = data.aws_iam_policy_document.d.minified_json }'
    )
    workspace.succeed("apply", "-auto-approve", "-no-color")
    assert workspace.succeed("output", "-raw", "d") == (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
    )


# The tables


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_is_answered_with_values_that_fit_its_schema(version: str) -> None:
    settings = Settings("us-gov-west-1")
    catalogue = Catalogue(HERE / f"aws-{version}.json")
    for kind in catalogue.document["resource_schemas"]:
        block = catalogue.resource(kind)
        computed = [name for name, attribute in block["attributes"].items() if attribute.get("computed")]
        unset = dict.fromkeys(block["attributes"])
        assert misfits(block, resolve(kind, block, unset | dict.fromkeys(computed, UNKNOWN), settings)) == [], kind
        assert misfits(block, imported(kind, block, "a", settings)) == [], kind
    for kind in catalogue.document["data_source_schemas"]:
        block = catalogue.data_source(kind)
        place = words({}, settings, "0" * 32)
        state = complete(block, dict.fromkeys(block["attributes"]), DATA_FORMS.get(kind, {}), {}, place)
        assert misfits(block, state) == [], kind


def misfits(block: Json, state: Json) -> list[str]:
    """The attributes whose values are not of their type."""
    kinds = {"string": str, "number": int, "bool": bool, "list": list, "set": list, "map": dict, "object": dict}
    types = {name: attribute["type"] for name, attribute in block["attributes"].items()}
    outer = {name: kind if isinstance(kind, str) else kind[0] for name, kind in types.items()}
    return [name for name, kind in outer.items() if state[name] is not None and type(state[name]) is not kinds[kind]]


def test_every_table_speaks_of_types_and_arguments_that_exist() -> None:
    from .forms import DEFAULTS, FORMS, IMPORTED, OTHER, REPLACES
    from .rules import VALUES

    catalogue = Catalogue(HERE / f"aws-{mirror.NEWEST}.json")
    kinds = catalogue.document["resource_schemas"]
    assert {*DEFAULTS, *FORMS, *IMPORTED, *OTHER, *REPLACES, *rules.WHOLES, *aws.WHOLES, *aws.POLICIES} <= kinds.keys()
    for table in (DEFAULTS, REPLACES, VALUES, aws.POLICIES):
        for kind, paths in table.items():
            block = catalogue.data_source(kind[5:]) if kind.startswith("data.") else catalogue.resource(kind)
            assert [path for path in paths if not has_argument(block, path.split("."))] == [], kind


def has_argument(block: Json, path: list[str]) -> bool:
    name, *rest = path
    if rest:
        return name in block.get("block_types", {}) and has_argument(block["block_types"][name]["block"], rest)
    return name in block["attributes"] or name in block.get("block_types", {})
