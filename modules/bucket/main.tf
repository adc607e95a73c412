# A bucket for backups: versioned, encrypted, private, and cleaned up by a lifecycle that strands no manifest.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # From warm to cold. S3 moves nothing between classes of the same rank, nor back.
  storage_ranks = {
    STANDARD_IA         = 1
    INTELLIGENT_TIERING = 2
    ONEZONE_IA          = 3
    GLACIER_IR          = 3
    GLACIER             = 4
    DEEP_ARCHIVE        = 5
  }

  arn = "arn:${data.aws_partition.current.partition}:s3:::${var.name}"
}

resource "aws_s3_bucket" "backup" {
  #checkov:skip=CKV2_AWS_62:nobody waits for a bundle; what goes wrong raises an alarm
  #checkov:skip=CKV_AWS_18:access logs need a bucket of their own, which access_log_bucket names
  #checkov:skip=CKV_AWS_144:the module that calls this one replicates the primary bucket

  region        = var.region
  bucket        = var.name
  force_destroy = var.force_destroy
  tags          = var.tags
}

# A destroy or a replacement of a bucket that is not empty fails, after its policy, versioning and lifecycle are gone.
# This refuses both at plan: the plan of a bucket's end also ends this resource. Terraform refuses to end it for
# force_destroy too, so the state has to forget it first.
resource "terraform_data" "to_delete_backups_set_force_destroy_and_state_rm_this" {
  count = var.force_destroy ? 0 : 1

  triggers_replace = [var.name, coalesce(var.region, data.aws_region.current.region)]

  lifecycle {
    prevent_destroy = true
  }
}

# -- hardening -----------------------------------------------------------------------------------

resource "aws_s3_bucket_versioning" "backup" {
  region = var.region
  bucket = aws_s3_bucket.backup.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backup" {
  region = var.region
  bucket = aws_s3_bucket.backup.bucket

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    # With a key of their own, a thief of credentials could make objects unreadable for everybody else. S3 blocks SSE-C
    # in new buckets, and a provider that is not told so shows a change in every plan.
    blocked_encryption_types = ["SSE-C"]

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "backup" {
  region                  = var.region
  bucket                  = aws_s3_bucket.backup.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "backup" {
  region = var.region
  bucket = aws_s3_bucket.backup.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# Switched on here and not on the bucket, where a later change would make a new, empty bucket.
resource "aws_s3_bucket_object_lock_configuration" "backup" {
  count = var.object_lock == null ? 0 : 1

  region = var.region
  bucket = aws_s3_bucket_versioning.backup.bucket

  rule {
    default_retention {
      mode = var.object_lock.mode
      days = var.object_lock.days
    }
  }
}

resource "aws_s3_bucket_policy" "backup" {
  region = var.region
  bucket = aws_s3_bucket.backup.bucket
  policy = data.aws_iam_policy_document.bucket.json

  # S3 refuses two changes of a bucket's access at the same time.
  depends_on = [aws_s3_bucket_public_access_block.backup]
}

data "aws_iam_policy_document" "bucket" {
  source_policy_documents = compact([var.policy, var.extra_policy])

  # Without it: a client could read or write bundles in clear over the network.
  statement {
    sid       = "RefusePlainHTTP"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.arn, "${local.arn}/*"]

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

  # Without it: a client could agree on a version of TLS that is known to be broken.
  statement {
    sid       = "RefuseOldTLS"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.arn, "${local.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }
}

resource "aws_s3_bucket_logging" "backup" {
  count = var.access_log_bucket == null ? 0 : 1

  region        = var.region
  bucket        = aws_s3_bucket.backup.bucket
  target_bucket = var.access_log_bucket
  target_prefix = "${var.name}/"
}

# -- lifecycle -----------------------------------------------------------------------------------
# Expirations are not replicated, so each bucket has its own.

locals {
  # The maximum of full_backup_days: a manifest names bundles and lists that are at most so many days older than itself.
  max_full_backup_days = 90

  # A manifest names content that is at most so many days older than itself: the program stores anew what is older.
  max_content_days = 365

  # Days after which objects expire; null: never. Every object that a manifest within the retention names is younger
  # than this. full_backup_days is not part of it: lowering it would expire what older manifests name.
  keeps_forever           = var.backup_retention_days == 0
  expiration_days         = local.keeps_forever ? null : var.backup_retention_days + local.max_full_backup_days + 1
  content_expiration_days = local.keeps_forever ? null : var.backup_retention_days + local.max_content_days + 1

  # By prefix.
  expirations = var.backup_retention_days == 0 ? {} : merge(
    { for prefix in var.prefixes.backups : prefix => local.expiration_days },
    { for prefix in var.prefixes.content : prefix => local.content_expiration_days },
  )

  # Days for which S3 keeps what expired or was replaced: manifest.json is the only object that is ever replaced.
  noncurrent_days = 7
}

resource "aws_s3_bucket_lifecycle_configuration" "backup" {
  #checkov:skip=CKV_AWS_300:the rule stale-uploads does it; checkov does not see it beside dynamic rules

  region = var.region
  bucket = aws_s3_bucket_versioning.backup.bucket

  # The second net for uploads that a run could not abort.
  rule {
    id     = "stale-uploads"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  # A rule for each prefix, and none for all objects: where two match, S3 takes the one that expires first. Bundles and
  # manifests have one: a filter can't tell them apart, as both are in the folder of their day.
  dynamic "rule" {
    for_each = local.expirations

    content {
      id     = "retention-${rule.key}"
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      expiration {
        days = rule.value
      }
    }
  }

  # An expiration only hides a version. This deletes it, and then the marker that hid it. S3 takes the latter only apart
  # from an expiration by days.
  dynamic "rule" {
    for_each = length(local.expirations) > 0 ? [true] : []

    content {
      id     = "hidden-versions"
      status = "Enabled"
      filter {}

      expiration {
        expired_object_delete_marker = true
      }

      noncurrent_version_expiration {
        noncurrent_days = local.noncurrent_days
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

  lifecycle {
    precondition {
      condition = (
        local.expiration_days == null ? true :
        alltrue([for transition in var.storage_transitions : transition.days < local.expiration_days])
      )
      error_message = join(" ", [
        "storage_transitions must come before day ${coalesce(local.expiration_days, 0)}, when objects expire",
        "(backup_retention_days and ${local.max_full_backup_days + 1} more). Got:",
        "${jsonencode(var.storage_transitions)}.",
      ])
    }
  }
}
