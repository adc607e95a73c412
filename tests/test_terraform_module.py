"""What the module makes, as values read from the state after an apply on the stand-in provider."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from embedded.stack import PROJECT
from github_s3_backup import configuration, metrics
from github_s3_backup.backup.run import NOT_STARTED, OK, SOME_FAILED, STOPPED
from github_s3_backup.version import TOOL_VERSION
from terraform.module import ACCOUNT, REGION, REPLICA_REGION, Applied, Module, copy_module
from terraform.standin.mirror import NEWEST, OLDEST, install, serve

SOURCES = {path.name: path.read_text() for path in PROJECT.glob("*.tf")}


def test_the_outputs_are_those_of_the_contract(applied: Applied) -> None:
    bucket = f"github-backup-{ACCOUNT}-{REGION}"
    outputs = applied.outputs
    assert outputs["s3_bucket_name"] == bucket
    assert outputs["s3_bucket_arn"] == f"arn:aws:s3:::{bucket}"
    assert outputs["replica_bucket_name"] == f"{bucket}-replica"
    assert outputs["replica_bucket_arn"] == f"arn:aws:s3:::{bucket}-replica"
    assert outputs["ecs_cluster_name"] == "github-backup"
    assert outputs["log_group_name"] == "/ecs/github-backup"
    assert outputs["github_app_key_secret_arn"] == applied["aws_secretsmanager_secret.app_key[0]"]["arn"]
    for name, kind in {
        "ecs_cluster_arn": "ecs",
        "task_definition_arn": "ecs",
        "task_role_arn": "iam",
        "schedule_rule_arn": "events",
        "sns_topic_arn": "sns",
    }.items():
        assert outputs[name].startswith(f"arn:aws:{kind}:"), name
    assert outputs["security_group_id"].startswith("sg-")
    assert outputs["run_task_command"].startswith(f"aws ecs run-task --region {REGION} ")


def test_the_container_is_what_fargate_is_told(applied: Applied) -> None:
    container = applied.container()
    assert container["image"].endswith(f":{TOOL_VERSION}")
    assert container["readonlyRootFilesystem"] is True
    assert container["stopTimeout"] == 120
    assert container["linuxParameters"] == {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}
    assert container["mountPoints"] == [{"sourceVolume": "scratch", "containerPath": "/scratch", "readOnly": False}]
    assert container["logConfiguration"]["options"]["awslogs-group"] == "/ecs/github-backup"
    task = applied["aws_ecs_task_definition.backup"]
    assert task["requires_compatibilities"] == ["FARGATE"]
    assert task["network_mode"] == "awsvpc"
    assert (task["cpu"], task["memory"]) == ("1024", "4096")
    assert container["memory"] == 4096, "else the program does not see how much it has"
    assert task["ephemeral_storage"] == [{"size_in_gib": 50}]
    assert task["runtime_platform"] == [{"operating_system_family": "LINUX", "cpu_architecture": "ARM64"}]


def test_the_environment_is_one_that_the_program_takes(applied: Applied) -> None:
    environment = applied.environment()
    region = environment.pop("AWS_REGION")
    assert environment.pop("TMPDIR") == "/scratch"
    read = configuration.read_configuration(environment, region)
    assert read.github.key_secret_arn == applied.outputs["github_app_key_secret_arn"]
    assert read.bucket == applied.outputs["s3_bucket_name"]
    assert read.prefix == configuration.DEFAULT_PREFIX
    assert read.service_name == configuration.DEFAULT_SERVICE_NAME
    assert read.github.api_url == configuration.DEFAULT_API_URL
    assert read.github.server_url == configuration.DEFAULT_SERVER_URL
    assert read.github.installation_id is None
    assert read.full_backup_days == configuration.DEFAULT_FULL_BACKUP_DAYS
    assert read.concurrency == configuration.WORKERS_PER_CPU


@pytest.mark.parametrize(("cpu", "memory", "vcpus"), [(256, 1024, 1), (4096, 8192, 4), (16384, 32768, 16)])
def test_the_repositories_in_flight_follow_the_cpus_that_are_paid_for(
    module: Module, cpu: int, memory: int, vcpus: int
) -> None:
    applied = module.apply(task_cpu=cpu, task_memory=memory)
    expected = min(configuration.MAX_DEFAULT_WORKERS, configuration.WORKERS_PER_CPU * vcpus)
    assert applied.environment()["BACKUP_CONCURRENCY"] == str(expected)
    assert applied.container()["memory"] == memory


def test_an_option_that_is_set_reaches_the_program(module: Module) -> None:
    urls = {"api": "https://github.example.com/api/v3", "server": "https://github.example.com"}
    options = {"github_app_installation_id": "77", "concurrency": 3, "full_backup_days": 30}
    environment = module.apply(github_urls=urls, **options).environment()
    assert environment["GITHUB_API_URL"] == urls["api"]
    assert environment["GITHUB_SERVER_URL"] == urls["server"]
    assert environment["GITHUB_APP_INSTALLATION_ID"] == "77"
    assert environment["BACKUP_CONCURRENCY"] == "3"
    assert environment["FULL_BACKUP_DAYS"] == "30"


def graphs(applied: Applied) -> dict[str, dict[str, Any]]:
    """Return the properties of the dashboard's graphs by title."""
    body = json.loads(applied["aws_cloudwatch_dashboard.backup"]["dashboard_body"])
    found = [widget["properties"] for widget in body["widgets"] if widget["type"] == "metric"]
    return {one["title"]: one for one in found}


def shown(applied: Applied) -> set[str]:
    """Return the names of the program's metrics on the dashboard."""
    lines = [line for graph in graphs(applied).values() for line in graph["metrics"] if line[0] == metrics.NAMESPACE]
    assert all(line[2:4] == [metrics.DIMENSION, "github-backup"] for line in lines)
    return {line[1] for line in lines}


def test_metrics_have_the_same_names_in_the_module_and_in_the_program(applied: Applied, drilled: Applied) -> None:
    assert shown(applied) == metrics.UNITS.keys()
    assert shown(drilled) == metrics.UNITS.keys() | metrics.RESTORE_UNITS.keys()
    for key, name in (
        ("backup-failure", metrics.FAILURE),
        ("task-not-running", metrics.SUCCESS),
        ("restore-failed", metrics.RESTORE_FAILED),
        ("drill-not-running", metrics.RESTORE_VERIFIED),
    ):
        alarm = drilled[f'aws_cloudwatch_metric_alarm.backup["{key}"]']
        assert alarm["namespace"] == metrics.NAMESPACE
        assert alarm["metric_name"] == name
        assert alarm["dimensions"] == {metrics.DIMENSION: "github-backup"}


def test_the_recovery_point_is_shown_without_a_drill_and_the_recovery_time_with_one(
    applied: Applied, drilled: Applied
) -> None:
    point, time = "Recovery point: age of the newest run", "Recovery time: slowest restore"
    assert [title for title in graphs(applied) if title.startswith(("Recovery point", "Recovery time"))] == [
        f"{point} without a failure, hours"
    ]
    (title,) = (title for title in graphs(drilled) if title.startswith(time))
    assert graphs(drilled)[title]["stat"] == "Maximum"
    assert graphs(drilled)[title]["metrics"][0][1] == metrics.RESTORE_SECONDS


def test_the_recovery_point_is_computed_from_what_its_graph_has(applied: Applied) -> None:
    (graph,) = (one for title, one in graphs(applied).items() if title.startswith("Recovery point"))
    lines = [line[-1] for line in graph["metrics"]]
    known = {line["id"] for line in lines}
    assert all(re.fullmatch(r"[a-z]\w*", name) for name in known)
    for line in lines:
        assert set(re.findall(r"\b[a-z]\w*", line.get("expression", ""))) <= known - {line["id"]}
    assert [line["id"] for line in lines if line.get("visible", True)] == ["age"]


@pytest.mark.parametrize("which", ["primary", "replica"])
def test_each_bucket_is_hardened(applied: Applied, which: str) -> None:
    bucket = {"primary": "module.primary[0]", "replica": "module.replica[0].module.bucket"}[which]

    def of(kind: str) -> dict[str, object]:
        found = applied[f"{bucket}.aws_s3_bucket_{kind}.backup"]
        assert found["bucket"] == applied[f"{bucket}.aws_s3_bucket.backup"]["bucket"]
        assert found["region"] == {"primary": REGION, "replica": REPLICA_REGION}[which]
        return found

    assert of("versioning")["versioning_configuration"][0]["status"] == "Enabled"  # type: ignore[index]
    assert of("ownership_controls")["rule"] == [{"object_ownership": "BucketOwnerEnforced"}]
    block = of("public_access_block")
    names = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(block[name] for name in names)
    rules = {rule["id"]: rule for rule in of("lifecycle_configuration")["rule"]}  # type: ignore[attr-defined]
    assert rules.keys() == {"stale-uploads", "retention", "delete-markers", "storage-classes"}
    assert rules["retention"]["expiration"][0]["days"] == 365 + 90 + 1
    assert rules["retention"]["noncurrent_version_expiration"][0]["noncurrent_days"] == 7
    assert rules["delete-markers"]["expiration"][0]["expired_object_delete_marker"] is True
    policy = json.loads(str(of("policy")["policy"]))
    assert {"RefusePlainHTTP", "RefuseOldTLS"} < {one["Sid"] for one in policy["Statement"]}


def test_replication_copies_everything_and_no_deletion(applied: Applied) -> None:
    (rule,) = applied["aws_s3_bucket_replication_configuration.backup"]["rule"]
    assert rule["status"] == "Enabled"
    assert rule["delete_marker_replication"] == [{"status": "Disabled"}]
    (destination,) = rule["destination"]
    assert destination["bucket"] == applied.outputs["replica_bucket_arn"]
    assert destination["metrics"][0]["status"] == "Enabled"


def test_the_apps_key_is_never_in_the_state(applied: Applied) -> None:
    assert not any(address.startswith("aws_secretsmanager_secret_version") for address in applied.resources)


def test_the_task_reaches_out_on_443_and_nothing_reaches_in(applied: Applied) -> None:
    rules = [one for address, one in applied.resources.items() if address.startswith("aws_vpc_security_group")]
    assert {(one["from_port"], one["to_port"], one["ip_protocol"]) for one in rules} == {(443, 443, "tcp")}
    assert not any("ingress" in address for address in applied.resources)


def test_a_start_that_fails_is_tried_again_and_kept(applied: Applied) -> None:
    target = applied["aws_cloudwatch_event_target.backup"]
    assert target["retry_policy"] == [{"maximum_event_age_in_seconds": 3600, "maximum_retry_attempts": 20}]
    assert target["dead_letter_config"] == [{"arn": applied["aws_sqs_queue.dead_letters"]["arn"]}]
    (ecs,) = target["ecs_target"]
    assert ecs["launch_type"] == "FARGATE"
    assert ecs["task_definition_arn"] == applied.outputs["task_definition_arn"]
    assert target["arn"] == applied.outputs["ecs_cluster_arn"]


def test_alarms_look_at_hours_and_reach_the_topic(applied: Applied) -> None:
    alarms = {a: one for a, one in applied.resources.items() if a.startswith("aws_cloudwatch_metric_alarm.")}
    assert len(alarms) == 7
    for alarm in alarms.values():
        assert alarm["period"] == 3600
        assert alarm["evaluation_periods"] * 3600 <= 7 * 24 * 3600
        assert [arn.split(":")[3] for arn in alarm["alarm_actions"]] == [alarm["region"]], (
            "CloudWatch notifies its own region only"
        )
    lag = alarms['aws_cloudwatch_metric_alarm.backup["replication-lagging"]']
    assert lag["region"] == REPLICA_REGION
    assert [one["region"] for one in alarms.values()].count(REGION) == 6
    quiet = alarms['aws_cloudwatch_metric_alarm.backup["task-not-running"]']
    assert quiet["statistic"] == "SampleCount"
    assert quiet["treat_missing_data"] == "breaching"
    assert quiet["evaluation_periods"] == quiet["datapoints_to_alarm"] == 30
    failure = alarms['aws_cloudwatch_metric_alarm.backup["backup-failure"]']
    assert failure["datapoints_to_alarm"] == 1
    assert failure["threshold"] == 0
    assert failure["treat_missing_data"] == "notBreaching"


def test_every_alarm_names_the_page_that_says_what_to_do(drilled: Applied) -> None:
    page = (PROJECT / "docs" / "alarms.md").read_text()
    headings = set(re.findall(r"^## (\S+)$", page, re.MULTILINE))
    named = set()
    for address, one in drilled.resources.items():
        if address.startswith("aws_cloudwatch_metric_alarm."):
            assert len(one["alarm_description"]) <= 1024
            named.add(re.search(r"/docs/alarms\.md#(\S+)$", one["alarm_description"])[1])  # type: ignore[index]
    transformer = drilled["aws_cloudwatch_event_target.task_failed"]["input_transformer"][0]
    named.add(re.search(r"/docs/alarms\.md#([a-z-]+)", transformer["input_template"])[1])  # type: ignore[index]
    assert named == headings


def test_a_task_that_fails_or_does_not_start_is_told_at_once(applied: Applied) -> None:
    pattern = json.loads(applied["aws_cloudwatch_event_rule.task_failed"]["event_pattern"])
    assert pattern["detail"]["clusterArn"] == [applied.outputs["ecs_cluster_arn"]]
    assert pattern["detail"]["$or"] == [
        {"containers": {"exitCode": [{"anything-but": OK}]}},
        {"stopCode": [{"anything-but": "EssentialContainerExited"}]},
    ]
    assert OK not in (SOME_FAILED, NOT_STARTED, STOPPED)
    assert applied["aws_cloudwatch_event_target.task_failed"]["arn"] == applied.outputs["sns_topic_arn"]


def test_the_topics_key_lets_alarms_and_events_publish(applied: Applied) -> None:
    for where in ("primary", "replica"):
        topic_key = applied[f'aws_sns_topic.alarms["{where}"]']["kms_master_key_id"]
        assert topic_key == applied[f'aws_kms_key.alarms["{where}"]']["arn"]
    key = json.loads(applied['aws_kms_key.alarms["primary"]']["policy"])
    services = [one for one in key["Statement"] if "Service" in one["Principal"]]
    assert [set(one["Principal"]["Service"]) for one in services] == [
        {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    ]
    assert set(services[0]["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    topic = json.loads(applied['aws_sns_topic_policy.alarms["replica"]']["policy"])
    assert {one["Principal"]["Service"] for one in topic["Statement"]} == {
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
    }


def test_a_second_plan_finds_nothing_to_change(module: Module) -> None:
    module.apply()
    plan = module.terraform("plan", "-no-color", "-input=false", "-state=state.json", "-var-file=given.tfvars.json")
    assert "No changes." in plan


@pytest.mark.usefixtures("standin")
def test_the_module_works_with_the_oldest_provider_that_it_allows(tmp_path: Path) -> None:
    with serve(OLDEST, REGION) as environment:
        module = Module(copy_module(tmp_path), environment).init()
        applied = module.apply(object_lock={"mode": "GOVERNANCE", "days": 28})
    assert applied.outputs["ecs_cluster_name"] == "github-backup"


@pytest.mark.usefixtures("standin")
def test_init_accepts_the_newest_provider_under_the_modules_constraint(tmp_path: Path) -> None:
    environment = install(tmp_path / "mirror", NEWEST)
    (tmp_path / "module").mkdir()
    output = Module(copy_module(tmp_path / "module"), environment).terraform("init", "-input=false", "-no-color")
    assert f"Installing hashicorp/aws v{NEWEST}" in output


def test_each_statement_has_a_sid_and_each_variable_a_description() -> None:
    policies = SOURCES["iam.tf"] + SOURCES["drill.tf"]
    statements = re.findall(r"^( *)(?:statement|content) \{\n(.*?)^\1\}", policies, re.MULTILINE | re.DOTALL)
    bodies = [body for _, body in statements if "actions" in body]
    assert bodies
    assert all(re.search(r"^\s+sid\s+=", body, re.MULTILINE) for body in bodies)
    variables = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', SOURCES["variables.tf"], re.MULTILINE | re.DOTALL)
    assert all(re.search(r"^  description = ", body, re.MULTILINE) for _, body in variables)
    names = [name for name, _ in variables]
    optional = names.index("alarm_actions")
    assert names == sorted(names[:optional]) + sorted(names[optional:])


def test_object_lock_can_be_switched_on_later_without_new_buckets(module: Module) -> None:
    module.apply()
    variables = ["-var-file=given.tfvars.json", "-state=state.json", '-var=object_lock={mode="GOVERNANCE",days=28}']
    plan = module.terraform("plan", "-no-color", "-input=false", *variables)
    assert "2 to add, 0 to change, 0 to destroy" in plan
