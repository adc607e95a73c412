# What the other files share: provider version, account and region, names, and the secret for the App's key.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # `make release` writes both: the version of container/github_s3_backup/version.py, and the digest of the image that was
  # built from it ("" until then). A module starts the image that it was released with, and no other.
  release       = "0.1.0"
  image_digest  = ""
  repository    = "public.ecr.aws/terraform-aws-github-backup/github-backup"
  default_image = local.image_digest == "" ? "${local.repository}:${local.release}" : "${local.repository}@${local.image_digest}"
  image_uri     = coalesce(var.image_uri, local.default_image)

  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.region
  dns_suffix = data.aws_partition.current.dns_suffix
  tags       = merge(var.tags, { Service = var.service_name })

  # null where the user names no key.
  kms_key_arns = { for use in ["logs", "primary", "replica", "secret", "topic"] : use => try(var.kms_key_arns[use], null) }

  # container/github_s3_backup/runtime/metrics.py has the same names; a test compares them.
  metrics = {
    namespace = "GitHubBackup"
    dimension = "Service"

    success            = "BackupSuccess"
    failure            = "BackupFailure"
    duration           = "RunDuration"
    bytes              = "BytesUploaded"
    unchanged          = "RepositoriesUnchanged"
    vanished           = "RepositoriesVanished"
    anomaly            = "BackupAnomaly"
    replication_behind = "ReplicationBehind"
    backup_age         = "NewestBackupAge"

    restore_verified = "RestoreVerified"
    restore_failed   = "RestoreFailed"
    restore_seconds  = "RestoreSeconds"

    shards        = "Shards"
    shards_failed = "ShardsFailed"
    refused       = "RunRefused"
  }

  # All that a run writes is below these: bundles, lists and manifests below the first, content below the others. Each is
  # named: "github-backup-*" would match the reports of drills too. modules/vault has the same names; a test compares them.
  prefix           = "github-backup"
  content_prefixes = ["${local.prefix}-lfs", "${local.prefix}-releases"]
  backup_prefixes  = concat([local.prefix], local.content_prefixes)

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

  docs_url = "https://github.com/terraform-aws-github-backup/terraform-aws-github-backup/blob/main/docs"
}

check "image_is_pinned" {
  assert {
    condition     = var.image_uri == null || can(regex("(@sha256:[0-9a-f]{64}|:[0-9a-f]{40})$", local.image_uri))
    error_message = "image_uri is not pinned: ${local.image_uri} may be another image tomorrow. Use repository@sha256:digest, or a commit SHA as the tag."
  }
}

# -- the App's private key -----------------------------------------------------------------------
# Created without a value, so that the key never enters Terraform's state. To store it:
#   aws secretsmanager put-secret-value --secret-id ARN --secret-string file://KEY.pem

resource "aws_secretsmanager_secret" "app_key" {
  #checkov:skip=CKV2_AWS_57:GitHub has no API that rotates an App's private key

  count = var.existing.secret == null ? 1 : 0

  name_prefix = "${var.service_name}-github-app-key-"
  description = "Private key (PEM) of the GitHub App that ${var.service_name} uses"
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
