# The state machine of a run in many tasks.
# https://states-language.net, with JSONPath: `$` is a state's input, `$$` tells about the execution.

resource "aws_sfn_state_machine" "backup" {
  #checkov:skip=CKV_AWS_284:X-Ray has nothing to add to an execution's own history, which names each task
  #checkov:skip=CKV_AWS_285:Step Functions keeps the history of a standard execution for 90 days

  count = length(local.orchestrations)

  name       = var.service_name
  type       = "STANDARD"
  role_arn   = local.role_arns["state-machine"]
  definition = jsonencode(local.state_machine["definition"])
  tags       = local.tags

  # Without it, Step Functions refuses the state machine: it checks that the role may use its rule in EventBridge.
  depends_on = [aws_iam_role_policy.role]
}

locals {
  # Not the resource's own: its role's policy names it, and it can't be created before that policy.
  state_machine_arn = join(" ", [
    "arn:${local.partition}:states:${local.region}:${local.account_id}:stateMachine:${var.service_name}",
  ])
  executions_arn = "arn:${local.partition}:states:${local.region}:${local.account_id}:execution:${var.service_name}"

  # How long a state may take. A shard ends by itself at the deadline. Whatever waits longer hangs.
  list_seconds      = 2 * 3600
  merge_seconds     = 3600
  shard_seconds     = ceil((local.deadline_hours + 0.5) * 3600)
  execution_seconds = local.list_seconds + local.shard_seconds + 2 * local.merge_seconds

  # Why RunTask starts nothing, although the next attempt may: Fargate has no capacity, the account's vCPUs are all in
  # use, too many calls at once.
  not_started = concat(
    ["AmazonECS.Unknown"],
    [for name in ["AmazonECS", "SdkClient", "Server", "Throttling"] : "ECS.${name}Exception"],
  )
}

locals {
  date_of_run   = "States.ArrayGetItem(States.StringSplit($$.Execution.StartTime, 'T'), 0)"
  key_of_shards = "States.Format('${local.prefix}/{}/plans/{}/shards.json', ${local.date_of_run}, $$.Execution.Name)"

  state_machine = { for orchestration in local.orchestrations : "definition" => {
    Comment        = "A backup run of ${var.service_name}: list, back up the shards, merge"
    TimeoutSeconds = local.execution_seconds
    StartAt        = "FindRunningExecutions"

    States = {
      FindRunningExecutions = {
        Comment = join(" ", [
          "Newest first. If they can't be found, this run continues: two backups at once are better than none.",
        ])
        Type           = "Task"
        Resource       = "arn:${local.partition}:states:::aws-sdk:sfn:listExecutions"
        Parameters     = { "StateMachineArn.$" = "$$.StateMachine.Id", StatusFilter = "RUNNING" }
        ResultSelector = { "running.$" = "$.Executions[*].ExecutionArn" }
        TimeoutSeconds = 60
        Retry          = [local.retries.call]
        Catch          = [{ ErrorEquals = ["States.ALL"], ResultPath = null, Next = "List" }]
        Next           = "IsAnyRunning"
      }

      IsAnyRunning = {
        Comment = "Right after the start, this execution may not be among them yet."
        Type    = "Choice"
        Choices = [{ Variable = "$.running[0]", IsPresent = true, Next = "FindOldest" }]
        Default = "List"
      }

      FindOldest = {
        Comment = "If several start together, the oldest continues."
        Type    = "Pass"
        Parameters = {
          "oldest.$" = "States.ArrayGetItem($.running, States.MathAdd(States.ArrayLength($.running), -1))"
          "this.$"   = "$$.Execution.Id"
        }
        Next = "IsThisTheOldest"
      }

      IsThisTheOldest = {
        Type    = "Choice"
        Choices = [{ Variable = "$.oldest", StringEqualsPath = "$.this", Next = "List" }]
        Default = "ReportRefusal"
      }

      ReportRefusal = {
        Comment  = "Raises the alarm run-refused."
        Type     = "Task"
        Resource = "arn:${local.partition}:states:::aws-sdk:cloudwatch:putMetricData"
        Parameters = {
          Namespace = local.metrics.namespace
          MetricData = [{
            MetricName = local.metrics.refused
            Dimensions = [{ Name = local.metrics.dimension, Value = var.service_name }]
            Unit       = "Count"
            Value      = 1
          }]
        }
        ResultPath     = null
        TimeoutSeconds = 60
        Retry          = [local.retries.call]
        Catch          = [{ ErrorEquals = ["States.ALL"], ResultPath = null, Next = "Refuse" }]
        Next           = "Refuse"
      }

      Refuse = {
        Type  = "Fail"
        Error = "RunRefused"
        CausePath = join(" ", [
          "States.Format('Another run is still going: {}. This one backed up nothing. Wait until the other one ends,",
          "or stop it; then start a run. What to do: ${local.runbook}#run-refused', $.oldest)",
        ])
      }

      List = {
        Comment = join(" ", [
          "Lists the repositories and writes the plan of the run. An exit code other than 0 is not tried again: the",
          "next attempt would fail alike.",
        ])
        Type           = "Task"
        Resource       = "arn:${local.partition}:states:::ecs:runTask.sync"
        Parameters     = local.run_task_parameters["list"]
        ResultPath     = null
        TimeoutSeconds = local.list_seconds
        Retry          = [local.retries.start, local.retries.throttled]
        Next           = "BackUpShards"
      }

      BackUpShards = {
        Comment = join(" ", [
          "One task for each shard of the plan. Whatever happens to them, merge follows and names what is missing.",
        ])
        Type  = "Map"
        Label = "shards"
        ItemReader = {
          Resource     = "arn:${local.partition}:states:::s3:getObject"
          ReaderConfig = { InputType = "JSON" }
          Parameters = {
            Bucket  = local.bucket_name
            "Key.$" = local.key_of_shards
          }
        }
        MaxConcurrency             = orchestration.shards
        ToleratedFailurePercentage = 100
        ToleratedFailureCount      = local.tolerated_shards
        ItemProcessor              = local.shard_processor
        ResultPath                 = null
        Catch                      = [{ ErrorEquals = ["States.ALL"], ResultPath = null, Next = "Merge" }]
        Next                       = "Merge"
      }

      Merge = {
        Comment = join(" ", [
          "Writes the manifest and publishes the metrics. It ends with the run's exit code, and so does the execution.",
          "A second attempt changes nothing.",
        ])
        Type           = "Task"
        Resource       = "arn:${local.partition}:states:::ecs:runTask.sync"
        Parameters     = local.run_task_parameters["merge"]
        ResultPath     = null
        TimeoutSeconds = local.merge_seconds
        Retry          = [local.retries.start, local.retries.merge]
        End            = true
      }
    }
  } }
}
