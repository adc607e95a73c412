# What runs and when: logs, cluster, task, network, schedule.

# -- logs ----------------------------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "task" {
  name              = "/ecs/${var.service_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arns.logs
  tags              = local.tags
}

# Container Insights would make this group by itself and keep it forever.
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

# -- task ----------------------------------------------------------------------------------------

locals {
  scratch = { name = "scratch", path = "/scratch" }

  # As the program's own default, of the vCPUs that are paid for: a task on Fargate may see more than that.
  default_concurrency = min(64, 8 * max(1, floor(var.task_cpu / 1024)))

  # A variable that is not set leaves the program its own default.
  environment = { for name, value in {
    AWS_REGION                 = local.region
    BACKUP_CONCURRENCY         = coalesce(var.concurrency, local.default_concurrency)
    FULL_BACKUP_DAYS           = var.full_backup_days
    GITHUB_API_URL             = var.github_urls.api
    GITHUB_APP_ID              = var.github_app_id
    GITHUB_APP_INSTALLATION_ID = var.github_app_installation_id
    GITHUB_APP_KEY_SECRET_ARN  = local.secret_arn
    GITHUB_SERVER_URL          = var.github_urls.server
    S3_BUCKET                  = local.bucket_name
    S3_PREFIX                  = local.prefix
    SERVICE_NAME               = var.service_name
    TMPDIR                     = local.scratch.path
  } : name => tostring(value) if value != null }

  # What every container has, whatever runs in it. Each says its memory besides, which is its task's: only then does the
  # program see that limit (cgroup). Without it, Fargate shows what the machine below has, about twice as much.
  container = {
    image                  = local.image_uri
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = 120
    mountPoints            = [{ sourceVolume = local.scratch.name, containerPath = local.scratch.path, readOnly = false }]

    linuxParameters = {
      # Collects the processes that a stopped git leaves behind.
      initProcessEnabled = true
      capabilities       = { drop = ["ALL"] }
    }
  }
  log_options = {
    "awslogs-group"  = aws_cloudwatch_log_group.task.name
    "awslogs-region" = local.region
  }
}

resource "aws_ecs_task_definition" "backup" {
  family                   = var.service_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task_cpu
  memory                   = var.task_memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = local.tags

  ephemeral_storage {
    size_in_gib = var.task_ephemeral_storage_gb
  }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  # The only place that the container can write to.
  volume {
    name = local.scratch.name
  }

  container_definitions = jsonencode([merge(local.container, {
    name        = "backup"
    memory      = var.task_memory
    environment = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]

    logConfiguration = {
      logDriver = "awslogs"
      options   = merge(local.log_options, { "awslogs-stream-prefix" = "backup" })
    }
  })])
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

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = { ipv4 = { cidr_ipv4 = "0.0.0.0/0", cidr_ipv6 = null }, ipv6 = { cidr_ipv4 = null, cidr_ipv6 = "::/0" } }

  security_group_id = aws_security_group.task.id
  description       = "GitHub and AWS have no fixed addresses"
  cidr_ipv4         = each.value.cidr_ipv4
  cidr_ipv6         = each.value.cidr_ipv6
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

# -- schedule ------------------------------------------------------------------------------------

resource "aws_cloudwatch_event_rule" "backup" {
  name                = var.service_name
  description         = "Starts a backup run of ${var.service_name}"
  schedule_expression = var.schedule_expression
  state               = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "backup" {
  rule     = aws_cloudwatch_event_rule.backup.name
  arn      = local.cluster_arn
  role_arn = aws_iam_role.schedule.arn

  ecs_target {
    task_definition_arn = aws_ecs_task_definition.backup.arn
    launch_type         = "FARGATE"
    task_count          = 1

    network_configuration {
      subnets          = var.subnet_ids
      security_groups  = [aws_security_group.task.id]
      assign_public_ip = var.assign_public_ip
    }
  }

  # Fargate may have no capacity for a while. After an hour the start goes to the queue, and the queue raises an alarm.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  # A start before the role may start anything would be lost.
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
