# Who may do what. Each statement says what breaks without it; tests evaluate every AWS call of a real run against them.

locals {
  # A role can be assumed by its service on behalf of this account only.
  trust = {
    task      = { service = "ecs-tasks.amazonaws.com", source_arns = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:*"] }
    execution = { service = "ecs-tasks.amazonaws.com", source_arns = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:*"] }
    schedule = {
      service     = "events.amazonaws.com"
      source_arns = [for rule in concat([var.service_name], local.drill == null ? [] : [local.drill_name]) : "arn:${local.partition}:events:${local.region}:${local.account_id}:rule/${rule}"]
    }
    # S3 documents no source ARN for replication; one that it did not send would keep everything from being copied.
    replication = { service = "s3.amazonaws.com", source_arns = [] }
  }

  # Private images need permissions; public ones (public.ecr.aws, ghcr.io) need none.
  private_image = try(regex("^(?P<account>[0-9]{12})\\.dkr[.-]ecr(?:-fips)?\\.(?P<region>[a-z0-9-]+)\\.[a-z.]+/(?P<name>[^@:]+)", local.image_uri), null)
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

    dynamic "condition" {
      for_each = length(each.value.source_arns) == 0 ? [] : [each.value.source_arns]

      content {
        test     = "ArnLike"
        variable = "aws:SourceArn"
        values   = condition.value
      }
    }
  }
}

# == task: what container/backup.py may do =======================================================

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

  # Without it: exit code 2, "takes no objects". No deletion, so that a stolen token of the task destroys nothing.
  statement {
    sid       = "PutBundlesAndManifest"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.prefix}/*"]
  }

  # Without it: exit code 1, the manifest can't be read back; and every repository is cloned on every run, as the last
  # bundle of one that did not change can't be copied. Only what the program itself wrote.
  statement {
    sid       = "ReadBackups"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${local.bucket_arn}/${local.prefix}/*"]
  }

  # Without it: an upload that was stopped stays, unseen and paid for, until the lifecycle removes it.
  statement {
    sid       = "AbortUploads"
    actions   = ["s3:AbortMultipartUpload"]
    resources = ["${local.bucket_arn}/${local.prefix}/*"]
  }

  # Without it: a missing bucket can't be told from a forbidden one, and the last manifest is not found.
  statement {
    sid       = "SeeWhetherTheBucketIsThere"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  # Without it: no metrics, and the alarm that nothing ran goes off. CloudWatch has no resources to name.
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

  # Without it: S3 can't encrypt what is put; an upload in parts needs Decrypt too.
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

# == execution: what Fargate does before and around the program ==================================

resource "aws_iam_role" "execution" {
  name                 = "${var.service_name}-execution-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "What Fargate does to start a run and to carry its logs away"
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
    resources = [for prefix in concat(["backup"], local.drill == null ? [] : ["drill"]) : "${aws_cloudwatch_log_group.task.arn}:log-stream:${prefix}/*"]
  }

  # Without these two: "CannotPullContainerError". The token is the account's and has no resource to name.
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

# == schedule: what EventBridge does at each tick ================================================

resource "aws_iam_role" "schedule" {
  name                 = "${var.service_name}-schedule-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "Starts runs on schedule"
  assume_role_policy   = data.aws_iam_policy_document.trust["schedule"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "schedule" {
  name   = "schedule"
  role   = aws_iam_role.schedule.id
  policy = data.aws_iam_policy_document.schedule.json
}

data "aws_iam_policy_document" "schedule" {
  # Without it: FailedInvocations, and the start ends in the dead-letter queue.
  statement {
    sid       = "StartTheTask"
    actions   = ["ecs:RunTask"]
    resources = [for task in concat([aws_ecs_task_definition.backup], aws_ecs_task_definition.drill) : "${task.arn_without_revision}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  # Without it: RunTask is refused, as it hands the task its own role and that of the execution.
  statement {
    sid       = "HandOverTheRoles"
    actions   = ["iam:PassRole"]
    resources = concat([aws_iam_role.task.arn, aws_iam_role.execution.arn], aws_iam_role.drill[*].arn)

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# == replication: what S3 does to copy to the other region =======================================

resource "aws_iam_role" "replication" {
  name                 = "${var.service_name}-replication-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "Copies backups to the replica bucket"
  assume_role_policy   = data.aws_iam_policy_document.trust["replication"].json
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

  # Without it: OperationsFailedReplication. Not s3:ReplicateDelete: a deletion stays where it happened.
  statement {
    sid       = "WriteReplicas"
    actions   = concat(["s3:ReplicateObject", "s3:ReplicateTags"], local.replica_is_foreign ? ["s3:ObjectOwnerOverrideToBucketOwner"] : [])
    resources = ["${local.replica_arn}/*"]
  }

  # Without these two: objects under a customer's key are left out.
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

# == policies of resources =======================================================================

# Admins (whoever the account's IAM lets) may manage the secret, the writers may store a key, the task may read it.
data "aws_iam_policy_document" "app_key" {
  # Without it: the writers need a policy of their own to store the key.
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
  # Without it: starts that failed vanish.
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
      values   = concat([aws_cloudwatch_event_rule.backup.arn, aws_cloudwatch_event_rule.task_failed.arn], aws_cloudwatch_event_rule.drill[*].arn)
    }
  }
}

data "aws_iam_policy_document" "alarms" {
  for_each = local.topic_regions

  # Without it: alarms change their state and nobody hears of it.
  statement {
    sid       = "AlarmsNotify"
    actions   = ["sns:Publish"]
    resources = ["arn:${local.partition}:sns:${each.value}:${local.account_id}:${local.topic_name}"]

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

  # Without it: tasks that fail to start are not told. No condition: a topic's policy that has one for EventBridge may
  # keep the message away, and a message too many is better than one too few.
  statement {
    sid       = "TaskEventsNotify"
    actions   = ["sns:Publish"]
    resources = ["arn:${local.partition}:sns:${each.value}:${local.account_id}:${local.topic_name}"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "alarms_key" {
  #checkov:skip=CKV_AWS_109:a key's policy speaks of its own key only, and without the account nobody could change it
  #checkov:skip=CKV_AWS_111:a key's policy speaks of its own key only
  #checkov:skip=CKV_AWS_356:a key's policy speaks of its own key only

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

  # Without it: CloudWatch and EventBridge can't write to the encrypted topic, and every alarm is silent. The key that AWS
  # manages (alias/aws/sns) can't be given this, which is why there is one of our own.
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
