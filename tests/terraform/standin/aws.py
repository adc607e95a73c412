"""What AWS refuses although the provider takes it.

With the real provider these mistakes are found by an apply, half of it done; the stand-in reports them when it plans. A
mocked `terraform test` doesn't come here, just as it doesn't come to AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .checks import Problem, blocks, is_json
from .policy import ELEMENTS
from .wire import UNKNOWN, Json, is_wholly_known

FARGATE_MEMORY = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
"""Memory in MiB that each number of CPU units may have."""


STATES = ("Choice", "Fail", "Map", "Parallel", "Pass", "Succeed", "Task", "Wait")


def _task_definition(config: Json) -> Iterator[Problem]:
    """What every container must have, and what Fargate asks besides."""
    launched = [volume for volume in blocks(config, "volume") if volume.get("configure_at_launch") is True]
    if len(launched) > 1:
        yield Problem("only one volume can be configured at launch", ("volume",))
    definitions = config.get("container_definitions")
    place = ("container_definitions",)
    for container in json.loads(definitions) if isinstance(definitions, str) else []:
        if not isinstance(container, dict):
            yield Problem(f"a container definition is an object, got {container!r}", place)
            continue
        if not container.get("name") or not container.get("image"):
            yield Problem("Container.name and Container.image should not be null or empty", place)
        if not 0 <= container.get("stopTimeout", 30) <= 120:
            yield Problem(f"stopTimeout must be at most 120, got {container['stopTimeout']}", place)
        yield from _container_memory(container, str(config.get("memory")))
    yield from _fargate(config)


def _container_memory(container: Json, task_memory: str) -> Iterator[Problem]:
    """A container's memory in MiB is a number, and no more than its task's."""
    memory = container.get("memory", 6)
    if not isinstance(memory, int) or memory < 6:
        yield Problem(f"a container's memory is a number of MiB from 6, got {memory!r}", ("container_definitions",))
    elif task_memory.isdigit() and memory > int(task_memory):
        what = f"a container's memory ({memory}) must be at most its task's ({task_memory})"
        yield Problem(what, ("container_definitions",))


def _fargate(config: Json) -> Iterator[Problem]:
    """What AWS asks of a task that runs on Fargate."""
    compatibilities = config.get("requires_compatibilities")
    if not is_wholly_known(compatibilities) or "FARGATE" not in (compatibilities or []):
        return
    for name in ("cpu", "memory"):
        if config.get(name) is None:
            yield Problem(f"Fargate requires that '{name}' be defined at the task level", (name,))
    if config.get("network_mode") not in ("awsvpc", UNKNOWN):
        yield Problem("Fargate only supports network mode 'awsvpc'", ("network_mode",))
    containers = str(config.get("container_definitions"))
    if config.get("execution_role_arn") is None and ('"awslogs"' in containers or '"valueFrom"' in containers):
        yield Problem("Fargate requires an execution role to send logs or to read secrets", ("execution_role_arn",))
    cpu, memory = str(config.get("cpu")), str(config.get("memory"))
    if cpu.isdigit() and memory.isdigit() and int(memory) not in FARGATE_MEMORY.get(int(cpu), ()):
        yield Problem(f"no Fargate configuration exists for cpu {cpu} and memory {memory}", ("memory",))


def _alarm(config: Json) -> Iterator[Problem]:
    """An alarm may not look back further than a day, or a week with periods of an hour and more."""
    period, count = config.get("period"), config.get("evaluation_periods")
    if isinstance(period, int) and isinstance(count, int):
        limit = 7 * 86400 if period >= 3600 else 86400
        if period * count > limit:
            yield Problem(
                f"period x evaluation_periods must not exceed {limit} seconds, got {period * count}", ("period",)
            )
    needed = config.get("datapoints_to_alarm")
    if isinstance(needed, int) and isinstance(count, int) and needed > count:
        yield Problem(
            f"datapoints_to_alarm ({needed}) must not exceed evaluation_periods ({count})", ("datapoints_to_alarm",)
        )


def _scheduler_schedule(config: Json) -> Iterator[Problem]:
    expression = config.get("schedule_expression")
    if isinstance(expression, str):
        yield from _schedule(expression, r"rate\(.+\)|cron\(.+\)|at\(.+\)")


def _event_rule(config: Json) -> Iterator[Problem]:
    expression = config.get("schedule_expression")
    if isinstance(expression, str):
        yield from _schedule(expression, r"rate\(.+\)|cron\(.+\)")


def _schedule(expression: str, form: str) -> Iterator[Problem]:
    """AWS's grammar of schedules: a unit that agrees with its number; six fields of cron, and `?` for either day."""
    path = ("schedule_expression",)
    if not re.fullmatch(form, expression):
        yield Problem(f"Parameter ScheduleExpression is not valid: {expression!r}", path)
    elif rate := re.fullmatch(r"rate\((.*)\)", expression):
        if not re.fullmatch(r"1 (minute|hour|day)|([2-9]|[1-9]\d+) (minutes|hours|days)", rate[1]):
            yield Problem(f"Parameter ScheduleExpression is not valid: {expression!r}: a number and its unit", path)
    elif cron := re.fullmatch(r"cron\((.*)\)", expression):
        fields = cron[1].split()
        if len(fields) != 6 or [fields[2], fields[4]].count("?") != 1:
            yield Problem(
                f"Parameter ScheduleExpression is not valid: {expression!r}: six fields, and '?' for either day", path
            )


def _event_target(config: Json) -> Iterator[Problem]:
    for number, target in enumerate(blocks(config, "ecs_target")):
        if target.get("launch_type") and target.get("capacity_provider_strategy"):
            yield Problem("launch_type and capacity_provider_strategy exclude each other", ("ecs_target", number))
        if target.get("launch_type") == "FARGATE" and target.get("network_configuration") == []:
            yield Problem("Fargate requires a network_configuration", ("ecs_target", number))


def _replication(config: Json) -> Iterator[Problem]:
    """What S3 asks of rules: one priority each, and what a rule with a filter must say."""
    rules = blocks(config, "rule")
    priorities = [rule.get("priority") for rule in rules if rule.get("filter")]
    if is_wholly_known(priorities) and len(set(priorities)) < len(priorities):
        yield Problem("every replication rule needs a priority of its own", ("rule",))
    for number, rule in enumerate(rules):
        if rule.get("filter") and rule.get("delete_marker_replication") == []:
            yield Problem("DeleteMarkerReplication must be specified in a rule with a filter", ("rule", number))
        yield from _destination(rule, number)


def _destination(rule: Json, number: int) -> Iterator[Problem]:
    encrypted = any(
        objects.get("status") == "Enabled"
        for criteria in blocks(rule, "source_selection_criteria")
        for objects in blocks(criteria, "sse_kms_encrypted_objects")
    )
    for destination in blocks(rule, "destination"):
        if destination.get("replication_time") and destination.get("metrics") == []:
            yield Problem("S3 Replication Time Control needs replication metrics", ("rule", number, "destination"))
        if encrypted and destination.get("encryption_configuration") == []:
            yield Problem("EncryptionConfiguration must be specified if SseKmsEncryptedObjects is", ("rule", number))


def _lifecycle(config: Json) -> Iterator[Problem]:
    """A rule must do something, and its id must be its own."""
    actions = ("abort_incomplete_multipart_upload", "expiration", "noncurrent_version_expiration",
               "noncurrent_version_transition", "transition")  # fmt: skip
    rules = blocks(config, "rule")
    for number, rule in enumerate(rules):
        if all(rule.get(action) == [] for action in actions):
            yield Problem("at least one action needs to be specified in a rule", ("rule", number))
    names = [rule.get("id") for rule in rules]
    if is_wholly_known(names) and len(set(names)) < len(names):
        yield Problem("rule ids must differ", ("rule",))


def _bucket(config: Json) -> Iterator[Problem]:
    if isinstance(config.get("bucket"), str) and (message := bucket_name(config["bucket"])):
        yield Problem(f"validating S3 Bucket name: {message}", ("bucket",))


def bucket_name(value: str) -> str | None:
    """What is wrong with the name of a new bucket."""
    if not 3 <= len(value) <= 63:
        return f"a name has 3 to 63 characters, got {len(value)}: {value}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*[a-z0-9]", value) or ".." in value:
        return f"only lowercase letters, digits, dots and hyphens, a letter or digit at both ends, got {value!r}"
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value):
        return f"a name is no IP address, got {value!r}"
    if value.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or value.endswith(("-s3alias", "--ol-s3", "--x-s3")):
        return f"AWS keeps this prefix or suffix for itself, got {value!r}"
    return None


def _state_machine(config: Json) -> Iterator[Problem]:
    """What Step Functions asks of a definition as a whole: every state can be reached, and leads on or ends."""
    definition = config.get("definition")
    if isinstance(definition, str):
        for message in [error] if (error := is_json(definition)) else _wrong_machine(json.loads(definition), "/"):
            yield Problem(f"InvalidDefinition: {message}", ("definition",))


def _wrong_machine(machine: Json, place: str) -> Iterator[str]:
    """What is wrong with a state machine, and with those inside its Maps."""
    states = machine.get("States") or {}
    reached = {machine.get("StartAt"), *(target for state in states.values() for target in _targets(state))}
    for name in sorted(reached - states.keys(), key=str):
        yield f"MISSING_TRANSITION_TARGET: {place}: there is no state {name!r}"
    for name in sorted(states.keys() - reached):
        yield f"MISSING_TRANSITION_TARGET: {place}: state {name!r} is not reachable"
    for name, state in states.items():
        if state.get("Type") not in STATES:
            yield f"SCHEMA_VALIDATION_FAILED: {place}: {name!r} has the type {state.get('Type')!r}"
        elif state["Type"] not in ("Choice", "Fail", "Succeed") and ("Next" in state) == ("End" in state):
            yield f"SCHEMA_VALIDATION_FAILED: {place}: {name!r} needs either Next or End"
        if state.get("Type") == "Map":
            yield from _wrong_machine(state.get("ItemProcessor", {}), f"{place}{name}/")


def _targets(state: Json) -> Iterator[str]:
    """Yield the states to which a state leads."""
    yield from (state[name] for name in ("Next", "Default") if name in state)
    yield from (rule["Next"] for rule in (*state.get("Choices", ()), *state.get("Catch", ())))


def _security_group_rule(config: Json) -> Iterator[Problem]:
    ports = config.get("from_port") is not None and config.get("to_port") is not None
    if config.get("ip_protocol") in ("tcp", "udp") and not ports:
        yield Problem("from_port and to_port are needed with this ip_protocol", ("ip_protocol",))


@dataclass(frozen=True)
class PolicyKind:
    """What a policy's place says of its statements."""

    names_principals: bool
    names_resources: bool = True
    limit: int = 20480


IDENTITY = PolicyKind(names_principals=False, limit=6144)
INLINE = PolicyKind(names_principals=False, limit=10240)
KEY = PolicyKind(names_principals=True, limit=32768)
RESOURCE = PolicyKind(names_principals=True)
TRUST = PolicyKind(names_principals=True, names_resources=False, limit=2048)

POLICIES: dict[str, dict[str, PolicyKind]] = {
    "aws_iam_policy": {"policy": IDENTITY},
    "aws_iam_role": {"assume_role_policy": TRUST},
    "aws_iam_role_policy": {"policy": INLINE},
    "aws_kms_key": {"policy": KEY},
    "aws_kms_key_policy": {"policy": KEY},
    "aws_s3_bucket_policy": {"policy": RESOURCE},
    "aws_secretsmanager_secret_policy": {"policy": RESOURCE},
    "aws_sns_topic_policy": {"policy": RESOURCE},
    "aws_sqs_queue_policy": {"policy": RESOURCE},
}


def _policies(kind: str, config: Json) -> Iterator[Problem]:
    """IAM's grammar: what each statement must have in this place, and what it must not."""
    for name, place in POLICIES.get(kind, {}).items():
        text = config.get(name)
        if not isinstance(text, str):
            continue
        document = json.loads(text)
        size = len(re.sub(r"\s", "", text))
        if size > place.limit:
            yield Problem(f"a policy here has at most {place.limit} characters without spaces, got {size}", (name,))
        statements = document.get("Statement", [])
        for statement in statements if isinstance(statements, list) else [statements]:
            if message := wrong_statement(statement, place):
                yield Problem(f"MalformedPolicyDocument: {message}: {json.dumps(statement)}", (name,))


def wrong_statement(statement: Any, place: PolicyKind) -> str | None:
    """What IAM would say of one statement."""
    if not isinstance(statement, dict):
        return "a statement is an object"
    needed = {
        "Effect": True,
        "Action": True,
        "Resource": place.names_resources,
        "Principal": place.names_principals,
    }
    for element, is_needed in needed.items():
        present = element in statement or f"Not{element}" in statement
        if present != is_needed:
            return f"{element} is missing" if is_needed else f"{element} has no place here"
    unknown = statement.keys() - set(ELEMENTS)
    return f"unknown elements {sorted(unknown)}" if unknown else None


def _tags(config: Json) -> Iterator[Problem]:
    """AWS's limits on tags, the same everywhere."""
    tags = config.get("tags")
    if not isinstance(tags, dict):
        return
    if len(tags) > 50:
        yield Problem(f"at most 50 tags, got {len(tags)}", ("tags",))
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.lower().startswith("aws:"):
            yield Problem(f"tag keys have 1 to 128 characters and don't begin with 'aws:', got {key!r}", ("tags",))
        if isinstance(value, str) and len(value) > 256:
            yield Problem(f"tag values have at most 256 characters, got {len(value)} for {key!r}", ("tags",))


WHOLES: dict[str, Callable[[Json], Iterator[Problem]]] = {
    "aws_cloudwatch_event_rule": _event_rule,
    "aws_cloudwatch_event_target": _event_target,
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_ecs_task_definition": _task_definition,
    "aws_s3_bucket": _bucket,
    "aws_s3_bucket_lifecycle_configuration": _lifecycle,
    "aws_s3_bucket_replication_configuration": _replication,
    "aws_scheduler_schedule": _scheduler_schedule,
    "aws_sfn_state_machine": _state_machine,
    "aws_vpc_security_group_egress_rule": _security_group_rule,
    "aws_vpc_security_group_ingress_rule": _security_group_rule,
}


def problems(kind: str, config: Json) -> Iterator[Problem]:
    """What AWS would say of a configuration that the provider took."""
    yield from _tags(config)
    yield from _policies(kind, config)
    if kind in WHOLES:
        yield from WHOLES[kind](config)
