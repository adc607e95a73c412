# Every kind of resource that the stand-in's tests plan, apply and destroy; not a module to copy from.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

variable "name" {
  type    = string
  default = "sample"
}

variable "replica_region" {
  type    = string
  default = "us-west-2"
}

data "aws_availability_zones" "this" {}
data "aws_caller_identity" "this" {}
data "aws_default_tags" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

data "aws_arn" "queue" {
  arn = aws_sqs_queue.dead_letters.arn
}

data "aws_ecs_cluster" "other" {
  cluster_name = "other"
}

data "aws_kms_key" "s3" {
  key_id = "alias/aws/s3"
}

data "aws_s3_bucket" "logs" {
  bucket = "logs-of-us"
}

data "aws_secretsmanager_secret" "other" {
  arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:other-AbCdEf"
}

data "aws_service_principal" "events" {
  service_name = "events"
}

data "aws_sns_topic" "other" {
  name = "other"
}

data "aws_subnets" "this" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.this.id]
  }
}

data "aws_subnet" "first" {
  id = data.aws_subnets.this.ids[0]
}

data "aws_vpc" "this" {
  default = true
}

# Network

resource "aws_vpc" "this" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "this" {
  for_each   = toset(slice(data.aws_availability_zones.this.names, 0, 2))
  vpc_id     = aws_vpc.this.id
  cidr_block = cidrsubnet(aws_vpc.this.cidr_block, 8, index(data.aws_availability_zones.this.names, each.key))

  availability_zone = each.key
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.this.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "this" {
  for_each       = aws_subnet.this
  subnet_id      = each.value.id
  route_table_id = aws_route_table.this.id
}

resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_security_group" "task" {
  name_prefix = "${var.name}-"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.task.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "self" {
  security_group_id            = aws_security_group.task.id
  referenced_security_group_id = aws_security_group.task.id
  ip_protocol                  = "-1"
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.this.id
  service_name    = "com.amazonaws.${data.aws_region.this.region}.s3"
  route_table_ids = [aws_route_table.this.id]
}

# Keys and secrets

resource "aws_kms_key" "this" {
  description             = var.name
  deletion_window_in_days = 7
  enable_key_rotation     = true
}

resource "aws_kms_key" "replica" {
  region = var.replica_region
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.this.partition}:iam::${data.aws_caller_identity.this.account_id}:root"]
    }
  }

  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", data.aws_service_principal.events.name]
    }
  }
}

resource "aws_kms_key_policy" "this" {
  key_id = aws_kms_key.this.id
  policy = data.aws_iam_policy_document.key.json
}

resource "aws_secretsmanager_secret" "this" {
  name_prefix = "${var.name}/key-"
  kms_key_id  = aws_kms_key.this.arn
}

resource "aws_secretsmanager_secret_version" "this" {
  secret_id     = aws_secretsmanager_secret.this.id
  secret_string = "replaced by hand"
}

data "aws_iam_policy_document" "secret" {
  statement {
    effect    = "Deny"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.this.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [aws_iam_role.execution.arn]
    }
  }
}

resource "aws_secretsmanager_secret_policy" "this" {
  secret_arn = aws_secretsmanager_secret.this.arn
  policy     = data.aws_iam_policy_document.secret.json
}

# Storage

resource "aws_s3_bucket" "primary" {
  bucket              = "${var.name}-${data.aws_caller_identity.this.account_id}"
  object_lock_enabled = true
}

resource "aws_s3_bucket" "replica" {
  region        = var.replica_region
  bucket_prefix = "${var.name}-replica-"
}

resource "aws_s3_bucket_versioning" "primary" {
  bucket = aws_s3_bucket.primary.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_versioning" "replica" {
  region = var.replica_region
  bucket = aws_s3_bucket.replica.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "primary" {
  bucket = aws_s3_bucket.primary.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "primary" {
  bucket                  = aws_s3_bucket.primary.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "primary" {
  bucket = aws_s3_bucket.primary.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "primary" {
  bucket = aws_s3_bucket.primary.id

  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = 30
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "primary" {
  bucket = aws_s3_bucket.primary.id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {
      prefix = "bundles/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    transition {
      days          = 30
      storage_class = "STANDARD_IA"
    }
  }

  rule {
    id     = "uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_s3_bucket_logging" "primary" {
  bucket        = aws_s3_bucket.primary.id
  target_bucket = data.aws_s3_bucket.logs.id
  target_prefix = "s3/"
}

resource "aws_s3_bucket_metric" "primary" {
  bucket = aws_s3_bucket.primary.id
  name   = "everything"
}

resource "aws_s3_bucket_notification" "primary" {
  bucket      = aws_s3_bucket.primary.id
  eventbridge = true
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.primary.arn, "${aws_s3_bucket.primary.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "primary" {
  bucket = aws_s3_bucket.primary.id
  policy = data.aws_iam_policy_document.bucket.json
}

resource "aws_s3_bucket_replication_configuration" "primary" {
  bucket = aws_s3_bucket.primary.id
  role   = aws_iam_role.replication.arn

  rule {
    id     = "everything"
    status = "Enabled"

    filter {}

    delete_marker_replication {
      status = "Disabled"
    }

    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket = aws_s3_bucket.replica.arn

      encryption_configuration {
        replica_kms_key_id = aws_kms_key.replica.arn
      }

      metrics {
        status = "Enabled"
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.primary, aws_s3_bucket_versioning.replica]
}

# Roles

data "aws_iam_policy_document" "assume" {
  for_each = toset(["ecs-tasks", "s3", "events"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-execution-"
  assume_role_policy = data.aws_iam_policy_document.assume["ecs-tasks"].json
}

resource "aws_iam_role" "replication" {
  name               = "${var.name}-replication"
  assume_role_policy = data.aws_iam_policy_document.assume["s3"].json
}

resource "aws_iam_role" "schedule" {
  name               = "${var.name}-schedule"
  path               = "/service/"
  assume_role_policy = data.aws_iam_policy_document.assume["events"].json
}

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "Write"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.primary.arn}/*"]
  }
}

resource "aws_iam_role_policy" "task" {
  name   = "task"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.task.json
}

resource "aws_iam_policy" "task" {
  name   = "${var.name}-task"
  policy = data.aws_iam_policy_document.task.json
}

resource "aws_iam_role_policy_attachment" "task" {
  role       = aws_iam_role.execution.name
  policy_arn = aws_iam_policy.task.arn
}

# Task

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = 365
  kms_key_id        = aws_kms_key.this.arn
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enhanced"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.execution.arn

  ephemeral_storage {
    size_in_gib = 50
  }

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }

  volume {
    name                = "scratch"
    configure_at_launch = true
  }

  container_definitions = jsonencode([{
    name        = "backup"
    image       = "example:1"
    environment = [{ name = "BUCKET", value = aws_s3_bucket.primary.bucket }]
    logConfiguration = {
      logDriver = "awslogs"
      options   = { awslogs-group = aws_cloudwatch_log_group.this.name, awslogs-region = data.aws_region.this.region }
    }
  }])
}

resource "aws_cloudwatch_event_rule" "daily" {
  name                = var.name
  schedule_expression = "rate(1 day)"
}

resource "aws_cloudwatch_event_rule" "stopped" {
  name_prefix   = "${var.name}-"
  event_pattern = jsonencode({ source = ["aws.ecs"], detail-type = ["ECS Task State Change"] })
}

resource "aws_cloudwatch_event_target" "task" {
  rule     = aws_cloudwatch_event_rule.daily.name
  arn      = aws_ecs_cluster.this.arn
  role_arn = aws_iam_role.schedule.arn

  ecs_target {
    task_definition_arn = aws_ecs_task_definition.this.arn_without_revision
    launch_type         = "FARGATE"

    network_configuration {
      subnets         = [for subnet in aws_subnet.this : subnet.id]
      security_groups = [aws_security_group.task.id]
    }
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }

  retry_policy {
    maximum_retry_attempts       = 3
    maximum_event_age_in_seconds = 3600
  }
}

resource "aws_cloudwatch_event_target" "topic" {
  rule = aws_cloudwatch_event_rule.stopped.name
  arn  = aws_sns_topic.this.arn

  input_transformer {
    input_paths    = { reason = "$.detail.stoppedReason" }
    input_template = "\"The task stopped: <reason>\""
  }
}

resource "aws_sfn_state_machine" "this" {
  name     = var.name
  role_arn = aws_iam_role.schedule.arn

  definition = jsonencode({
    StartAt = "Run"
    States  = { Run = { Type = "Task", Resource = "arn:aws:states:::ecs:runTask.sync", End = true } }
  })
}

resource "aws_scheduler_schedule" "this" {
  name                = var.name
  schedule_expression = "cron(0 3 * * ? *)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.schedule.arn

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this.arn
      launch_type         = "FARGATE"

      network_configuration {
        subnets = [for subnet in aws_subnet.this : subnet.id]
      }
    }

    retry_policy {
      maximum_retry_attempts = 2
    }
  }
}

# Alarms

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

data "aws_iam_policy_document" "queue" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_sns_topic" "this" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.this.arn
}

data "aws_iam_policy_document" "topic" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "mail" {
  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = "operator@example.com"
}

resource "aws_cloudwatch_log_metric_filter" "errors" {
  name           = "errors"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "{ $.level = \"ERROR\" }"

  metric_transformation {
    name      = "Errors"
    namespace = var.name
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "missing" {
  alarm_name          = "${var.name}-missing"
  comparison_operator = "LessThanThreshold"
  evaluation_periods  = 26
  metric_name         = "Stored"
  namespace           = var.name
  period              = 3600
  statistic           = "Sum"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "share" {
  alarm_name          = "${var.name}-share"
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
  threshold           = 0.1

  metric_query {
    id          = "share"
    expression  = "failed / stored"
    return_data = true
  }

  metric_query {
    id = "failed"

    metric {
      metric_name = "Failed"
      namespace   = var.name
      period      = 3600
      stat        = "Sum"
    }
  }

  metric_query {
    id = "stored"

    metric {
      metric_name = "Stored"
      namespace   = var.name
      period      = 3600
      stat        = "Sum"
      dimensions  = { Organisation = "example" }
    }
  }
}

resource "aws_cloudwatch_composite_alarm" "any" {
  alarm_name    = "${var.name}-any"
  alarm_rule    = "ALARM(${aws_cloudwatch_metric_alarm.missing.alarm_name})"
  alarm_actions = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = [] })
}

output "bucket" {
  value = aws_s3_bucket.primary.id
}

output "primary_key" {
  value = aws_kms_key.this.arn
}

output "queue_service" {
  value = data.aws_arn.queue.service
}

output "replica_key" {
  value = aws_kms_key.replica.arn
}

output "others" {
  value = [
    data.aws_default_tags.this.tags, data.aws_ecs_cluster.other.arn, data.aws_kms_key.s3.arn,
    data.aws_secretsmanager_secret.other.name, data.aws_sns_topic.other.arn, data.aws_subnet.first.vpc_id,
  ]
}
