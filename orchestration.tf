# A run in many tasks: a state machine lists once, backs up each shard in a task of its own, and merges what they report.
# Nothing here is created while orchestration is null.

locals {
  orchestrations = var.orchestration == null ? [] : [var.orchestration]

  # A task without a volume needs no more than Fargate's smallest disk where it clones nothing.
  smallest_disk_gb = 21

  # The state machine's tasks: the container's name, the task definition's last word, and the prefix of the log streams.
  orchestrated_names = flatten([for orchestration in local.orchestrations : ["list", "shard", "shard-on-volume", "merge"]])

  # A shard or a merge that dies is tried again, and the execution's end tells what was lost for good: nobody is told of each
  # attempt.
  shard_names   = ["shard", "shard-on-volume"]
  retried_names = concat(local.shard_names, ["merge"])

  # What the state machine's tasks are told besides a single run's environment: by their task definitions, or when they start.
  list_variables = { for orchestration in local.orchestrations : "list" => {
    INSTALLATION_REQUESTS = tostring(orchestration.requests_per_installation)
    RUN_SHARDS            = tostring(orchestration.shards)
    SHARD_DISK_GIB        = tostring(var.task_ephemeral_storage_gb)
  } }
  start_variables     = ["RUN_NAME", "RUN_SHARD", "RUN_STARTED_AT"]
  orchestrated_inputs = flatten([for variables in values(local.list_variables) : concat(keys(variables), local.start_variables)])

  orchestrated_sizes = merge([for orchestration in local.orchestrations : {
    list            = { command = "list", cpu = orchestration.list.cpu, memory = orchestration.list.memory, disk_gb = local.smallest_disk_gb }
    shard           = { command = "shard", cpu = var.task_cpu, memory = var.task_memory, disk_gb = var.task_ephemeral_storage_gb }
    shard-on-volume = { command = "shard", cpu = var.task_cpu, memory = var.task_memory, disk_gb = local.smallest_disk_gb }
    merge           = { command = "merge", cpu = orchestration.merge.cpu, memory = orchestration.merge.memory, disk_gb = local.smallest_disk_gb }
  }]...)

  # Added to local.tasks: the same image and the same role as a single run's.
  orchestrated_tasks = { for name in local.orchestrated_names : name => {
    command              = ["backup", local.orchestrated_sizes[name].command]
    environment          = merge(local.environment, try(local.list_variables[name], {}))
    role_arn             = aws_iam_role.task.arn
    cpu                  = local.orchestrated_sizes[name].cpu
    memory               = local.orchestrated_sizes[name].memory
    ephemeral_storage_gb = local.orchestrated_sizes[name].disk_gb
    problems             = []
  } }

  # Merging takes up to an hour, or a quarter of a shorter interval: a run that is still going when the next one starts would
  # make the state machine refuse that one.
  merge_hours = length(local.orchestrations) == 0 ? 0 : min(1, local.interval_hours / 4)

  orchestration_problems = flatten([for orchestration in local.orchestrations : [
    local.deadline_hours < local.interval_hours ? "" :
    "run_deadline_hours must be less than the ${local.interval_hours} hours between two runs when orchestration is set: the next run is refused while one is going. Got: ${local.deadline_hours}.",

    length(setintersection(keys(var.extra_environment), local.orchestrated_inputs)) == 0 ? "" :
    "extra_environment must not set what orchestration sets itself: ${join(", ", setintersection(keys(var.extra_environment), local.orchestrated_inputs))}.",
  ]])
}

# -- the state machine ---------------------------------------------------------------------------
# https://states-language.net, with JSONPath: `$` is a state's input, `$$` tells about the execution.

locals {
  # Not the resource's own: its role's policy names it, and it can't be created before that policy.
  state_machine_arn = "arn:${local.partition}:states:${local.region}:${local.account_id}:stateMachine:${var.service_name}"
  executions_arn    = "arn:${local.partition}:states:${local.region}:${local.account_id}:execution:${var.service_name}"

  # How long a state may take. A shard ends by itself at the deadline. Whatever waits longer hangs.
  list_seconds      = 2 * 3600
  merge_seconds     = 3600
  shard_seconds     = ceil((local.deadline_hours + 0.5) * 3600)
  execution_seconds = local.list_seconds + local.shard_seconds + 2 * local.merge_seconds

  # Why RunTask starts nothing, although the next attempt may: Fargate has no capacity, the account's vCPUs are all in use,
  # too many calls at once.
  not_started = ["AmazonECS.Unknown", "ECS.AmazonECSException", "ECS.SdkClientException", "ECS.ServerException", "ECS.ThrottlingException"]

  retries = {
    # About an hour, as long as EventBridge tries to start a task.
    start = { ErrorEquals = local.not_started, IntervalSeconds = 30, BackoffRate = 2, MaxDelaySeconds = 300, MaxAttempts = 20, JitterStrategy = "FULL" }
    # EC2's "Rate exceeded", which ECS passes on under this name.
    throttled = { ErrorEquals = ["ECS.InvalidParameterException"], IntervalSeconds = 30, BackoffRate = 2, MaxAttempts = 3, JitterStrategy = "FULL" }
    # A shard waits for capacity until the deadline: on average eight attempts an hour. An execution's history ends at 25,000
    # events, of which an attempt has five.
    start_shard = { ErrorEquals = local.not_started, IntervalSeconds = 30, BackoffRate = 2, MaxDelaySeconds = 900, MaxAttempts = min(2000, ceil(8 * local.deadline_hours)), JitterStrategy = "FULL" }
    # Not States.Timeout: by then the deadline is over.
    shard = { ErrorEquals = ["States.TaskFailed"], IntervalSeconds = 60, BackoffRate = 2, MaxDelaySeconds = 900, MaxAttempts = try(var.orchestration.attempts, 0), JitterStrategy = "FULL" }
    merge = { ErrorEquals = ["States.TaskFailed"], IntervalSeconds = 60, BackoffRate = 1, MaxAttempts = 1 }
    call  = { ErrorEquals = ["States.ALL"], IntervalSeconds = 5, BackoffRate = 2, MaxAttempts = 3 }
  }

  run_variables   = [{ Name = "RUN_NAME", "Value.$" = "$$.Execution.Name" }, { Name = "RUN_STARTED_AT", "Value.$" = "$$.Execution.StartTime" }]
  shard_variables = [{ Name = "RUN_NAME", "Value.$" = "$.run_name" }, { Name = "RUN_STARTED_AT", "Value.$" = "$.run_started_at" }, { Name = "RUN_SHARD", "Value.$" = "$.shard" }]

  # What RunTask is told of each task; the same as the schedule's target says of a single run.
  run_task_parameters = { for name in local.orchestrated_names : name => {
    Cluster              = local.cluster_arn
    TaskDefinition       = aws_ecs_task_definition.task[name].arn
    LaunchType           = "FARGATE"
    PropagateTags        = "TASK_DEFINITION"
    EnableECSManagedTags = true
    NetworkConfiguration = { AwsvpcConfiguration = {
      Subnets        = var.subnet_ids
      SecurityGroups = local.security_group_ids
      AssignPublicIp = var.assign_public_ip ? "ENABLED" : "DISABLED"
    } }
    Overrides = { ContainerOverrides = [{
      Name        = name
      Environment = contains(local.shard_names, name) ? local.shard_variables : local.run_variables
    }] }
  } }

  # The disk of a shard that needs more than a Fargate task has. ECS creates it with the task and deletes it with the task.
  shard_volume = [for role in aws_iam_role.volumes : {
    Name = local.scratch.name
    ManagedEBSVolume = {
      RoleArn           = role.arn
      "SizeInGiB.$"     = "$.volume_gib"
      VolumeType        = "gp3"
      FilesystemType    = "ext4"
      Encrypted         = true
      TerminationPolicy = { DeleteOnTermination = true }
      TagSpecifications = [{ ResourceType = "volume", PropagateTags = "TASK_DEFINITION" }]
    }
  }]

  date_of_run = "States.ArrayGetItem(States.StringSplit($$.Execution.StartTime, 'T'), 0)"

  state_machine = { for orchestration in local.orchestrations : "definition" => {
    Comment        = "A backup run of ${var.service_name}: list, back up the shards, merge"
    TimeoutSeconds = local.execution_seconds
    StartAt        = "FindRunningExecutions"

    States = {
      FindRunningExecutions = {
        Comment        = "Newest first. If they can't be found, this run goes on: a backup beside another one is better than none."
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
        Comment = "Of several that start together, the oldest goes on."
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
        Type      = "Fail"
        Error     = "RunRefused"
        CausePath = "States.Format('Another run is still going: {}. This one backed up nothing. Wait until the other one ends, or stop it; then start a run. What to do: ${local.runbook}#run-refused', $.oldest)"
      }

      List = {
        Comment        = "Lists the repositories and writes the plan of the run. An exit code other than 0 is not tried again: the next attempt would fail alike."
        Type           = "Task"
        Resource       = "arn:${local.partition}:states:::ecs:runTask.sync"
        Parameters     = local.run_task_parameters["list"]
        ResultPath     = null
        TimeoutSeconds = local.list_seconds
        Retry          = [local.retries.start, local.retries.throttled]
        Next           = "BackUpShards"
      }

      BackUpShards = {
        Comment = "One task for each shard of the plan. Whatever happens to them, merge follows and names what is missing."
        Type    = "Map"
        Label   = "shards"
        ItemReader = {
          Resource     = "arn:${local.partition}:states:::s3:getObject"
          ReaderConfig = { InputType = "JSON" }
          Parameters = {
            Bucket  = local.bucket_name
            "Key.$" = "States.Format('${local.prefix}/{}/plans/{}/shards.json', ${local.date_of_run}, $$.Execution.Name)"
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
        Comment        = "Writes the manifest and publishes the metrics. It ends with the run's exit code, and so does the execution. A second attempt changes nothing."
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

  # The Map's output may not exceed 256 KiB: nothing catches that, and there would be no merge. It has the outputs of all
  # shards, so they are empty. Of a shard that failed it has the execution's name, input and cause, less than 1.7 KB with a
  # short cause.
  tolerated_shards = 150

  # A shard's execution. One that fails for good is red in the console.
  shard_processor = length(local.orchestrations) == 0 ? null : {
    ProcessorConfig = { Mode = "DISTRIBUTED", ExecutionType = "STANDARD" }
    StartAt         = "NeedsVolume"

    States = {
      NeedsVolume = {
        Comment = "A repository may be larger than the largest disk of a Fargate task."
        Type    = "Choice"
        Choices = [{ Variable = "$.volume_gib", NumericGreaterThan = 0, Next = "BackUpShardOnVolume" }]
        Default = "BackUpShard"
      }

      BackUpShard = {
        Comment        = "An attempt finds what the last one stored."
        Type           = "Task"
        Resource       = "arn:${local.partition}:states:::ecs:runTask.sync"
        Parameters     = local.run_task_parameters["shard"]
        TimeoutSeconds = local.shard_seconds
        Retry          = [local.retries.start_shard, local.retries.shard]
        Catch          = [{ ErrorEquals = ["States.ALL"], ResultPath = "$.error", Next = "LoseShard" }]
        ResultSelector = {}
        End            = true
      }

      BackUpShardOnVolume = {
        Comment        = "The same with a volume of the size that the plan names."
        Type           = "Task"
        Resource       = "arn:${local.partition}:states:::ecs:runTask.sync"
        Parameters     = merge(local.run_task_parameters["shard-on-volume"], { VolumeConfigurations = local.shard_volume })
        TimeoutSeconds = local.shard_seconds
        Retry          = [local.retries.start_shard, local.retries.shard]
        Catch          = [{ ErrorEquals = ["States.ALL"], ResultPath = "$.error", Next = "LoseShard" }]
        ResultSelector = {}
        End            = true
      }

      LoseShard = {
        Comment   = "Fails with a cause that is short, and so is not the one of ECS."
        Type      = "Fail"
        Error     = "ShardLost"
        CausePath = "States.Format('Shard {} did not finish, whatever was tried: {}. The events of this execution name its tasks.', $.shard, $.error.Error)"
      }
    }
  }
}

resource "aws_sfn_state_machine" "backup" {
  #checkov:skip=CKV_AWS_284:X-Ray has nothing to add to an execution's own history, which names each task
  #checkov:skip=CKV_AWS_285:Step Functions keeps the history of a standard execution for 90 days, and the tasks log to CloudWatch

  count = length(local.orchestrations)

  name       = var.service_name
  type       = "STANDARD"
  role_arn   = aws_iam_role.state_machine[0].arn
  definition = jsonencode(local.state_machine["definition"])
  tags       = local.tags

  # Without it, Step Functions refuses the state machine: it checks that the role may use its rule in EventBridge.
  depends_on = [aws_iam_role_policy.state_machine]
}

# -- the schedule: the rule `backup` of ecs.tf starts the state machine ---------------------------

resource "aws_cloudwatch_event_target" "start" {
  count = length(local.orchestrations)

  rule     = aws_cloudwatch_event_rule.task["backup"].name
  arn      = aws_sfn_state_machine.backup[0].arn
  role_arn = aws_iam_role.start[0].arn

  retry_policy {
    maximum_event_age_in_seconds = local.start_retries.seconds
    maximum_retry_attempts       = local.start_retries.attempts
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  # Without it, a start that comes before the role's permissions is lost.
  depends_on = [aws_iam_role_policy.start]
}

# == start: what EventBridge does to start a run =================================================

resource "aws_iam_role" "start" {
  count = length(local.orchestrations)

  name                 = "${var.service_name}-start-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "Starts the state machine on schedule"
  assume_role_policy   = data.aws_iam_policy_document.trust["start"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "start" {
  count = length(local.orchestrations)

  name   = "start"
  role   = aws_iam_role.start[0].id
  policy = data.aws_iam_policy_document.start[0].json
}

data "aws_iam_policy_document" "start" {
  count = length(local.orchestrations)

  # Without it: FailedInvocations, and the start ends in the dead-letter queue.
  statement {
    sid       = "StartTheStateMachine"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine_arn]
  }
}

# == state machine: what Step Functions does to run it ===========================================

resource "aws_iam_role" "state_machine" {
  count = length(local.orchestrations)

  name                 = "${var.service_name}-state-machine-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "Runs the tasks of a backup run"
  assume_role_policy   = data.aws_iam_policy_document.trust["state_machine"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "state_machine" {
  count = length(local.orchestrations)

  name   = "state-machine"
  role   = aws_iam_role.state_machine[0].id
  policy = data.aws_iam_policy_document.state_machine[0].json
}

data "aws_iam_policy_document" "state_machine" {
  count = length(local.orchestrations)

  # Without it: FindRunningExecutions fails, and two runs back up the same repositories at the same time.
  statement {
    sid       = "FindRunningExecutions"
    actions   = ["states:ListExecutions"]
    resources = [local.state_machine_arn]
  }

  # Without it: a run is refused and no alarm says so. CloudWatch has no resources to name.
  statement {
    sid       = "PublishMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [local.metrics.namespace]
    }
  }

  # Without it: ECS.AccessDeniedException in List.
  statement {
    sid       = "StartTasks"
    actions   = ["ecs:RunTask"]
    resources = [for name in local.orchestrated_names : "${aws_ecs_task_definition.task[name].arn_without_revision}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  # Without it: RunTask is refused, because the task is started with tags. Only while it is started.
  statement {
    sid       = "TagTasks"
    actions   = ["ecs:TagResource"]
    resources = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:task/${local.cluster_name}/*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }

  # Without it: a state does not see that its task ended, and an execution that is stopped leaves its tasks running.
  statement {
    sid       = "WatchAndStopTasks"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:task/${local.cluster_name}/*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster_arn]
    }
  }

  # Without it: the state machine can't be created. Step Functions hears of ended tasks by this rule of its own.
  statement {
    sid       = "HearOfEndedTasks"
    actions   = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
    resources = ["arn:${local.partition}:events:${local.region}:${local.account_id}:rule/StepFunctionsGetEventsForECSTaskRule"]
  }

  # Without it: RunTask is refused, because it passes the task its own role and the execution role.
  statement {
    sid       = "HandOverTheRoles"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.execution.arn, aws_iam_role.task.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  # Without it: RunTask is refused for a shard with a volume, because it passes ECS the role that creates the volume.
  statement {
    sid       = "HandOverTheRoleOfVolumes"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.volumes[0].arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs.amazonaws.com"]
    }
  }

  # Without it: BackUpShards fails, because it can't read which shards there are.
  statement {
    sid       = "ReadShards"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/${local.prefix}/*/plans/*/shards.json"]
  }

  # Without it: S3 can't decrypt that file.
  dynamic "statement" {
    for_each = local.kms_key_arns.primary == null ? [] : [local.kms_key_arns.primary]

    content {
      sid       = "DecryptShards"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${local.dns_suffix}"]
      }
    }
  }

  # Without these two: BackUpShards fails. Each shard is an execution of its own, which the Map starts, watches and stops.
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

# == volumes: what ECS does to give a task a volume ==============================================
# The statements are those of AWS's own AmazonECSInfrastructureRolePolicyForVolumes, without what only ECS on EC2 needs, and
# for tasks of this cluster instead of every task in every account.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/infrastructure_IAM_role.html

# Do not add a condition: AWS's trust policy for this role has none, and ECS does not document that it sends
# aws:SourceAccount or aws:SourceArn here. If it does not, no volume is ever created. No other account can use the role: IAM
# passes a role only within its own account.
data "aws_iam_policy_document" "volumes_trust" {
  count = length(local.orchestrations)

  statement {
    sid     = "AssumedByECS"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "volumes" {
  count = length(local.orchestrations)

  name                 = "${var.service_name}-volumes-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "Creates and deletes the volumes of shards"
  assume_role_policy   = data.aws_iam_policy_document.volumes_trust[0].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "volumes" {
  count = length(local.orchestrations)

  name   = "volumes"
  role   = aws_iam_role.volumes[0].id
  policy = data.aws_iam_policy_document.volumes[0].json
}

locals {
  # ECS tags each volume with the task that it is for.
  volume_arns      = "arn:${local.partition}:ec2:${local.region}:${local.account_id}:volume/*"
  volume_task_arns = "arn:${local.partition}:ecs:${local.region}:${local.account_id}:task/${local.cluster_name}/*"
}

data "aws_iam_policy_document" "volumes" {
  #checkov:skip=CKV_AWS_356:EC2 has no resources to name where it describes

  count = length(local.orchestrations)

  # Without it: a shard with a volume does not start, "TaskFailedToStart".
  statement {
    sid       = "CreateVolumes"
    actions   = ["ec2:CreateVolume"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/AmazonECSManaged"
      values   = ["true"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:RequestTag/AmazonECSCreated"
      values   = [local.volume_task_arns]
    }
  }

  # Without it: the same, because ECS creates volumes with tags. Only while they are created.
  statement {
    sid       = "TagVolumes"
    actions   = ["ec2:CreateTags"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateVolume"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/AmazonECSManaged"
      values   = ["true"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:RequestTag/AmazonECSCreated"
      values   = [local.volume_task_arns]
    }
  }

  # Without it: ECS does not see when a volume is ready, nor in which zone the subnet is. EC2 has no resources to name here.
  statement {
    sid       = "SeeVolumes"
    actions   = ["ec2:DescribeAvailabilityZones", "ec2:DescribeVolumes"]
    resources = ["*"]
  }

  # Without these two: the volume is there, but not in the task. The instance is Fargate's own, in an account of AWS.
  statement {
    sid       = "AttachVolumes"
    actions   = ["ec2:AttachVolume", "ec2:DetachVolume"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/AmazonECSManaged"
      values   = ["true"]
    }
  }

  statement {
    sid       = "AttachToFargate"
    actions   = ["ec2:AttachVolume", "ec2:DetachVolume"]
    resources = ["arn:${local.partition}:ec2:${local.region}:*:instance/*"]
  }

  # Without it: volumes stay when their task has ended, and are paid for.
  statement {
    sid       = "DeleteVolumes"
    actions   = ["ec2:DeleteVolume"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/AmazonECSManaged"
      values   = ["true"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:ResourceTag/AmazonECSCreated"
      values   = [local.volume_task_arns]
    }
  }
}
