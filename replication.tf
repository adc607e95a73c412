# The copy in the other region: what is replicated, and what S3 may do for it.

locals {
  replication_rule   = "all"
  replica_is_foreign = try(var.existing.replica_bucket.account_id, local.account_id) != local.account_id
}

resource "aws_s3_bucket_replication_configuration" "backup" {
  bucket = local.bucket_name
  role   = local.role_arns["replication"]

  rule {
    id     = local.replication_rule
    status = "Enabled"

    # In a bucket of yours, only what is the module's: all its prefixes begin alike.
    filter {
      prefix = var.existing.bucket == null ? null : local.prefix
    }

    # A deletion in the primary bucket must not hide the copy.
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

      # null keeps the class of the original.
      storage_class = var.replica_storage_class

      # The copy belongs to the account that holds it: this account can't delete it.
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

      # Without it, S3 publishes neither lag nor failures, and no alarm can fire.
      metrics {
        status = "Enabled"

        dynamic "event_threshold" {
          for_each = var.buckets.replication_time_control ? [true] : []

          content {
            minutes = 15
          }
        }
      }

      dynamic "replication_time" {
        for_each = var.buckets.replication_time_control ? [true] : []

        content {
          status = "Enabled"

          time {
            minutes = 15
          }
        }
      }
    }
  }

  # S3 requires both buckets to be versioned, a locked replica for a locked source, and a role that may replicate.
  depends_on = [aws_iam_role_policy.role, module.primary, module.replica]
}

# -- policy: what S3 does to copy objects --------------------------------------------------------

data "aws_iam_policy_document" "replication" {
  # Without them: objects encrypted with a customer key are not replicated.
  source_policy_documents = compact([
    lookup(local.key_statements, "DecryptPrimary", ""),
    lookup(local.key_statements, "EncryptReplica", ""),
  ])

  # Without it: nothing is replicated.
  statement {
    sid       = "SeeWhatToReplicate"
    actions   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  # Without it: OperationsFailedReplication. Tags and locks go with the object.
  statement {
    sid = "ReadVersions"
    actions = [
      "s3:GetObjectLegalHold",
      "s3:GetObjectRetention",
      "s3:GetObjectVersionAcl",
      "s3:GetObjectVersionForReplication",
      "s3:GetObjectVersionTagging",
    ]
    resources = ["${local.bucket_arn}/*"]
  }

  # Without it: OperationsFailedReplication. Without s3:ReplicateDelete, a deletion stays where it happened.
  statement {
    sid = "WriteReplicas"
    actions = concat(
      ["s3:ReplicateObject", "s3:ReplicateTags"],
      local.replica_is_foreign ? ["s3:ObjectOwnerOverrideToBucketOwner"] : [],
    )
    resources = ["${local.replica_arn}/*"]
  }
}
