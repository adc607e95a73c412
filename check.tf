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

# -- policy: what `restore check` may do ---------------------------------------------------------

data "aws_iam_policy_document" "check" {
  count = length(local.checks)

  # Without them: no metric, and the alarm that nothing ran fires; the version of a deleted manifest is not found, and
  # its backup counts as missing; S3 can't decrypt the manifests.
  source_policy_documents = compact([
    data.aws_iam_policy_document.publish_metrics.json,
    data.aws_iam_policy_document.list_manifests.json,
    lookup(local.key_statements, "DecryptPrimary", ""),
  ])

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
}
