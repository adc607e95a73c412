# The restore drill: restore.py verify, from the replica bucket, on a schedule of its own. Nothing here is made while
# restore_drill is null.

locals {
  drill_interval_hours = try(coalesce(var.restore_drill.interval_hours, local.rate_hours.drill), null)

  # null, or the input with what it leaves open filled in.
  drill = var.restore_drill == null ? null : merge(var.restore_drill, {
    interval_hours       = local.drill_interval_hours
    window_hours         = local.drill_interval_hours + var.restore_drill.grace_hours
    cpu                  = coalesce(var.restore_drill.cpu, var.task_cpu)
    memory               = coalesce(var.restore_drill.memory, var.task_memory)
    ephemeral_storage_gb = coalesce(var.restore_drill.ephemeral_storage_gb, var.task_ephemeral_storage_gb)
  })
  drills       = local.drill == null ? [] : [local.drill]
  drill_name   = "${var.service_name}-drill"
  drill_prefix = "${local.prefix}-drills"
}

# -- task ----------------------------------------------------------------------------------------

resource "aws_ecs_task_definition" "drill" {
  count = length(local.drills)

  family                   = local.drill_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = local.drill.cpu
  memory                   = local.drill.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.drill[0].arn
  tags                     = local.tags

  ephemeral_storage {
    size_in_gib = local.drill.ephemeral_storage_gb
  }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  volume {
    name = local.scratch.name
  }

  container_definitions = jsonencode([merge(local.container, {
    name       = "drill"
    memory     = local.drill.memory
    entryPoint = ["python3", "/app/restore.py"]
    command = [
      "verify",
      "--bucket", local.replica_name,
      "--region", var.replica_region,
      "--prefix", local.prefix,
      "--within-days", tostring(local.drill.within_days),
      "--every-hours", tostring(local.drill.interval_hours),
      "--report", "s3://${local.bucket_name}/${local.drill_prefix}/",
      "--publish",
    ]
    environment = [for name in ["AWS_REGION", "SERVICE_NAME", "TMPDIR"] : { name = name, value = local.environment[name] }]

    logConfiguration = {
      logDriver = "awslogs"
      options   = merge(local.log_options, { "awslogs-stream-prefix" = "drill" })
    }
  })])

  lifecycle {
    precondition {
      condition     = local.drill.within_days * 24 >= local.drill.interval_hours
      error_message = "restore_drill.within_days must not be shorter than the hours between two drills (interval_hours, or those of its schedule_expression: ${local.drill.interval_hours}): no drill would prove everything. Got: ${local.drill.within_days}."
    }

    precondition {
      condition     = alltrue([for one in var.storage_transitions : !contains(["GLACIER", "DEEP_ARCHIVE"], one.storage_class) || one.days * 24 > local.window_hours])
      error_message = "storage_transitions must leave the newest backup, up to ${local.window_hours} hours old, out of GLACIER and DEEP_ARCHIVE where restore_drill is on: a drill can't wait for what must be thawed first. Got: ${jsonencode(var.storage_transitions)}."
    }
  }
}

# -- schedule ------------------------------------------------------------------------------------

resource "aws_cloudwatch_event_rule" "drill" {
  count = length(local.drills)

  name                = local.drill_name
  description         = "Starts a restore drill of ${var.service_name}"
  schedule_expression = local.drill.schedule_expression
  state               = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "drill" {
  count = length(local.drills)

  rule     = aws_cloudwatch_event_rule.drill[0].name
  arn      = local.cluster_arn
  role_arn = aws_iam_role.schedule.arn

  ecs_target {
    task_definition_arn = aws_ecs_task_definition.drill[0].arn
    launch_type         = "FARGATE"
    task_count          = 1

    network_configuration {
      subnets          = var.subnet_ids
      security_groups  = [aws_security_group.task.id]
      assign_public_ip = var.assign_public_ip
    }
  }

  # As for a backup run: an hour of tries, then the queue, which raises an alarm.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  # A start before the role may start anything would be lost.
  depends_on = [aws_iam_role_policy.schedule]
}

# -- role: what container/restore.py verify may do -----------------------------------------------

resource "aws_iam_role" "drill" {
  count = length(local.drills)

  name                 = "${local.drill_name}-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "What a restore drill may do: read the replica, tell the result"
  assume_role_policy   = data.aws_iam_policy_document.trust["task"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "drill" {
  count = length(local.drills)

  name   = "drill"
  role   = aws_iam_role.drill[0].id
  policy = data.aws_iam_policy_document.drill[0].json
}

data "aws_iam_policy_document" "drill" {
  count = length(local.drills)

  # Without it: no dates are found, and an object that is gone looks like one that may not be read. No condition on the
  # prefix: a read of one object has none, so S3 would answer 403 to each that is missing.
  statement {
    sid       = "ListReplicas"
    actions   = ["s3:ListBucket"]
    resources = [local.replica_arn]
  }

  # Without it: the versions of a day's manifest are not found.
  statement {
    sid       = "ListVersionsOfReplicas"
    actions   = ["s3:ListBucketVersions"]
    resources = [local.replica_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.prefix}/*"]
    }
  }

  # Without it: nothing can be restored. Manifests are read as they are, bundles by the version that the manifest names.
  statement {
    sid       = "ReadReplicas"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${local.replica_arn}/${local.prefix}/*"]
  }

  # Without these two: the drill fails, as nobody could look up what was proven, the next drill included, which goes on
  # where this one ended. No backup has such a key.
  statement {
    sid       = "FindReports"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.drill_prefix}/*"]
    }
  }

  statement {
    sid       = "ReadAndPutReports"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.drill_prefix}/*"]
  }

  # Without it: no metrics, and the alarm that no drill ran goes off. CloudWatch has no resources to name.
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

  # Without it: S3 can't decrypt what is read.
  dynamic "statement" {
    for_each = local.kms_key_arns.replica == null ? [] : [local.kms_key_arns.replica]

    content {
      sid       = "DecryptReplicas"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${var.replica_region}.${local.dns_suffix}"]
      }
    }
  }

  # Without it: S3 can't encrypt the report, nor decrypt the last one.
  dynamic "statement" {
    for_each = local.kms_key_arns.primary == null ? [] : [local.kms_key_arns.primary]

    content {
      sid       = "EncryptReports"
      actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${local.dns_suffix}"]
      }
    }
  }
}
