"""What the real provider refuses although it fits the schema, when Terraform validates.

`VALUES` holds the checks of single values, by type and path; `WHOLES` those that look at several arguments at once. An
unknown value is passed over, and looked at again when a plan knows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .checks import (
    Check,
    Problem,
    Step,
    at_most_one,
    between,
    blocks,
    both,
    is_arn,
    is_json,
    is_json_list,
    is_kms_alias,
    is_period,
    is_policy,
    length,
    one_of,
    pattern,
    values_at,
)
from .wire import UNKNOWN, Json, is_wholly_known

RETENTION_DAYS = (
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
STORAGE_CLASSES = (
    "DEEP_ARCHIVE", "GLACIER", "GLACIER_IR", "INTELLIGENT_TIERING", "ONEZONE_IA", "REDUCED_REDUNDANCY", "STANDARD",
    "STANDARD_IA",
)  # fmt: skip
KEY_SPECS = (
    "SYMMETRIC_DEFAULT", "RSA_2048", "RSA_3072", "RSA_4096", "HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512",
    "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "SM2",
)  # fmt: skip
OPERATORS = (
    "GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold",
    "LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold", "GreaterThanUpperThreshold",
)  # fmt: skip
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")
STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
STATUS = one_of("Enabled", "Disabled")
STATE = one_of("ENABLED", "DISABLED")
IAM_NAME = pattern(r"[0-9A-Za-z_+=,.@-]*", "only alphanumeric characters and +=,.@-_")
DESCRIPTION = pattern("[\\t\\n\\r -~\u00a1-\u00ff]*", "only characters that IAM allows in a description")
GROUP_TEXT = both(length(0, 255), pattern(r"[0-9A-Za-z_ .:/()#,@\[\]+=&;{}!$*-]*", "only characters that EC2 allows"))
RULE_NAME = both(
    length(1, 64), pattern(r"[0-9A-Za-z_.-]+", "only alphanumeric characters, dots, hyphens and underscores")
)
PORT = between(-1, 65535)
POLICY_NAME = both(length(1, 128), IAM_NAME)

_SECURITY_RULE: dict[str, Check] = {
    "cidr_ipv4": pattern(r"\d+\.\d+\.\d+\.\d+/\d+", "to be an IPv4 CIDR block"),
    "cidr_ipv6": pattern(r"[0-9A-Fa-f:]+/\d+", "to be an IPv6 CIDR block"),
    "description": GROUP_TEXT,
    "from_port": PORT,
    "to_port": PORT,
}
_LIFECYCLE: dict[str, Check] = {
    "rule.id": length(1, 255),
    "rule.status": STATUS,
    "rule.abort_incomplete_multipart_upload.days_after_initiation": between(1, 2**31),
    "rule.expiration.days": between(1, 2**31),
    "rule.noncurrent_version_expiration.newer_noncurrent_versions": between(1, 100),
    "rule.noncurrent_version_expiration.noncurrent_days": between(1, 2**31),
    "rule.noncurrent_version_transition.noncurrent_days": between(0, 2**31),
    "rule.noncurrent_version_transition.storage_class": one_of(*STORAGE_CLASSES),
    "rule.transition.days": between(0, 2**31),
    "rule.transition.storage_class": one_of(*STORAGE_CLASSES),
}
_REPLICATION: dict[str, Check] = {
    "role": is_arn,
    "rule.id": length(0, 255),
    "rule.status": STATUS,
    "rule.delete_marker_replication.status": STATUS,
    "rule.existing_object_replication.status": STATUS,
    "rule.destination.account": pattern(r"\d{12}", "to be an account id"),
    "rule.destination.access_control_translation.owner": one_of("Destination"),
    "rule.destination.bucket": is_arn,
    "rule.destination.encryption_configuration.replica_kms_key_id": length(1, 2048),
    "rule.destination.metrics.event_threshold.minutes": one_of(15),
    "rule.destination.metrics.status": STATUS,
    "rule.destination.replication_time.status": STATUS,
    "rule.destination.replication_time.time.minutes": one_of(15),
    "rule.destination.storage_class": one_of(*STORAGE_CLASSES),
    "rule.source_selection_criteria.replica_modifications.status": STATUS,
    "rule.source_selection_criteria.sse_kms_encrypted_objects.status": STATUS,
}

VALUES: dict[str, dict[str, Check]] = {
    "data.aws_iam_policy_document": {
        "version": one_of("2008-10-17", "2012-10-17"),
        "statement.effect": one_of("Allow", "Deny"),
        "statement.sid": pattern("[a-zA-Z0-9]*", "only alphanumeric characters"),
        "source_policy_documents": is_json,
        "override_policy_documents": is_json,
    },
    "aws_cloudwatch_composite_alarm": {
        "alarm_name": length(1, 255),
        "alarm_rule": length(1, 10240),
        "alarm_description": length(0, 1024),
        "alarm_actions": is_arn,
        "ok_actions": is_arn,
        "insufficient_data_actions": is_arn,
    },
    "aws_cloudwatch_dashboard": {
        "dashboard_name": both(
            length(1, 255), pattern(r"[\w-]+", "only alphanumeric characters, hyphens and underscores")
        ),
        "dashboard_body": is_json,
    },
    "aws_cloudwatch_event_rule": {
        "name": RULE_NAME,
        "name_prefix": length(1, 38),
        "description": length(0, 512),
        "schedule_expression": length(0, 256),
        "event_pattern": both(is_json, length(0, 4096)),
        "role_arn": is_arn,
        "state": one_of("ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"),
    },
    "aws_cloudwatch_event_target": {
        "arn": is_arn,
        "role_arn": is_arn,
        "rule": RULE_NAME,
        "target_id": both(length(1, 64), pattern(r"[0-9A-Za-z_.-]+", "only alphanumeric characters, dots, hyphens, _")),
        "input": both(is_json, length(0, 8192)),
        "input_path": length(0, 256),
        "input_transformer.input_template": length(1, 8192),
        "dead_letter_config.arn": is_arn,
        "retry_policy.maximum_event_age_in_seconds": between(60, 86400),
        "retry_policy.maximum_retry_attempts": between(0, 185),
        "ecs_target.group": length(1, 255),
        "ecs_target.launch_type": one_of("EC2", "FARGATE", "EXTERNAL"),
        "ecs_target.platform_version": length(0, 1600),
        "ecs_target.propagate_tags": one_of("TASK_DEFINITION"),
        "ecs_target.task_count": between(1, 2**31 - 1),
        "ecs_target.task_definition_arn": is_arn,
        "ecs_target.capacity_provider_strategy.base": between(0, 100000),
        "ecs_target.capacity_provider_strategy.weight": between(0, 1000),
    },
    "aws_cloudwatch_log_group": {
        "name": both(length(1, 512), pattern(r"[-._/#A-Za-z0-9]+", "only alphanumeric characters and ._-/#")),
        "name_prefix": length(1, 486),
        "kms_key_id": is_arn,
        "log_group_class": one_of("STANDARD", "INFREQUENT_ACCESS", "DELIVERY"),
        "retention_in_days": one_of(*RETENTION_DAYS),
    },
    "aws_cloudwatch_log_metric_filter": {
        "name": both(length(1, 512), pattern(r"[^:*]+", "neither colons nor asterisks")),
        "pattern": length(0, 1024),
        "metric_transformation.name": both(length(1, 255), pattern(r"[^:*$]+", "no colon, asterisk or dollar sign")),
        "metric_transformation.namespace": both(
            length(1, 255), pattern(r"[^:*$]+", "no colon, asterisk or dollar sign")
        ),
        "metric_transformation.value": length(0, 100),
    },
    "aws_cloudwatch_metric_alarm": {
        "alarm_name": length(0, 255),
        "alarm_description": length(0, 1024),
        "alarm_actions": is_arn,
        "ok_actions": is_arn,
        "insufficient_data_actions": is_arn,
        "comparison_operator": one_of(*OPERATORS),
        "datapoints_to_alarm": between(1, 2**31),
        "evaluate_low_sample_count_percentiles": one_of("evaluate", "ignore"),
        "evaluation_periods": between(1, 2**31),
        "metric_name": length(1, 255),
        "namespace": both(length(1, 255), pattern(r"[^:].*", "not to begin with a colon")),
        "period": is_period,
        "statistic": one_of(*STATISTICS),
        "treat_missing_data": one_of("breaching", "notBreaching", "ignore", "missing"),
        "metric_query.id": both(length(1, 255), pattern(r"[a-z]\w*", "to begin with a lowercase letter")),
        "metric_query.expression": length(1, 2048),
        "metric_query.period": is_period,
        "metric_query.metric.metric_name": length(1, 255),
        "metric_query.metric.period": is_period,
        "metric_query.metric.stat": pattern(
            "|".join((*STATISTICS, r"IQM|(p|tm|tc|ts|wm)\d{1,2}(\.\d{1,10})?|(IQM|PR|TC|TM|TS|WM)\(.*\)|p100")),
            "to be a statistic",
        ),
    },
    "aws_ecs_cluster": {
        "name": both(
            length(1, 255), pattern(r"[0-9A-Za-z_-]+", "only alphanumeric characters, hyphens and underscores")
        ),
        "configuration.execute_command_configuration.logging": one_of("NONE", "DEFAULT", "OVERRIDE"),
        "setting.name": one_of("containerInsights"),
        "setting.value": one_of("enabled", "enhanced", "disabled"),
    },
    "aws_ecs_cluster_capacity_providers": {
        "default_capacity_provider_strategy.base": between(0, 100000),
        "default_capacity_provider_strategy.weight": between(0, 1000),
    },
    "aws_ecs_task_definition": {
        "family": both(
            length(1, 255), pattern(r"[0-9A-Za-z_-]+", "only alphanumeric characters, hyphens and underscores")
        ),
        "container_definitions": is_json_list,
        "ephemeral_storage.size_in_gib": between(21, 200),
        "execution_role_arn": is_arn,
        "task_role_arn": is_arn,
        "network_mode": one_of("awsvpc", "bridge", "host", "none"),
        "requires_compatibilities": one_of("EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"),
        "runtime_platform.cpu_architecture": one_of("X86_64", "ARM64"),
        "runtime_platform.operating_system_family": pattern(r"LINUX|WINDOWS_\w+", "to be an operating system family"),
    },
    "aws_iam_policy": {
        "name": POLICY_NAME,
        "name_prefix": both(length(1, 102), IAM_NAME),
        "description": length(0, 1000),
        "path": both(length(0, 512), pattern(r"/(.*/)?", "to begin and end with a slash")),
        "policy": is_policy,
    },
    "aws_iam_role": {
        "name": both(length(1, 64), IAM_NAME),
        "name_prefix": both(length(1, 38), IAM_NAME),
        "assume_role_policy": is_policy,
        "description": both(length(0, 1000), DESCRIPTION),
        "max_session_duration": between(3600, 43200),
        "path": both(length(0, 512), pattern(r"/(.*/)?", "to begin and end with a slash")),
        "permissions_boundary": is_arn,
    },
    "aws_iam_role_policy": {"name": POLICY_NAME, "name_prefix": both(length(1, 102), IAM_NAME), "policy": is_policy},
    "aws_iam_role_policy_attachment": {"policy_arn": is_arn},
    "aws_kms_alias": {"name": is_kms_alias},
    "aws_kms_key": {
        "customer_master_key_spec": one_of(*KEY_SPECS),
        "deletion_window_in_days": between(7, 30),
        "description": length(0, 8192),
        "key_usage": one_of("ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"),
        "policy": both(length(0, 32768), is_policy),
        "rotation_period_in_days": between(90, 2560),
    },
    "aws_kms_key_policy": {"policy": both(length(0, 32768), is_policy)},
    "aws_s3_bucket": {"bucket": length(0, 63), "bucket_prefix": length(0, 37)},
    "aws_s3_bucket_lifecycle_configuration": _LIFECYCLE,
    "aws_s3_bucket_logging": {"target_bucket": length(1, 63)},
    "aws_s3_bucket_metric": {"name": length(1, 64)},
    "aws_s3_bucket_notification": {
        "queue.queue_arn": is_arn,
        "topic.topic_arn": is_arn,
        "lambda_function.lambda_function_arn": is_arn,
    },
    "aws_s3_bucket_object_lock_configuration": {
        "object_lock_enabled": one_of("Enabled"),
        "rule.default_retention.mode": one_of("COMPLIANCE", "GOVERNANCE"),
        "rule.default_retention.days": between(1, 36500),
        "rule.default_retention.years": between(1, 100),
    },
    "aws_s3_bucket_ownership_controls": {
        "rule.object_ownership": one_of("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
    },
    "aws_s3_bucket_policy": {"policy": is_policy},
    "aws_s3_bucket_replication_configuration": _REPLICATION,
    "aws_s3_bucket_server_side_encryption_configuration": {
        "rule.apply_server_side_encryption_by_default.sse_algorithm": one_of("AES256", "aws:kms", "aws:kms:dsse"),
    },
    "aws_s3_bucket_versioning": {
        "versioning_configuration.status": one_of("Enabled", "Suspended", "Disabled"),
        "versioning_configuration.mfa_delete": STATUS,
    },
    "aws_scheduler_schedule": {
        "name": both(length(1, 64), pattern(r"[0-9A-Za-z_.-]+", "only alphanumeric characters, dots, hyphens, _")),
        "name_prefix": length(1, 38),
        "description": length(0, 512),
        "flexible_time_window.mode": one_of("OFF", "FLEXIBLE"),
        "flexible_time_window.maximum_window_in_minutes": between(1, 1440),
        "kms_key_arn": is_arn,
        "schedule_expression": length(1, 256),
        "state": STATE,
        "target.arn": is_arn,
        "target.role_arn": is_arn,
        "target.dead_letter_config.arn": is_arn,
        "target.ecs_parameters.launch_type": one_of("EC2", "FARGATE", "EXTERNAL"),
        "target.ecs_parameters.task_count": between(1, 10),
        "target.ecs_parameters.task_definition_arn": is_arn,
        "target.retry_policy.maximum_event_age_in_seconds": between(60, 86400),
        "target.retry_policy.maximum_retry_attempts": between(0, 185),
    },
    "aws_secretsmanager_secret": {
        "name": both(length(1, 512), pattern(r"[0-9A-Za-z/_+=.@-]+", "only alphanumeric characters and /_+=.@-")),
        "description": length(0, 2048),
        "policy": is_policy,
        "recovery_window_in_days": lambda value: None if value == 0 else between(7, 30)(value),
    },
    "aws_secretsmanager_secret_policy": {"policy": is_policy, "secret_arn": is_arn},
    "aws_security_group": {
        "name": both(length(0, 255), pattern(r"(?!sg-).*", "not to begin with 'sg-'")),
        "name_prefix": both(length(0, 100), pattern(r"(?!sg-).*", "not to begin with 'sg-'")),
        "description": GROUP_TEXT,
    },
    "aws_sfn_state_machine": {
        "name": both(length(1, 80), pattern(r"[0-9A-Za-z_-]+", "only alphanumeric characters, hyphens, _")),
        "name_prefix": both(length(1, 54), pattern(r"[0-9A-Za-z_-]+", "only alphanumeric characters, hyphens, _")),
        "definition": length(0, 1024 * 1024),
        "role_arn": is_arn,
        "type": one_of("STANDARD", "EXPRESS"),
        "encryption_configuration.kms_data_key_reuse_period_seconds": between(60, 900),
        "encryption_configuration.type": one_of("AWS_OWNED_KEY", "CUSTOMER_MANAGED_KMS_KEY"),
        "logging_configuration.level": one_of("ALL", "ERROR", "FATAL", "OFF"),
    },
    "aws_sns_topic": {
        "name": both(length(1, 256), pattern(r"[0-9A-Za-z_-]+(\.fifo)?", "only alphanumeric characters, hyphens, _")),
        "name_prefix": length(1, 230),
        "display_name": length(0, 100),
        "policy": is_policy,
        "delivery_policy": is_json,
        "tracing_config": one_of("Active", "PassThrough"),
    },
    "aws_sns_topic_policy": {"arn": is_arn, "policy": is_policy},
    "aws_sns_topic_subscription": {
        "protocol": one_of("application", "email", "email-json", "firehose", "http", "https", "lambda", "sms", "sqs"),
        "topic_arn": is_arn,
        "filter_policy": is_json,
        "redrive_policy": is_json,
        "subscription_role_arn": is_arn,
    },
    "aws_sqs_queue": {
        "name": pattern(
            r"[0-9A-Za-z_-]{1,80}|[0-9A-Za-z_-]{1,75}\.fifo", "1 to 80 alphanumeric characters, hyphens and _"
        ),
        "delay_seconds": between(0, 900),
        "kms_data_key_reuse_period_seconds": between(60, 86400),
        "max_message_size": between(1024, 1048576),
        "message_retention_seconds": between(60, 1209600),
        "policy": is_policy,
        "receive_wait_time_seconds": between(0, 20),
        "redrive_policy": is_json,
        "redrive_allow_policy": is_json,
        "visibility_timeout_seconds": between(0, 43200),
    },
    "aws_sqs_queue_policy": {"policy": is_policy},
    "aws_vpc_endpoint": {
        "policy": is_policy,
        "vpc_endpoint_type": one_of("Gateway", "GatewayLoadBalancer", "Interface", "Resource", "ServiceNetwork"),
    },
    "aws_vpc_security_group_egress_rule": _SECURITY_RULE,
    "aws_vpc_security_group_ingress_rule": _SECURITY_RULE,
}


def _alarm(config: Json) -> Iterator[Problem]:
    """An alarm needs exactly one way to measure."""
    if not any(config.get(name) for name in ("metric_name", "metric_query", "evaluation_criteria")):
        yield Problem("one of `metric_name` or `metric_query` must be set")
    yield from at_most_one(config, "metric_name", "metric_query")
    yield from at_most_one(config, "statistic", "extended_statistic")
    if isinstance(config.get("metric_name"), str) and not (config.get("statistic") or config.get("extended_statistic")):
        yield Problem("one of `statistic` or `extended_statistic` must be set with `metric_name`", ("metric_name",))


def _event_rule(config: Json) -> Iterator[Problem]:
    if config.get("schedule_expression") is None and config.get("event_pattern") is None:
        yield Problem('one of "event_pattern" or "schedule_expression" must be specified')


def _event_target(config: Json) -> Iterator[Problem]:
    yield from at_most_one(config, "input", "input_path", "input_transformer")


def _security_group_rule(config: Json) -> Iterator[Problem]:
    ways = ("cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id")
    given = [config[name] for name in ways if config.get(name) is not None]
    if len(given) != 1 and is_wholly_known(given):
        yield Problem(f"exactly one of these attributes must be configured: {list(ways)}")


def _object_lock(config: Json) -> Iterator[Problem]:
    for number, rule in enumerate(blocks(config, "rule")):
        for retention in blocks(rule, "default_retention"):
            given = [retention[name] for name in ("days", "years") if retention.get(name) is not None]
            if len(given) != 1 and is_wholly_known(given):
                place = ("rule", number, "default_retention")
                yield Problem("exactly one of `days` and `years` must be specified", place)


def _secret_version(config: Json) -> Iterator[Problem]:
    ways = ("secret_binary", "secret_string", "secret_string_wo")
    if all(config.get(name) is None for name in ways):
        yield Problem(f"one of {list(ways)} must be specified")
    yield from at_most_one(config, *ways)


WHOLES: dict[str, Callable[[Json], Iterator[Problem]]] = {
    "aws_cloudwatch_event_rule": _event_rule,
    "aws_cloudwatch_event_target": _event_target,
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_s3_bucket_object_lock_configuration": _object_lock,
    "aws_secretsmanager_secret_version": _secret_version,
    "aws_vpc_security_group_egress_rule": _security_group_rule,
    "aws_vpc_security_group_ingress_rule": _security_group_rule,
}


def problems(kind: str, config: Json) -> Iterator[Problem]:
    """Everything wrong with a configuration; `kind` of a data source begins with "data."."""
    for path, check in VALUES.get(kind, {}).items():
        for place, value in values_at(config, path.split(".")):
            if value is not None and value is not UNKNOWN and (message := check(value)):
                yield Problem(f"expected {path} {message}", place)
    for pair in (("name", "name_prefix"), ("bucket", "bucket_prefix")):
        if not kind.startswith("data."):
            yield from at_most_one(config, *pair)
    region = config.get("region")
    if isinstance(region, str) and not REGION.fullmatch(region):
        yield Problem(f"invalid AWS Region: {region}", ("region",))
    if kind in WHOLES:
        yield from WHOLES[kind](config)


def unconfigurable(block: Json, config: Json, place: tuple[Step, ...] = ()) -> Iterator[Problem]:
    """Values for attributes that are computed only; Terraform leaves it to the provider to refuse them."""
    for name, attribute in block["attributes"].items():
        settable = attribute.get("optional") or attribute.get("required")
        if config.get(name) is not None and not settable:
            message = f'Can\'t configure a value for "{name}": its value is decided by applying this configuration'
            yield Problem(message, (*place, name))
    for name, nested in block.get("block_types", {}).items():
        for number, inner in enumerate(blocks(config, name)):
            yield from unconfigurable(nested["block"], inner, (*place, name, number))
