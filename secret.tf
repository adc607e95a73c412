# The App's private key. The secret is created without a value, so that the key never enters Terraform's state. To store
# it:
#   aws secretsmanager put-secret-value --secret-id ARN --secret-string file://KEY.pem

locals {
  secret_arn = var.existing.secret != null ? var.existing.secret.arn : aws_secretsmanager_secret.app_key[0].arn
}

resource "aws_secretsmanager_secret" "app_key" {
  #checkov:skip=CKV2_AWS_57:GitHub has no API that rotates an App's private key

  count = var.existing.secret == null ? 1 : 0

  name_prefix = "${var.service_name}-github-app-key-"
  description = "Private key (PEM) of the GitHub App that ${var.service_name} uses"
  kms_key_id  = local.kms_key_arns.secret
  tags        = local.tags

  recovery_window_in_days = var.secret.recovery_window_days

  # Encrypted with AWS's own key: a key of another region can't be used there.
  dynamic "replica" {
    for_each = var.secret.replicate ? [var.replica_region] : []

    content {
      region = replica.value
    }
  }
}

resource "aws_secretsmanager_secret_policy" "app_key" {
  count = length(aws_secretsmanager_secret.app_key)

  secret_arn          = aws_secretsmanager_secret.app_key[0].arn
  policy              = data.aws_iam_policy_document.app_key.json
  block_public_policy = true
}

# Whoever the account's IAM allows may manage the secret, the writers may store the key, only the task may read it.
data "aws_iam_policy_document" "app_key" {
  # Without it: the writers need an IAM policy of their own to store the key.
  statement {
    sid       = "WritersStoreTheKey"
    actions   = ["secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = var.github_app_key_secret_writers
    }
  }

  # Without it: whoever may write any secret in this account could replace the key.
  statement {
    sid       = "NobodyElseStoresAKey"
    effect    = "Deny"
    actions   = ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecret"]
    resources = ["*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = var.github_app_key_secret_writers
    }
  }

  # Without it: whoever may read any secret in this account could sign in as the App.
  statement {
    sid       = "OnlyTheTaskReadsTheKey"
    effect    = "Deny"
    actions   = ["secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"]
    resources = ["*"]

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
}
