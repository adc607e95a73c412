# Every option at once. Take what you need.

provider "aws" {
  region = "eu-central-1"
}

locals {
  account = "123456789012"
  digest  = "0000000000000000000000000000000000000000000000000000000000000000"
  # Keys whose policies let S3, Secrets Manager, CloudWatch Logs and SNS use them.
  keys = { primary = "eu-central-1", replica = "eu-west-1", other = "eu-central-1" }
  key  = { for name, region in local.keys : name => "arn:aws:kms:${region}:${local.account}:key/${name}" }
}

module "github_backup" {
  source = "../.."

  github_app_id                 = "Iv1.8a61f9b3a7aba766"
  github_app_installation_id    = "12345678"
  github_app_key_secret_writers = ["arn:aws:iam::${local.account}:role/admin"]
  github_ca_pem                 = <<-EOT
    -----BEGIN CERTIFICATE-----
    (the private CA of github.example.com; file() reads it from a file)
    -----END CERTIFICATE-----
  EOT
  github_urls                   = { api = "https://github.example.com/api/v3", server = "https://github.example.com" }

  service_name        = "ghes-backup"
  schedule_expression = "cron(0 3 * * ? *)"
  run = {
    interval_hours = 24
    grace_hours    = 8
    deadline_hours = 12
  }
  anomaly_percent = 10

  repositories = {
    include       = ["acme/*"]
    exclude       = ["acme/sandbox-*"]
    skip_forks    = true
    skip_archived = false
  }

  backup_content = {
    lfs      = true
    releases = true
    wikis    = false
  }

  subnet_ids = ["subnet-0123456789abcdef0"]
  network = {
    security_group_ids = ["sg-0123456789abcdef0"]
    https_cidrs        = ["10.0.0.0/8"]
    egress = {
      proxy    = { port = 3128, to = "10.0.0.0/24" }
      resolver = { port = 53, protocol = "udp", to = "10.0.0.2/32" }

      # Endpoints of the VPC, which Fargate itself uses: for ecr.api, ecr.dkr, logs and secretsmanager, and S3's.
      endpoints = { port = 443, to = "sg-0fedcba9876543210" }
      s3        = { port = 443, to = "pl-0123456789abcdef0" }
    }
  }
  extra_environment = {
    HTTPS_PROXY = "http://10.0.0.10:3128"
    NO_PROXY    = "169.254.170.2,.amazonaws.com,github.example.com"
  }

  image_uri                 = "${local.account}.dkr.ecr.eu-central-1.amazonaws.com/github-backup@sha256:${local.digest}"
  cpu_architecture          = "X86_64"
  task_cpu                  = 4096
  task_memory               = 16384
  task_ephemeral_storage_gb = 200
  concurrency               = 24
  full_backup_days          = 14

  s3_bucket_name        = "acme-ghes-backup"
  replica_storage_class = "GLACIER_IR"
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

  # The third key that signs manifests, after two that nobody can use any more.
  signing_key_number = 3

  # Twelve hours after a backup run, which is also the default.
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
