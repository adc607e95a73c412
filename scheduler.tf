# EventBridge Scheduler in place of EventBridge's rules: a time zone, and a window of time. Nothing of it is created
# while schedule is null.

locals {
  schedule_group_arn = join(":", [
    "arn:${local.partition}:scheduler:${local.region}:${local.account_id}", "schedule-group/${var.service_name}",
  ])

  # With orchestration, a backup run is the state machine's.
  starts_machine = { for name in keys(local.scheduled_names) : name => !contains(keys(local.started_names), name) }
}

resource "aws_scheduler_schedule_group" "backup" {
  count = local.is_scheduler ? 1 : 0

  name = var.service_name
  tags = local.tags
}

resource "aws_scheduler_schedule" "task" {
  #checkov:skip=CKV_AWS_297:a schedule holds names and no secret

  for_each = local.is_scheduler ? local.scheduled_names : {}

  name                         = each.value
  group_name                   = aws_scheduler_schedule_group.backup[0].name
  description                  = "Starts ${local.tasks[each.key].purpose} of ${var.service_name}"
  schedule_expression          = local.tasks[each.key].schedule_expression
  schedule_expression_timezone = var.schedule.time_zone
  state                        = var.schedule_enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode                      = each.key == "backup" && local.flexible_minutes > 0 ? "FLEXIBLE" : "OFF"
    maximum_window_in_minutes = each.key == "backup" && local.flexible_minutes > 0 ? local.flexible_minutes : null
  }

  target {
    arn      = local.starts_machine[each.key] ? aws_sfn_state_machine.backup[0].arn : local.cluster_arn
    role_arn = local.role_arns[local.starts_machine[each.key] ? "start" : "schedule"]

    dynamic "ecs_parameters" {
      for_each = local.starts_machine[each.key] ? [] : [aws_ecs_task_definition.task[each.key].arn]

      content {
        task_definition_arn     = ecs_parameters.value
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
    }

    retry_policy {
      maximum_event_age_in_seconds = local.start_retries.seconds
      maximum_retry_attempts       = local.start_retries.attempts
    }

    dead_letter_config {
      arn = aws_sqs_queue.dead_letters.arn
    }
  }

  # Without it, a start that comes before the role's permissions is lost.
  depends_on = [aws_iam_role_policy.role, aws_ecs_cluster_capacity_providers.backup]
}

# -- policy: what EventBridge Scheduler does to keep a start that failed -------------------------

data "aws_iam_policy_document" "keep_failed_starts" {
  # Without it: failed starts are lost. EventBridge itself is in the queue's policy.
  statement {
    sid       = "KeepFailedStarts"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
  }
}
