# The dashboard: what the alarms look at, over a week.

resource "aws_cloudwatch_dashboard" "backup" {
  dashboard_name = "${var.service_name}-${local.region}"

  dashboard_body = jsonencode({
    # CloudWatch shows three hours by default: too short for a daily run, and the recovery point needs a good run in
    # view.
    start          = "-P7D"
    periodOverride = "inherit"
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
        properties = merge({ region = local.region, period = 3600 }, graph)
      }],
    )
  })
}

locals {
  # By its key in local.metrics.
  own_metric = {
    for key, name in local.metrics : key => [local.metrics.namespace, name, local.metrics.dimension, var.service_name]
  }
  own_metrics = { for keys in [
    ["success", "failure", "unchanged", "as_changes"],
    ["bytes", "fetched"],
    ["vanished", "anomaly"],
    ["shards", "shards_failed"],
    ["restore_verified", "restore_failed"],
  ] : keys[0] => [for key in keys : local.own_metric[key]] }

  replicated = { for name in ["ReplicationLatency", "OperationsFailedReplication"] : name => [
    concat(["AWS/S3", name], flatten([for dimension, value in local.replication : [dimension, value]]))
  ] }
  executed = [
    for name in ["ExecutionsStarted", "ExecutionsFailed", "ExecutionsTimedOut"] :
    ["AWS/States", name, "StateMachineArn", local.state_machine_arn]
  ]

  # Hours since the newest run that stored something and had no failure. In an expression a missing value counts as 0:
  # the comparisons with 0 keep an hour without a run from counting as a good one, or as the year 1970.
  recovery_point = [
    concat(local.own_metric.success, [{ id = "stored", stat = "Sum", visible = false }]),
    concat(local.own_metric.failure, [{ id = "failed", stat = "Sum", visible = false }]),
    [{ id = "good", expression = "IF(stored > 0 AND failed == 0, EPOCH(stored))", visible = false }],
    [{ id = "newest", expression = "FILL(good, REPEAT)", visible = false }],
    [{ id = "age", expression = "IF(newest > 0, (EPOCH(stored) - newest) / 3600)", label = "hours" }],
  ]

  # Two in each row.
  graphs = concat([
    {
      title   = "Recovery point: age of the newest run without a failure, hours", stat = "Sum"
      metrics = local.recovery_point
    },
    {
      title   = "Repositories stored, failed, unchanged, stored as changes", stat = "Sum"
      metrics = local.own_metrics["success"]
    },
    {
      title   = "Repositories gone from GitHub, anomaly", stat = "Maximum"
      metrics = local.own_metrics["vanished"]
    },
    {
      title   = "Runs", stat = "SampleCount"
      metrics = [local.own_metric.success]
    },
    {
      title   = "Bytes uploaded, fetched from GitHub", stat = "Sum"
      metrics = local.own_metrics["bytes"]
    },
    {
      title   = "Duration of a run, seconds", stat = "Maximum"
      metrics = [local.own_metric.duration]
    },
    {
      title   = "Issues, pull requests, and discussions not stored yet", stat = "Maximum"
      metrics = [local.own_metric.issues_waiting]
    },
    {
      title   = "Replication lag, seconds", stat = "Maximum", region = var.replica_region
      metrics = local.replicated["ReplicationLatency"]
    },
    {
      title   = "Objects not replicated after an hour", stat = "Maximum"
      metrics = [local.own_metric.replication_behind]
    },
    {
      title   = "Replication failures", stat = "Sum"
      metrics = local.replicated["OperationsFailedReplication"]
    },
  ], local.check_graphs, concat(local.drill_graphs, local.orchestration_graphs)...)

  check_graphs = [for check in local.checks : {
    title   = "Age of the newest complete backup, seconds", stat = "Maximum"
    metrics = [local.own_metric.backup_age]
  }]

  orchestration_graphs = [for orchestration in local.orchestrations : [
    {
      title   = "Shards of a run, lost for good", stat = "Maximum"
      metrics = local.own_metrics["shards"]
    },
    {
      title   = "Executions started, failed, timed out; runs refused", stat = "Sum"
      metrics = concat(local.executed, [local.own_metric.refused])
    },
  ]]

  drill_graphs = [for drill in local.drills : [
    {
      title   = "Recovery time: slowest restore of a repository in a drill, seconds", stat = "Maximum"
      metrics = [local.own_metric.restore_seconds]
    },
    {
      title   = "Age of the oldest proof that a repository can be restored, seconds", stat = "Maximum"
      metrics = [local.own_metric.oldest_proof]
    },
    {
      title   = "Repositories restored by a drill, failed", stat = "Sum"
      metrics = local.own_metrics["restore_verified"]
    },
  ]]
}
