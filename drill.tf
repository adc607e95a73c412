# The restore drill: `restore verify` from the replica bucket, on its own schedule. Nothing here is created while
# restore_drill is null.

locals {
  # null, or the input with its gaps filled.
  drill = var.restore_drill == null ? null : merge(var.restore_drill, {
    schedule_expression  = coalesce(var.restore_drill.schedule_expression, local.drill_default_schedule)
    interval_hours       = local.drill_interval_hours
    window_hours         = local.drill_interval_hours + var.restore_drill.grace_hours
    cpu                  = coalesce(var.restore_drill.cpu, var.task_cpu)
    memory               = coalesce(var.restore_drill.memory, var.task_memory)
    ephemeral_storage_gb = coalesce(var.restore_drill.ephemeral_storage_gb, var.task_ephemeral_storage_gb)
  })
  drills       = local.drill == null ? [] : [local.drill]
  drill_name   = "${var.service_name}-drill"
  drill_prefix = "${local.prefix}-drills"

  drill_interval_is_known = try(var.restore_drill.interval_hours, null) != null || module.drill_schedule.hours != null
  drill_interval_hours    = try(coalesce(var.restore_drill.interval_hours, module.drill_schedule.hours, 24), null)

  # Replication gets two hours before a drill calls the newest copy too old.
  replication_hours = 2

  drill_command = [for drill in local.drills : concat(
    [
      "restore", "verify",
      "--bucket", local.replica_name,
      "--region", var.replica_region,
      "--prefix", local.prefix,
      "--within-days", tostring(drill.within_days),
      "--every-hours", tostring(drill.interval_hours),
      "--max-age-hours", tostring(local.window_hours + local.replication_hours),
      "--report", "s3://${local.bucket_name}/${local.drill_prefix}/",
      "--publish",
    ],
    # A bucket of yours has its own lifecycle rules.
    var.existing.bucket != null || var.backup_retention_days == 0 ? [] : [
      "--page-retention-days", tostring(var.backup_retention_days)
    ],
    flatten([for arn in local.trusted_key_arns : ["--page-key", arn]]),
  )]

  # The newest manifest is as old as an alarm allows, and names bundles and lists that are up to full_backup_days older,
  # and content that is up to max_content_days older.
  oldest_named_days  = local.has_content ? local.max_content_days : var.full_backup_days
  newest_backup_days = local.oldest_named_days + ceil(local.window_hours / 24)

  drill_problems = compact(flatten([for drill in local.drills : [
    drill.within_days * 24 >= drill.interval_hours ? "" :
    join(" ", [
      "restore_drill.within_days must not be shorter than the time between two drills (${drill.interval_hours} hours):",
      "otherwise no drill proves everything. Got: ${drill.within_days}.",
    ]),

    drill.window_hours <= local.look_back_hours ? "" :
    join(" ", [
      "restore_drill: the hours between two drills (${drill.interval_hours}) plus restore_drill.grace_hours",
      "(${drill.grace_hours}) must not exceed ${local.look_back_hours}, the most that a CloudWatch alarm looks back.",
      "Run drills more often, or shorten the grace.",
    ]),

    !local.drill_schedule_is_given || local.drill_interval_is_known ? "" :
    join(" ", [
      "restore_drill.interval_hours must be set: the hours between two drills can't be read from",
      "restore_drill.schedule_expression. Got: ${jsonencode(var.restore_drill.schedule_expression)}.",
    ]),

    local.drill_schedule_is_given || !local.backup_is_cron || length(local.backup_starts) > 0 ? "" :
    join(" ", [
      "restore_drill.schedule_expression must be set: the minutes at which backup runs start can't be read from",
      "schedule_expression. Got: ${local.schedule_expression}.",
    ]),

    local.drill_is_apart ? "" :
    join(" ", [
      "restore_drill.schedule_expression must not start drills together with backup runs",
      "(${local.schedule_expression});",
      "two rate() schedules start together. Leave it out, or use for instance cron(${local.middle % 60}",
      "${floor(local.middle / 60)} * * ? *). Got: ${jsonencode(var.restore_drill.schedule_expression)}.",
    ]),

    alltrue([for days in local.frozen_after_days : days > local.newest_backup_days]) ? "" :
    join(" ", [
      "storage_transitions must keep objects up to ${local.newest_backup_days} days old out of GLACIER and",
      "DEEP_ARCHIVE when restore_drill is set: the newest backup names objects of that age (LFS objects and files of",
      "releases can be ${local.max_content_days} days older than it; backup_content leaves them out), and a drill",
      "can't wait for them. Got: ${jsonencode(var.storage_transitions)}.",
    ]),

    !contains(local.frozen_classes, coalesce(var.replica_storage_class, "STANDARD")) ? "" :
    join(" ", [
      "replica_storage_class must not be GLACIER or DEEP_ARCHIVE when restore_drill is set: a drill can't wait for",
      "objects to be restored from there. Got: ${coalesce(var.replica_storage_class, "null")}.",
    ]),
  ]]))
}

# -- policy: what `restore verify` may do --------------------------------------------------------

data "aws_iam_policy_document" "drill" {
  count = length(local.drills)

  # Without them: no metrics, and the alarm that no drill ran fires; S3 can't decrypt the replicas; it can't encrypt the
  # report, nor decrypt the previous one.
  source_policy_documents = compact([
    data.aws_iam_policy_document.publish_metrics.json,
    lookup(local.key_statements, "DecryptReplica", ""),
    lookup(local.key_statements, "EncryptPrimary", ""),
  ])

  # Without it: no backup is found, and an object that does not exist looks like one that may not be read. No condition
  # on the prefix: reading an object sends none, so S3 would answer 403 instead of 404.
  statement {
    sid       = "ListReplicas"
    actions   = ["s3:ListBucket"]
    resources = [local.replica_arn]
  }

  # Without it: neither a deleted manifest's last version is found, nor that of a bundle or of content with the right
  # SHA-256.
  statement {
    sid       = "ListVersionsOfReplicas"
    actions   = ["s3:ListBucketVersions"]
    resources = [local.replica_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = local.backup_keys
    }
  }

  # Without it: nothing can be restored. Manifests are read by key, bundles, lists and content by the version that is
  # named.
  statement {
    sid       = "ReadReplicas"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = local.replica_backup_arns
  }

  # Without it: the page for auditors is not written, because no signature can be checked.
  dynamic "statement" {
    for_each = length(local.trusted_key_arns) == 0 ? [] : [local.trusted_key_arns]

    content {
      sid       = "CheckSignatures"
      actions   = ["kms:GetPublicKey"]
      resources = statement.value
    }
  }

  # Without these two: the drill fails, because its report could not be stored, nor read by the next drill, which
  # continues where this one ended. Backups have other keys.
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
}
