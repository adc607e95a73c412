"""The restore drill: nothing of it is made unless it is asked for; then it reads the replica, and nothing else."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from embedded.stack import PROJECT
from terraform.module import ACCOUNT, REGION, REPLICA_REGION, Applied, Module

ALARMS = ("restore-failed", "drill-not-running", "restore-proof-old", "drill-start-failed", "drill-start-lost")
MADE = {
    'aws_cloudwatch_event_rule.task["drill"]',
    'aws_cloudwatch_event_target.task["drill"]',
    'aws_ecs_task_definition.task["drill"]',
    "terraform_data.schedule_start[0]",
    'aws_iam_role.role["drill"]',
    'aws_iam_role_policy.role["drill"]',
    "data.aws_iam_policy_document.drill[0]",
    *(f'aws_cloudwatch_metric_alarm.backup["{name}"]' for name in ALARMS),
}


def alarm(applied: Applied, name: str) -> dict[str, object]:
    return applied[f'aws_cloudwatch_metric_alarm.backup["{name}"]']


def test_nothing_more_is_made_and_nothing_more_is_allowed_without_a_drill(applied: Applied, drilled: Applied) -> None:
    assert drilled.resources.keys() - applied.resources.keys() == MADE
    assert applied.resources.keys() <= drilled.resources.keys()
    assert applied.outputs.get("restore_drill_command") is None
    assert applied.outputs.get("restore_drill_role_arn") is None
    for address, values in applied.resources.items():
        texts = json.dumps(values) if "policy" in address or "task_failed" in address else ""
        assert "drill" not in texts, address


def test_the_drill_verifies_a_sample_of_the_replica_and_reports_to_the_primary(drilled: Applied) -> None:
    bucket = f"github-backup-{ACCOUNT}-{REGION}"
    container = drilled.container("drill")
    assert "entryPoint" not in container, "the image's own takes the command"
    assert container["command"] == [
        *("restore", "verify"),
        *("--bucket", f"{bucket}-replica"),
        *("--region", REPLICA_REGION),
        *("--prefix", "github-backup"),
        *("--within-days", "28"),
        *("--every-hours", "24"),
        *("--max-age-hours", "32"),
        *("--report", f"s3://{bucket}/github-backup-drills/"),
        "--publish",
        *("--page-retention-days", "365"),
        *("--page-key", drilled.outputs["manifest_signing_key_arn"]),
    ]
    assert drilled.environment("drill") == {
        "AWS_REGION": REGION,
        "SERVICE_NAME": "github-backup",
        "TMPDIR": "/scratch",
    }


def test_the_drill_runs_as_hardened_as_a_backup(drilled: Applied) -> None:
    backup, drill = drilled.container(), drilled.container("drill")
    for name in ("image", "essential", "readonlyRootFilesystem", "stopTimeout", "mountPoints", "linuxParameters"):
        assert drill[name] == backup[name], name
    assert drill["memory"] == backup["memory"] == 4096
    logs = backup["logConfiguration"]["options"]
    assert drill["logConfiguration"]["options"] == {**logs, "awslogs-stream-prefix": "drill"}
    tasks = [drilled[f'aws_ecs_task_definition.task["{name}"]'] for name in ("backup", "drill")]
    own = {"arn", "arn_without_revision", "container_definitions", "family", "id", "task_role_arn"}
    assert {key: value for key, value in tasks[0].items() if key not in own} == {
        key: value for key, value in tasks[1].items() if key not in own
    }
    assert tasks[1]["task_role_arn"] == drilled.outputs["restore_drill_role_arn"]
    assert tasks[1]["family"] == "github-backup-drill"


def test_the_drills_pace_reaches_the_program_and_the_alarm(varied: Applied) -> None:
    command = varied.container("drill")["command"]
    assert command[command.index("--within-days") + 1] == "14"
    assert command[command.index("--every-hours") + 1] == "96"
    assert command[command.index("--max-age-hours") + 1] == str(720 + 12 + 2)
    assert alarm(varied, "drill-not-running")["evaluation_periods"] == 104


def minute(expression: str) -> int:
    """Return the minute of the day at which a daily cron() starts."""
    found = re.fullmatch(r"cron\((\d+) (\d+) \* \* \? \*\)", expression)
    assert found, expression
    return int(found[2]) * 60 + int(found[1])


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("backup", "drill"),
    [
        ("cron(0 3 * * ? *)", "cron(0 15 * * ? *)"),
        ("cron(30 20 ? * MON-FRI *)", "cron(30 8 * * ? *)"),
        ("cron(0 1,13 * * ? *)", "cron(0 7 * * ? *)"),
        ("cron(0/15 8-17 * * ? *)", "cron(52 0 * * ? *)"),
        ("cron(0 * * * ? *)", "cron(30 0 * * ? *)"),
    ],
)
def test_a_drill_starts_halfway_between_two_runs(module: Module, backup: str, drill: str) -> None:
    applied = module.apply(restore_drill={}, schedule_expression=backup)
    assert applied['aws_cloudwatch_event_rule.task["drill"]']["schedule_expression"] == drill
    assert alarm(applied, "drill-not-running")["evaluation_periods"] == 30


@pytest.mark.parametrize("hours", [24, 1, 2, 5, 8, 16, 36, 48])
def test_a_drill_never_starts_together_with_a_run_of_a_rate(module: Module, hours: int) -> None:
    """EventBridge starts a rate() at the minute at which its rule was created, so all starts are counted from there."""
    rate = {} if hours == 24 else {"schedule_expression": f"rate({hours} {'hour' if hours == 1 else 'hours'})"}
    applied = module.apply(restore_drill={}, **rate)
    created = datetime.fromisoformat(applied["terraform_data.schedule_start[0]"]["output"])
    assert timedelta(0) <= datetime.now(UTC) - created < timedelta(hours=1)
    first = created.hour * 60 + created.minute
    starts = {(first + hours * 60 * number) % 1440 for number in range(24)}
    drill = minute(applied['aws_cloudwatch_event_rule.task["drill"]']["schedule_expression"])
    assert min((drill - start) % 1440 for start in starts) >= 30


@pytest.mark.exhaustive
def test_the_drills_schedule_stays_until_the_backups_changes(module: Module) -> None:
    start = "terraform_data.schedule_start[0]"
    module.apply_now(restore_drill={})
    again = ("plan", "-no-color", "-input=false", "-state=state.json", "-var-file=given.tfvars.json")
    assert "No changes." in module.terraform(*again)
    assert f"{start} must be replaced" in module.terraform(*again, "-var=schedule_expression=rate(2 days)")


def test_a_drill_that_does_not_start_is_tried_again_and_kept_as_a_backup_is(drilled: Applied) -> None:
    backup, drill = (drilled[f'aws_cloudwatch_event_target.task["{name}"]'] for name in ("backup", "drill"))
    for name in ("arn", "role_arn", "retry_policy", "dead_letter_config"):
        assert drill[name] == backup[name], name
    assert drill["rule"] == drilled['aws_cloudwatch_event_rule.task["drill"]']["name"] == "github-backup-drill"
    task = drilled['aws_ecs_task_definition.task["drill"]']["arn"]
    assert drill["ecs_target"] == [{**backup["ecs_target"][0], "task_definition_arn": task}]
    for name in ("start-failed", "start-lost"):
        about_drill, about_backup = alarm(drilled, f"drill-{name}"), alarm(drilled, name)
        assert about_drill["metric_name"] == about_backup["metric_name"]
        assert about_drill["dimensions"] == {"RuleName": "github-backup-drill"}


def test_a_drill_that_fails_or_does_not_come_raises_an_alarm(drilled: Applied) -> None:
    failed, absent = alarm(drilled, "restore-failed"), alarm(drilled, "drill-not-running")
    assert (failed["statistic"], failed["comparison_operator"], failed["threshold"]) == (
        "Sum",
        "GreaterThanThreshold",
        0,
    )
    assert (failed["period"], failed["evaluation_periods"], failed["datapoints_to_alarm"]) == (300, 1, 1)
    assert failed["treat_missing_data"] == "ignore", "else it ends by itself, or stays on after a good drill"
    assert (absent["statistic"], absent["threshold"]) == ("SampleCount", 1)
    assert (absent["evaluation_periods"], absent["datapoints_to_alarm"]) == (30, 30)
    assert absent["treat_missing_data"] == "breaching"
    pattern = json.loads(drilled["aws_cloudwatch_event_rule.task_failed"]["event_pattern"])
    assert pattern["detail"]["group"] == ["family:github-backup", "family:github-backup-drill"]


def test_reports_expire_and_are_replicated_like_everything_else(drilled: Applied) -> None:
    """Replication has no filter, which would have to name the reports' keys. The lifecycle has one, and names them."""
    (replication,) = drilled["aws_s3_bucket_replication_configuration.backup"]["rule"]
    assert not any(value for filter_ in replication["filter"] for value in filter_.values())
    command = drilled.container("drill")["command"]
    report = command[command.index("--report") + 1]
    for bucket in ("module.primary[0]", "module.replica[0].module.bucket"):
        rules = drilled[f"{bucket}.aws_s3_bucket_lifecycle_configuration.backup"]["rule"]
        days = {rule["filter"][0]["prefix"]: rule["expiration"][0]["days"] for rule in rules if rule["expiration"]}
        assert days["github-backup-drills/"] == days["github-backup/"] == 365 + 90 + 1
        assert report == f"s3://{drilled.outputs['s3_bucket_name']}/github-backup-drills/"


def test_the_command_starts_the_drills_task_where_the_backups_command_starts_the_backups(drilled: Applied) -> None:
    command = drilled.outputs["restore_drill_command"]
    assert command == f"{drilled.outputs['run_task_command']}-drill"
    assert (PROJECT / "docs" / "troubleshooting.md").read_text().count("`restore_drill_command`") >= 2
