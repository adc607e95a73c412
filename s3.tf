# Two buckets with the same hardening, written once, and the replication from one to the other.

locals {
  bucket_name  = coalesce(try(var.existing.bucket.name, null), var.s3_bucket_name, "${var.service_name}-${local.account_id}-${local.region}")
  bucket_arn   = "arn:${local.partition}:s3:::${local.bucket_name}"
  replica_name = var.existing.replica_bucket != null ? var.existing.replica_bucket.name : "${local.bucket_name}-replica"
  replica_arn  = "arn:${local.partition}:s3:::${local.replica_name}"

  # The buckets that are the module's own, and so its to harden. Taken from the resources, so that the buckets come first.
  own_buckets = merge(
    { for bucket in aws_s3_bucket.primary : "primary" => { name = bucket.bucket, region = local.region, kms_key_arn = local.kms_key_arns.primary } },
    { for bucket in aws_s3_bucket.replica : "replica" => { name = bucket.bucket, region = var.replica_region, kms_key_arn = local.kms_key_arns.replica } },
  )
}

resource "aws_s3_bucket" "primary" {
  #checkov:skip=CKV2_AWS_62:nobody waits for a bundle; what goes wrong raises an alarm
  #checkov:skip=CKV_AWS_18:access logs need a bucket of their own; CloudTrail data events show the same to those who want it
  count = var.existing.bucket == null ? 1 : 0

  bucket        = local.bucket_name
  force_destroy = var.force_destroy
  tags          = local.tags
}

resource "aws_s3_bucket" "replica" {
  #checkov:skip=CKV2_AWS_62:nobody waits for a bundle; what goes wrong raises an alarm
  #checkov:skip=CKV_AWS_18:access logs need a bucket of their own; CloudTrail data events show the same to those who want it
  #checkov:skip=CKV_AWS_144:this is the copy in the other region
  count = var.existing.replica_bucket == null ? 1 : 0

  region        = var.replica_region
  bucket        = local.replica_name
  force_destroy = var.force_destroy
  tags          = local.tags
}

# -- hardening, of both --------------------------------------------------------------------------

resource "aws_s3_bucket_versioning" "backup" {
  for_each = local.own_buckets

  region = each.value.region
  bucket = each.value.name

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backup" {
  for_each = local.own_buckets

  region = each.value.region
  bucket = each.value.name

  rule {
    bucket_key_enabled = each.value.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = each.value.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = each.value.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "backup" {
  for_each = local.own_buckets

  region                  = each.value.region
  bucket                  = each.value.name
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "backup" {
  for_each = local.own_buckets

  region = each.value.region
  bucket = each.value.name

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "backup" {
  for_each = local.own_buckets

  region = each.value.region
  bucket = each.value.name
  policy = data.aws_iam_policy_document.bucket[each.key].json

  # S3 refuses two changes of a bucket's access at the same time.
  depends_on = [aws_s3_bucket_public_access_block.backup]
}

# Switched on here and not on the bucket, where a later change would make a new, empty bucket.
resource "aws_s3_bucket_object_lock_configuration" "backup" {
  for_each = var.object_lock == null ? {} : local.own_buckets

  region = each.value.region
  bucket = aws_s3_bucket_versioning.backup[each.key].bucket

  rule {
    default_retention {
      mode = var.object_lock.mode
      days = var.object_lock.days
    }
  }
}

# Expirations are not replicated, so each bucket has its own.
resource "aws_s3_bucket_lifecycle_configuration" "backup" {
  #checkov:skip=CKV_AWS_300:the rule stale-uploads does it; checkov does not see it beside dynamic rules

  for_each = local.own_buckets

  region = each.value.region
  bucket = aws_s3_bucket_versioning.backup[each.key].bucket

  # The second net for uploads that a run could not abort.
  rule {
    id     = "stale-uploads"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  dynamic "rule" {
    for_each = var.backup_retention_days > 0 ? [var.backup_retention_days] : []

    content {
      id     = "retention"
      status = "Enabled"
      filter {}

      expiration {
        days = rule.value
      }

      # An expiration only hides a version. This deletes it, and leaves a month to undo a replacement or a deletion.
      noncurrent_version_expiration {
        noncurrent_days = min(rule.value, 30)
      }
    }
  }

  # S3 takes this one only apart from an expiration by days.
  dynamic "rule" {
    for_each = var.backup_retention_days > 0 ? [true] : []

    content {
      id     = "delete-markers"
      status = "Enabled"
      filter {}

      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  dynamic "rule" {
    for_each = length(var.storage_transitions) > 0 ? [true] : []

    content {
      id     = "storage-classes"
      status = "Enabled"
      filter {}

      dynamic "transition" {
        for_each = var.storage_transitions

        content {
          days          = transition.value.days
          storage_class = transition.value.storage_class
        }
      }
    }
  }
}

# -- replication ---------------------------------------------------------------------------------

resource "aws_s3_bucket_replication_configuration" "backup" {
  bucket = local.bucket_name
  role   = aws_iam_role.replication.arn

  rule {
    id     = local.replication_rule
    status = "Enabled"
    filter {}

    # A deletion here must not hide the copy there.
    delete_marker_replication {
      status = "Disabled"
    }

    dynamic "source_selection_criteria" {
      for_each = local.kms_key_arns.primary == null ? [] : [true]

      content {
        sse_kms_encrypted_objects {
          status = "Enabled"
        }
      }
    }

    destination {
      bucket  = local.replica_arn
      account = local.replica_is_foreign ? var.existing.replica_bucket.account_id : null

      # The copy belongs to the account that keeps it: the one here can't delete it.
      dynamic "access_control_translation" {
        for_each = local.replica_is_foreign ? [true] : []

        content {
          owner = "Destination"
        }
      }

      dynamic "encryption_configuration" {
        for_each = local.kms_key_arns.replica == null ? [] : [local.kms_key_arns.replica]

        content {
          replica_kms_key_id = encryption_configuration.value
        }
      }

      # Without it there is neither a lag nor a failure to raise an alarm for.
      metrics {
        status = "Enabled"
      }
    }
  }

  # Both buckets must be versioned before, a locked source needs a locked copy, and the role must be allowed to replicate.
  depends_on = [
    aws_iam_role_policy.replication,
    aws_s3_bucket_object_lock_configuration.backup,
    aws_s3_bucket_versioning.backup,
  ]
}

locals {
  replication_rule   = "all"
  replica_is_foreign = var.existing.replica_bucket == null ? false : var.existing.replica_bucket.account_id != local.account_id
}
