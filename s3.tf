# Two buckets, and the policy that keeps what is in the primary one. modules/bucket has what both share: hardening and
# lifecycle.

locals {
  bucket_name = coalesce(
    try(var.existing.bucket.name, null),
    var.s3_bucket_name,
    "${var.service_name}-${local.account_id}-${local.region}",
  )
  bucket_arn   = "arn:${local.partition}:s3:::${local.bucket_name}"
  replica_name = var.existing.replica_bucket != null ? var.existing.replica_bucket.name : "${local.bucket_name}-replica"
  replica_arn  = "arn:${local.partition}:s3:::${local.replica_name}"

  # What a backup consists of, in each bucket, and what its keys look like.
  backup_keys         = [for prefix in local.backup_prefixes : "${prefix}/*"]
  backup_arns         = [for key in local.backup_keys : "${local.bucket_arn}/${key}"]
  replica_backup_arns = [for key in local.backup_keys : "${local.replica_arn}/${key}"]

  # What is never replaced: bundles, lists and manifests of runs have a folder below that of the day.
  # <date>/manifest.json, which each run replaces, has none. All of the content.
  written_once_arns = [
    for key in concat(["${local.prefix}/*/*/*"], [for prefix in local.content_prefixes : "${prefix}/*"]) :
    "${local.bucket_arn}/${key}"
  ]
}

module "primary" {
  source = "./modules/bucket"
  count  = var.existing.bucket == null ? 1 : 0

  name                  = local.bucket_name
  prefixes              = { backups = [local.prefix, local.drill_prefix], content = local.content_prefixes }
  backup_retention_days = var.backup_retention_days
  storage_transitions   = var.storage_transitions
  object_lock           = var.object_lock
  kms_key_arn           = local.kms_key_arns.primary
  policy                = data.aws_iam_policy_document.primary.json
  extra_policy          = var.buckets.primary.policy
  access_log_bucket     = var.buckets.primary.access_log_bucket
  force_destroy         = var.force_destroy
  tags                  = local.tags
}

module "replica" {
  source = "./modules/vault"
  count  = var.existing.replica_bucket == null ? 1 : 0

  name   = local.replica_name
  region = var.replica_region
  backup = {
    account_id   = local.account_id
    region       = local.region
    service_name = var.service_name
    iam_path     = var.iam.path
  }
  restore_drill         = local.drill != null
  extra_policy          = var.buckets.replica.policy
  access_log_bucket     = var.buckets.replica.access_log_bucket
  backup_retention_days = var.backup_retention_days
  storage_transitions   = var.storage_transitions
  object_lock           = var.object_lock
  kms_key_arn           = local.kms_key_arns.replica
  force_destroy         = var.force_destroy
  tags                  = local.tags
}

# -- what is written stays -----------------------------------------------------------------------
# The primary bucket's policy. A lifecycle rule is not subject to it.

data "aws_iam_policy_document" "primary" {
  # Without it: whoever may put objects could replace a bundle, a list, a run's manifest or content. Parts of an upload
  # can't have the header: the request that completes the upload has it, and only that one creates an object.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
  statement {
    sid       = "WriteOnce"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = local.written_once_arns

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["true"]
    }

    condition {
      test     = "Bool"
      variable = "s3:ObjectCreationOperation"
      values   = ["true"]
    }
  }

  # Without it: an object could be copied over today's manifest.json, or under a new key.
  statement {
    sid       = "NoCopies"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = local.backup_arns

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Null"
      variable = "s3:x-amz-copy-source"
      values   = ["false"]
    }
  }

  # Without it: whoever may write to this account's buckets could forge a backup.
  statement {
    sid       = "OnlyTheTaskWrites"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = local.backup_arns

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [local.role_arns["task"]]
    }
  }

  # Without it: whoever may delete from this account's buckets could delete every backup, and replication from another
  # bucket could put an object over each.
  statement {
    sid       = "NobodyDeletes"
    effect    = "Deny"
    actions   = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ReplicateDelete", "s3:ReplicateObject"]
    resources = local.backup_arns

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}
