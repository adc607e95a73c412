"""What each further input changes, read from an apply on the stand-in provider."""

import json
from dataclasses import replace

import pytest

from terraform.module import ACCOUNT, REGION, REPLICA_REGION, Applied, Module
from terraform.policy import Call, decide
from terraform.varied import VARIED

GROUP = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/github-backup"


def statements(policy: str) -> set[str]:
    return {statement["Sid"] for statement in json.loads(policy)["Statement"]}


def test_the_buckets_take_more_statements_and_log_who_reads_them(drilled: Applied, varied: Applied) -> None:
    for bucket, logs in (("module.primary[0]", "logs"), ("module.replica[0].module.bucket", "replica-logs")):
        own = statements(drilled[f"{bucket}.aws_s3_bucket_policy.backup"]["policy"])
        assert statements(varied[f"{bucket}.aws_s3_bucket_policy.backup"]["policy"]) == {*own, "AuditorReads"}
        logging = varied[f"{bucket}.aws_s3_bucket_logging.backup[0]"]
        assert (logging["target_bucket"], logging["target_prefix"]) == (logs, f"{logging['bucket']}/")


def test_replication_may_have_a_time_limit(varied: Applied) -> None:
    (rule,) = varied["aws_s3_bucket_replication_configuration.backup"]["rule"]
    (destination,) = rule["destination"]
    assert destination["replication_time"] == [{"status": "Enabled", "time": [{"minutes": 15}]}]
    assert destination["metrics"][0]["event_threshold"] == [{"minutes": 15}]


@pytest.fixture(scope="module")
def scheduled(module: Module) -> Applied:
    """What the module makes of a schedule with a time zone and a window."""
    schedule = {"expression": "cron(0 3 * * ? *)", "time_zone": "Europe/Berlin", "flexible_minutes": 90}
    return module.apply(schedule=schedule, restore_drill={})


def test_a_schedule_with_a_time_zone_is_one_of_the_scheduler(scheduled: Applied) -> None:
    assert not any(name.startswith("aws_cloudwatch_event_rule.task[") for name in scheduled.resources)
    backup, drill = (scheduled[f'aws_scheduler_schedule.task["{name}"]'] for name in ("backup", "drill"))
    assert backup["schedule_expression"] == "cron(0 3 * * ? *)"
    assert drill["schedule_expression"] == "cron(0 15 * * ? *)", "in the same time zone"
    assert {item["schedule_expression_timezone"] for item in (backup, drill)} == {"Europe/Berlin"}
    assert backup["flexible_time_window"] == [{"mode": "FLEXIBLE", "maximum_window_in_minutes": 90}]
    assert drill["flexible_time_window"][0]["mode"] == "OFF"
    (target,) = backup["target"]
    assert target["arn"] == scheduled.outputs["ecs_cluster_arn"]
    assert target["ecs_parameters"][0]["task_definition_arn"] == scheduled.outputs["task_definition_arn"]
    assert target["dead_letter_config"] == [{"arn": scheduled.outputs["dead_letter_queue_arn"]}]
    assert scheduled.outputs["schedule_rule_arn"] == backup["arn"]


def test_the_window_of_a_schedule_delays_the_alarm_that_nothing_ran(scheduled: Applied) -> None:
    alarm = scheduled['aws_cloudwatch_metric_alarm.backup["task-not-running"]']
    assert alarm["evaluation_periods"] == 24 + 6 + 2


def test_the_schedulers_role_starts_tasks_and_keeps_starts_that_failed(scheduled: Applied) -> None:
    trust, policy = scheduled.policy('trust["rules"]'), scheduled.policy('start_tasks["schedule"]')
    good = Call(
        "sts:AssumeRole", "*", {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": GROUP}, "scheduler.amazonaws.com"
    )
    assert decide(trust, good) == "allow"
    assert decide(trust, replace(good, principal="events.amazonaws.com")) == "nothing"
    assert decide(policy, Call("sqs:SendMessage", scheduled.outputs["dead_letter_queue_arn"])) == "allow"
    assert decide(policy, Call("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:another")) == "nothing"


def test_the_alarms_of_starts_look_at_the_schedulers_group(scheduled: Applied) -> None:
    for name, metric in {
        "start-failed": "TargetErrorCount",
        "start-lost": "InvocationsFailedToBeSentToDeadLetterCount",
    }.items():
        alarm = scheduled[f'aws_cloudwatch_metric_alarm.backup["{name}"]']
        assert (alarm["namespace"], alarm["metric_name"]) == ("AWS/Scheduler", metric)
        assert alarm["dimensions"] == {"ScheduleGroup": "github-backup"}
    assert 'aws_cloudwatch_metric_alarm.backup["drill-start-failed"]' not in scheduled.resources


@pytest.mark.exhaustive
def test_the_scheduler_starts_the_state_machine_where_there_is_one(module: Module) -> None:
    made = module.apply(schedule={"expression": "rate(1 day)"}, orchestration={})
    (target,) = made['aws_scheduler_schedule.task["backup"]']["target"]
    assert target["arn"] == made.outputs["state_machine_arn"]
    assert target["role_arn"] == made['aws_iam_role.role["start"]']["arn"]
    assert target["ecs_parameters"] == []
    assert "KeepFailedStarts" in {statement["Sid"] for statement in made.policy("start[0]")["Statement"]}


@pytest.mark.exhaustive
def test_roles_and_the_security_group_may_be_ones_that_are_there(module: Module) -> None:
    role, group = f"arn:aws:iam::{ACCOUNT}:role/ours", "sg-0123456789abcdef0"
    network = {"create_security_group": False, "security_group_ids": [group]}
    made = module.apply(iam={"role_arns": {"task": role, "execution": role, "schedule": role}}, network=network)
    own = {address for address in made.resources if address.startswith("aws_iam_role.")}
    assert own == {'aws_iam_role.role["replication"]'}
    assert made.outputs["task_role_arn"] == made.outputs["execution_role_arn"] == role
    assert made['aws_cloudwatch_event_target.task["backup"]']["role_arn"] == role
    assert made.outputs["role_policies"].keys() == {"task", "execution", "schedule", "replication"}
    assert not any("security_group" in address for address in made.resources)
    (ecs,) = made['aws_cloudwatch_event_target.task["backup"]']["ecs_target"]
    assert ecs["network_configuration"][0]["security_groups"] == [group]
    assert made.outputs.get("security_group_id") is None


def test_container_insights_may_be_off_or_enhanced(varied: Applied, spot: Applied) -> None:
    for made, value, groups in ((varied, "disabled", 0), (spot, "enhanced", 1)):
        assert made["aws_ecs_cluster.backup[0]"]["setting"] == [{"name": "containerInsights", "value": value}]
        assert len([name for name in made.resources if "log_group.container_insights" in name]) == groups


def test_the_outputs_name_every_alarm_and_the_queue(applied: Applied) -> None:
    alarms = {name: made["arn"] for name, made in applied.resources.items() if "metric_alarm" in name}
    assert set(applied.outputs["alarm_arns"].values()) == set(alarms.values())
    assert "backup-failure" in applied.outputs["alarm_arns"]
    assert applied.outputs["dead_letter_queue_arn"] == applied["aws_sqs_queue.dead_letters"]["arn"]


def test_the_secret_may_have_a_copy_and_another_window(applied: Applied, varied: Applied) -> None:
    secret = varied["aws_secretsmanager_secret.app_key[0]"]
    assert [copy["region"] for copy in secret["replica"]] == [REPLICA_REGION]
    assert secret["recovery_window_in_days"] == 7
    assert applied["aws_secretsmanager_secret.app_key[0]"]["recovery_window_in_days"] == 30


@pytest.fixture(scope="module")
def spot(module: Module) -> Applied:
    """What the module makes of shards and drills on Fargate Spot."""
    tasks = {"shards": True, "drill": True}
    return module.apply(
        fargate_spot=tasks,
        orchestration={},
        restore_drill={},
        container_insights="enhanced",
        service_name="a-service-of-27-characters1",
    )


def test_names_stay_within_what_aws_allows(spot: Applied) -> None:
    """The stand-in provider refuses names that are too long."""
    assert spot.outputs["state_machine_arn"].endswith(":stateMachine:a-service-of-27-characters1")


def test_shards_and_drills_may_run_on_spot(spot: Applied, orchestrated: Applied) -> None:
    tasks = json.loads(spot["aws_sfn_state_machine.backup[0]"]["definition"])["States"]
    shard = tasks["BackUpShards"]["ItemProcessor"]["States"]["BackUpShard"]["Parameters"]
    assert shard["CapacityProviderStrategy"] == [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}]
    assert "LaunchType" not in shard
    assert tasks["List"]["Parameters"]["LaunchType"] == tasks["Merge"]["Parameters"]["LaunchType"] == "FARGATE"
    (drill,) = spot['aws_cloudwatch_event_target.task["drill"]']["ecs_target"]
    assert [item["capacity_provider"] for item in drill["capacity_provider_strategy"]] == ["FARGATE_SPOT"]
    assert not drill["launch_type"]
    providers = spot["aws_ecs_cluster_capacity_providers.backup[0]"]["capacity_providers"]
    assert set(providers) == {"FARGATE", "FARGATE_SPOT"}
    assert "CapacityProviderStrategy" not in orchestrated["aws_sfn_state_machine.backup[0]"]["definition"]


def test_a_private_registrys_credentials_reach_the_task_and_its_execution_role(
    applied: Applied, varied: Applied
) -> None:
    secret = VARIED["image_credentials_secret_arn"]
    assert varied.container()["repositoryCredentials"] == {"credentialsParameter": secret}
    assert decide(varied.policy("execution"), Call("secretsmanager:GetSecretValue", secret)) == "allow"
    assert "repositoryCredentials" not in applied.container()


def test_volumes_come_only_on_request(spot: Applied, orchestrated: Applied) -> None:
    definition = spot["aws_sfn_state_machine.backup[0]"]["definition"]
    assert "VolumeConfigurations" not in definition
    assert json.loads(definition)["States"]["BackUpShards"]["ItemProcessor"]["StartAt"] == "BackUpShard"
    assert not any("volumes" in address for address in spot.resources)
    assert "VolumeConfigurations" in orchestrated["aws_sfn_state_machine.backup[0]"]["definition"]
