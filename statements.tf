# Statements of several policies, each merged with source_policy_documents. What breaks without one is said where it is
# used.

# CloudWatch has no resources to name.
data "aws_iam_policy_document" "publish_metrics" {
  statement {
    sid       = "PublishMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [local.metrics.namespace]
    }
  }
}

data "aws_iam_policy_document" "list_manifests" {
  statement {
    sid       = "ListVersionsOfManifests"
    actions   = ["s3:ListBucketVersions"]
    resources = [local.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.prefix}/*"]
    }
  }
}

# -- keys ----------------------------------------------------------------------------------------

locals {
  to_encrypt = ["kms:GenerateDataKey", "kms:Decrypt"]
  to_decrypt = ["kms:Decrypt"]
  to_copy    = ["kms:Encrypt", "kms:GenerateDataKey"]

  # By Sid, without those whose key is AWS's own. A key may be used through one service in one region only.
  key_uses = { for sid, use in {
    EncryptPrimary = { key = "primary", service = "s3.${local.region}", actions = local.to_encrypt }
    DecryptPrimary = { key = "primary", service = "s3.${local.region}", actions = local.to_decrypt }
    EncryptReplica = { key = "replica", service = "s3.${var.replica_region}", actions = local.to_copy }
    DecryptReplica = { key = "replica", service = "s3.${var.replica_region}", actions = local.to_decrypt }
    DecryptSecret  = { key = "secret", service = "secretsmanager.${local.region}", actions = local.to_decrypt }
  } : sid => use if contains(keys(var.kms_key_arns), use.key) }

  key_statements = { for sid, use in local.key_uses : sid => data.aws_iam_policy_document.key[sid].json }
}

data "aws_iam_policy_document" "key" {
  for_each = local.key_uses

  statement {
    sid       = each.key
    actions   = each.value.actions
    resources = [local.kms_key_arns[each.value.key]]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["${each.value.service}.${local.dns_suffix}"]
    }
  }
}

# -- starting tasks ------------------------------------------------------------------------------

locals {
  scheduler_statements = local.is_scheduler ? [data.aws_iam_policy_document.keep_failed_starts.json] : []

  # The names of the tasks that each role starts.
  task_starters = { for role, names in {
    schedule      = keys(local.started_names)
    state-machine = local.orchestrated_names
  } : role => names if length(names) > 0 }
}

data "aws_iam_policy_document" "start_tasks" {
  for_each = local.task_starters

  source_policy_documents = each.key == "schedule" ? local.scheduler_statements : []

  # Without it: no task starts. On schedule: FailedInvocations, and the start ends in the dead-letter queue. In the
  # state machine: ECS.AccessDeniedException in List.
  statement {
    sid       = "StartTasks"
    actions   = ["ecs:RunTask"]
    resources = [for name in each.value : "${aws_ecs_task_definition.task[name].arn_without_revision}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  # Without it: RunTask is refused, because the task is started with tags. Only while it is started.
  statement {
    sid       = "TagTasks"
    actions   = ["ecs:TagResource"]
    resources = [local.task_arns]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }

  # Without it: RunTask is refused, because it passes the task its own role and the execution role.
  statement {
    sid       = "HandOverTheRoles"
    actions   = ["iam:PassRole"]
    resources = distinct(concat([local.role_arns["execution"]], [for name in each.value : local.tasks[name].role_arn]))

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}
