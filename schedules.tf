# When tasks start, and what happens to a start that fails.

module "backup_schedule" {
  source = "./modules/schedule"

  expression = local.schedule_expression
}

locals {
  # With a time zone or a window: schedules of EventBridge Scheduler in place of rules of EventBridge.
  is_scheduler        = var.schedule != null
  schedule_expression = local.is_scheduler ? var.schedule.expression : var.schedule_expression
  flexible_minutes    = local.is_scheduler ? var.schedule.flexible_minutes : 0

  # EventBridge's schedules; in a cron() exactly one of the two days is ?.
  schedule_forms = [
    "^rate\\((1 (hour|day)|([2-9]|[1-9][0-9]+) (hours|days))\\)$",
    "^cron\\([0-9,*/-]+ [0-9,*/-]+ \\? [0-9A-Z,*/-]+ [0-9A-Z,*/#L-]+ [0-9,*/-]+\\)$",
    "^cron\\([0-9,*/-]+ [0-9,*/-]+ [0-9,*/LW-]+ [0-9A-Z,*/-]+ \\? [0-9,*/-]+\\)$",
  ]
  schedule_rule = join(" ", [
    "rate(1 hour), rate(N hours), rate(1 day), rate(N days), or cron() with six fields of which exactly one of",
    "day-of-month and day-of-week is ?, such as cron(0 3 * * ? *)",
  ])

  interval_hours = coalesce(var.run.interval_hours, module.backup_schedule.hours, 24)
  deadline_hours = coalesce(var.run.deadline_hours, local.interval_hours - local.merge_hours)

  # Hours without a run before somebody is told.
  window_hours = local.interval_hours + var.run.grace_hours + ceil(local.flexible_minutes / 60)

  # How far a CloudWatch alarm looks back at most, in hours.
  look_back_hours = 168

  # S3 gives out nothing from there without hours of waiting.
  frozen_classes = ["GLACIER", "DEEP_ARCHIVE"]
  frozen_after_days = [
    for transition in var.storage_transitions : transition.days
    if contains(local.frozen_classes, transition.storage_class)
  ]

  # A run reads content of that age, and that of a late run, to write it again before it expires. modules/bucket has the
  # same number; a test compares them.
  max_content_days = 365
  has_content      = var.backup_content.lfs || var.backup_content.releases
  read_again_days  = local.max_content_days + ceil(local.window_hours / 24)

  backup_problems = compact(concat([
    var.run.interval_hours != null || module.backup_schedule.hours != null ? "" :
    join(" ", [
      "run.interval_hours must be set: the hours between two runs can't be read from schedule_expression. Set the",
      "longest time between two starts, in hours. Got: ${local.schedule_expression}.",
    ]),

    var.backup_retention_days == 0 || var.backup_retention_days * 24 >= 2 * local.interval_hours ? "" :
    join(" ", [
      "backup_retention_days must be at least ${ceil(2 * local.interval_hours / 24)}, twice the",
      "${local.interval_hours} hours between two runs: otherwise one missed run leaves no backup. Got:",
      "${var.backup_retention_days}.",
    ]),

    !local.has_content || var.existing.bucket != null ||
    alltrue([for days in local.frozen_after_days : days > local.read_again_days]) ? "" :
    join(" ", [
      "storage_transitions must keep objects up to ${local.read_again_days} days old out of GLACIER and DEEP_ARCHIVE",
      "while backup_content has lfs or releases: a run reads LFS objects and files of releases of that age, to write",
      "them again before they expire. Got: ${jsonencode(var.storage_transitions)}.",
    ]),

    length(setintersection(keys(var.extra_environment), keys(local.variables))) == 0 ? "" :
    join(" ", [
      "extra_environment must not set what the module sets itself:",
      "${join(", ", setintersection(keys(var.extra_environment), keys(local.variables)))}. Use the module's inputs.",
    ]),
  ], local.orchestration_problems))

  # For a start that fails. After an hour it goes to the queue, and the queue raises an alarm. Whether a lack of
  # capacity counts as a failure is not documented: RunTask then answers with success and names it. The alarm that no
  # run came counts on none of this.
  start_retries = { seconds = 3600, attempts = 20 }
}

# -- starts --------------------------------------------------------------------------------------

resource "aws_cloudwatch_event_rule" "task" {
  for_each = local.is_scheduler ? {} : local.scheduled_names

  name                = each.value
  description         = "Starts ${local.tasks[each.key].purpose} of ${var.service_name}"
  schedule_expression = local.tasks[each.key].schedule_expression
  state               = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "task" {
  for_each = local.is_scheduler ? {} : local.started_names

  rule     = aws_cloudwatch_event_rule.task[each.key].name
  arn      = local.cluster_arn
  role_arn = local.role_arns["schedule"]

  ecs_target {
    task_definition_arn     = aws_ecs_task_definition.task[each.key].arn
    launch_type             = local.is_on_spot[each.key] ? null : "FARGATE"
    task_count              = 1
    propagate_tags          = "TASK_DEFINITION"
    enable_ecs_managed_tags = true

    dynamic "capacity_provider_strategy" {
      for_each = local.is_on_spot[each.key] ? ["FARGATE_SPOT"] : []

      content {
        capacity_provider = capacity_provider_strategy.value
        weight            = 1
      }
    }

    network_configuration {
      subnets          = var.subnet_ids
      security_groups  = local.security_group_ids
      assign_public_ip = var.assign_public_ip
    }
  }

  retry_policy {
    maximum_event_age_in_seconds = local.start_retries.seconds
    maximum_retry_attempts       = local.start_retries.attempts
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  # Without it, a start that comes before the role's permissions is lost.
  depends_on = [aws_iam_role_policy.role, aws_ecs_cluster_capacity_providers.backup]
}

locals {
  is_on_spot = { for name in keys(local.scheduled_names) : name => name == "drill" && var.fargate_spot.drill }
}

# -- starts that failed --------------------------------------------------------------------------

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.service_name}-dead-letters"
  message_retention_seconds = 14 * 24 * 3600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy    = data.aws_iam_policy_document.dead_letters.json
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
      values = concat(
        [aws_cloudwatch_event_rule.task_failed.arn],
        [for rule in aws_cloudwatch_event_rule.task : rule.arn],
      )
    }
  }
}
