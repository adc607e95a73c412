# What runs, and when: logs, cluster, tasks, network, schedules.

# -- logs ----------------------------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "task" {
  name              = "/ecs/${var.service_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arns.logs
  tags              = local.tags
}

# Otherwise Container Insights creates this group itself, and it never expires.
resource "aws_cloudwatch_log_group" "container_insights" {
  count = var.existing.cluster == null ? 1 : 0

  name              = "/aws/ecs/containerinsights/${var.service_name}/performance"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arns.logs
  tags              = local.tags
}

# -- cluster -------------------------------------------------------------------------------------

resource "aws_ecs_cluster" "backup" {
  count = var.existing.cluster == null ? 1 : 0

  name = var.service_name
  tags = local.tags

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  depends_on = [aws_cloudwatch_log_group.container_insights]
}

locals {
  cluster_arn  = var.existing.cluster != null ? var.existing.cluster.arn : aws_ecs_cluster.backup[0].arn
  cluster_name = var.existing.cluster != null ? reverse(split("/", var.existing.cluster.arn))[0] : aws_ecs_cluster.backup[0].name
}

# -- tasks ---------------------------------------------------------------------------------------

locals {
  scratch = { name = "scratch", path = "/scratch" }

  # The program's own default, applied to the vCPUs that are paid for: a Fargate task may see more.
  default_concurrency = min(64, 8 * max(1, floor(var.task_cpu / 1024)))

  variables = {
    ANOMALY_PERCENT            = var.anomaly_percent
    AWS_REGION                 = local.region
    BACKUP_CONCURRENCY         = coalesce(var.concurrency, local.default_concurrency)
    BACKUP_EXCLUDE             = length(var.repositories.exclude) == 0 ? null : join(",", var.repositories.exclude)
    BACKUP_INCLUDE             = join(",", var.repositories.include) == "*" ? null : join(",", var.repositories.include)
    BACKUP_LFS                 = var.backup_content.lfs
    BACKUP_RELEASES            = var.backup_content.releases
    BACKUP_SKIP_ARCHIVED       = var.repositories.skip_archived ? "true" : null
    BACKUP_SKIP_FORKS          = var.repositories.skip_forks ? "true" : null
    BACKUP_WIKIS               = var.backup_content.wikis
    FULL_BACKUP_DAYS           = var.full_backup_days
    GITHUB_API_URL             = var.github_urls.api
    GITHUB_APP_ID              = var.github_app_id
    GITHUB_APP_INSTALLATION_ID = var.github_app_installation_id
    GITHUB_APP_KEY_SECRET_ARN  = local.secret_arn
    GITHUB_CA_PEM              = var.github_ca_pem
    GITHUB_SERVER_URL          = var.github_urls.server
    RUN_DEADLINE_HOURS         = local.deadline_hours
    S3_BUCKET                  = local.bucket_name
    S3_PREFIX                  = local.prefix
    SERVICE_NAME               = var.service_name
    TMPDIR                     = local.scratch.path
  }

  # The program uses its own default for a variable that is not set.
  environment = merge(var.extra_environment, { for name, value in local.variables : name => tostring(value) if value != null })

  # The names of tasks and task definitions, and of the rules of those that start on a schedule.
  scheduled_names = merge(
    { backup = var.service_name },
    { for drill in local.drills : "drill" => local.drill_name },
    { for check in local.checks : "check" => local.check_name },
  )
  task_names = merge(local.scheduled_names, { for name in local.orchestrated_names : name => "${var.service_name}-${name}" })

  # Those whose task the rule itself starts: with orchestration, a backup run is the state machine's.
  started_names = { for name, rule in local.scheduled_names : name => rule if name != "backup" || length(local.orchestrations) == 0 }

  # Each runs one command of the image. `problems` are refused at plan.
  tasks = merge(
    {
      backup = {
        purpose              = "a backup run"
        command              = ["backup"]
        environment          = local.environment
        role_arn             = aws_iam_role.task.arn
        cpu                  = var.task_cpu
        memory               = var.task_memory
        ephemeral_storage_gb = var.task_ephemeral_storage_gb
        schedule_expression  = var.schedule_expression
        problems             = local.backup_problems
      }
    },
    { for drill in local.drills : "drill" => {
      purpose              = "a restore drill"
      command              = local.drill_command[0]
      environment          = merge(var.extra_environment, { for name in ["AWS_REGION", "SERVICE_NAME", "TMPDIR"] : name => local.environment[name] })
      role_arn             = aws_iam_role.drill[0].arn
      cpu                  = drill.cpu
      memory               = drill.memory
      ephemeral_storage_gb = drill.ephemeral_storage_gb
      schedule_expression  = drill.schedule_expression
      problems             = local.drill_problems
    } },
    { for check in local.checks : "check" => merge(check, {
      purpose     = "an age check"
      environment = merge(var.extra_environment, { for name in ["AWS_REGION", "S3_BUCKET", "S3_PREFIX", "SERVICE_NAME", "TMPDIR"] : name => local.environment[name] })
      role_arn    = aws_iam_role.check[0].arn
      problems    = []
    }) },
    local.orchestrated_tasks,
  )
}

resource "aws_ecs_task_definition" "task" {
  for_each = local.tasks

  family                   = local.task_names[each.key]
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = each.value.role_arn
  tags                     = local.tags

  ephemeral_storage {
    size_in_gib = each.value.ephemeral_storage_gb
  }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  # The only place that the container can write to: on the task's disk, or on a volume that comes with the task.
  volume {
    name                = local.scratch.name
    configure_at_launch = each.key == "shard-on-volume" ? true : null
  }

  container_definitions = jsonencode([{
    name    = each.key
    image   = local.image_uri
    command = each.value.command

    # The task's memory again: only then does the program see the limit (cgroup). Otherwise Fargate shows it the memory
    # of the host, about twice as much.
    memory                 = each.value.memory
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    stopTimeout            = 120
    mountPoints            = [{ sourceVolume = local.scratch.name, containerPath = local.scratch.path, readOnly = false }]
    environment            = [for name in sort(keys(each.value.environment)) : { name = name, value = each.value.environment[name] }]

    linuxParameters = {
      # Reaps the processes that a stopped git leaves behind.
      initProcessEnabled = true
      capabilities       = { drop = ["ALL"] }
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.task.name
        "awslogs-region"        = local.region
        "awslogs-stream-prefix" = each.key
      }
    }
  }])

  lifecycle {
    precondition {
      condition     = length(each.value.problems) == 0
      error_message = join("\n\n", each.value.problems)
    }
  }
}

# -- network -------------------------------------------------------------------------------------

data "aws_subnet" "task" {
  id = var.subnet_ids[0]
}

resource "aws_security_group" "task" {
  name_prefix = "${var.service_name}-"
  description = "${var.service_name}: out to GitHub and AWS over HTTPS, nothing in"
  vpc_id      = data.aws_subnet.task.vpc_id
  tags        = merge(local.tags, { Name = var.service_name })

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  security_group_ids = concat([aws_security_group.task.id], var.network.security_group_ids)

  # GitHub and AWS have no fixed addresses.
  egress = merge(
    { for cidr in var.network.https_cidrs : "HTTPS to ${cidr}" => { protocol = "tcp", port = 443, to = cidr } },
    var.network.egress,
  )
}

resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = local.egress

  security_group_id            = aws_security_group.task.id
  description                  = each.key
  cidr_ipv4                    = strcontains(each.value.to, ".") ? each.value.to : null
  cidr_ipv6                    = strcontains(each.value.to, ":") ? each.value.to : null
  referenced_security_group_id = startswith(each.value.to, "sg-") ? each.value.to : null
  prefix_list_id               = startswith(each.value.to, "pl-") ? each.value.to : null
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.tags
}

# -- schedules -----------------------------------------------------------------------------------

locals {
  schedules = {
    for name, expression in { backup = var.schedule_expression, drill = try(var.restore_drill.schedule_expression, null) } :
    name => expression if expression != null
  }

  interval_hours = coalesce(var.run_interval_hours, local.derived_hours.backup, 24)
  deadline_hours = coalesce(var.run_deadline_hours, local.interval_hours - local.merge_hours)

  # Hours without a run before somebody is told.
  window_hours = local.interval_hours + var.run_grace_hours

  # How far a CloudWatch alarm looks back at most, in hours.
  look_back_hours = 168

  # S3 gives out nothing from there without hours of waiting.
  frozen_classes = ["GLACIER", "DEEP_ARCHIVE"]

  # A run reads content of that age, and that of a late run, to write it again before it expires. modules/bucket has the same
  # number; a test compares them.
  max_content_days = 365
  has_content      = var.backup_content.lfs || var.backup_content.releases
  read_again_days  = local.max_content_days + ceil(local.window_hours / 24)

  backup_problems = compact(concat([
    var.run_interval_hours != null || local.derived_hours.backup != null ? "" :
    "run_interval_hours must be set: the hours between two runs can't be read from schedule_expression. Set the longest time between two starts, in hours. Got: ${var.schedule_expression}.",

    var.backup_retention_days == 0 || var.backup_retention_days * 24 >= 2 * local.interval_hours ? "" :
    "backup_retention_days must be at least ${ceil(2 * local.interval_hours / 24)}, twice the ${local.interval_hours} hours between two runs: otherwise one missed run leaves no backup. Got: ${var.backup_retention_days}.",

    !local.has_content || var.existing.bucket != null || alltrue([for transition in var.storage_transitions : !contains(local.frozen_classes, transition.storage_class) || transition.days > local.read_again_days]) ? "" :
    "storage_transitions must keep objects up to ${local.read_again_days} days old out of GLACIER and DEEP_ARCHIVE while backup_content has lfs or releases: a run reads LFS objects and files of releases of that age, to write them again before they expire. Got: ${jsonencode(var.storage_transitions)}.",

    length(setintersection(keys(var.extra_environment), keys(local.variables))) == 0 ? "" :
    "extra_environment must not set what the module sets itself: ${join(", ", setintersection(keys(var.extra_environment), keys(local.variables)))}. Use the module's inputs.",
  ], local.orchestration_problems))

  # Fargate may have no capacity for a while. After an hour the start goes to the queue, and the queue raises an alarm.
  start_retries = { seconds = 3600, attempts = 20 }
}

resource "aws_cloudwatch_event_rule" "task" {
  for_each = local.scheduled_names

  name                = each.value
  description         = "Starts ${local.tasks[each.key].purpose} of ${var.service_name}"
  schedule_expression = local.tasks[each.key].schedule_expression
  state               = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "task" {
  for_each = local.started_names

  rule     = aws_cloudwatch_event_rule.task[each.key].name
  arn      = local.cluster_arn
  role_arn = aws_iam_role.schedule[0].arn

  ecs_target {
    task_definition_arn     = aws_ecs_task_definition.task[each.key].arn
    launch_type             = "FARGATE"
    task_count              = 1
    propagate_tags          = "TASK_DEFINITION"
    enable_ecs_managed_tags = true

    network_configuration {
      subnets          = var.subnet_ids
      security_groups  = local.security_group_ids
      assign_public_ip = var.assign_public_ip
    }
  }

  retry_policy {
    maximum_event_age_in_seconds = local.start_retries.seconds
    maximum_retry_attempts       = local.start_retries.attempts
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  # Without it, a start that comes before the role's permissions is lost.
  depends_on = [aws_iam_role_policy.schedule]
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.service_name}-dead-letters"
  message_retention_seconds = 14 * 24 * 3600
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy    = data.aws_iam_policy_document.dead_letters.json
}
