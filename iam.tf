# Who may do what. Each statement says what breaks without it; tests evaluate every AWS call of a real run against them.

locals {
  # A service assumes a role only for this account, and the schedule's role only for its own rules.
  trust = merge({
    task      = { service = "ecs-tasks.amazonaws.com", source_arns = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:*"] }
    execution = { service = "ecs-tasks.amazonaws.com", source_arns = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:*"] }
    schedule  = { service = "events.amazonaws.com", source_arns = [for name in values(local.started_names) : "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${name}"] }
    }, length(local.orchestrations) == 0 ? {} : {
    start         = { service = "events.amazonaws.com", source_arns = ["arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${local.scheduled_names["backup"]}"] }
    state_machine = { service = "states.amazonaws.com", source_arns = [local.state_machine_arn, "${local.state_machine_arn}/*"] }
  })

  # Private images need permissions; public ones (public.ecr.aws, ghcr.io) need none.
  private_image = try(regex("^(?P<account>[0-9]{12})\\.dkr[.-]ecr(?:-fips)?\\.(?P<region>[a-z0-9-]+)\\.[a-z.]+/(?P<name>[^@:]+)", local.image_uri), null)
}

# Do not add a condition: AWS's trust policy for replication has none, and S3 does not document that it sends
# aws:SourceAccount or aws:SourceArn here. If S3 does not send it, such a condition keeps everything from being
# replicated. No other account can use the role: IAM passes a role only within its own account.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
data "aws_iam_policy_document" "replication_trust" {
  statement {
    sid     = "AssumedByS3"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.trust

  statement {
    sid     = "AssumedByItsServiceHere"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [each.value.service]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = each.value.source_arns
    }
  }
}

# == task: what a backup run may do ==============================================================

resource "aws_iam_role" "task" {
  name                 = "${var.service_name}-task-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "What a backup run may do"
  assume_role_policy   = data.aws_iam_policy_document.trust["task"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "task" {
  name   = "backup"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

data "aws_iam_policy_document" "task" {
  # Without it: exit code 2, "the secret ... can't be read".
  statement {
    sid       = "ReadTheAppsKey"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.secret_arn]
  }

  # Without it: exit code 2, "accepts no objects". There is no permission to delete: a stolen task role destroys nothing.
  statement {
    sid       = "PutBackups"
    actions   = ["s3:PutObject"]
    resources = local.backup_arns
  }

  # Without it: exit code 1, because the manifest can't be read back; every repository is cloned on every run; and nobody
  # knows what is replicated: HeadObject, which tells the replication status, needs these too.
  statement {
    sid       = "ReadBackups"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = local.backup_arns
  }

  # Without it: a manifest that somebody deleted is not found, and the next run clones every repository.
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

  # Without it: the parts of an interrupted upload stay, unseen and paid for, until the lifecycle rule removes them.
  statement {
    sid       = "AbortUploads"
    actions   = ["s3:AbortMultipartUpload"]
    resources = local.backup_arns
  }

  # Without it: a missing bucket can't be told from a forbidden one, and the last manifest is not found.
  statement {
    sid       = "SeeWhetherTheBucketIsThere"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  # Without it: no metrics, and the alarm that nothing ran fires. CloudWatch has no resources to name.
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

  # Without it: S3 can't encrypt the bundles. A multipart upload needs Decrypt too.
  dynamic "statement" {
    for_each = local.kms_key_arns.primary == null ? [] : [local.kms_key_arns.primary]

    content {
      sid       = "EncryptBundles"
      actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${local.dns_suffix}"]
      }
    }
  }

  # Without it: exit code 2, the secret can't be decrypted.
  dynamic "statement" {
    for_each = local.kms_key_arns.secret == null ? [] : [local.kms_key_arns.secret]

    content {
      sid       = "DecryptTheAppsKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.${local.dns_suffix}"]
      }
    }
  }
}

# == execution: what Fargate does to start a task and ship its logs ==============================

resource "aws_iam_role" "execution" {
  name                 = "${var.service_name}-execution-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "What Fargate does to start a task and ship its logs"
  assume_role_policy   = data.aws_iam_policy_document.trust["execution"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "execution"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "execution" {
  # Without it: the task does not start, "ResourceInitializationError: failed to validate logger args".
  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for name in keys(local.task_names) : "${aws_cloudwatch_log_group.task.arn}:log-stream:${name}/*"]
  }

  # Without these two: "CannotPullContainerError". The registry token has no resource to name.
  dynamic "statement" {
    for_each = local.private_image == null ? [] : [local.private_image]

    content {
      sid       = "SignInToTheRegistry"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = local.private_image == null ? [] : [local.private_image]

    content {
      sid       = "PullTheImage"
      actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = ["arn:${local.partition}:ecr:${statement.value.region}:${statement.value.account}:repository/${statement.value.name}"]
    }
  }
}

# == schedule: what EventBridge does to start a task =============================================

resource "aws_iam_role" "schedule" {
  count = length(local.started_names) == 0 ? 0 : 1

  name                 = "${var.service_name}-schedule-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "Starts runs on schedule"
  assume_role_policy   = data.aws_iam_policy_document.trust["schedule"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "schedule" {
  count = length(aws_iam_role.schedule)

  name   = "schedule"
  role   = aws_iam_role.schedule[0].id
  policy = data.aws_iam_policy_document.schedule[0].json
}

data "aws_iam_policy_document" "schedule" {
  count = length(local.started_names) == 0 ? 0 : 1

  # Without it: FailedInvocations, and the start ends in the dead-letter queue.
  statement {
    sid       = "StartTheTask"
    actions   = ["ecs:RunTask"]
    resources = [for name in keys(local.started_names) : "${aws_ecs_task_definition.task[name].arn_without_revision}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  # Without it: RunTask is refused, because the task is started with tags. Only while it is started.
  statement {
    sid       = "TagTheTask"
    actions   = ["ecs:TagResource"]
    resources = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:task/${local.cluster_name}/*"]

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
    resources = distinct(concat([aws_iam_role.execution.arn], [for name in keys(local.started_names) : local.tasks[name].role_arn]))

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# == replication: what S3 does to copy objects to the other region ===============================

resource "aws_iam_role" "replication" {
  name                 = "${var.service_name}-replication-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "Copies backups to the replica bucket"
  assume_role_policy   = data.aws_iam_policy_document.replication_trust.json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "replication" {
  name   = "replication"
  role   = aws_iam_role.replication.id
  policy = data.aws_iam_policy_document.replication.json
}

data "aws_iam_policy_document" "replication" {
  # Without it: nothing is replicated.
  statement {
    sid       = "SeeWhatToReplicate"
    actions   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  # Without it: OperationsFailedReplication. Tags and locks go with the object.
  statement {
    sid = "ReadVersions"
    actions = [
      "s3:GetObjectLegalHold",
      "s3:GetObjectRetention",
      "s3:GetObjectVersionAcl",
      "s3:GetObjectVersionForReplication",
      "s3:GetObjectVersionTagging",
    ]
    resources = ["${local.bucket_arn}/*"]
  }

  # Without it: OperationsFailedReplication. Without s3:ReplicateDelete, a deletion stays where it happened.
  statement {
    sid       = "WriteReplicas"
    actions   = concat(["s3:ReplicateObject", "s3:ReplicateTags"], local.replica_is_foreign ? ["s3:ObjectOwnerOverrideToBucketOwner"] : [])
    resources = ["${local.replica_arn}/*"]
  }

  # Without these two: objects encrypted with a customer key are not replicated.
  dynamic "statement" {
    for_each = local.kms_key_arns.primary == null ? [] : [local.kms_key_arns.primary]

    content {
      sid       = "DecryptTheOriginal"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${local.dns_suffix}"]
      }
    }
  }

  dynamic "statement" {
    for_each = local.kms_key_arns.replica == null ? [] : [local.kms_key_arns.replica]

    content {
      sid       = "EncryptTheReplica"
      actions   = ["kms:Encrypt", "kms:GenerateDataKey"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${var.replica_region}.${local.dns_suffix}"]
      }
    }
  }
}

# == resource policies ===========================================================================

# Whoever the account's IAM allows may manage the secret, the writers may store the key, only the task may read it.
data "aws_iam_policy_document" "app_key" {
  # Without it: the writers need an IAM policy of their own to store the key.
  statement {
    sid       = "WritersStoreTheKey"
    actions   = ["secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = var.github_app_key_secret_writers
    }
  }

  # Without it: whoever may write any secret in this account could replace the key.
  statement {
    sid       = "NobodyElseStoresAKey"
    effect    = "Deny"
    actions   = ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecret"]
    resources = ["*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = var.github_app_key_secret_writers
    }
  }

  # Without it: whoever may read any secret in this account could sign in as the App.
  statement {
    sid       = "OnlyTheTaskReadsTheKey"
    effect    = "Deny"
    actions   = ["secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"]
    resources = ["*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [aws_iam_role.task.arn]
    }
  }
}

data "aws_iam_policy_document" "dead_letters" {
  # Without it: failed starts are lost.
  statement {
    sid       = "TheScheduleLeavesFailedStarts"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = concat([aws_cloudwatch_event_rule.task_failed.arn], [for rule in aws_cloudwatch_event_rule.task : rule.arn])
    }
  }
}

data "aws_iam_policy_document" "alarms" {
  # Without it: alarms change state and nobody is told.
  statement {
    sid       = "AlarmsNotify"
    actions   = ["sns:Publish"]
    resources = ["arn:${local.partition}:sns:${local.region}:${local.account_id}:${local.topic_name}"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }

  # Without it: nobody is told of a task that does not start. No condition: with one, EventBridge's message may be refused,
  # and a message too many is better than one too few.
  statement {
    sid       = "TaskEventsNotify"
    actions   = ["sns:Publish"]
    resources = ["arn:${local.partition}:sns:${local.region}:${local.account_id}:${local.topic_name}"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "alarms_key" {
  #checkov:skip=CKV_AWS_109:a key policy applies to its own key only, and without the account nobody could change it
  #checkov:skip=CKV_AWS_111:a key policy applies to its own key only
  #checkov:skip=CKV_AWS_356:a key policy applies to its own key only

  # Without it: nobody could ever change or delete the key again.
  statement {
    sid       = "TheAccountManagesTheKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }
  }

  # Without it: CloudWatch and EventBridge can't publish to the encrypted topic, and every alarm is silent. The policy of the
  # AWS-managed key (alias/aws/sns) can't be changed, which is why the module has its own.
  statement {
    sid       = "AlarmsAndEventsPublish"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
  }
}
