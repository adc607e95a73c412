# Who is told about what. Each description says what happened, where to look, and which page says what to do.

resource "aws_cloudwatch_metric_alarm" "backup" {
  for_each = {
    for key, alarm in local.alarms : key => merge({ page = key, notify = local.notify }, local.looks[alarm.look], alarm)
  }

  alarm_name          = "${var.service_name}-${each.key}"
  alarm_description   = "${each.value.description} What to do: ${local.runbook}#${each.value.page}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = each.value.notify
  ok_actions          = each.value.notify
  tags                = local.tags
}

locals {
  runbook    = "${local.docs_url}/troubleshooting.md"
  service    = { (local.metrics.dimension) = var.service_name }
  executions = { StateMachineArn = local.state_machine_arn }
  log_group  = "/ecs/${var.service_name}"
  queue      = { QueueName = "${var.service_name}-dead-letters" }
  replication = {
    SourceBucket      = local.bucket_name
    DestinationBucket = local.replica_name
    RuleId            = local.replication_rule
  }

  # What an alarm looks at. It fires when all `periods` of `period` seconds are bad.
  looks = {
    # What each run publishes once: the alarm keeps its state until the next run.
    newest_run = { period = 300, periods = 1, missing = "ignore" }
    # What AWS counts when it happens: no data is good.
    last_hour = { period = 3600, periods = 1, missing = "notBreaching" }
    # What must come in time: no data is bad.
    in_time = { period = 3600, periods = local.no_run.hours, missing = "breaching" }
    # The same for drills.
    drill_in_time = { period = 3600, periods = try(local.drill.window_hours, 1), missing = "breaching" }
  }

  alarms = merge({
    backup-failure = {
      description = join(" ", [
        "The newest backup run of ${var.service_name} could not store at least one repository, or could not start. The",
        "log group ${local.log_group} and the failures in manifest.json name it.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.failure, dimensions = local.service
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "newest_run"
    }
    run-failed = {
      description = join(" ", [
        "The newest backup run of ${var.service_name} stored nothing at all. The log group ${local.log_group} says",
        "why.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.success, dimensions = local.service
      statistic = "Sum", comparison = "LessThanThreshold", threshold = 1
      look      = "newest_run"
    }
    anomaly = {
      description = join(" ", [
        "More than ${var.anomaly_percent} % of the repositories of ${var.service_name} are gone from GitHub since the",
        "last complete backup. Everything else is stored. manifest.json names them under vanished.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.anomaly, dimensions = local.service
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "newest_run"
    }
    task-not-running = {
      description = local.no_run.description
      namespace   = local.metrics.namespace, metric = local.no_run.metric, dimensions = local.service
      statistic   = local.no_run.statistic, comparison = local.no_run.comparison, threshold = local.no_run.threshold
      look        = "in_time"
    }
    start-given-up = {
      description = join(" ", [
        "EventBridge gave up starting",
        "${join(" or ", [for name in keys(local.scheduled_names) : local.tasks[name].purpose])} of",
        "${var.service_name}. The message in the dead-letter queue ${var.service_name}-dead-letters says why. Start it",
        "by hand, then purge the queue.",
      ])
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = local.queue
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "last_hour"
    }
    replication-failed = {
      description = join(" ", [
        "S3 could not copy objects from ${local.bucket_name} to ${local.replica_name} in ${var.replica_region}: they",
        "exist in one region only. Look at the replication role, the replica bucket and its key.",
      ])
      namespace = "AWS/S3", metric = "OperationsFailedReplication", dimensions = local.replication
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "last_hour"
    }
    replica-behind = {
      description = join(" ", [
        "Objects of the last complete backup of ${var.service_name} are more than an hour old and not in",
        "${local.replica_name} in ${var.replica_region} yet. Look at the replication role, the replica bucket and the",
        "health of S3 in both regions.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.replication_behind, dimensions = local.service
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "newest_run"
    }
  }, local.start_alarms, local.failed_task_alarms, concat(local.drill_alarms, local.orchestration_alarms)...)
}

locals {
  # How to tell that nothing runs: no run in these hours, or, where runs are too far apart to look back, an old backup.
  no_run = length(local.checks) == 0 ? {
    description = join(" ", [
      "No backup run of ${var.service_name} has ended in about ${local.window_hours} hours (schedule",
      "${local.schedule_expression}). Look for stopped tasks in the cluster ${local.cluster_name} and at the rule",
      "${var.service_name} in EventBridge.",
    ])
    metric     = local.metrics.success
    statistic  = "SampleCount"
    comparison = "LessThanThreshold"
    threshold  = 1
    hours      = local.window_hours
    } : {
    description = join(" ", [
      "The newest complete backup of ${var.service_name} is more than ${local.window_hours} hours old (schedule",
      "${local.schedule_expression}), or the daily check of its age did not run. Look for stopped tasks in the cluster",
      "${local.cluster_name} and at the rules ${var.service_name} and ${local.check_name} in EventBridge.",
    ])
    metric     = local.metrics.backup_age
    statistic  = "Maximum"
    comparison = "GreaterThanThreshold"
    threshold  = local.window_hours * 3600
    hours      = local.check_window_hours
  }

  # What starts tasks: a rule for each, or one group of schedules for all.
  starters = local.is_scheduler ? {
    "" = {
      what       = "EventBridge Scheduler", of = "a task", where = "schedules in the group ${var.service_name}"
      namespace  = "AWS/Scheduler", failed = "TargetErrorCount", lost = "InvocationsFailedToBeSentToDeadLetterCount"
      dimensions = { ScheduleGroup = var.service_name }
    }
    } : { for name, rule in local.scheduled_names : (name == "backup" ? "" : "${name}-") => {
      what       = "EventBridge", of = local.tasks[name].purpose, where = "rule ${rule}"
      namespace  = "AWS/Events", failed = "RetryInvocationAttempts", lost = "FailedInvocations"
      dimensions = { RuleName = rule }
  } }

  start_alarms = merge([for prefix, starter in local.starters : {
    "${prefix}start-failed" = {
      description = join(" ", [
        "${starter.what} could not start ${starter.of} of ${var.service_name} at the first attempt and keeps trying",
        "for up to an hour. If it gives up, the start goes to the dead-letter queue",
        "${var.service_name}-dead-letters, which has its own alarm.",
      ])
      namespace = starter.namespace, metric = starter.failed, dimensions = starter.dimensions
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      page      = "start-failed"
      look      = "last_hour"
    }
    "${prefix}start-lost" = {
      description = join(" ", [
        "${starter.what} lost a start of ${starter.of} of ${var.service_name}: it failed for good and did not reach",
        "the dead-letter queue. Start it by hand, and look at the role of the ${starter.where} and at the queue's",
        "policy.",
      ])
      namespace = starter.namespace, metric = starter.lost, dimensions = starter.dimensions
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      page      = "start-lost"
      look      = "last_hour"
    }
  }]...)

  # The topic gets the event itself, with the reason, at once. Other actions understand alarms only.
  failed_task_alarms = { for name in length(var.alarm_actions) == 0 ? [] : ["task-failed"] : name => {
    description = join(" ", [
      "A task of ${var.service_name} did not start, or ended with another exit code than 0. The cluster",
      "${local.cluster_name} shows its stopped tasks for an hour; the log group ${local.log_group} has its log.",
    ])
    namespace = "AWS/Events", metric = "TriggeredRules", dimensions = { RuleName = "${var.service_name}-task-failed" }
    statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
    notify    = var.alarm_actions
    look      = "last_hour"
  } }
}

locals {
  # None without a drill.
  drill_alarms = [for drill in local.drills : {
    restore-failed = {
      description = join(" ", [
        "The newest restore drill of ${var.service_name} could not restore at least one repository from",
        "${local.replica_name}, could not read the bucket, or found the newest backup there too old. The log group",
        "${local.log_group} and the newest report under s3://${local.bucket_name}/${local.drill_prefix}/ say which.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.restore_failed, dimensions = local.service
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "newest_run"
    }
    drill-not-running = {
      description = join(" ", [
        "No restore drill of ${var.service_name} has ended in about ${drill.window_hours} hours (schedule",
        "${drill.schedule_expression}). Look for stopped tasks in the cluster ${local.cluster_name} and at the rule",
        "${local.drill_name} in EventBridge.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.restore_verified, dimensions = local.service
      statistic = "SampleCount", comparison = "LessThanThreshold", threshold = 1
      look      = "drill_in_time"
    }
    restore-proof-old = {
      description = join(" ", [
        "No drill has restored a repository of ${var.service_name} for more than ${drill.within_days + 7} days,",
        "although each one should be restored within ${drill.within_days} days. last_proven and waiting_since in the",
        "newest report under s3://${local.bucket_name}/${local.drill_prefix}/ name it.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.oldest_proof, dimensions = local.service
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = (drill.within_days + 7) * 24 * 3600
      look      = "newest_run"
    }
  }]

  # None without orchestration.
  orchestration_alarms = [for machine in aws_sfn_state_machine.backup : {
    execution-failed = {
      description = join(" ", [
        "A run of ${var.service_name} failed in the state machine ${machine.name}: a step could not start its task,",
        "the run was refused, or not everything is stored. The execution in Step Functions shows the step and its",
        "cause. A run with an exit code other than 0 also raises other alarms.",
      ])
      namespace = "AWS/States", metric = "ExecutionsFailed", dimensions = local.executions
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "last_hour"
    }
    execution-timed-out = {
      description = join(" ", [
        "A run of ${var.service_name} did not end in ${floor(local.execution_seconds / 3600)} hours, and the state",
        "machine ${machine.name} stopped it: there is no manifest of it. The execution in Step Functions shows the",
        "step that hung. Stop the tasks that are left in the cluster ${local.cluster_name}, then start a run.",
      ])
      namespace = "AWS/States", metric = "ExecutionsTimedOut", dimensions = local.executions
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "last_hour"
    }
    run-refused = {
      description = join(" ", [
        "A run of ${var.service_name} was refused, because the one before it is still going: nothing is backed up",
        "twice, and the next backup is late. The cause of the failed execution of the state machine ${machine.name}",
        "names the one that is still going.",
      ])
      namespace = local.metrics.namespace, metric = local.metrics.refused, dimensions = local.service
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      look      = "last_hour"
    }
  }]
}
