# A run in many tasks: a state machine lists once, backs up each shard in its own task, and merges what they
# report. Nothing of it is created while orchestration is null.

locals {
  orchestrations = var.orchestration == null ? [] : [var.orchestration]

  # A task without a volume needs no more than Fargate's smallest disk where it clones nothing.
  smallest_disk_gb = 21

  # The state machine's tasks: the container's name, the task definition's last word, and the prefix of the log streams.
  orchestrated_names = flatten([
    length(local.orchestrations) == 0 ? [] : ["list", "shard", "merge"],
    length(local.volumes) == 0 ? [] : ["shard-on-volume"],
  ])

  # A shard or a merge that dies is tried again, and the execution's end tells what was lost for good: no alarm
  # reports a single attempt.
  shard_names   = ["shard", "shard-on-volume"]
  retried_names = concat(local.shard_names, ["merge"])

  # What the state machine's tasks are told besides a single run's environment: by their task definitions, or when they
  # start.
  list_variables = { for orchestration in local.orchestrations : "list" => {
    INSTALLATION_REQUESTS = tostring(orchestration.requests_per_installation)
    RUN_SHARDS            = tostring(orchestration.shards)
    SHARD_DISK_GIB        = tostring(var.task_ephemeral_storage_gb)
  } }
  start_variables = ["RUN_NAME", "RUN_SHARD", "RUN_STARTED_AT"]
  orchestrated_inputs = flatten([
    for variables in values(local.list_variables) : concat(keys(variables), local.start_variables)
  ])

  shard_size = { cpu = var.task_cpu, memory = var.task_memory }
  orchestrated_sizes = merge([for orchestration in local.orchestrations : {
    list            = merge(orchestration.list, { command = "list", disk_gb = local.smallest_disk_gb })
    shard           = merge(local.shard_size, { command = "shard", disk_gb = var.task_ephemeral_storage_gb })
    shard-on-volume = merge(local.shard_size, { command = "shard", disk_gb = local.smallest_disk_gb })
    merge           = merge(orchestration.merge, { command = "merge", disk_gb = local.smallest_disk_gb })
  }]...)

  # Shards write no manifest, and so sign none.
  base_environments = { for name in local.orchestrated_names : name => {
    for variable, value in local.environment : variable => value
    if variable != "MANIFEST_SIGNING_KEY_ARN" || !contains(local.shard_names, name)
  } }

  # Added to local.tasks: the same image and the same role as a single run's.
  orchestrated_tasks = { for name in local.orchestrated_names : name => {
    command              = ["backup", local.orchestrated_sizes[name].command]
    environment          = merge(local.base_environments[name], try(local.list_variables[name], {}))
    role_arn             = local.role_arns["task"]
    cpu                  = local.orchestrated_sizes[name].cpu
    memory               = local.orchestrated_sizes[name].memory
    ephemeral_storage_gb = local.orchestrated_sizes[name].disk_gb
    problems             = []
  } }

  # Merging takes up to an hour, or a quarter of a shorter interval: a run that is still going when the next one starts
  # would make the state machine refuse that one.
  merge_hours = length(local.orchestrations) == 0 ? 0 : min(1, local.interval_hours / 4)

  orchestration_problems = flatten([for orchestration in local.orchestrations : [
    local.deadline_hours < local.interval_hours ? "" :
    join(" ", [
      "run.deadline_hours must be less than the ${local.interval_hours} hours between two runs when orchestration is",
      "set: the next run is refused while one is going. Got: ${local.deadline_hours}.",
    ]),

    length(setintersection(keys(var.extra_environment), local.orchestrated_inputs)) == 0 ? "" :
    join(" ", [
      "extra_environment must not set what orchestration sets itself:",
      "${join(", ", setintersection(keys(var.extra_environment), local.orchestrated_inputs))}.",
    ]),
  ]])
}

# -- the schedule: the rule `backup` of schedules.tf starts the state machine --------------------

resource "aws_cloudwatch_event_target" "start" {
  count = local.is_scheduler ? 0 : length(local.orchestrations)

  rule     = aws_cloudwatch_event_rule.task["backup"].name
  arn      = aws_sfn_state_machine.backup[0].arn
  role_arn = local.role_arns["start"]

  retry_policy {
    maximum_event_age_in_seconds = local.start_retries.seconds
    maximum_retry_attempts       = local.start_retries.attempts
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  # Without it, a start that comes before the role's permissions is lost.
  depends_on = [aws_iam_role_policy.role]
}
