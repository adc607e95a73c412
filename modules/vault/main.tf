# The replica bucket: replication adds to it, the restore drill reads it, and nobody deletes from it. In another account
# and with Object Lock it is a vault: it survives whoever takes over the account of the backup.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.40"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = coalesce(var.region, data.aws_region.current.region)
  arn       = "arn:${local.partition}:s3:::${var.name}"

  # The account is named and not the role: a policy can't name a role that does not exist yet. The role is in the
  # condition.
  backup_account = "arn:${local.partition}:iam::${var.backup.account_id}:root"
  roles_arn      = "arn:${local.partition}:iam::${var.backup.account_id}:role${var.backup.iam_path}"
  roles          = "${local.roles_arn}${var.backup.service_name}"
  replication    = "${local.roles}-replication-${var.backup.region}"
  drill          = "${local.roles}-drill-${var.backup.region}"

  # What the backup's keys begin with, as in its names.tf and drill.tf; a test compares them.
  prefix = "github-backup"
  prefixes = {
    backups = [local.prefix, "${local.prefix}-drills"]
    content = ["${local.prefix}-lfs", "${local.prefix}-releases"]
  }
}

module "bucket" {
  source = "../bucket"

  name                  = var.name
  region                = var.region
  prefixes              = local.prefixes
  backup_retention_days = var.backup_retention_days
  storage_transitions   = var.storage_transitions
  object_lock           = var.object_lock
  kms_key_arn           = local.kms_key_arn
  policy                = data.aws_iam_policy_document.replica.json
  extra_policy          = var.extra_policy
  access_log_bucket     = var.access_log_bucket
  force_destroy         = var.force_destroy
  tags                  = var.tags
}

data "aws_iam_policy_document" "replica" {
  # Without it: nothing is replicated from another account.
  statement {
    sid       = "ReplicationWrites"
    actions   = ["s3:ObjectOwnerOverrideToBucketOwner", "s3:ReplicateObject", "s3:ReplicateTags"]
    resources = ["${local.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = [local.backup_account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = [local.replication]
    }
  }

  # Without it: a restore drill in another account can't read what it restores.
  dynamic "statement" {
    for_each = var.restore_drill ? [local.drill] : []

    content {
      sid       = "DrillReads"
      actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"]
      resources = [local.arn, "${local.arn}/*"]

      principals {
        type        = "AWS"
        identifiers = [local.backup_account]
      }

      condition {
        test     = "ArnLike"
        variable = "aws:PrincipalArn"
        values   = [statement.value]
      }
    }
  }

  # Without it: whoever may write to this account's buckets could forge a copy, or lock one for a hundred years.
  statement {
    sid       = "OnlyReplicationWrites"
    effect    = "Deny"
    actions   = ["s3:ObjectOwnerOverrideToBucketOwner", "s3:PutObject*", "s3:Replicate*"]
    resources = ["${local.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotLike"
      variable = "aws:PrincipalArn"
      values   = [local.replication]
    }
  }

  # Without it: whoever may delete from this account's buckets could delete every copy that is not locked.
  statement {
    sid       = "NobodyDeletes"
    effect    = "Deny"
    actions   = ["s3:BypassGovernanceRetention", "s3:DeleteObject*", "s3:ReplicateDelete"]
    resources = ["${local.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

# -- a key of the vault's own --------------------------------------------------------------------

locals {
  kms_key_arn = var.create_kms_key ? aws_kms_key.vault[0].arn : var.kms_key_arn
}

resource "aws_kms_key" "vault" {
  count = var.create_kms_key ? 1 : 0

  region                  = var.region
  description             = "Encrypts the backups in ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
  tags                    = var.tags
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:a key's policy speaks of its own key only, and without the account nobody could change it
  #checkov:skip=CKV_AWS_111:a key's policy speaks of its own key only
  #checkov:skip=CKV_AWS_356:a key's policy speaks of its own key only

  # Without it: nobody could ever change the key again, and nobody in this account could restore.
  statement {
    sid       = "TheAccountManagesTheKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  # Without it: nothing is replicated.
  statement {
    sid       = "ReplicationEncrypts"
    actions   = ["kms:Encrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = [local.backup_account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = [local.replication]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.${data.aws_partition.current.dns_suffix}"]
    }
  }

  # Without it: a restore drill can't decrypt what it restores.
  dynamic "statement" {
    for_each = var.restore_drill ? [local.drill] : []

    content {
      sid       = "DrillDecrypts"
      actions   = ["kms:Decrypt"]
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = [local.backup_account]
      }

      condition {
        test     = "ArnLike"
        variable = "aws:PrincipalArn"
        values   = [statement.value]
      }

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${data.aws_partition.current.dns_suffix}"]
      }
    }
  }
}
