# What every file shares: versions, where we are, names, and the secret that holds the App's key.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # The version of container/version.py: the image that the module starts is the one it was released with.
  release       = "0.1.0"
  default_image = "public.ecr.aws/terraform-aws-github-backup/github-backup:${local.release}"
  image_uri     = coalesce(var.image_uri, local.default_image)

  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.region
  dns_suffix = data.aws_partition.current.dns_suffix
  tags       = merge(var.tags, { Service = var.service_name })

  kms_key_arns = var.kms_key_arns != null ? var.kms_key_arns : { logs = null, primary = null, replica = null, secret = null, topic = null }

  # Names that container/metrics.py has too; a test compares them.
  metrics = {
    namespace = "GitHubBackup"
    dimension = "Service"
    success   = "BackupSuccess"
    failure   = "BackupFailure"
    duration  = "RunDuration"
    bytes     = "BytesUploaded"
    unchanged = "RepositoriesUnchanged"

    restore_verified = "RestoreVerified"
    restore_failed   = "RestoreFailed"
    restore_seconds  = "RestoreSeconds"
  }
  prefix = "github-backup"

  # EventBridge's schedules; in a cron() exactly one of the two days is ?.
  schedule_forms = [
    "^rate\\((1 (hour|day)|([2-9]|[1-9][0-9]+) (hours|days))\\)$",
    "^cron\\([0-9,*/-]+ [0-9,*/-]+ \\? [0-9A-Z,*/-]+ [0-9A-Z,*/#L-]+ [0-9,*/-]+\\)$",
    "^cron\\([0-9,*/-]+ [0-9,*/-]+ [0-9,*/LW-]+ [0-9A-Z,*/-]+ \\? [0-9,*/-]+\\)$",
  ]
  schedule_rule = "rate(1 hour), rate(N hours), rate(1 day), rate(N days), or cron() with six fields of which exactly one of day-of-month and day-of-week is ?, such as cron(0 3 * * ? *)"

  # Hours between two starts of a rate() schedule; a cron() one counts as daily.
  rate_hours = {
    for name, expression in { backup = var.schedule_expression, drill = try(var.restore_drill.schedule_expression, "") } :
    name => try(tonumber(regex("^rate\\(([0-9]+) hour", expression)[0]), 24 * regex("^rate\\(([0-9]+) day", expression)[0], 24)
  }

  # Hours without a run until somebody is told.
  interval_hours = coalesce(var.run_interval_hours, local.rate_hours.backup)
  window_hours   = local.interval_hours + var.run_grace_hours

  # Memory that Fargate sells for each amount of CPU, MiB.
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

  docs_url = "https://github.com/terraform-aws-github-backup/terraform-aws-github-backup/blob/main/docs"
}

check "image_is_pinned" {
  assert {
    condition     = var.image_uri == null || can(regex("(@sha256:[0-9a-f]{64}|:[0-9a-f]{40})$", local.image_uri))
    error_message = "image_uri is not pinned: ${local.image_uri} may be another image tomorrow. Use repository@sha256:digest, or a tag that is a commit's SHA."
  }
}

# -- the App's private key -----------------------------------------------------------------------
# Made without a value, so that the key is never in Terraform's state:
#   aws secretsmanager put-secret-value --secret-id ARN --secret-string file://KEY.pem

resource "aws_secretsmanager_secret" "app_key" {
  #checkov:skip=CKV2_AWS_57:GitHub has no API to rotate an App's private key

  count = var.existing.secret == null ? 1 : 0

  name_prefix = "${var.service_name}-github-app-key-"
  description = "Private key (PEM) of the GitHub App that ${var.service_name} signs in with"
  kms_key_id  = local.kms_key_arns.secret
  tags        = local.tags
}

resource "aws_secretsmanager_secret_policy" "app_key" {
  count = length(aws_secretsmanager_secret.app_key)

  secret_arn          = aws_secretsmanager_secret.app_key[0].arn
  policy              = data.aws_iam_policy_document.app_key.json
  block_public_policy = true
}

locals {
  secret_arn = var.existing.secret != null ? var.existing.secret.arn : aws_secretsmanager_secret.app_key[0].arn
}
