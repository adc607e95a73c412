# How the state machine runs a task: its size, what it is told, when it is tried again.

locals {
  retries = {
    # About an hour, as long as EventBridge tries to start a task.
    start = {
      ErrorEquals     = local.not_started
      IntervalSeconds = 30
      BackoffRate     = 2
      MaxDelaySeconds = 300
      MaxAttempts     = 20
      JitterStrategy  = "FULL"
    }
    # EC2's "Rate exceeded", which ECS passes on under this name.
    throttled = {
      ErrorEquals     = ["ECS.InvalidParameterException"]
      IntervalSeconds = 30
      BackoffRate     = 2
      MaxAttempts     = 3
      JitterStrategy  = "FULL"
    }
    # A shard waits for capacity until the deadline: on average eight attempts an hour. An execution's history ends at
    # 25,000 events, of which an attempt has five.
    start_shard = {
      ErrorEquals     = local.not_started
      IntervalSeconds = 30
      BackoffRate     = 2
      MaxDelaySeconds = 900
      MaxAttempts     = min(2000, ceil(8 * local.deadline_hours))
      JitterStrategy  = "FULL"
    }
    # Not States.Timeout: by then the deadline is over.
    shard = {
      ErrorEquals     = ["States.TaskFailed"]
      IntervalSeconds = 60
      BackoffRate     = 2
      MaxDelaySeconds = 900
      MaxAttempts     = try(var.orchestration.attempts, 0)
      JitterStrategy  = "FULL"
    }
    merge = { ErrorEquals = ["States.TaskFailed"], IntervalSeconds = 60, BackoffRate = 1, MaxAttempts = 1 }
    call  = { ErrorEquals = ["States.ALL"], IntervalSeconds = 5, BackoffRate = 2, MaxAttempts = 3 }
  }

  run_variables = [
    { Name = "RUN_NAME", "Value.$" = "$$.Execution.Name" },
    { Name = "RUN_STARTED_AT", "Value.$" = "$$.Execution.StartTime" },
  ]
  shard_variables = [
    { Name = "RUN_NAME", "Value.$" = "$.run_name" },
    { Name = "RUN_STARTED_AT", "Value.$" = "$.run_started_at" },
    { Name = "RUN_SHARD", "Value.$" = "$.shard" },
  ]

  shards_on_spot = {
    for name in local.orchestrated_names : name => contains(local.shard_names, name) && var.fargate_spot.shards
  }

  # What RunTask is told of each task: fields that Step Functions documents, and CapacityProviderStrategy, which it does
  # not, only on request.
  # https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html
  run_task_parameters = { for name in local.orchestrated_names : name => { for field, value in {
    Cluster        = local.cluster_arn
    TaskDefinition = aws_ecs_task_definition.task[name].arn
    LaunchType     = local.shards_on_spot[name] ? null : "FARGATE"
    PropagateTags  = "TASK_DEFINITION"

    CapacityProviderStrategy = local.shards_on_spot[name] ? [{ CapacityProvider = "FARGATE_SPOT", Weight = 1 }] : null

    NetworkConfiguration = { AwsvpcConfiguration = {
      Subnets        = var.subnet_ids
      SecurityGroups = local.security_group_ids
      AssignPublicIp = var.assign_public_ip ? "ENABLED" : "DISABLED"
    } }
    Overrides = { ContainerOverrides = [{
      Name        = name
      Environment = contains(local.shard_names, name) ? local.shard_variables : local.run_variables
    }] }
  } : field => value if value != null } }

  # The disk of a shard that needs more than a Fargate task has. ECS creates it with the task and deletes it with the
  # task.
  shard_volume = [for orchestration in local.volumes : {
    Name = local.scratch.name
    ManagedEBSVolume = {
      RoleArn           = local.role_arns["volumes"]
      "SizeInGiB.$"     = "$.volume_gib"
      VolumeType        = "gp3"
      FilesystemType    = "ext4"
      Encrypted         = true
      TerminationPolicy = { DeleteOnTermination = true }
      TagSpecifications = [{ ResourceType = "volume", PropagateTags = "TASK_DEFINITION" }]
    }
  }]
}

locals {
  # The Map's output may not exceed 256 KiB: nothing catches that, and there would be no merge. It has the outputs of
  # all shards, so they are empty. Of a shard that failed it has the execution's name, input and cause, less than 1.7 KB
  # with a short cause.
  tolerated_shards = 150

  # A shard's execution. One that fails for good is red in the console.
  shard_processor = length(local.orchestrations) == 0 ? null : {
    ProcessorConfig = { Mode = "DISTRIBUTED", ExecutionType = "STANDARD" }
    StartAt         = length(local.volumes) == 0 ? "BackUpShard" : "NeedsVolume"

    States = merge(local.states_of_volumes, {
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

      LoseShard = {
        Comment = "Fails with a cause that is short, and so is not the one of ECS."
        Type    = "Fail"
        Error   = "ShardLost"
        CausePath = join(" ", [
          "States.Format('Shard {} did not finish in any attempt: {}. The events of this execution name its",
          "tasks.', $.shard, $.error.Error)",
        ])
      }
    })
  }

  # Only with orchestration.volumes.
  states_of_volumes = merge([for orchestration in local.volumes : {
    NeedsVolume = {
      Comment = "A repository may be larger than the largest disk of a Fargate task."
      Type    = "Choice"
      Choices = [{ Variable = "$.volume_gib", NumericGreaterThan = 0, Next = "BackUpShardOnVolume" }]
      Default = "BackUpShard"
    }

    BackUpShardOnVolume = {
      Comment  = "The same with a volume of the size that the plan names."
      Type     = "Task"
      Resource = "arn:${local.partition}:states:::ecs:runTask.sync"
      Parameters = merge(
        local.run_task_parameters["shard-on-volume"],
        { VolumeConfigurations = local.shard_volume },
      )
      TimeoutSeconds = local.shard_seconds
      Retry          = [local.retries.start_shard, local.retries.shard]
      Catch          = [{ ErrorEquals = ["States.ALL"], ResultPath = "$.error", Next = "LoseShard" }]
      ResultSelector = {}
      End            = true
    }
  }]...)
}
