# Bucket and secret are made elsewhere, for instance by infrahouse/s3-bucket/aws and infrahouse/secret/aws; cluster and
# topic are shared. The module makes the task, its roles, the schedule, the replica, the replication and the alarms.

provider "aws" {
  region = "eu-central-1"
}

# Stands for `module "backups" { source = "infrahouse/s3-bucket/aws" ... }`. What the module needs of it: versioning.
resource "aws_s3_bucket" "backups" {
  bucket = "acme-backups"
}

resource "aws_s3_bucket_versioning" "backups" {
  bucket = aws_s3_bucket.backups.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

# Without it, whoever may write to the bucket can replace and delete backups.
resource "aws_s3_bucket_policy" "backups" {
  bucket = aws_s3_bucket.backups.bucket
  policy = module.github_backup.s3_bucket_policy
}

# As long as the module keeps objects in a bucket of its own: backup_retention_days, and 91 more days for bundles,
# manifests and reports of drills, 366 more days for LFS objects and files of releases. A rule for all objects must not
# expire them earlier.
resource "aws_s3_bucket_lifecycle_configuration" "backups" {
  bucket = aws_s3_bucket_versioning.backups.bucket

  dynamic "rule" {
    for_each = { github-backup = 91, github-backup-drills = 91, github-backup-lfs = 366, github-backup-releases = 366 }

    content {
      id     = "retention-${rule.key}"
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      expiration {
        days = 365 + rule.value
      }
    }
  }

  rule {
    id     = "hidden-versions"
    status = "Enabled"
    filter {}

    expiration {
      expired_object_delete_marker = true
    }

    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }
}

# Stands for `module "app_key" { source = "infrahouse/secret/aws" ... }`. Its policy must let the task role read it.
resource "aws_secretsmanager_secret" "app_key" {
  name_prefix = "github-app-key-"
}

module "github_backup" {
  source = "../.."

  github_app_id                 = "123456"
  github_app_key_secret_writers = []
  subnet_ids                    = ["subnet-0123456789abcdef0"]
  replica_region                = "eu-west-1"
  alarm_emails                  = []

  existing = {
    bucket  = { name = aws_s3_bucket_versioning.backups.bucket }
    cluster = { arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/shared" }
    secret  = { arn = aws_secretsmanager_secret.app_key.arn }
    topic   = { arn = "arn:aws:sns:eu-central-1:123456789012:pager" }
  }
}

output "task_role_arn" {
  description = "Let this role read the secret."
  value       = module.github_backup.task_role_arn
}
