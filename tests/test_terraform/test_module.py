"""What the module makes, as values read from the state after an apply on the stand-in provider."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from embedded.stack import PROJECT
from github_s3_backup import configuration
from github_s3_backup.exit_codes import NOT_STARTED, OK, SOME_FAILED, STOPPED
from github_s3_backup.runtime import metrics
from github_s3_backup.version import TOOL_VERSION
from terraform.module import ACCOUNT, REGION, REPLICA_REGION, REQUIRED, Applied, Module, copy_module
from terraform.standin.mirror import NEWEST, OLDEST, install, serve
from terraform.varied import ACTIONS, GROUP, PREFIXES, VARIED

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
    repository = "public.ecr.aws/terraform-aws-github-backup/github-backup"
    assert re.fullmatch(rf"{repository}(:{re.escape(TOOL_VERSION)}|@sha256:[0-9a-f]{{64}})", container["image"])
    assert container["readonlyRootFilesystem"] is True
    assert container["stopTimeout"] == 120
    assert container["linuxParameters"] == {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}
    assert container["mountPoints"] == [{"sourceVolume": "scratch", "containerPath": "/scratch", "readOnly": False}]
    assert container["logConfiguration"]["options"]["awslogs-group"] == "/ecs/github-backup"
    task = applied['aws_ecs_task_definition.task["backup"]']
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


@pytest.mark.exhaustive
@pytest.mark.parametrize(("cpu", "mib", "vcpus"), [(256, 1024, 1), (4096, 8192, 4), (16384, 32768, 16)])
def test_the_repositories_in_flight_follow_the_cpus_that_are_paid_for(
    module: Module, cpu: int, mib: int, vcpus: int
) -> None:
    applied = module.apply(task_cpu=cpu, task_memory=mib)
    expected = min(configuration.MAX_DEFAULT_WORKERS, configuration.WORKERS_PER_CPU * vcpus)
    assert applied.environment()["BACKUP_CONCURRENCY"] == str(expected)
    assert applied.container()["memory"] == mib


def test_an_option_that_is_set_reaches_the_program(varied: Applied) -> None:
    environment = varied.environment()
    assert environment["GITHUB_API_URL"] == VARIED["github_urls"]["api"]
    assert environment["GITHUB_SERVER_URL"] == VARIED["github_urls"]["server"]
    assert environment["GITHUB_APP_INSTALLATION_ID"] == "77"
    assert environment["BACKUP_CONCURRENCY"] == "3"
    assert environment["FULL_BACKUP_DAYS"] == "30"


def graphs(applied: Applied) -> dict[str, dict[str, Any]]:
    """Return the properties of the dashboard's graphs by title."""
    body = json.loads(applied["aws_cloudwatch_dashboard.backup"]["dashboard_body"])
    found = [widget["properties"] for widget in body["widgets"] if widget["type"] == "metric"]
    return {item["title"]: item for item in found}


def shown(applied: Applied) -> set[str]:
    """Return the names of the program's metrics on the dashboard."""
    lines = [line for graph in graphs(applied).values() for line in graph["metrics"] if line[0] == metrics.NAMESPACE]
    assert all(line[2:4] == [metrics.DIMENSION, "github-backup"] for line in lines)
    return {line[1] for line in lines}


def metric_names() -> dict[str, str]:
    """Return what the module calls each metric, by its key in local.metrics."""
    block = re.search(r"^  metrics = \{\n(.*?)^  \}", SOURCES["names.tf"], re.MULTILINE | re.DOTALL)
    assert block
    return dict(re.findall(r'^    (\w+) += "(\w+)"$', block[1], re.MULTILINE))


def test_metrics_have_the_same_names_in_the_module_and_in_the_program() -> None:
    names = metric_names()
    assert names.pop("namespace") == metrics.NAMESPACE
    assert names.pop("dimension") == metrics.DIMENSION
    assert set(names.values()) == metrics.UNITS.keys() | metrics.RESTORE_UNITS.keys() | {metrics.RUN_REFUSED}


def test_the_dashboard_shows_every_metric_of_what_runs(
    applied: Applied, drilled: Applied, monthly: Applied, orchestrated: Applied
) -> None:
    names = metric_names()
    of_a_drill = {names[key] for key in ("restore_verified", "restore_failed", "restore_seconds", "oldest_proof")}
    of_a_check = {names["backup_age"]}
    of_shards = {metrics.SHARDS, metrics.SHARDS_FAILED, metrics.RUN_REFUSED}
    of_a_run = set(names.values()) - {names["namespace"], names["dimension"]} - of_a_drill - of_a_check - of_shards
    assert shown(applied) == of_a_run
    assert shown(drilled) == of_a_run | of_a_drill
    assert shown(monthly) == of_a_run | of_a_check
    assert shown(orchestrated) == of_a_run | of_shards


@pytest.mark.parametrize(
    ("key", "name", "statistic", "comparison", "threshold"),
    [
        ("backup-failure", "BackupFailure", "Sum", "GreaterThanThreshold", 0),
        ("run-failed", "BackupSuccess", "Sum", "LessThanThreshold", 1),
        ("anomaly", "BackupAnomaly", "Maximum", "GreaterThanThreshold", 0),
        ("replica-behind", "ReplicationBehind", "Maximum", "GreaterThanThreshold", 0),
        ("restore-failed", "RestoreFailed", "Sum", "GreaterThanThreshold", 0),
    ],
)
def test_an_alarm_fires_with_a_bad_run_and_ends_with_the_next_good_one(
    drilled: Applied, key: str, name: str, statistic: str, comparison: str, threshold: int
) -> None:
    alarm = drilled[f'aws_cloudwatch_metric_alarm.backup["{key}"]']
    assert alarm["alarm_name"] == f"github-backup-{key}"
    assert (alarm["namespace"], alarm["metric_name"]) == (metrics.NAMESPACE, name)
    assert alarm["dimensions"] == {metrics.DIMENSION: "github-backup"}
    judged = (alarm["statistic"], alarm["comparison_operator"], alarm["threshold"])
    assert judged == (statistic, comparison, threshold)
    assert (alarm["period"], alarm["evaluation_periods"], alarm["datapoints_to_alarm"]) == (300, 1, 1)
    assert alarm["treat_missing_data"] == "ignore", "between two runs the alarm keeps its state"


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("rate(1 hour)", 1),
        ("cron(0 3 * * ? *)", 24),
        ("cron(0 3 ? * MON-FRI *)", 72),
        ("rate(6 days)", 144),
    ],
)
def test_silence_is_told_once_interval_and_grace_are_over(module: Module, schedule: str, hours: int) -> None:
    applied = module.apply(schedule_expression=schedule)
    alarm = applied['aws_cloudwatch_metric_alarm.backup["task-not-running"]']
    assert (alarm["metric_name"], alarm["statistic"], alarm["threshold"]) == ("BackupSuccess", "SampleCount", 1)
    assert alarm["evaluation_periods"] == alarm["datapoints_to_alarm"] == hours + 6
    assert (alarm["period"], alarm["treat_missing_data"]) == (3600, "breaching")
    assert 'aws_ecs_task_definition.task["check"]' not in applied.resources
    assert applied.environment()["RUN_DEADLINE_HOURS"] == str(hours)


@pytest.mark.parametrize(
    ("schedule", "hours"), [("cron(0 3 1 * ? *)", 744), ("rate(7 days)", 168), ("cron(0 3 ? * SUN *)", 168)]
)
def test_a_schedule_longer_than_an_alarm_looks_back_is_watched_by_a_daily_check(
    module: Module, schedule: str, hours: int
) -> None:
    applied = module.apply(schedule_expression=schedule)
    alarm = applied['aws_cloudwatch_metric_alarm.backup["task-not-running"]']
    assert (alarm["metric_name"], alarm["statistic"]) == ("NewestBackupAge", "Maximum")
    assert (alarm["comparison_operator"], alarm["threshold"]) == ("GreaterThanThreshold", (hours + 6) * 3600)
    assert alarm["evaluation_periods"] == alarm["datapoints_to_alarm"] == 30, "a day and some grace for the check"
    assert (alarm["period"], alarm["treat_missing_data"]) == (3600, "breaching")
    assert applied['aws_cloudwatch_event_rule.task["check"]']["schedule_expression"] == "rate(1 day)"


def test_the_check_runs_the_same_image_with_a_command_of_its_own(monthly: Applied) -> None:
    backup, check = monthly.container("backup"), monthly.container("check")
    for name in ("image", "essential", "readonlyRootFilesystem", "stopTimeout", "mountPoints", "linuxParameters"):
        assert check[name] == backup[name], name
    assert check["command"] == ["restore", "check", "--publish"]
    assert monthly.environment("check") == {
        name: monthly.environment()[name] for name in ("AWS_REGION", "S3_BUCKET", "S3_PREFIX", "SERVICE_NAME", "TMPDIR")
    }
    task = monthly['aws_ecs_task_definition.task["check"]']
    assert (task["cpu"], task["memory"]) == ("256", "512")
    assert task["task_role_arn"] == monthly['aws_iam_role.role["check"]']["arn"]


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
    (graph,) = (item for title, item in graphs(applied).items() if title.startswith("Recovery point"))
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
    days = {f"retention-github-backup{end}": 365 + 90 + 1 for end in ("", "-drills")}
    days |= {f"retention-github-backup{end}": 365 + 365 + 1 for end in ("-lfs", "-releases")}
    assert rules.keys() == {*days, "stale-uploads", "hidden-versions", "storage-classes"}
    for name, expected in days.items():
        assert rules[name]["filter"][0]["prefix"] == name.removeprefix("retention-") + "/"
        assert rules[name]["expiration"][0]["days"] == expected
    assert rules["hidden-versions"]["noncurrent_version_expiration"][0]["noncurrent_days"] == 7
    assert rules["hidden-versions"]["expiration"][0]["expired_object_delete_marker"] is True
    for name in rules.keys() - days:
        assert not any(rules[name]["filter"][0].values()), name
    policy = json.loads(str(of("policy")["policy"]))
    assert {"RefusePlainHTTP", "RefuseOldTLS"} < {statement["Sid"] for statement in policy["Statement"]}


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
    rules = [
        resource for address, resource in applied.resources.items() if address.startswith("aws_vpc_security_group")
    ]
    assert {(rule["from_port"], rule["to_port"], rule["ip_protocol"]) for rule in rules} == {(443, 443, "tcp")}
    assert not any("ingress" in address for address in applied.resources)


def test_a_start_that_fails_is_tried_again_and_kept(applied: Applied) -> None:
    target = applied['aws_cloudwatch_event_target.task["backup"]']
    assert target["retry_policy"] == [{"maximum_event_age_in_seconds": 3600, "maximum_retry_attempts": 20}]
    assert target["dead_letter_config"] == [{"arn": applied["aws_sqs_queue.dead_letters"]["arn"]}]
    (ecs,) = target["ecs_target"]
    assert ecs["launch_type"] == "FARGATE"
    assert ecs["task_definition_arn"] == applied.outputs["task_definition_arn"]
    assert target["arn"] == applied.outputs["ecs_cluster_arn"]


EMAILS = ["oncall@example.com", "second@example.com"]
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:ours"
WAYS: list[dict[str, Any]] = [
    {"alarm_emails": emails, "existing": {"topic": {"arn": topic}} if topic else {}, "alarm_actions": actions}
    for emails in ([], EMAILS)
    for topic in (None, TOPIC)
    for actions in ([], ACTIONS)
    if emails or topic or actions
]


@pytest.mark.parametrize("way", [{}, *WAYS], ids=range(len(WAYS) + 1))
def test_every_alarm_reaches_everybody(module: Module, way: dict[str, Any]) -> None:
    """Whether by e-mail, an existing topic or further actions, and in the only region in which there are alarms."""
    applied = module.apply(restore_drill={}, **way)
    emails, actions = way.get("alarm_emails", REQUIRED["alarm_emails"]), way.get("alarm_actions", [])
    topic = TOPIC if way.get("existing") else None
    of_kind = {
        kind: [values for address, values in applied.resources.items() if address.startswith(f"{kind}.")]
        for kind in ("aws_cloudwatch_metric_alarm", "aws_sns_topic", "aws_sns_topic_subscription")
    }
    used = applied.outputs["sns_topic_arn"]
    assert used == (topic or of_kind["aws_sns_topic"][0]["arn"])
    assert [made["arn"] for made in of_kind["aws_sns_topic"]] == ([] if topic else [used])
    assert {(to["topic_arn"], to["endpoint"]) for to in of_kind["aws_sns_topic_subscription"]} == {
        (used, email) for email in emails
    }
    assert {alarm["region"] for alarm in of_kind["aws_cloudwatch_metric_alarm"]} == {REGION}
    # ECS's own message about a failed task goes to the topic, so its alarm goes to whom that does not reach.
    notified = {alarm["alarm_name"]: set(alarm["alarm_actions"]) for alarm in of_kind["aws_cloudwatch_metric_alarm"]}
    assert notified.pop("github-backup-task-failed", set()) == set(actions)
    assert applied["aws_cloudwatch_event_target.task_failed"]["arn"] == used
    assert len(notified) == 14
    assert set(map(frozenset, notified.values())) == {frozenset({used, *actions})}
    for alarm in of_kind["aws_cloudwatch_metric_alarm"]:
        assert set(alarm["ok_actions"]) == set(alarm["alarm_actions"])


def test_a_failed_task_is_an_alarm_for_actions_that_understand_no_events(varied: Applied) -> None:
    alarm = varied['aws_cloudwatch_metric_alarm.backup["task-failed"]']
    assert (alarm["namespace"], alarm["metric_name"]) == ("AWS/Events", "TriggeredRules")
    assert alarm["dimensions"] == {"RuleName": varied["aws_cloudwatch_event_rule.task_failed"]["name"]}
    assert (alarm["statistic"], alarm["comparison_operator"], alarm["threshold"]) == ("Sum", "GreaterThanThreshold", 0)


def test_no_alarm_looks_further_back_than_cloudwatch_does(
    drilled: Applied, monthly: Applied, orchestrated: Applied
) -> None:
    for applied in (drilled, monthly, orchestrated):
        for address, alarm in applied.resources.items():
            if address.startswith("aws_cloudwatch_metric_alarm."):
                assert alarm["period"] * alarm["evaluation_periods"] <= 7 * 24 * 3600, address


@pytest.mark.exhaustive
def test_the_topic_keeps_its_key_unless_another_is_named(module: Module, varied: Applied) -> None:
    assert varied["aws_sns_topic.alarms[0]"]["kms_master_key_id"] == varied["aws_kms_key.alarms[0]"]["arn"]
    own = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/own"
    applied = module.apply(kms_key_arns={"topic": own})
    assert applied["aws_sns_topic.alarms[0]"]["kms_master_key_id"] == own
    assert "aws_kms_key.alarms[0]" not in applied.resources


@pytest.mark.exhaustive
def test_a_key_that_is_created_together_with_the_topic_is_used(standin: dict[str, str], tmp_path: Path) -> None:
    """Its ARN is not known at plan, so nothing may be counted by it."""
    (copy_module(tmp_path) / "caller").mkdir()
    given = "\n".join(f"  {name} = {json.dumps(value)}" for name, value in REQUIRED.items())
    (tmp_path / "caller" / "main.tf").write_text(
        f'resource "aws_kms_key" "own" {{}}\nmodule "backup" {{\n  source = "../"\n{given}\n'
        "  kms_key_arns = { for use in "
        '["logs", "primary", "secret", "topic"] : use => aws_kms_key.own.arn }\n}\n'
    )
    caller = Module(tmp_path / "caller", standin).init()
    planned = caller.terraform("plan", "-no-color", "-input=false", check=False)
    assert "kms_key_arns.primary and kms_key_arns.replica must go together" in planned.replace("\n", " ")
    main = tmp_path / "caller" / "main.tf"
    main.write_text(main.read_text().replace('"primary", ', ""))
    caller.terraform("apply", "-no-color", "-input=false", "-auto-approve")


def test_tags_reach_the_tasks(drilled: Applied, varied: Applied) -> None:
    for name in ("backup", "drill"):
        (ecs,) = drilled[f'aws_cloudwatch_event_target.task["{name}"]']["ecs_target"]
        assert (ecs["propagate_tags"], ecs["enable_ecs_managed_tags"]) == ("TASK_DEFINITION", True)
    assert varied['aws_ecs_task_definition.task["backup"]']["tags"] == {"Team": "platform", "Service": "github-backup"}
    command = varied.outputs["run_task_command"]
    assert " --propagate-tags TASK_DEFINITION --enable-ecs-managed-tags " in command


def test_what_the_tasks_reach_is_what_the_network_input_says(varied: Applied) -> None:
    rules = [rule for address, rule in varied.resources.items() if "security_group_egress" in address]
    places = ("cidr_ipv4", "cidr_ipv6", "referenced_security_group_id", "prefix_list_id")
    assert {
        (rule["ip_protocol"], rule["from_port"], rule["to_port"], *(rule[place] for place in places)) for rule in rules
    } == {
        *(("tcp", port, port, None, "2001:db8::/32", None, None) for port in (443, 8443)),
        *(("tcp", port, port, "192.0.2.0/24", None, None, None) for port in (443, 8443)),
        ("tcp", 3128, 3128, None, None, GROUP, None),
        ("udp", 53, 53, "10.0.0.2/32", None, None, None),
        ("tcp", 8443, 8443, None, None, None, PREFIXES),
    }
    groups = {varied.outputs["security_group_id"], GROUP}
    (ecs,) = varied['aws_cloudwatch_event_target.task["backup"]']["ecs_target"]
    assert set(ecs["network_configuration"][0]["security_groups"]) == groups
    assert all(group in varied.outputs["run_task_command"] for group in groups)


def test_extra_variables_reach_every_task_and_the_rest_only_the_backup(varied: Applied) -> None:
    backup = varied.environment()
    assert backup["GITHUB_CA_PEM"] == VARIED["github_ca_pem"]
    assert backup["BACKUP_INCLUDE"] == "acme/*,other/api"
    assert backup["BACKUP_EXCLUDE"] == "*/sandbox-*"
    assert backup["BACKUP_SKIP_FORKS"] == backup["BACKUP_SKIP_ARCHIVED"] == "true"
    assert (backup["ANOMALY_PERCENT"], backup["RUN_DEADLINE_HOURS"]) == ("2.5", "0.5")
    for task in ("backup", "drill", "check"):
        assert VARIED["extra_environment"].items() <= varied.environment(task).items()
    assert not {*backup} & {"GITHUB_CA_PEM", "BACKUP_INCLUDE"} & {*varied.environment("drill")}


def test_what_is_not_asked_for_is_left_to_the_program(applied: Applied) -> None:
    environment = applied.environment()
    backup = {name for name in environment if name.startswith("BACKUP_")}
    assert backup == {"BACKUP_CONCURRENCY", "BACKUP_RETENTION_DAYS", *CONTENT.values()}
    assert environment["BACKUP_RETENTION_DAYS"] == "365"
    assert "GITHUB_CA_PEM" not in environment
    assert environment["ANOMALY_PERCENT"] == "5"


CONTENT = {
    "discussions": "BACKUP_DISCUSSIONS",
    "issues": "BACKUP_ISSUES",
    "lfs": "BACKUP_LFS",
    "pull_requests": "BACKUP_PULL_REQUESTS",
    "releases": "BACKUP_RELEASES",
    "wikis": "BACKUP_WIKIS",
}


def test_content_is_backed_up_unless_it_is_switched_off(applied: Applied, varied: Applied) -> None:
    for made, off in ((applied, ()), (varied, ("lfs",))):
        environment = made.environment()
        for part, variable in CONTENT.items():
            assert environment[variable] == ("false" if part in off else "true")


def test_replicas_have_the_storage_class_that_was_asked_for(applied: Applied, varied: Applied) -> None:
    def storage_class(made: Applied) -> str | None:
        (rule,) = made["aws_s3_bucket_replication_configuration.backup"]["rule"]
        found: str | None = rule["destination"][0]["storage_class"]
        return found

    assert storage_class(applied) in (None, "")
    assert storage_class(varied) == "GLACIER_IR"


def test_every_alarm_names_the_page_that_says_what_to_do(
    drilled: Applied, monthly: Applied, orchestrated: Applied
) -> None:
    page = (PROJECT / "docs" / "troubleshooting.md").read_text()
    headings = set(re.findall(r"^### ([a-z-]+)$", page, re.MULTILINE))
    named = set()
    for address, resource in (item for made in (drilled, monthly, orchestrated) for item in made.resources.items()):
        if address.startswith("aws_cloudwatch_metric_alarm."):
            assert len(resource["alarm_description"]) <= 1024
            named.add(re.search(r"/docs/troubleshooting\.md#(\S+)$", resource["alarm_description"])[1])  # type: ignore[index]
    transformer = drilled["aws_cloudwatch_event_target.task_failed"]["input_transformer"][0]
    named.add(re.search(r"/docs/troubleshooting\.md#([a-z-]+)", transformer["input_template"])[1])  # type: ignore[index]
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
    assert applied["aws_sns_topic.alarms[0]"]["kms_master_key_id"] == applied["aws_kms_key.alarms[0]"]["arn"]
    key = json.loads(applied["aws_kms_key.alarms[0]"]["policy"])
    services = [statement for statement in key["Statement"] if "Service" in statement["Principal"]]
    assert [set(item["Principal"]["Service"]) for item in services] == [
        {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    ]
    assert set(services[0]["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    topic = json.loads(applied["aws_sns_topic_policy.alarms[0]"]["policy"])
    assert {statement["Principal"]["Service"] for statement in topic["Statement"]} == {
        "cloudwatch.amazonaws.com",
        "events.amazonaws.com",
    }


@pytest.mark.exhaustive
@pytest.mark.usefixtures("standin")
def test_the_module_works_with_the_oldest_provider_that_it_allows(tmp_path: Path) -> None:
    with serve(OLDEST, REGION) as environment:
        module = Module(copy_module(tmp_path), environment).init()
        applied = module.apply_now(object_lock={"mode": "GOVERNANCE", "days": 28}, orchestration={"volumes": True})
    assert applied.outputs["ecs_cluster_name"] == "github-backup"


@pytest.mark.usefixtures("standin")
def test_init_accepts_the_newest_provider_under_the_modules_constraint(tmp_path: Path) -> None:
    environment = install(tmp_path / "mirror", NEWEST)
    (tmp_path / "module").mkdir()
    output = Module(copy_module(tmp_path / "module"), environment).terraform("init", "-input=false", "-no-color")
    assert f"Installing hashicorp/aws v{NEWEST}" in output


def test_no_line_of_the_modules_is_longer_than_the_editor_is_wide() -> None:
    for path in sorted(PROJECT.rglob("*.tf")):
        assert max(map(len, path.read_text().splitlines())) <= 120, path


def test_each_statement_has_a_sid_and_each_variable_a_description() -> None:
    policies = "".join(SOURCES.values())
    statements = re.findall(r"^( *)(?:statement|content) \{\n(.*?)^\1\}", policies, re.MULTILINE | re.DOTALL)
    bodies = [body for _, body in statements if "actions" in body]
    assert bodies
    assert all(re.search(r"^\s+sid\s+=", body, re.MULTILINE) for body in bodies)
    variables = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', SOURCES["variables.tf"], re.MULTILINE | re.DOTALL)
    assert all(re.search(r"^  description = ", body, re.MULTILINE) for _, body in variables)
    names = [name for name, _ in variables]
    required = [name for name, body in variables if "\n  default" not in body]
    assert names[: len(required)] == required
