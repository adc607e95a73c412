# What a run in many tasks may do, besides its tasks: start the state machine, run it, create volumes.

# -- start: what EventBridge does to start a run -------------------------------------------------

data "aws_iam_policy_document" "start" {
  count = length(local.orchestrations)

  source_policy_documents = local.scheduler_statements

  # Without it: FailedInvocations, and the start ends in the dead-letter queue.
  statement {
    sid       = "StartTheStateMachine"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine_arn]
  }
}

# -- state machine: what Step Functions does to run it -------------------------------------------

data "aws_iam_policy_document" "state_machine" {
  count = length(local.orchestrations)

  # Without them: List fails, because it can't start its task; a run is refused and no alarm says so; S3 can't decrypt
  # the list of the shards.
  source_policy_documents = compact([
    data.aws_iam_policy_document.start_tasks["state-machine"].json,
    data.aws_iam_policy_document.publish_metrics.json,
    lookup(local.key_statements, "DecryptPrimary", ""),
  ])

  # Without it: FindRunningExecutions fails, and two runs back up the same repositories at the same time.
  statement {
    sid       = "FindRunningExecutions"
    actions   = ["states:ListExecutions"]
    resources = [local.state_machine_arn]
  }

  # Without it: a state does not see that its task ended, and an execution that is stopped leaves its tasks running.
  statement {
    sid       = "WatchAndStopTasks"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = [local.task_arns]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  # Without it: the state machine can't be created. Step Functions hears of ended tasks by this rule.
  statement {
    sid       = "HearOfEndedTasks"
    actions   = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
    resources = ["${local.rules_arn}/StepFunctionsGetEventsForECSTaskRule"]
  }

  # Without it: RunTask is refused for a shard with a volume, because it passes ECS the role that creates the volume.
  dynamic "statement" {
    for_each = local.volumes

    content {
      sid       = "HandOverTheRoleOfVolumes"
      actions   = ["iam:PassRole"]
      resources = [local.role_arns["volumes"]]

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["ecs.amazonaws.com"]
      }
    }
  }

  # Without it: BackUpShards fails, because it can't read which shards there are.
  statement {
    sid       = "ReadShards"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${local.prefix}/*/plans/*/shards.json"]
  }

  # Without these two: BackUpShards fails. Each shard is a separate execution, which the Map starts, watches and
  # stops.
  statement {
    sid       = "StartShards"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine_arn]
  }

  statement {
    sid       = "WatchAndStopShards"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = ["${local.executions_arn}:*", "${local.executions_arn}/*"]
  }
}
