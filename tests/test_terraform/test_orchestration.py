"""A run in many tasks: the state machine's document, its tasks, its roles and its alarms."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedded.asl import UnsupportedError
from embedded.asl_document import MACHINE as KNOWN_FIELDS
from embedded.asl_document import check
from embedded.ecs import RUN_TASK
from embedded.stack import PROJECT
from embedded.step_functions import LIST_EXECUTIONS
from github_s3_backup.backup.plan.store import ITEMS, MapItem
from github_s3_backup.configuration import DEFAULT_PREFIX as PREFIX
from github_s3_backup.configuration import MAX_SHARDS, Command, read_configuration
from github_s3_backup.runtime import metrics
from github_s3_backup.s3.keys import plan_folder
from support.orchestrated import PUT_METRICS
from terraform.module import ACCOUNT, REGION, Applied, Module
from terraform.policy import Call, applies, decide
from terraform.standin import aws
from test_terraform.test_inputs import messages, refusal
from test_terraform.test_module import graphs
from test_terraform.test_policies import DELETIONS, KEYS, WRITES

Json = dict[str, Any]

TASKS = ("list", "shard", "shard-on-volume", "merge")
NAME, STARTED_AT = "nightly-1", "2026-11-23T03:00:00.123Z"
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:github-backup"
CHILD = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:github-backup/shards:0123"
STARTED_TASK = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/github-backup/0123456789abcdef"
VOLUME = f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/vol-0123"
FARGATE_INSTANCE = f"arn:aws:ec2:{REGION}:999999999999:instance/i-0123"


TUNED = {
    "shards": 40,
    "attempts": 7,
    "requests_per_installation": 60,
    "list": {"cpu": 256, "memory": 512},
    "merge": {"memory": 4096},
    "volumes": True,
}


@pytest.fixture(scope="module")
def whole(module: Module) -> Applied:
    """What the module makes of a state machine of which everything is set, with every optional statement."""
    return module.apply(
        orchestration=TUNED,
        kms_key_arns=KEYS,
        restore_drill={},
        schedule_expression="rate(30 days)",
        tags={"Team": "x"},
        task_cpu=2048,
        task_memory=8192,
        task_ephemeral_storage_gb=200,
        run={"deadline_hours": 0.5},
        assign_public_ip=True,
    )


def document(applied: Applied) -> Json:
    found: Json = json.loads(applied["aws_sfn_state_machine.backup[0]"]["definition"])
    return found


def states(machine: Json) -> Iterator[tuple[str, Json]]:
    """Yield every state by name, those inside a Map too."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def run_tasks(applied: Applied) -> dict[str, Json]:
    """Return the states that run a task, by the task's name."""
    running = [
        state for _, state in states(document(applied)) if state.get("Resource", "").endswith("ecs:runTask.sync")
    ]
    return {state["Parameters"]["Overrides"]["ContainerOverrides"][0]["Name"]: state for state in running}


# -- only where it is asked for ------------------------------------------------------------------


def test_without_the_input_there_is_no_trace_of_it(applied: Applied, drilled: Applied, monthly: Applied) -> None:
    for made in (applied, drilled, monthly):
        text = json.dumps(made.resources)
        for trace in ("states:", "AWS/States", "RUN_SHARDS", "volumes", *(f"github-backup-{name}" for name in TASKS)):
            assert trace not in text, trace
        assert {"state_machine_arn", "start_execution_command"}.isdisjoint(made.outputs)
        assert made['aws_cloudwatch_event_target.task["backup"]']["arn"] == made.outputs["ecs_cluster_arn"]


def test_with_it_everything_else_stays_as_it_was(applied: Applied, orchestrated: Applied) -> None:
    """What a single run is made of is still there, for runs by hand; only its schedule starts something else."""
    gone = applied.resources.keys() - orchestrated.resources.keys()
    schedule = (
        'aws_iam_role.role["schedule"]',
        'aws_iam_role_policy.role["schedule"]',
        'aws_cloudwatch_event_target.task["backup"]',
    )
    documents = ('start_tasks["schedule"]', 'trust["rules"]')
    assert gone == {*schedule, *(f"data.aws_iam_policy_document.{name}" for name in documents)}
    assert orchestrated.container()["command"] == ["backup"]
    assert orchestrated.outputs["task_definition_arn"] == applied.outputs["task_definition_arn"]
    assert orchestrated.outputs["run_task_command"].endswith(" --task-definition github-backup")


# -- the document --------------------------------------------------------------------------------


def problems(definition: Json) -> list[str]:
    """Return what the linter says, what AWS refuses, and what this project's interpreter does not know."""
    from cfnlint import lint

    text = json.dumps(definition)
    properties = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r", "Definition": definition}
    template = {"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    found = [match.message for match in lint(json.dumps(template), regions=["us-east-1"])]
    found += [problem.message for problem in aws.problems("aws_sfn_state_machine", {"definition": text})]
    try:
        check(definition, KNOWN_FIELDS, {RUN_TASK, PUT_METRICS, LIST_EXECUTIONS})
    except UnsupportedError as error:
        found.append(str(error))
    return found


@pytest.mark.exhaustive
def test_the_linters_find_nothing_to_say_of_the_document(orchestrated: Applied, whole: Applied) -> None:
    assert problems(document(orchestrated)) == problems(document(whole)) == []


MISTAKES: list[Callable[[Json], Any]] = [
    lambda machine: machine["States"]["Merge"].pop("End"),
    lambda machine: machine["States"].pop("Merge"),
    lambda machine: machine["States"]["BackUpShards"].update(MaxConcurency=3),
    lambda machine: machine["States"]["BackUpShards"]["ItemProcessor"].update(StartAt="Nowhere"),
    lambda machine: machine["States"]["BackUpShards"]["ItemProcessor"]["ProcessorConfig"].update(Mode="DISTRIBUTE"),
    lambda machine: machine["States"]["BackUpShards"]["ItemReader"].update(Parameter={}),
    lambda machine: machine["States"]["List"]["Retry"][0].update(MaxAttempt=3),
    lambda machine: machine["States"]["IsAnyRunning"]["Choices"][0].update(Next="Nowhere"),
    lambda machine: machine["States"]["FindOldest"]["Parameters"].update({"oldest.$": "States.Last($.running)"}),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("mistake", MISTAKES, ids=range(len(MISTAKES)))
def test_the_linters_find_mistakes(orchestrated: Applied, mistake: Callable[[Json], Any]) -> None:
    wrong = copy.deepcopy(document(orchestrated))
    mistake(wrong)
    assert problems(wrong)


def test_a_shard_is_told_by_its_item_and_the_others_by_the_execution(orchestrated: Applied) -> None:
    assert run_tasks(orchestrated).keys() == set(TASKS)
    of_run = {"RUN_NAME": "$$.Execution.Name", "RUN_STARTED_AT": "$$.Execution.StartTime"}
    of_shard = {"RUN_NAME": "$.run_name", "RUN_STARTED_AT": "$.run_started_at", "RUN_SHARD": "$.shard"}
    for name, state in run_tasks(orchestrated).items():
        (override,) = state["Parameters"]["Overrides"]["ContainerOverrides"]
        assert override["Name"] == orchestrated.container(name)["name"]
        told = {variable["Name"]: variable["Value.$"] for variable in override["Environment"]}
        assert told == (of_shard if name.startswith("shard") else of_run), name


def test_the_tasks_are_started_as_the_schedule_starts_a_single_run(applied: Applied, orchestrated: Applied) -> None:
    (target,) = applied['aws_cloudwatch_event_target.task["backup"]']["ecs_target"]
    (network,) = target["network_configuration"]
    for name, state in run_tasks(orchestrated).items():
        given = state["Parameters"]
        assert given["TaskDefinition"] == orchestrated[f'aws_ecs_task_definition.task["{name}"]']["arn"]
        assert given["Cluster"] == orchestrated.outputs["ecs_cluster_arn"]
        assert (given["LaunchType"], given["PropagateTags"]) == (target["launch_type"], target["propagate_tags"])
        assert "EnableECSManagedTags" not in given, "Step Functions does not document it"
        placed = given["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert placed["Subnets"] == network["subnets"]
        assert placed["SecurityGroups"] == [orchestrated.outputs["security_group_id"]]
        assert placed["AssignPublicIp"] == "DISABLED"


def shards_key(applied: Applied) -> str:
    """Return the key from which the Map reads its items, for a run of `NAME` and `STARTED_AT`."""
    reader = document(applied)["States"]["BackUpShards"]["ItemReader"]
    called = re.fullmatch(r"States\.Format\('(.+?)', (.+), (\$\$\.Execution\.Name)\)", reader["Parameters"]["Key.$"])
    assert called
    assert called[2] == "States.ArrayGetItem(States.StringSplit($$.Execution.StartTime, 'T'), 0)"
    return called[1].format(STARTED_AT.partition("T")[0], NAME)


def test_the_map_reads_the_shards_of_its_own_run(orchestrated: Applied) -> None:
    machine = document(orchestrated)["States"]["BackUpShards"]
    assert machine["ItemReader"]["Resource"] == "arn:aws:states:::s3:getObject"
    assert machine["ItemReader"]["Parameters"]["Bucket"] == orchestrated.outputs["s3_bucket_name"]
    assert shards_key(orchestrated) == f"{plan_folder(PREFIX, '2026-11-23', NAME)}{ITEMS}"


def test_whatever_happens_to_shards_merge_follows(orchestrated: Applied) -> None:
    shards = document(orchestrated)["States"]["BackUpShards"]
    assert shards["ToleratedFailurePercentage"] == 100
    assert [(rule["ErrorEquals"], rule["Next"]) for rule in shards["Catch"]] == [(["States.ALL"], "Merge")]
    assert (shards["Next"], shards["ResultPath"]) == ("Merge", None)
    assert shards["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    for name in ("shard", "shard-on-volume"):
        [catch] = run_tasks(orchestrated)[name]["Catch"]
        lost = shards["ItemProcessor"]["States"][catch["Next"]]
        assert (catch["ErrorEquals"], lost["Type"]) == (["States.ALL"], "Fail"), "a shard that is lost is red"
        assert run_tasks(orchestrated)[name]["ResultSelector"] == {}, "all outputs together have 256 KiB"
    assert "Catch" not in document(orchestrated)["States"]["Merge"], "the run's exit code is the execution's"


def retried(state: Json) -> dict[str, int]:
    """Return how often each error is tried again."""
    return {error: rule["MaxAttempts"] for rule in state["Retry"] for error in rule["ErrorEquals"]}


def test_a_dead_shard_is_tried_again_and_a_wrong_configuration_is_not(whole: Applied) -> None:
    tasks = run_tasks(whole)
    assert "States.TaskFailed" not in retried(tasks["list"])
    assert retried(tasks["merge"])["States.TaskFailed"] == 1
    for name in ("shard", "shard-on-volume"):
        assert retried(tasks[name])["States.TaskFailed"] == 7
    for name in TASKS:
        assert {"AmazonECS.Unknown", "ECS.AmazonECSException", "ECS.ThrottlingException"} < retried(tasks[name]).keys()
        assert "States.Timeout" not in retried(tasks[name])


@pytest.mark.parametrize(
    ("inputs", "deadline"),
    [
        ({}, 23),
        ({"schedule_expression": "rate(1 hour)"}, 0.75),
        ({"run": {"deadline_hours": 5.5}}, 5.5),
        ({"schedule_expression": "rate(30 days)"}, 719),
    ],
)
def test_a_run_ends_before_the_next_one_starts_unless_it_hangs(module: Module, inputs: Json, deadline: float) -> None:
    applied = module.apply(orchestration={"volumes": True}, **inputs)
    tasks = run_tasks(applied)
    for name in TASKS:
        assert float(applied.environment(name)["RUN_DEADLINE_HOURS"]) == deadline
    for name in ("shard", "shard-on-volume"):
        assert tasks[name]["TimeoutSeconds"] == (deadline + 0.5) * 3600
        # An attempt has five events, and a history at most 25,000.
        assert 5 * sum(rule["MaxAttempts"] for rule in tasks[name]["Retry"]) < 25_000
    waits = [tasks[name]["TimeoutSeconds"] for name in ("list", "shard", "merge", "merge")]
    assert document(applied)["TimeoutSeconds"] == sum(waits)


def test_a_shard_that_needs_a_volume_gets_one_of_the_size_in_the_plan(orchestrated: Applied) -> None:
    processor = document(orchestrated)["States"]["BackUpShards"]["ItemProcessor"]
    choice = processor["States"][processor["StartAt"]]
    assert choice["Default"] == "BackUpShard"
    assert choice["Choices"] == [{"Variable": "$.volume_gib", "NumericGreaterThan": 0, "Next": "BackUpShardOnVolume"}]
    with_volume = processor["States"]["BackUpShardOnVolume"]["Parameters"]
    (volume,) = with_volume["VolumeConfigurations"]
    assert "VolumeConfigurations" not in processor["States"]["BackUpShard"]["Parameters"]
    managed = volume["ManagedEBSVolume"]
    assert managed["SizeInGiB.$"] == "$.volume_gib"
    assert (managed["Encrypted"], managed["TerminationPolicy"]) == (True, {"DeleteOnTermination": True})
    assert managed["RoleArn"] == orchestrated['aws_iam_role.role["volumes"]']["arn"]
    at_launch = {
        name: orchestrated[f'aws_ecs_task_definition.task["{name}"]']["volume"][0] for name in ("backup", *TASKS)
    }
    assert {name for name, item in at_launch.items() if item["configure_at_launch"]} == {"shard-on-volume"}
    assert at_launch["shard-on-volume"]["name"] == volume["Name"]
    mount = orchestrated.container("shard-on-volume")["mountPoints"][0]
    assert mount["sourceVolume"] == volume["Name"]


# -- the tasks -----------------------------------------------------------------------------------


def test_each_task_runs_its_command_with_the_image_and_the_role_of_a_single_run(orchestrated: Applied) -> None:
    single = orchestrated.container()
    for name in TASKS:
        container = orchestrated.container(name)
        assert container["command"] == ["backup", name.removesuffix("-on-volume")]
        for what in ("image", "user", "readonlyRootFilesystem", "stopTimeout", "mountPoints", "linuxParameters"):
            assert container[what] == single[what], what
        definition = orchestrated[f'aws_ecs_task_definition.task["{name}"]']
        assert definition["family"] == f"github-backup-{name}"
        assert definition["task_role_arn"] == orchestrated.outputs["task_role_arn"]


def test_list_is_told_how_to_plan_and_the_others_what_a_single_run_is_told(whole: Applied) -> None:
    """A shard signs nothing, and is not told of the key."""
    single = whole.environment()
    assert single["MANIFEST_SIGNING_KEY_ARN"] == whole.outputs["manifest_signing_key_arn"]
    assert whole.environment("merge") == single
    of_shards = {name: value for name, value in single.items() if name != "MANIFEST_SIGNING_KEY_ARN"}
    for name in ("shard", "shard-on-volume"):
        assert whole.environment(name) == of_shards
    plan = {"RUN_SHARDS": "40", "INSTALLATION_REQUESTS": "60", "SHARD_DISK_GIB": "200"}
    assert whole.environment("list") == single | plan
    assert document(whole)["States"]["BackUpShards"]["MaxConcurrency"] == 40


ITEM = {
    "shard": "01",
    "run_name": NAME,
    "run_started_at": STARTED_AT,
    "volume_gib": 0,
    "repositories": 312,
    "size_kb": 4096,
}
EXECUTION = {"$$.Execution.Name": NAME, "$$.Execution.StartTime": STARTED_AT}


def test_the_program_takes_what_a_task_is_told(whole: Applied, tmp_path: Path) -> None:
    said = EXECUTION | {f"$.{field}": str(value) for field, value in ITEM.items()}
    for name in TASKS:
        (override,) = run_tasks(whole)[name]["Parameters"]["Overrides"]["ContainerOverrides"]
        told = {variable["Name"]: said[variable["Value.$"]] for variable in override["Environment"]}
        environment = whole.environment(name) | told | {"TMPDIR": str(tmp_path)}
        command: Command = whole.container(name)["command"][1]
        configuration = read_configuration(environment, environment["AWS_REGION"], command)
        assert configuration.orchestration
        assert configuration.orchestration.run_name == NAME
        if command == "shard":
            assert configuration.orchestration.shard == ITEM["shard"]
        if command == "list":
            run = configuration.orchestration
            assert (run.shards, run.shard_disk_gib, configuration.installation_requests) == (40, 200, 60)


def test_the_document_reads_of_an_item_what_the_program_writes() -> None:
    assert msgspec.to_builtins(msgspec.convert(ITEM, MapItem)) == ITEM


def size(applied: Applied, name: str) -> tuple[int, int, int]:
    definition = applied[f'aws_ecs_task_definition.task["{name}"]']
    (disk,) = definition["ephemeral_storage"]
    assert applied.container(name)["memory"] == int(definition["memory"])
    return int(definition["cpu"]), int(definition["memory"]), disk["size_in_gib"]


def test_the_single_runs_size_is_a_shards_and_the_others_have_their_own(orchestrated: Applied, whole: Applied) -> None:
    assert {name: size(orchestrated, name) for name in TASKS} == {
        "list": (512, 2048, 21),
        "shard": (1024, 4096, 50),
        "shard-on-volume": (1024, 4096, 21),
        "merge": (512, 2048, 21),
    }
    assert {name: size(whole, name) for name in TASKS} == {
        "list": (256, 512, 21),
        "shard": (2048, 8192, 200),
        "shard-on-volume": (2048, 8192, 21),
        "merge": (512, 4096, 21),
    }


# -- the schedule --------------------------------------------------------------------------------


def test_the_schedule_starts_the_state_machine_and_keeps_its_rule(applied: Applied, orchestrated: Applied) -> None:
    rule = 'aws_cloudwatch_event_rule.task["backup"]'
    assert orchestrated[rule] == applied[rule]
    assert not [
        name for name in orchestrated.resources if name.startswith("aws_cloudwatch_event_rule.") and "shard" in name
    ]
    target = orchestrated["aws_cloudwatch_event_target.start[0]"]
    assert target["rule"] == orchestrated[rule]["name"]
    assert target["arn"] == orchestrated.outputs["state_machine_arn"] == MACHINE
    assert target["role_arn"] == orchestrated['aws_iam_role.role["start"]']["arn"]
    assert target["ecs_target"] == []
    single = applied['aws_cloudwatch_event_target.task["backup"]']
    for what in ("retry_policy", "dead_letter_config"):
        assert target[what] == single[what] != []


def test_a_run_by_hand_is_one_command(orchestrated: Applied) -> None:
    command = orchestrated.outputs["start_execution_command"]
    assert command == f"aws stepfunctions start-execution --region {REGION} --state-machine-arn {MACHINE}"


def test_the_drill_and_the_check_keep_their_own_schedules(whole: Applied) -> None:
    for name in ("drill", "check"):
        assert whole[f'aws_cloudwatch_event_target.task["{name}"]']["arn"] == whole.outputs["ecs_cluster_arn"]
    for statement in whole.policy('start_tasks["schedule"]')["Statement"]:
        for backup in ("task-definition/github-backup:", "role/github-backup-task-"):
            assert backup not in json.dumps(statement["Resource"]), "the rule no longer starts a backup's task"


# -- roles ---------------------------------------------------------------------------------------


def calls_of_the_document(applied: Applied) -> Iterator[Call]:
    """Yield every call to AWS that the states of the document need, as AWS documents its integrations."""
    for name, state in states(document(applied)):
        resource = state.get("Resource", "").removeprefix("arn:aws:states:::")
        match resource:
            case "ecs:runTask.sync":
                yield from calls_of_a_task(applied, state["Parameters"])
            case "aws-sdk:sfn:listExecutions":
                yield Call("states:ListExecutions", MACHINE)
            case "aws-sdk:cloudwatch:putMetricData":
                namespace = {"cloudwatch:namespace": state["Parameters"]["Namespace"]}
                yield Call("cloudwatch:PutMetricData", "*", namespace)
            case _:
                assert state["Type"] != "Task", name
        if state["Type"] == "Map":
            yield from calls_of_a_map(applied, state)


def calls_of_a_task(applied: Applied, given: Json) -> Iterator[Call]:
    cluster = {"ecs:cluster": given["Cluster"]}
    yield Call("ecs:RunTask", given["TaskDefinition"], cluster)
    yield Call("ecs:TagResource", STARTED_TASK, {"ecs:CreateAction": "RunTask"})
    yield from (Call(f"ecs:{action}", STARTED_TASK, cluster) for action in ("DescribeTasks", "StopTask"))
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/StepFunctionsGetEventsForECSTaskRule"
    yield from (Call(f"events:{action}", rule) for action in ("DescribeRule", "PutRule", "PutTargets"))
    definitions = [
        item for address, item in applied.resources.items() if address.startswith("aws_ecs_task_definition.")
    ]
    (definition,) = (item for item in definitions if item["arn"] == given["TaskDefinition"])
    to_tasks = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    for role in ("task_role_arn", "execution_role_arn"):
        yield Call("iam:PassRole", definition[role], to_tasks)
    for volume in given.get("VolumeConfigurations", ()):
        role = volume["ManagedEBSVolume"]["RoleArn"]
        yield Call("iam:PassRole", role, {"iam:PassedToService": "ecs.amazonaws.com"})


def calls_of_a_map(applied: Applied, state: Json) -> Iterator[Call]:
    bucket = state["ItemReader"]["Parameters"]["Bucket"]
    yield Call("s3:GetObject", f"arn:aws:s3:::{bucket}/{shards_key(applied)}")
    yield Call("kms:Decrypt", KEYS["primary"], {"kms:ViaService": f"s3.{REGION}.amazonaws.com"})
    yield Call("states:StartExecution", MACHINE)
    for action in ("DescribeExecution", "StopExecution"):
        yield from (Call(f"states:{action}", execution) for execution in (CHILD, CHILD.replace("/shards", "")))


def calls_of_volumes() -> Iterator[Call]:
    """Yield what ECS calls for a volume, from AWS's own policy for this role."""
    created = {"AmazonECSManaged": "true", "AmazonECSCreated": STARTED_TASK}
    requested = {f"aws:RequestTag/{name}": value for name, value in created.items()}
    tagged = {f"aws:ResourceTag/{name}": value for name, value in created.items()}
    yield Call("ec2:CreateVolume", VOLUME, requested)
    yield Call("ec2:CreateTags", VOLUME, {**requested, "ec2:CreateAction": "CreateVolume"})
    yield from (Call(f"ec2:{action}", "*") for action in ("DescribeAvailabilityZones", "DescribeVolumes"))
    for action in ("AttachVolume", "DetachVolume"):
        yield Call(f"ec2:{action}", VOLUME, {"aws:ResourceTag/AmazonECSManaged": "true"})
        yield Call(f"ec2:{action}", FARGATE_INSTANCE)
    yield Call("ec2:DeleteVolume", VOLUME, tagged)


def calls(applied: Applied, role: str) -> list[Call]:
    match role:
        case "start[0]":
            return [Call("states:StartExecution", applied["aws_cloudwatch_event_target.start[0]"]["arn"])]
        case "state_machine[0]":
            return list(calls_of_the_document(applied))
    return list(calls_of_volumes())


ROLES = ("start[0]", "state_machine[0]", "volumes[0]")


@pytest.mark.parametrize("role", ROLES)
def test_every_call_is_allowed_and_no_statement_nor_action_is_for_nothing(whole: Applied, role: str) -> None:
    policy, needed = whole.policy(role), calls(whole, role)
    for call in needed:
        assert decide(policy, call) == "allow", call
    for statement in policy["Statement"]:
        used = {call.action for call in needed if applies(statement, call)}
        actions = statement["Action"]
        assert used == set(actions if isinstance(actions, list) else [actions]), statement["Sid"]


def beyond(call: Call) -> Iterator[Call]:
    """Return calls that go beyond an allowed one: another name, account, region or context, a worse action."""
    another = re.sub(r"github-backup|StepFunctionsGetEvents|(?<=key/)\w+", "another", call.resource)
    for resource in (
        another,
        call.resource.replace(ACCOUNT, "999999999999"),
        call.resource.replace(REGION, "us-east-1"),
    ):
        if resource != call.resource:
            yield replace(call, resource=resource)
    for key in call.context:
        yield replace(call, context={**call.context, key: "something-else"})
        yield replace(call, context={name: value for name, value in call.context.items() if name != key})
    yield replace(call, action=f"{call.action.split(':')[0]}:DeleteEverything")


@pytest.mark.parametrize("role", ROLES)
def test_a_call_that_goes_beyond_is_not_allowed(whole: Applied, role: str) -> None:
    for call in calls(whole, role):
        for further in beyond(call):
            assert decide(whole.policy(role), further) == "nothing", further


def test_the_state_machine_reads_the_shards_and_nothing_else(whole: Applied) -> None:
    policy, bucket = whole.policy("state_machine[0]"), whole.outputs["s3_bucket_arn"]
    plan = f"{PREFIX}/2026-11-23/plans/{NAME}"
    others = (
        f"{plan}/plan.json",
        f"{plan}/shards/01.json",
        f"{plan}/reports/01.json",
        f"{PREFIX}/2026-11-23/manifest.json",
    )
    assert decide(policy, Call("s3:GetObject", f"{bucket}/{plan}/shards.json")) == "allow"
    for key in (*others, f"{PREFIX}/2026-11-23/acme/api.bundle", f"{PREFIX}-drills/2026-11-23/plans/x/shards.json"):
        assert decide(policy, Call("s3:GetObject", f"{bucket}/{key}")) == "nothing", key
    for action in (*WRITES, *DELETIONS, "s3:ListBucket"):
        for resource in (bucket, f"{bucket}/{plan}/shards.json"):
            assert decide(policy, Call(action, resource)) == "nothing"
    secret = whole.outputs["github_app_key_secret_arn"]
    assert decide(policy, Call("secretsmanager:GetSecretValue", secret)) == "nothing"


def test_the_state_machine_starts_its_own_tasks_only(whole: Applied) -> None:
    policy, cluster = whole.policy("state_machine[0]"), {"ecs:cluster": whole.outputs["ecs_cluster_arn"]}
    for name in ("backup", "drill", "check"):
        definition = whole[f'aws_ecs_task_definition.task["{name}"]']["arn"]
        assert decide(policy, Call("ecs:RunTask", definition, cluster)) == "nothing"
    to_tasks, to_ecs = ({"iam:PassedToService": f"{service}.amazonaws.com"} for service in ("ecs-tasks", "ecs"))
    for role, service in {"task": to_ecs, "execution": to_ecs, "volumes": to_tasks, "drill": to_tasks}.items():
        arn = whole[f'aws_iam_role.role["{role}"]']["arn"]
        assert decide(policy, Call("iam:PassRole", arn, service)) == "nothing"


def test_volumes_of_others_are_out_of_reach(whole: Applied) -> None:
    policy = whole.policy("volumes[0]")
    another = STARTED_TASK.replace("task/github-backup", "task/another")
    for call in calls_of_volumes():
        for key in (key for key in call.context if key.endswith("/AmazonECSCreated")):
            assert decide(policy, replace(call, context={**call.context, key: another})) == "nothing"


def test_every_task_writes_its_own_log_streams(whole: Applied) -> None:
    group = whole["aws_cloudwatch_log_group.task"]["arn"]
    for name in ("backup", *TASKS):
        prefix = whole.container(name)["logConfiguration"]["options"]["awslogs-stream-prefix"]
        call = Call("logs:PutLogEvents", f"{group}:log-stream:{prefix}/{name}/0123")
        assert decide(whole.policy("execution"), call) == "allow"


@pytest.mark.parametrize("role", ["start", "state-machine"])
def test_a_role_is_assumed_by_its_service_for_its_own_rule_or_machine(whole: Applied, role: str) -> None:
    service, source = {
        "start": ("events.amazonaws.com", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/github-backup"),
        "state-machine": ("states.amazonaws.com", MACHINE),
    }[role]
    trust = json.loads(whole[f'aws_iam_role.role["{role}"]']["assume_role_policy"])
    context = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": source}
    good = Call("sts:AssumeRole", "*", context, principal=service)
    assert decide(trust, good) == "allow"
    assert decide(trust, replace(good, principal="lambda.amazonaws.com")) == "nothing"
    for key, value in {"aws:SourceAccount": "999999999999", "aws:SourceArn": f"{source}-drill"}.items():
        assert decide(trust, replace(good, context={**context, key: value})) == "nothing"


def test_ecs_assumes_the_role_of_volumes_whatever_it_sends(whole: Applied) -> None:
    """AWS's own trust policy for this role has no condition, and no page says which keys ECS would send."""
    trust = json.loads(whole['aws_iam_role.role["volumes"]']["assume_role_policy"])
    assert decide(trust, Call("sts:AssumeRole", "*", principal="ecs.amazonaws.com")) == "allow"
    assert decide(trust, Call("sts:AssumeRole", "*", principal="ecs-tasks.amazonaws.com")) == "nothing"


# -- alarms and dashboard ------------------------------------------------------------------------


def test_the_alarms_of_the_state_machine(orchestrated: Applied) -> None:
    of_machine, own = {"StateMachineArn": MACHINE}, {metrics.DIMENSION: "github-backup"}
    for key, namespace, name, dimensions in (
        ("execution-failed", "AWS/States", "ExecutionsFailed", of_machine),
        ("execution-timed-out", "AWS/States", "ExecutionsTimedOut", of_machine),
        ("run-refused", metrics.NAMESPACE, metrics.RUN_REFUSED, own),
    ):
        alarm = orchestrated[f'aws_cloudwatch_metric_alarm.backup["{key}"]']
        assert (alarm["namespace"], alarm["metric_name"], alarm["dimensions"]) == (namespace, name, dimensions)
        assert (alarm["statistic"], alarm["comparison_operator"], alarm["threshold"]) == (
            "Sum",
            "GreaterThanThreshold",
            0,
        )
        assert alarm["treat_missing_data"] == "notBreaching"
        assert alarm["alarm_actions"] == [orchestrated.outputs["sns_topic_arn"]]


def test_a_refused_run_publishes_what_its_alarm_looks_at(orchestrated: Applied) -> None:
    report = document(orchestrated)["States"]["ReportRefusal"]["Parameters"]
    alarm = orchestrated['aws_cloudwatch_metric_alarm.backup["run-refused"]']
    (published,) = report["MetricData"]
    assert (report["Namespace"], published["MetricName"]) == (alarm["namespace"], alarm["metric_name"])
    assert {item["Name"]: item["Value"] for item in published["Dimensions"]} == alarm["dimensions"]
    assert published["Value"] > alarm["threshold"]
    refuse = document(orchestrated)["States"]["Refuse"]
    assert refuse["Error"] == "RunRefused"
    assert refuse["CausePath"].endswith("/docs/troubleshooting.md#run-refused', $.oldest)")
    assert re.search(r"^### run-refused$", (PROJECT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


def test_a_dead_shard_is_no_message_because_it_is_tried_again(orchestrated: Applied) -> None:
    pattern = json.loads(orchestrated["aws_cloudwatch_event_rule.task_failed"]["event_pattern"])
    families = {f"family:github-backup{end}" for end in ("", "-list")}
    assert set(pattern["detail"]["group"]) == families


def test_the_dashboard_shows_shards_and_executions(orchestrated: Applied) -> None:
    titles = ("Shards of a run, lost for good", "Executions started, failed, timed out; runs refused")
    lines = {title: [line[1] for line in graphs(orchestrated)[title]["metrics"]] for title in titles}
    assert lines[titles[0]] == [metrics.SHARDS, metrics.SHARDS_FAILED]
    executions = ["ExecutionsStarted", "ExecutionsFailed", "ExecutionsTimedOut", metrics.RUN_REFUSED]
    assert lines[titles[1]] == executions


# -- wrong input ---------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("given", "rule", "got"),
    [
        ({"shards": 0}, "orchestration.shards must be a whole number from 1 to 1000", "Got: 0."),
        ({"shards": MAX_SHARDS + 1}, f"must be a whole number from 1 to {MAX_SHARDS}", f"Got: {MAX_SHARDS + 1}."),
        ({"requests_per_installation": 10001}, "from 1 to 10000; github.com allows 100", "Got: 10001."),
        ({"attempts": 1.5}, "orchestration.attempts must be a whole number from 0 to 20", "Got: 1.5."),
        ({"merge": {"cpu": 256, "memory": 8192}}, "must have pairs of cpu and memory", '"memory":8192'),
    ],
)
def test_each_part_of_a_wrong_orchestration_is_named(module: Module, given: Json, rule: str, got: str) -> None:
    (message,) = messages(module.plan(orchestration=given))
    assert rule in message
    assert got in message


@pytest.mark.exhaustive
def test_several_wrong_parts_are_named_at_once(module: Module) -> None:
    said = messages(module.plan(orchestration={"shards": 0, "attempts": -1, "requests_per_installation": 0}))
    assert len(said) == 3


@pytest.mark.exhaustive
def test_a_deadline_after_the_next_start_is_refused(module: Module) -> None:
    said = refusal(module, orchestration={}, run={"deadline_hours": 24})
    assert "run.deadline_hours must be less than the 24 hours between two runs when orchestration is set" in said
    assert "Got: 24." in said


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["RUN_NAME", "RUN_STARTED_AT", "RUN_SHARD", "RUN_SHARDS", "SHARD_DISK_GIB"])
def test_a_variable_of_the_state_machine_is_refused_as_extra_environment(module: Module, name: str) -> None:
    said = refusal(module, orchestration={}, extra_environment={name: "x"})
    assert f"extra_environment must not set what orchestration sets itself: {name}." in said


@pytest.mark.exhaustive
def test_it_can_be_switched_on_and_off_later_without_new_buckets_or_tasks(module: Module) -> None:
    module.apply_now(run={"deadline_hours": 12})
    given = ["-var-file=given.tfvars.json", "-state=state.json"]
    plan = module.terraform("plan", "-no-color", "-input=false", *given, "-var=orchestration={}")
    destroyed = set(re.findall(r"# (\S+) will be destroyed", plan))
    assert destroyed == {
        *('aws_iam_role.role["schedule"]', 'aws_iam_role_policy.role["schedule"]'),
        'aws_cloudwatch_event_target.task["backup"]',
    }
    assert "must be replaced" not in plan
