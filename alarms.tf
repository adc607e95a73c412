# Who is told, and of what. Each description says what happened, where to look, and which page tells what to do.

# -- the topic -----------------------------------------------------------------------------------

locals {
  topic_name = "${var.service_name}-alarms"
  topic_arn  = var.existing.topic != null ? var.existing.topic.arn : aws_sns_topic.alarms[0].arn
  topic_key  = var.kms_key_arns != null ? var.kms_key_arns.topic : one(aws_kms_key.alarms[*].arn)
  notify     = concat([local.topic_arn], var.alarm_actions)
}

resource "aws_kms_key" "alarms" {
  count = var.existing.topic == null && var.kms_key_arns == null ? 1 : 0

  description         = "Encrypts the alarms of ${var.service_name}"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.alarms_key.json
  tags                = local.tags
}

resource "aws_sns_topic" "alarms" {
  count = var.existing.topic == null ? 1 : 0

  name              = local.topic_name
  kms_master_key_id = local.topic_key
  tags              = local.tags
}

resource "aws_sns_topic_policy" "alarms" {
  count = length(aws_sns_topic.alarms)

  arn    = aws_sns_topic.alarms[0].arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarm_emails)

  topic_arn = local.topic_arn
  protocol  = "email"
  endpoint  = each.value
}

# -- alarms --------------------------------------------------------------------------------------

locals {
  runbook     = "${local.docs_url}/alarms.md"
  service     = { (local.metrics.dimension) = var.service_name }
  replication = { SourceBucket = local.bucket_name, DestinationBucket = local.replica_name, RuleId = local.replication_rule }

  # Every alarm looks at hours: it goes off when `bad_hours` of the last `hours` are bad.
  alarms = {
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
      description = "EventBridge could not start a backup run of ${var.service_name}. It tries again for an hour; after that the dead-letter queue ${var.service_name}-dead-letters holds the reason."
      namespace   = "AWS/Events", metric = "FailedInvocations", dimensions = { RuleName = var.service_name }
      statistic   = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      hours       = 1, bad_hours = 1, missing = "notBreaching"
    }
    start-given-up = {
      description = "EventBridge gave up starting a backup run of ${var.service_name}. The message in the dead-letter queue ${var.service_name}-dead-letters says why; start a run by hand, then purge the queue."
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
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "backup" {
  for_each = local.alarms

  alarm_name          = "${var.service_name}-${each.key}"
  alarm_description   = "${each.value.description} What to do: ${local.runbook}#${each.key}"
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
  alarm_actions       = local.notify
  ok_actions          = local.notify
  tags                = local.tags

  lifecycle {
    precondition {
      condition     = each.value.hours <= 168
      error_message = "The hours between two runs (run_interval_hours, or those of schedule_expression: ${local.interval_hours}) and run_grace_hours (${var.run_grace_hours}) together must not exceed 168, as far as a CloudWatch alarm looks back. Run more often, or shorten the grace."
    }
  }
}

# -- tasks that failed, at once ------------------------------------------------------------------
# A task that can't pull its image never publishes a metric. ECS says so within seconds.

resource "aws_cloudwatch_event_rule" "task_failed" {
  name        = "${var.service_name}-task-failed"
  description = "A backup task of ${var.service_name} did not start, or ended with another exit code than 0"
  tags        = local.tags

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [local.cluster_arn]
      group      = ["family:${aws_ecs_task_definition.backup.family}"]
      lastStatus = ["STOPPED"]
      "$or" = [
        { containers = { exitCode = [{ anything-but = 0 }] } },
        { stopCode = ["TaskFailedToStart"] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "task_failed" {
  rule = aws_cloudwatch_event_rule.task_failed.name
  arn  = local.topic_arn

  input_transformer {
    input_paths = {
      code   = "$.detail.stopCode"
      exit   = "$.detail.containers[0].exitCode"
      reason = "$.detail.stoppedReason"
      task   = "$.detail.taskArn"
      time   = "$.time"
    }
    input_template = "\"${var.service_name}: the backup task <task> stopped at <time>: <code>, <reason>, exit code <exit>. Its log is in ${local.log_group}. What to do: ${local.runbook}#task-failed\""
  }
}

# -- dashboard -----------------------------------------------------------------------------------

locals {
  log_group = "/ecs/${var.service_name}"

  # What is shown, two graphs a row.
  own_metric         = { for key, name in local.metrics : key => [local.metrics.namespace, name, local.metrics.dimension, var.service_name] }
  replication_metric = flatten([for name, value in local.replication : [name, value]])
  graphs = [
    { title = "Repositories stored, failed, unchanged", stat = "Sum", metrics = [local.own_metric.success, local.own_metric.failure, local.own_metric.unchanged] },
    { title = "Runs", stat = "SampleCount", metrics = [local.own_metric.success] },
    { title = "Bytes uploaded", stat = "Sum", metrics = [local.own_metric.bytes] },
    { title = "Duration of a run, seconds", stat = "Maximum", metrics = [local.own_metric.duration] },
    { title = "Replication lag, seconds", stat = "Maximum", metrics = [concat(["AWS/S3", "ReplicationLatency"], local.replication_metric)] },
    { title = "Replication failures", stat = "Sum", metrics = [concat(["AWS/S3", "OperationsFailedReplication"], local.replication_metric)] },
  ]
}

resource "aws_cloudwatch_dashboard" "backup" {
  dashboard_name = "${var.service_name}-${local.region}"

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type = "alarm", x = 0, y = 0, width = 24, height = 3
        properties = {
          title  = "Alarms"
          alarms = [for key in sort(keys(local.alarms)) : aws_cloudwatch_metric_alarm.backup[key].arn]
        }
      }],
      [for index, graph in local.graphs : {
        type       = "metric", x = index % 2 * 12, y = 3 + floor(index / 2) * 6, width = 12, height = 6
        properties = { title = graph.title, region = local.region, stat = graph.stat, period = 3600, metrics = graph.metrics }
      }],
    )
  })
}
