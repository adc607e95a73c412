# What runs: one task definition for each command of the image.

# -- environment ---------------------------------------------------------------------------------

locals {
  scratch = { name = "scratch", path = "/scratch" }

  # The program's own default, applied to the vCPUs that are paid for: a Fargate task may see more.
  default_concurrency = min(64, 8 * max(1, floor(var.task_cpu / 1024)))

  variables = {
    ANOMALY_PERCENT            = var.anomaly_percent
    AWS_REGION                 = local.region
    BACKUP_CONCURRENCY         = coalesce(var.concurrency, local.default_concurrency)
    BACKUP_DISCUSSIONS         = var.backup_content.discussions
    BACKUP_EXCLUDE             = length(var.repositories.exclude) == 0 ? null : join(",", var.repositories.exclude)
    BACKUP_INCLUDE             = join(",", var.repositories.include) == "*" ? null : join(",", var.repositories.include)
    BACKUP_ISSUES              = var.backup_content.issues
    BACKUP_LFS                 = var.backup_content.lfs
    BACKUP_PULL_REQUESTS       = var.backup_content.pull_requests
    BACKUP_RELEASES            = var.backup_content.releases
    BACKUP_RETENTION_DAYS      = var.backup_retention_days == 0 ? null : var.backup_retention_days
    BACKUP_SKIP_ARCHIVED       = var.repositories.skip_archived ? "true" : null
    BACKUP_SKIP_FORKS          = var.repositories.skip_forks ? "true" : null
    BACKUP_WIKIS               = var.backup_content.wikis
    DIFFERENTIAL               = var.differential
    FULL_BACKUP_DAYS           = var.full_backup_days
    GITHUB_API_URL             = var.github_urls.api
    GITHUB_APP_ID              = var.github_app_id
    GITHUB_APP_INSTALLATION_ID = var.github_app_installation_id
    GITHUB_APP_KEY_SECRET_ARN  = local.secret_arn
    GITHUB_CA_PEM              = var.github_ca_pem
    GITHUB_SERVER_URL          = var.github_urls.server
    MANIFEST_SIGNING_KEY_ARN   = one(local.signing_key_arns)
    RUN_DEADLINE_HOURS         = local.deadline_hours
    S3_BUCKET                  = local.bucket_name
    S3_PREFIX                  = local.prefix
    SERVICE_NAME               = var.service_name
    TMPDIR                     = local.scratch.path
  }

  # The program uses its own default for a variable that is not set.
  environment = merge(
    var.extra_environment,
    { for name, value in local.variables : name => tostring(value) if value != null },
  )

  # Of the tasks that do not back up.
  small_environments = { for task, names in {
    drill = ["AWS_REGION", "SERVICE_NAME", "TMPDIR"]
    check = ["AWS_REGION", "S3_BUCKET", "S3_PREFIX", "SERVICE_NAME", "TMPDIR"]
  } : task => merge(var.extra_environment, { for name in names : name => local.environment[name] }) }
}

# -- task definitions ----------------------------------------------------------------------------

locals {
  # The memory sizes in MiB that Fargate offers for each CPU size.
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
  fargate_memory = {
    "256"   = [512, 1024, 2048]
    "512"   = range(1024, 4096 + 1, 1024)
    "1024"  = range(2048, 8192 + 1, 1024)
    "2048"  = range(4096, 16384 + 1, 1024)
    "4096"  = range(8192, 30720 + 1, 1024)
    "8192"  = range(16384, 61440 + 1, 4096)
    "16384" = range(32768, 122880 + 1, 8192)
  }

  # The names of tasks and task definitions, and of the rules of those that start on a schedule.
  scheduled_names = merge(
    { backup = var.service_name },
    { for drill in local.drills : "drill" => local.drill_name },
    { for check in local.checks : "check" => local.check_name },
  )
  task_names = merge(
    local.scheduled_names,
    { for name in local.orchestrated_names : name => "${var.service_name}-${name}" },
  )

  # Those whose task the rule itself starts: with orchestration, a backup run is the state machine's.
  started_names = {
    for name, rule in local.scheduled_names : name => rule if name != "backup" || length(local.orchestrations) == 0
  }

  # Each runs one command of the image. `problems` are refused at plan.
  tasks = merge(
    {
      backup = {
        purpose              = "a backup run"
        command              = ["backup"]
        environment          = local.environment
        role_arn             = local.role_arns["task"]
        cpu                  = var.task_cpu
        memory               = var.task_memory
        ephemeral_storage_gb = var.task_ephemeral_storage_gb
        schedule_expression  = local.schedule_expression
        problems             = local.backup_problems
      }
    },
    { for drill in local.drills : "drill" => {
      purpose              = "a restore drill"
      command              = local.drill_command[0]
      environment          = local.small_environments["drill"]
      role_arn             = local.role_arns["drill"]
      cpu                  = drill.cpu
      memory               = drill.memory
      ephemeral_storage_gb = drill.ephemeral_storage_gb
      schedule_expression  = drill.schedule_expression
      problems             = local.drill_problems
    } },
    { for check in local.checks : "check" => merge(check, {
      purpose     = "an age check"
      environment = local.small_environments["check"]
      role_arn    = local.role_arns["check"]
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
  execution_role_arn       = local.role_arns["execution"]
  task_role_arn            = each.value.role_arn
  tags                     = local.tags

  # A run in several tasks keeps the revision that it began with. ECS starts no task of a deregistered one, so an apply
  # during a run would lose its shards.
  skip_destroy = true

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

  container_definitions = jsonencode([{ for name, value in {
    name    = each.key
    image   = local.image_uri
    command = each.value.command

    repositoryCredentials = var.image_credentials_secret_arn == null ? null : {
      credentialsParameter = var.image_credentials_secret_arn
    }

    # The task's memory again: only then does the program see the limit (cgroup). Otherwise Fargate shows it the memory
    # of the host, about twice as much.
    memory                 = each.value.memory
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    stopTimeout            = 120
    mountPoints = [
      { sourceVolume = local.scratch.name, containerPath = local.scratch.path, readOnly = false },
    ]
    environment = [
      for name in sort(keys(each.value.environment)) : { name = name, value = each.value.environment[name] }
    ]

    linuxParameters = {
      # Reaps the processes that a stopped git leaves behind.
      initProcessEnabled = true
      capabilities       = { drop = ["ALL"] }
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        # Otherwise lines may be dropped, and the runbooks rest on the last ones.
        "mode"                  = "blocking"
        "awslogs-group"         = aws_cloudwatch_log_group.task.name
        "awslogs-region"        = local.region
        "awslogs-stream-prefix" = each.key
      }
    }
  } : name => value if value != null }])

  lifecycle {
    precondition {
      condition     = length(each.value.problems) == 0
      error_message = join("\n\n", each.value.problems)
    }
  }
}
