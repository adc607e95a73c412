# The key that signs the manifest of each run. The private key never leaves KMS, and only the backup task signs.

locals {
  brings_signing_key = contains(keys(var.kms_key_arns), "signing")

  # The newest first, which signs. The older ones are there for their public keys only.
  signing_key_numbers = [
    for number in range(var.signing_key_number, 0, -1) : tostring(number)
    if var.manifest_signing && !local.brings_signing_key
  ]
  newest_signing_key = tostring(var.signing_key_number)

  # None, or the one that signs.
  signing_key_arns = !var.manifest_signing ? [] : [
    local.brings_signing_key ? local.kms_key_arns.signing : aws_kms_key.signing[local.newest_signing_key].arn
  ]
  # With the older ones.
  trusted_key_arns = (
    local.brings_signing_key ? local.signing_key_arns :
    [for number in local.signing_key_numbers : aws_kms_key.signing[number].arn]
  )
  signing_public_keys = concat(data.aws_kms_public_key.existing[*].public_key_pem, [
    for number in local.signing_key_numbers : data.aws_kms_public_key.signing[number].public_key_pem
  ])
}

resource "aws_kms_key" "signing" {
  #checkov:skip=CKV_AWS_7:KMS rotates no asymmetric key; signing_key_number makes a new one

  for_each = toset(local.signing_key_numbers)

  description              = "Signs the manifests of ${var.service_name} (key ${each.key})"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = "ECC_NIST_P256"
  deletion_window_in_days  = 30
  policy                   = data.aws_iam_policy_document.signing_key[each.key].json
  tags                     = local.tags
}

# Without its public key, nobody can check what a key signed. This refuses a plan that deletes one, as for the buckets.
resource "terraform_data" "to_delete_signing_keys_set_force_destroy_and_state_rm_this" {
  count = var.force_destroy ? 0 : length(local.signing_key_numbers)

  lifecycle {
    prevent_destroy = true
  }
}

# A key that was disabled has no public key. A plan that enables it reads this only when that is done.
data "aws_kms_public_key" "signing" {
  for_each = toset(local.signing_key_numbers)

  key_id     = aws_kms_key.signing[each.key].arn
  depends_on = [aws_kms_key.signing]
}

data "aws_kms_public_key" "existing" {
  count = var.manifest_signing && local.brings_signing_key ? 1 : 0

  key_id = local.kms_key_arns.signing
}

data "aws_iam_policy_document" "signing_key" {
  #checkov:skip=CKV_AWS_109:a key policy applies to its own key only, and without the account nobody could change it
  #checkov:skip=CKV_AWS_111:a key policy applies to its own key only
  #checkov:skip=CKV_AWS_356:a key policy applies to its own key only

  for_each = toset(local.signing_key_numbers)

  # Without it: nobody could ever change or delete the key again, nor read the public key.
  statement {
    sid       = "TheAccountManagesTheKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }
  }

  # Without it: whoever may sign with any key in this account, or has a grant, could sign a forged run. With an older
  # key nobody signs.
  statement {
    sid       = each.key == local.newest_signing_key ? "OnlyTheTaskSigns" : "NobodySigns"
    effect    = "Deny"
    actions   = ["kms:Sign"]
    resources = ["*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    dynamic "condition" {
      for_each = each.key == local.newest_signing_key ? [local.role_arns["task"]] : []

      content {
        test     = "ArnNotEquals"
        variable = "aws:PrincipalArn"
        values   = [condition.value]
      }
    }
  }
}
