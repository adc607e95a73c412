"""Wrong input is refused at plan with rule, value and remedy. tests/refusals.tftest.hcl tests each by itself."""

import re

import pytest

from terraform.module import Module

WRONG = {
    "alarm_actions": ["pager"],
    "alarm_emails": ["oncall"],
    "backup_retention_days": 0.5,
    "concurrency": 257,
    "cpu_architecture": "arm64",
    "existing": {"cluster": {"arn": "shared"}},
    "full_backup_days": 91,
    "github_app_id": "my-backup-app",
    "github_app_installation_id": "acme",
    "github_app_key_secret_writers": ["arn:aws:sts::123456789012:assumed-role/admin/me"],
    "github_urls": {"api": "http://github.example.com/api/v3", "server": "https://github.example.com"},
    "iam": {"path": "backup"},
    "image_uri": "example.com/backup:latest",
    "kms_key_arns": {"logs": "arn:aws:kms:eu-central-1:123456789012:alias/logs"},
    "log_retention_days": 366,
    "object_lock": {"mode": "STRICT", "days": 28},
    "replica_region": "eu-central-1",
    "restore_drill": {"schedule_expression": "weekly"},
    "run_grace_hours": 0,
    "run_interval_hours": 0,
    "s3_bucket_name": "a-name-of-fifty-six-characters-that-leaves-no-room-behind",
    "schedule_expression": "rate(1 days)",
    "service_name": "Backup",
    "storage_transitions": [{"days": 90, "storage_class": "COLD"}],
    "subnet_ids": ["vpc-0123456789abcdef0"],
    "task_cpu": 1000,
    "task_ephemeral_storage_gb": 201,
}


def messages(output: str) -> list[str]:
    """Return the texts of terraform's refusals, each on one line."""
    found = re.findall(r"\n\n((?:[^\n]+\n)+)\nThis was checked by the validation rule", output)
    return [" ".join(text.split()) for text in found]


# Terraform judges an input only once those that its rule looks at are sound, so what others look at goes first.
FIRST = ("alarm_actions", "backup_retention_days", "existing", "full_backup_days", "replica_region", "restore_drill")
GROUPS = (FIRST, ("s3_bucket_name",), tuple(WRONG.keys() - {*FIRST, "s3_bucket_name"}))


@pytest.mark.parametrize("group", GROUPS, ids=range(len(GROUPS)))
def test_wrong_inputs_are_named_together_with_rule_and_value(module: Module, group: tuple[str, ...]) -> None:
    wrong = {name: WRONG[name] for name in group}
    said = messages(module.plan(**wrong))
    for name, value in wrong.items():
        about = [one for one in said if one.startswith(name)]
        assert about, name
        for message in about:
            assert "must" in message, message
            rule, got = message.split("Got: ")
            assert rule, message
            assert innermost(value) in got, message


def innermost(value: object) -> str:
    """Return the first plain value in lists and objects, as text."""
    while isinstance(value, (list, dict)):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return str(value)


def test_the_pairs_of_cpu_and_memory_are_listed(module: Module) -> None:
    (message,) = messages(module.plan(task_cpu=256, task_memory=4096))
    assert "task_memory for task_cpu 256 must be one of 512, 1024, 2048 MiB" in message


def test_alarms_that_reach_nobody_are_refused(module: Module) -> None:
    (message,) = messages(module.plan(alarm_emails=[]))
    assert "nobody would hear an alarm" in message


def test_an_empty_list_of_writers_says_what_to_name(module: Module) -> None:
    (message,) = messages(module.plan(github_app_key_secret_writers=[]))
    assert "nobody could ever store the App's key" in message
    assert "arn:aws:iam::123456789012:role/admin" in message


def test_a_lock_longer_than_the_retention_says_both(module: Module) -> None:
    (message,) = messages(module.plan(object_lock={"mode": "COMPLIANCE", "days": 31}, backup_retention_days=30))
    assert "must not be above backup_retention_days (30)" in message
    assert "Got: 31" in message


def test_a_weekly_schedule_says_how_far_an_alarm_looks_back(module: Module) -> None:
    output = " ".join(module.plan(schedule_expression="rate(7 days)").split())
    assert "those of schedule_expression: 168) and run_grace_hours (6) together must not exceed 168" in output


@pytest.mark.parametrize(
    ("drill", "rule", "got"),
    [
        ({"schedule_expression": "rate(1 days)"}, "must be rate(1 hour), rate(N hours)", "Got: rate(1 days)."),
        ({"within_days": 0}, "must be whole numbers from 1", '"within_days":0'),
        ({"grace_hours": 1.5}, "must be whole numbers from 1", '"grace_hours":1.5'),
        ({"cpu": 256}, "null: task_cpu and task_memory, 1024 and 4096) must be a pair that Fargate sells", '"cpu":256'),
        ({"ephemeral_storage_gb": 20}, "must be a whole number from 21 to 200", '"ephemeral_storage_gb":20'),
    ],
)
def test_each_part_of_a_wrong_restore_drill_is_named(
    module: Module, drill: dict[str, object], rule: str, got: str
) -> None:
    (message,) = messages(module.plan(restore_drill=drill))
    assert message.startswith("restore_drill.")
    assert rule in message
    assert got in message


def test_a_weekly_drill_says_how_far_an_alarm_looks_back(module: Module) -> None:
    output = " ".join(module.plan(restore_drill={"schedule_expression": "rate(7 days)"}).split())
    assert "those of its schedule_expression: 168) and restore_drill.grace_hours (6) together must not exceed" in output
    assert "run_interval_hours" not in output


def test_a_drill_that_could_never_prove_everything_says_both_lengths(module: Module) -> None:
    drill = {"schedule_expression": "rate(3 days)", "within_days": 2}
    output = " ".join(module.plan(restore_drill=drill).split())
    assert "restore_drill.within_days must not be shorter than the hours between two drills" in output
    assert "its schedule_expression: 72): no drill would prove everything. Got: 2." in output


def test_frozen_backups_are_refused_where_a_drill_must_read_them(module: Module) -> None:
    frozen = [{"days": 1, "storage_class": "DEEP_ARCHIVE"}]
    output = " ".join(module.plan(restore_drill={}, storage_transitions=frozen).split())
    assert "up to 30 hours old, out of GLACIER and DEEP_ARCHIVE where restore_drill is on" in output
    assert "Plan: " in module.plan(storage_transitions=frozen)
    later = [{"days": 2, "storage_class": "DEEP_ARCHIVE"}, {"days": 0, "storage_class": "GLACIER_IR"}]
    assert "Error" not in module.plan(restore_drill={}, storage_transitions=later)


def test_an_image_that_is_not_pinned_is_a_warning_and_no_refusal(module: Module) -> None:
    output = module.plan(image_uri="example.com/backup:1.2.3")
    assert "image_uri is not pinned: example.com/backup:1.2.3" in output
    assert "Plan: " in output
    pinned = f"example.com/backup@sha256:{'0' * 64}"
    assert "Warning" not in module.plan(image_uri=pinned)
    assert "Warning" not in module.plan()
