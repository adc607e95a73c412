# A message for each task that failed, at once: a task that can't pull its image never publishes a metric, and ECS
# reports it within seconds.

resource "aws_cloudwatch_event_rule" "task_failed" {
  name        = "${var.service_name}-task-failed"
  description = "A task of ${var.service_name} did not start, or ended with another exit code than 0"
  tags        = local.tags

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [local.cluster_arn]
      group      = [for name, family in local.task_names : "family:${family}" if !contains(local.retried_names, name)]
      lastStatus = ["STOPPED"]
      "$or" = [
        { containers = { exitCode = [{ anything-but = 0 }] } },
        { stopCode = [{ anything-but = "EssentialContainerExited" }] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "task_failed" {
  rule = aws_cloudwatch_event_rule.task_failed.name
  arn  = local.topic_arn

  # A message that can't be delivered goes to the queue, which raises an alarm.
  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  input_transformer {
    input_paths = {
      code   = "$.detail.stopCode"
      exit   = "$.detail.containers[0].exitCode"
      name   = "$.detail.containers[0].name"
      reason = "$.detail.stoppedReason"
      task   = "$.detail.taskArn"
      time   = "$.time"
    }
    input_template = join(" ", [
      "\"${var.service_name}: the <name> task <task> stopped at <time>: <code>, <reason>, exit code <exit>. Its log is",
      "in ${local.log_group}. What to do: ${local.runbook}#task-failed\"",
    ])
  }
}
