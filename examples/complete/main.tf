# Every option at once. Take what you need.

provider "aws" {
  region = "eu-central-1"
}

locals {
  account = "123456789012"
  # Keys whose policies let S3, Secrets Manager, CloudWatch Logs and SNS use them.
  key = { for name, region in { primary = "eu-central-1", replica = "eu-west-1", other = "eu-central-1" } : name => "arn:aws:kms:${region}:${local.account}:key/${name}" }
}

module "github_backup" {
  source = "../.."

  github_app_id                 = "Iv1.8a61f9b3a7aba766"
  github_app_installation_id    = "12345678"
  github_app_key_secret_writers = ["arn:aws:iam::${local.account}:role/admin"]
  github_urls                   = { api = "https://github.example.com/api/v3", server = "https://github.example.com" }

  service_name        = "ghes-backup"
  schedule_expression = "cron(0 3 * * ? *)"
  run_interval_hours  = 24
  run_grace_hours     = 8

  subnet_ids                = ["subnet-0123456789abcdef0"]
  image_uri                 = "${local.account}.dkr.ecr.eu-central-1.amazonaws.com/github-backup@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  cpu_architecture          = "X86_64"
  task_cpu                  = 4096
  task_memory               = 16384
  task_ephemeral_storage_gb = 200
  concurrency               = 24
  full_backup_days          = 14

  s3_bucket_name        = "acme-ghes-backup"
  replica_region        = "eu-west-1"
  backup_retention_days = 400
  object_lock           = { mode = "COMPLIANCE", days = 90 }
  storage_transitions   = [{ days = 30, storage_class = "GLACIER_IR" }]

  kms_key_arns = {
    logs    = local.key.other
    primary = local.key.primary
    replica = local.key.replica
    secret  = local.key.other
    topic   = local.key.other
  }

  # At three in the afternoon, when no backup run ends.
  restore_drill = {
    schedule_expression = "cron(0 15 * * ? *)"
    interval_hours      = 24
    grace_hours         = 8
    within_days         = 14
    cpu                 = 2048
    memory              = 8192
  }

  alarm_emails       = ["oncall@example.com"]
  alarm_actions      = ["arn:aws:sns:eu-central-1:${local.account}:pager"]
  log_retention_days = 90
  iam                = { path = "/backup/", permissions_boundary_arn = "arn:aws:iam::${local.account}:policy/boundary" }
  tags               = { Team = "platform" }
}

output "dashboard" {
  description = "The CloudWatch dashboard's name."
  value       = module.github_backup.dashboard_name
}
