# The check of the newest backup's age. Created only where runs are further apart than a CloudWatch alarm looks back: an
# alarm can't wait 30 days for a metric, but it can look at a number that is published every day.

locals {
  checks = local.window_hours <= local.look_back_hours ? [] : [{
    command              = ["restore", "check", "--publish"]
    cpu                  = 256
    memory               = 512
    ephemeral_storage_gb = 21
    schedule_expression  = "rate(1 day)"
  }]
  check_name = "${var.service_name}-check"

  # A day and some grace.
  check_window_hours = 30
}

# -- role: what `restore check` may do -----------------------------------------------------------

resource "aws_iam_role" "check" {
  count = length(local.checks)

  name                 = "${local.check_name}-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = "What the check may do: read the manifests, publish the newest backup's age"
  assume_role_policy   = data.aws_iam_policy_document.trust["task"].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "check" {
  count = length(local.checks)

  name   = "check"
  role   = aws_iam_role.check[0].id
  policy = data.aws_iam_policy_document.check[0].json
}

data "aws_iam_policy_document" "check" {
  count = length(local.checks)

  # Without it: no backup is found, and a manifest that does not exist looks like one that may not be read. No condition
  # on the prefix: reading an object sends none, so S3 would answer 403 instead of 404.
  statement {
    sid       = "ListBackups"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  # Without it: nothing tells which run was complete. One that was deleted is read by its version.
  statement {
    sid       = "ReadManifests"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = [for manifest in ["manifest.json", "runs/*.json"] : "${local.bucket_arn}/${local.prefix}/*/${manifest}"]
  }

  # Without it: the version of a deleted manifest is not found, and its backup counts as missing.
  statement {
    sid       = "ListVersionsOfManifests"
    actions   = ["s3:ListBucketVersions"]
    resources = [local.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.prefix}/*"]
    }
  }

  # Without it: no metric, and the alarm that nothing ran fires. CloudWatch has no resources to name.
  statement {
    sid       = "PublishMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [local.metrics.namespace]
    }
  }

  # Without it: S3 can't decrypt the manifests.
  dynamic "statement" {
    for_each = local.kms_key_arns.primary == null ? [] : [local.kms_key_arns.primary]

    content {
      sid       = "DecryptManifests"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${local.region}.${local.dns_suffix}"]
      }
    }
  }
}
