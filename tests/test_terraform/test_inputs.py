"""Wrong input is refused at plan with rule, value and remedy. tests/refusals.tftest.hcl tests each by itself."""

import re

import pytest

from github_s3_backup.s3.content_store import MAX_CONTENT_DAYS
from terraform.module import Applied, Module

OPTIONAL_ENVIRONMENT = {
    *("BACKUP_EXCLUDE", "BACKUP_INCLUDE", "BACKUP_SKIP_ARCHIVED", "BACKUP_SKIP_FORKS"),
    *("GITHUB_APP_INSTALLATION_ID", "GITHUB_CA_PEM"),
}

WRONG = {
    "alarm_actions": ["pager"],
    "alarm_emails": ["oncall"],
    "anomaly_percent": 0,
    "backup_retention_days": 6,
    "buckets": {"primary": {"policy": "[]"}},
    "concurrency": 257,
    "container_insights": "yes",
    "cpu_architecture": "arm64",
    "existing": {"cluster": {"arn": "shared"}},
    "extra_environment": {"MY VARIABLE": "x"},
    "full_backup_days": 91,
    "github_app_id": "my-backup-app",
    "github_app_installation_id": "acme",
    "github_app_key_secret_writers": ["arn:aws:sts::123456789012:assumed-role/admin/me"],
    "github_ca_pem": "ca.pem",
    "github_urls": {"api": "http://github.example.com/api/v3", "server": "https://github.example.com"},
    "iam": {"path": "backup"},
    "image_credentials_secret_arn": "registry",
    "image_uri": "example.com/backup:latest",
    "kms_key_arns": {"logs": "arn:aws:kms:eu-central-1:123456789012:alias/logs"},
    "log_retention_days": 366,
    "network": {"egress": {"proxy": {"port": 70000, "to": "10.0.0.0/8"}}},
    "object_lock": {"mode": "STRICT", "days": 28},
    "orchestration": {"shards": 0},
    "replica_region": "eu-central-1",
    "replica_storage_class": "COLD",
    "repositories": {"include": ["acme/*, other/*"]},
    "restore_drill": {"schedule_expression": "weekly"},
    "run": {"grace_hours": 0},
    "s3_bucket_name": "a-name-of-fifty-six-characters-that-leaves-no-room-behind",
    "schedule": {"expression": "rate(1 days)"},
    "schedule_expression": "rate(1 days)",
    "secret": {"recovery_window_days": 5},
    "service_name": "Backup",
    "signing_key_number": 0,
    "storage_transitions": [{"days": 90, "storage_class": "COLD"}],
    "subnet_ids": ["vpc-0123456789abcdef0"],
    "task_cpu": 1000,
    "task_ephemeral_storage_gb": 201,
}


def messages(output: str) -> list[str]:
    """Return the texts of terraform's refusals, each on one line."""
    found = re.findall(r"\n\n((?:[^\n]+\n)+)\nThis was checked by the validation rule", output)
    return [" ".join(text.split()) for text in found]


NO_CONTENT = {"lfs": False, "releases": False}

# Terraform judges an input only once those that its rule looks at are sound, so what others look at goes first.
FIRST = ("alarm_actions", "backup_retention_days", "existing", "full_backup_days", "replica_region", "restore_drill")
GROUPS = (FIRST, ("s3_bucket_name",), tuple(WRONG.keys() - {*FIRST, "s3_bucket_name"}))


def test_wrong_inputs_are_named_together_with_rule_and_value(module: Module) -> None:
    said = [message for group in GROUPS for message in messages(module.plan(**{name: WRONG[name] for name in group}))]
    for name, value in WRONG.items():
        about = [item for item in said if item.startswith(name)]
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


@pytest.mark.exhaustive
def test_the_pairs_of_cpu_and_memory_are_listed(module: Module) -> None:
    (message,) = messages(module.plan(task_cpu=256, task_memory=4096))
    assert "task_memory for task_cpu 256 must be one of 512, 1024, 2048 MiB" in message


@pytest.mark.exhaustive
def test_alarms_that_reach_nobody_are_refused(module: Module) -> None:
    (message,) = messages(module.plan(alarm_emails=[]))
    assert "nobody would hear an alarm" in message


@pytest.mark.exhaustive
def test_an_empty_list_of_writers_says_what_to_name(module: Module) -> None:
    (message,) = messages(module.plan(github_app_key_secret_writers=[]))
    assert "nobody could ever store the App's key" in message
    assert "arn:aws:iam::123456789012:role/admin" in message


@pytest.mark.exhaustive
def test_a_lock_longer_than_the_retention_says_both(module: Module) -> None:
    (message,) = messages(module.plan(object_lock={"mode": "COMPLIANCE", "days": 31}, backup_retention_days=30))
    assert "must not be above backup_retention_days (30)" in message
    assert "Got: 31" in message


def refusal(module: Module, **variables: object) -> str:
    """Return what a plan says that is refused, on one line, without the box that terraform draws."""
    output = module.plan(**variables)
    assert "Error: " in output
    return " ".join(output.replace("│", " ").split("Error: ", 1)[1].split())


@pytest.mark.exhaustive
@pytest.mark.parametrize("expression", ["cron(0 3 ? * FRI#1 *)", "cron(0 3 15W * ? *)", "cron(0 3 * * ? 2027)"])
def test_a_schedule_that_does_not_tell_its_interval_names_the_input_to_set(module: Module, expression: str) -> None:
    said = refusal(module, schedule_expression=expression)
    assert "run.interval_hours must be set: the hours between two runs can't be read" in said
    assert f"Got: {expression}." in said
    assert "Error" not in module.plan(schedule_expression=expression, run={"interval_hours": 744})


@pytest.mark.exhaustive
@pytest.mark.parametrize("expression", ["rate(7 days)", "rate(30 days)", "cron(0 3 ? * SUN *)", "cron(0 3 1 * ? *)"])
def test_a_schedule_longer_than_an_alarm_looks_back_needs_nothing_else(module: Module, expression: str) -> None:
    assert "Error" not in module.plan(schedule_expression=expression)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("days", "schedule", "least", "hours"),
    [(9, "rate(5 days)", 10, 120), (13, "cron(0 3 ? * SUN *)", 14, 168), (61, "cron(0 3 1 * ? *)", 62, 744)],
)
def test_a_retention_shorter_than_two_intervals_says_both_numbers(
    module: Module, days: int, schedule: str, least: int, hours: int
) -> None:
    said = refusal(module, backup_retention_days=days, schedule_expression=schedule)
    assert f"backup_retention_days must be at least {least}, twice the {hours} hours between two runs" in said
    assert f"Got: {days}." in said
    for enough in (least, 0):
        assert "Error" not in module.plan(backup_retention_days=enough, schedule_expression=schedule)


def test_several_problems_and_all_variables_that_the_module_sets_itself_are_told_at_once(
    module: Module, applied: Applied
) -> None:
    own = {*applied.environment(), *OPTIONAL_ENVIRONMENT}
    said = refusal(
        module, backup_retention_days=7, run={"interval_hours": 100}, extra_environment=dict.fromkeys(own, "x")
    )
    assert "backup_retention_days must be at least 9" in said
    assert f"extra_environment must not set what the module sets itself: {', '.join(sorted(own))}." in said


LADDERS = [
    [("STANDARD_IA", 30), ("GLACIER", 60), ("DEEP_ARCHIVE", 61)],
    [("INTELLIGENT_TIERING", 0), ("GLACIER_IR", 1)],
    [("DEEP_ARCHIVE", 364)],
    [("GLACIER", 61), ("STANDARD_IA", 31)],
]
REFUSED_LADDERS = [
    [("STANDARD_IA", 30), ("GLACIER", 59)],
    [("ONEZONE_IA", 30), ("DEEP_ARCHIVE", 59)],
    [("GLACIER_IR", 30), ("GLACIER", 30)],
    [("GLACIER", 30), ("GLACIER_IR", 60)],
    [("ONEZONE_IA", 30), ("GLACIER_IR", 90)],
    [("GLACIER", 30), ("GLACIER", 60)],
]


def transitions(ladder: list[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"storage_class": name, "days": days} for name, days in ladder]


@pytest.mark.exhaustive
@pytest.mark.parametrize("ladder", LADDERS)
def test_storage_classes_that_get_colder_with_time_are_taken(module: Module, ladder: list[tuple[str, int]]) -> None:
    planned = module.plan(storage_transitions=transitions(ladder), backup_content=NO_CONTENT)
    assert "Error" not in planned


@pytest.mark.exhaustive
@pytest.mark.parametrize("ladder", REFUSED_LADDERS)
def test_storage_classes_that_s3_would_refuse_are_refused(module: Module, ladder: list[tuple[str, int]]) -> None:
    (message,) = set(messages(module.plan(storage_transitions=transitions(ladder))))
    assert "must get colder with time" in message
    assert f'"days":{ladder[0][1]}' in message


@pytest.mark.exhaustive
def test_an_action_in_another_region_would_never_be_notified(module: Module) -> None:
    (message,) = messages(module.plan(alarm_actions=["arn:aws:sns:eu-west-1:123456789012:pager"]))
    assert "must be in the provider's region (eu-central-1)" in message


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
def test_a_weekly_drill_says_how_far_an_alarm_looks_back(module: Module) -> None:
    said = refusal(module, restore_drill={"schedule_expression": "cron(0 15 ? * SUN *)"})
    assert "between two drills (168) plus restore_drill.grace_hours (6) must not exceed 168" in said


@pytest.mark.exhaustive
def test_a_drill_that_could_never_prove_everything_says_both_lengths(module: Module) -> None:
    drill = {"schedule_expression": "cron(0 15 ? * MON,THU *)", "within_days": 2}
    said = refusal(module, restore_drill=drill)
    assert "restore_drill.within_days must not be shorter than the time between two drills (96 hours)" in said
    assert "Got: 2." in said


@pytest.mark.exhaustive
def test_a_drill_that_does_not_tell_its_interval_names_the_input_to_set(module: Module) -> None:
    said = refusal(module, restore_drill={"schedule_expression": "cron(0 15 ? * FRI#1 *)"})
    assert "restore_drill.interval_hours must be set" in said


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("backup", "drill", "instead"),
    [
        ("cron(0 3 * * ? *)", "cron(0 3 ? * MON *)", "cron(0 15 * * ? *)"),
        ("cron(0 3 * * ? *)", "cron(0 0/3 * * ? *)", "cron(0 15 * * ? *)"),
        ("cron(0/20 8-18 * * ? *)", "cron(40 12 * * ? *)", "cron(20 1 * * ? *)"),
        ("rate(1 day)", "rate(12 hours)", "cron(0 0 * * ? *)"),
    ],
)
def test_a_drill_that_starts_together_with_a_run_is_refused(
    module: Module, backup: str, drill: str, instead: str
) -> None:
    said = refusal(
        module, schedule_expression=backup, restore_drill={"schedule_expression": drill, "interval_hours": 24}
    )
    assert f"must not start drills together with backup runs ({backup})" in said
    assert f"use for instance {instead}" in said
    allowed = {"schedule_expression": instead}
    assert "Error" not in module.plan(schedule_expression=backup, restore_drill=allowed)


@pytest.mark.exhaustive
def test_frozen_backups_are_refused_where_a_drill_must_read_them(module: Module) -> None:
    frozen = [{"days": 30, "storage_class": "DEEP_ARCHIVE"}]
    said = refusal(module, restore_drill={}, storage_transitions=frozen, backup_content=NO_CONTENT)
    assert "up to 30 days old out of GLACIER and DEEP_ARCHIVE when restore_drill is set" in said
    assert "Plan: " in module.plan(storage_transitions=frozen, backup_content=NO_CONTENT)
    assert "Plan: " in module.plan(replica_storage_class="DEEP_ARCHIVE")
    said = refusal(module, restore_drill={}, replica_storage_class="DEEP_ARCHIVE")
    assert "replica_storage_class must not be GLACIER or DEEP_ARCHIVE when restore_drill is set" in said
    later = [{"days": 31, "storage_class": "DEEP_ARCHIVE"}, {"days": 0, "storage_class": "GLACIER_IR"}]
    assert "Error" not in module.plan(restore_drill={}, storage_transitions=later, backup_content=NO_CONTENT)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", ["lfs", "releases"])
def test_frozen_content_is_refused_where_a_drill_must_read_it(module: Module, part: str) -> None:
    """The newest manifest names content that is as old as the lifecycle allows for, whatever full_backup_days is."""
    content = {**NO_CONTENT, part: True}
    newest = MAX_CONTENT_DAYS + 2
    frozen, later = ([{"days": days, "storage_class": "GLACIER"}] for days in (newest, newest + 1))
    said = refusal(module, restore_drill={}, storage_transitions=frozen, backup_content=content)
    assert f"up to {newest} days old out of GLACIER and DEEP_ARCHIVE when restore_drill is set" in said
    assert "backup_content leaves them out" in said
    assert "Error" not in module.plan(restore_drill={}, storage_transitions=later, backup_content=content)
    assert "Error" not in module.plan(restore_drill={}, storage_transitions=frozen, backup_content=NO_CONTENT)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", ["lfs", "releases"])
def test_frozen_content_is_refused_where_a_run_must_write_it_again(module: Module, part: str) -> None:
    content = {**NO_CONTENT, part: True}
    days = MAX_CONTENT_DAYS + 2
    frozen, later = ([{"days": age, "storage_class": "DEEP_ARCHIVE"}] for age in (days, days + 1))
    said = refusal(module, storage_transitions=frozen, backup_content=content)
    assert (
        f"must keep objects up to {days} days old out of GLACIER and DEEP_ARCHIVE while backup_content has lfs" in said
    )
    for allowed in (
        {"storage_transitions": later, "backup_content": content},
        {"storage_transitions": frozen, "backup_content": NO_CONTENT},
        {"storage_transitions": frozen, "backup_content": content, "existing": {"bucket": {"name": "our-backups"}}},
    ):
        assert "Error" not in module.plan(**allowed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("value", ["off", 1, ["lfs"]])
def test_a_part_of_the_content_is_on_or_off(module: Module, value: object) -> None:
    said = refusal(module, backup_content={"lfs": value})
    assert re.search(r"not suitable for var\.backup_content .*bool (is )?required", said)


@pytest.mark.exhaustive
def test_an_image_that_is_not_pinned_is_a_warning_and_no_refusal(module: Module) -> None:
    output = module.plan(image_uri="example.com/backup:1.2.3")
    assert "image_uri is not pinned: example.com/backup:1.2.3" in output
    assert "Plan: " in output
    pinned = f"example.com/backup@sha256:{'0' * 64}"
    assert "Warning" not in module.plan(image_uri=pinned)
    assert "Warning" not in module.plan()
