# Who is told, and of what. Each description says what happened, where to look, and which page tells what to do.

# -- the topic -----------------------------------------------------------------------------------

# One topic in each region: CloudWatch notifies only topics of its own region, and the replication's lag is measured in
# the replica's.
locals {
  topic_name    = "${var.service_name}-alarms"
  topic_regions = merge(var.existing.topic == null ? { primary = local.region } : {}, { replica = var.replica_region })
  topic_arns = {
    primary = var.existing.topic != null ? var.existing.topic.arn : aws_sns_topic.alarms["primary"].arn
    replica = aws_sns_topic.alarms["replica"].arn
  }
  notify = {
    primary = concat([local.topic_arns.primary], var.alarm_actions)
    replica = [local.topic_arns.replica]
  }
}

resource "aws_kms_key" "alarms" {
  for_each = { for key, region in local.topic_regions : key => region if key == "replica" || var.kms_key_arns == null }

  region              = each.value
  description         = "Encrypts the alarms of ${var.service_name}"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.alarms_key.json
  tags                = local.tags
}

resource "aws_sns_topic" "alarms" {
  for_each = local.topic_regions

  region            = each.value
  name              = local.topic_name
  kms_master_key_id = each.key == "primary" && var.kms_key_arns != null ? var.kms_key_arns.topic : aws_kms_key.alarms[each.key].arn
  tags              = local.tags
}

resource "aws_sns_topic_policy" "alarms" {
  for_each = local.topic_regions

  region = each.value
  arn    = aws_sns_topic.alarms[each.key].arn
  policy = data.aws_iam_policy_document.alarms[each.key].json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = { for pair in setproduct(["primary", "replica"], var.alarm_emails) : join(" ", pair) => { topic = pair[0], email = pair[1] } }

  region    = each.value.topic == "primary" ? local.region : var.replica_region
  topic_arn = local.topic_arns[each.value.topic]
  protocol  = "email"
  endpoint  = each.value.email
}

# -- alarms --------------------------------------------------------------------------------------

locals {
  runbook     = "${local.docs_url}/alarms.md"
  service     = { (local.metrics.dimension) = var.service_name }
  replication = { SourceBucket = local.bucket_name, DestinationBucket = local.replica_name, RuleId = local.replication_rule }

  # Every alarm looks at hours: it goes off when `bad_hours` of the last `hours` are bad.
  alarms = merge({
    backup-failure = {
      description = "A backup run of ${var.service_name} could not store at least one repository, or could not start. The log group ${local.log_group} and the failures in manifest.json name it."
      namespace   = local.metrics.namespace, metric = local.metrics.failure, dimensions = local.service
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = local.window_hours, bad_hours = 1, missing = "notBreaching"
    }
    task-not-running = {
      description = "No backup run of ${var.service_name} has ended in ${local.window_hours} hours (schedule ${var.schedule_expression}). Look for stopped tasks in the cluster ${local.cluster_name} and at the rule ${var.service_name} in EventBridge."
      namespace   = local.metrics.namespace, metric = local.metrics.success, dimensions = local.service
      statistic   = "SampleCount", comparison = "LessThanThreshold", threshold = 1
      hours       = local.window_hours, bad_hours = local.window_hours, missing = "breaching"
    }
    start-failed = {
      description = "EventBridge could not start a backup run of ${var.service_name} at its first try and tries again, for an hour at most. If it gives up, the start goes to the dead-letter queue ${var.service_name}-dead-letters, which raises an alarm of its own."
      namespace   = "AWS/Events", metric = "RetryInvocationAttempts", dimensions = { RuleName = var.service_name }
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = 1, bad_hours = 1, missing = "notBreaching"
    }
    start-lost = {
      description = "EventBridge lost a start of a backup run of ${var.service_name}: it failed for good and did not reach the dead-letter queue. Start a run by hand and look at the role of the rule ${var.service_name} and at the queue's policy."
      namespace   = "AWS/Events", metric = "FailedInvocations", dimensions = { RuleName = var.service_name }
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = 1, bad_hours = 1, missing = "notBreaching"
    }
    start-given-up = {
      description = "EventBridge gave up starting a ${local.drill == null ? "backup run" : "backup run or a restore drill"} of ${var.service_name}. The message in the dead-letter queue ${var.service_name}-dead-letters says why; start it by hand, then purge the queue."
      namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = "${var.service_name}-dead-letters" }
      statistic   = "Maximum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = 1, bad_hours = 1, missing = "notBreaching"
    }
    replication-failed = {
      description = "S3 could not copy objects from ${local.bucket_name} to ${local.replica_name} in ${var.replica_region}: they are in one region only. Look at the replication role, the replica bucket and its key."
      namespace   = "AWS/S3", metric = "OperationsFailedReplication", dimensions = local.replication
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = 1, bad_hours = 1, missing = "notBreaching"
    }
    replication-lagging = {
      description = "Copying from ${local.bucket_name} to ${local.replica_name} in ${var.replica_region} has been more than an hour behind for three hours. Look at the health of S3 in both regions."
      namespace   = "AWS/S3", metric = "ReplicationLatency", dimensions = local.replication
      statistic   = "Maximum", comparison = "GreaterThanThreshold", threshold = 3600
      hours       = 3, bad_hours = 3, missing = "notBreaching"
      # Measured where the copy is; failures are counted where the original is.
      measured_in = "replica"
    }
  }, local.drill_alarms...)

  # None where there is no drill.
  drill_alarms = [for drill in local.drills : {
    restore-failed = {
      description = "A restore drill of ${var.service_name} could not restore at least one repository from ${local.replica_name}, or could not read the bucket. The log group ${local.log_group} and the newest report under s3://${local.bucket_name}/${local.drill_prefix}/ name it."
      namespace   = local.metrics.namespace, metric = local.metrics.restore_failed, dimensions = local.service
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = drill.window_hours, bad_hours = 1, missing = "notBreaching", window = "drill"
    }
    drill-not-running = {
      description = "No restore drill of ${var.service_name} has ended in ${drill.window_hours} hours (schedule ${drill.schedule_expression}). Look for stopped tasks in the cluster ${local.cluster_name} and at the rule ${local.drill_name} in EventBridge."
      namespace   = local.metrics.namespace, metric = local.metrics.restore_verified, dimensions = local.service
      statistic   = "SampleCount", comparison = "LessThanThreshold", threshold = 1
      hours       = drill.window_hours, bad_hours = drill.window_hours, missing = "breaching", window = "drill"
    }
    drill-start-failed = {
      description = "EventBridge could not start a restore drill of ${var.service_name} at its first try and tries again, for an hour at most. If it gives up, the start goes to the dead-letter queue ${var.service_name}-dead-letters, which raises an alarm of its own."
      namespace   = "AWS/Events", metric = "RetryInvocationAttempts", dimensions = { RuleName = local.drill_name }
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = 1, bad_hours = 1, missing = "notBreaching"
      page        = "start-failed"
    }
    drill-start-lost = {
      description = "EventBridge lost a start of a restore drill of ${var.service_name}: it failed for good and did not reach the dead-letter queue. Start a drill by hand and look at the role of the rule ${local.drill_name} and at the queue's policy."
      namespace   = "AWS/Events", metric = "FailedInvocations", dimensions = { RuleName = local.drill_name }
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = 1, bad_hours = 1, missing = "notBreaching"
      page        = "start-lost"
    }
  }]
}

locals {
  # What decides how far an alarm looks back.
  windows = merge(
    { run = "The hours between two runs (run_interval_hours, or those of schedule_expression: ${local.interval_hours}) and run_grace_hours (${var.run_grace_hours})" },
    { for drill in local.drills : "drill" => "The hours between two drills (restore_drill.interval_hours, or those of its schedule_expression: ${drill.interval_hours}) and restore_drill.grace_hours (${drill.grace_hours})" },
  )
}

resource "aws_cloudwatch_metric_alarm" "backup" {
  for_each = { for key, alarm in local.alarms : key => merge({ measured_in = "primary", page = key, window = "run" }, alarm) }

  region              = each.value.measured_in == "primary" ? local.region : var.replica_region
  alarm_name          = "${var.service_name}-${each.key}"
  alarm_description   = "${each.value.description} What to do: ${local.runbook}#${each.value.page}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 3600
  evaluation_periods  = each.value.hours
  datapoints_to_alarm = each.value.bad_hours
  treat_missing_data  = each.value.missing
  alarm_actions       = local.notify[each.value.measured_in]
  ok_actions          = local.notify[each.value.measured_in]
  tags                = local.tags

  lifecycle {
    precondition {
      condition     = each.value.hours <= 168
      error_message = "${local.windows[each.value.window]} together must not exceed 168, as far as a CloudWatch alarm looks back. Run more often, or shorten the grace."
    }
  }
}

# -- tasks that failed, at once ------------------------------------------------------------------
# A task that can't pull its image never publishes a metric. ECS says so within seconds.

resource "aws_cloudwatch_event_rule" "task_failed" {
  name        = "${var.service_name}-task-failed"
  description = "A task of ${var.service_name} did not start, or ended with another exit code than 0"
  tags        = local.tags

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [local.cluster_arn]
      group      = [for task in concat([aws_ecs_task_definition.backup], aws_ecs_task_definition.drill) : "family:${task.family}"]
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
  arn  = local.topic_arns.primary

  # A message that can't be delivered is not lost: the queue raises an alarm.
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
    input_template = "\"${var.service_name}: the <name> task <task> stopped at <time>: <code>, <reason>, exit code <exit>. Its log is in ${local.log_group}. What to do: ${local.runbook}#task-failed\""
  }
}

# -- dashboard -----------------------------------------------------------------------------------

locals {
  log_group = "/ecs/${var.service_name}"

  # What is shown, two graphs a row.
  own_metric         = { for key, name in local.metrics : key => [local.metrics.namespace, name, local.metrics.dimension, var.service_name] }
  replication_metric = flatten([for name, value in local.replication : [name, value]])

  # Hours since the newest run that stored something and failed at nothing. A metric without a value counts as 0 in an
  # expression: each says what must be above 0, so that an hour without a run is neither a good one nor the year 1970.
  recovery_point = [
    concat(local.own_metric.success, [{ id = "stored", stat = "Sum", visible = false }]),
    concat(local.own_metric.failure, [{ id = "failed", stat = "Sum", visible = false }]),
    [{ id = "good", expression = "IF(stored > 0 AND failed == 0, EPOCH(stored))", visible = false }],
    [{ id = "newest", expression = "FILL(good, REPEAT)", visible = false }],
    [{ id = "age", expression = "IF(newest > 0, (EPOCH(stored) - newest) / 3600)", label = "hours" }],
  ]

  graphs = concat([
    { title = "Recovery point: age of the newest run without a failure, hours", stat = "Sum", metrics = local.recovery_point },
    { title = "Repositories stored, failed, unchanged", stat = "Sum", metrics = [local.own_metric.success, local.own_metric.failure, local.own_metric.unchanged] },
    { title = "Runs", stat = "SampleCount", metrics = [local.own_metric.success] },
    { title = "Bytes uploaded", stat = "Sum", metrics = [local.own_metric.bytes] },
    { title = "Duration of a run, seconds", stat = "Maximum", metrics = [local.own_metric.duration] },
    { title = "Replication lag, seconds", stat = "Maximum", region = var.replica_region, metrics = [concat(["AWS/S3", "ReplicationLatency"], local.replication_metric)] },
    { title = "Replication failures", stat = "Sum", metrics = [concat(["AWS/S3", "OperationsFailedReplication"], local.replication_metric)] },
  ], local.drill_graphs...)

  drill_graphs = [for drill in local.drills : [
    { title = "Recovery time: slowest restore of a repository in a drill, seconds", stat = "Maximum", metrics = [local.own_metric.restore_seconds] },
    { title = "Repositories restored by a drill, failed", stat = "Sum", metrics = [local.own_metric.restore_verified, local.own_metric.restore_failed] },
  ]]
}

resource "aws_cloudwatch_dashboard" "backup" {
  dashboard_name = "${var.service_name}-${local.region}"

  dashboard_body = jsonencode({
    # A daily run can't be seen in CloudWatch's three hours, and the recovery point needs a good run in sight.
    start          = "-P7D"
    periodOverride = "inherit"
    widgets = concat(
      [{
        type = "alarm", x = 0, y = 0, width = 24, height = 3
        properties = {
          title  = "Alarms"
          alarms = [for key in sort(keys(local.alarms)) : aws_cloudwatch_metric_alarm.backup[key].arn if !can(local.alarms[key].measured_in)]
        }
      }],
      [for index, graph in local.graphs : {
        type       = "metric", x = index % 2 * 12, y = 3 + floor(index / 2) * 6, width = 12, height = 6
        properties = { title = graph.title, region = try(graph.region, local.region), stat = graph.stat, period = 3600, metrics = graph.metrics }
      }],
    )
  })
}
