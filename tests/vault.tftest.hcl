# The two modules below modules/: the bucket that primary and replica are, and the vault.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                  = "acme-backups"
  backup_retention_days = 30
  policy                = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
  backup                = { account_id = "210987654321", region = "eu-central-1" }
  object_lock           = { mode = "COMPLIANCE", days = 28 }
  prefixes              = { backups = ["backups", "reports"], content = ["content"] }

  # So that each run can take away what the one before it made.
  force_destroy = true
}

run "a_bucket_is_kept_unless_force_destroy_is_set" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    force_destroy = false
  }

  assert {
    condition     = !aws_s3_bucket.backup.force_destroy && length(terraform_data.to_delete_backups_set_force_destroy_and_state_rm_this) == 1
    error_message = "terraform destroy would take the backups along."
  }
}

run "a_bucket_is_hardened_in_its_region" {
  module {
    source = "./modules/bucket"
  }

  variables {
    region = "eu-west-1"
  }

  assert {
    condition = alltrue([for made in [
      aws_s3_bucket.backup,
      aws_s3_bucket_versioning.backup,
      aws_s3_bucket_server_side_encryption_configuration.backup,
      aws_s3_bucket_public_access_block.backup,
      aws_s3_bucket_ownership_controls.backup,
      aws_s3_bucket_policy.backup,
      aws_s3_bucket_object_lock_configuration.backup[0],
      aws_s3_bucket_lifecycle_configuration.backup,
    ] : made.bucket == "acme-backups" && made.region == "eu-west-1"])
    error_message = "A part of the hardening is for another bucket or region."
  }

  assert {
    condition     = aws_s3_bucket_object_lock_configuration.backup[0].rule[0].default_retention[0].days == 28
    error_message = "The lock is not as long as was asked for."
  }
}

run "objects_expire_when_no_manifest_within_the_retention_names_them" {
  module {
    source = "./modules/bucket"
  }

  assert {
    condition     = output.expiration_days == 30 + 90 + 1 && output.content_expiration_days == 30 + 365 + 1
    error_message = "Objects expire too early for the oldest manifest, or too late."
  }

  assert {
    condition     = join(",", aws_s3_bucket_lifecycle_configuration.backup.rule[*].id) == "stale-uploads,retention-backups,retention-content,retention-reports,hidden-versions"
    error_message = "The lifecycle has other rules."
  }

  assert {
    condition = jsonencode({
      for rule in aws_s3_bucket_lifecycle_configuration.backup.rule : rule.filter[0].prefix => rule.expiration[0].days if startswith(rule.id, "retention-")
    }) == jsonencode({ "backups/" = 30 + 90 + 1, "content/" = 30 + 365 + 1, "reports/" = 30 + 90 + 1 })
    error_message = "A rule is for other keys, or expires them on another day."
  }
}

run "retention_zero_keeps_everything" {
  module {
    source = "./modules/bucket"
  }

  variables {
    backup_retention_days = 0
    storage_transitions   = [{ days = 30, storage_class = "GLACIER_IR" }]
  }

  assert {
    condition     = output.expiration_days == null && output.content_expiration_days == null && join(",", aws_s3_bucket_lifecycle_configuration.backup.rule[*].id) == "stale-uploads,storage-classes"
    error_message = "Something expires."
  }
}

run "a_transition_after_the_end" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    storage_transitions = [{ days = 121, storage_class = "GLACIER_IR" }]
  }

  expect_failures = [aws_s3_bucket_lifecycle_configuration.backup]
}

run "a_vault_names_the_role_before_it_exists" {
  module {
    source = "./modules/vault"
  }

  variables {
    backup = { account_id = "210987654321", region = "eu-central-1", service_name = "ghes", iam_path = "/backup/" }
  }

  assert {
    condition     = output.replication_role_arn == "arn:aws:iam::210987654321:role/backup/ghes-replication-eu-central-1"
    error_message = "The role has another ARN."
  }

  assert {
    condition     = output.kms_key_arn == null && length(aws_kms_key.vault) == 0
    error_message = "A key is made that nobody asked for."
  }
}

run "a_vault_with_a_key_of_its_own" {
  module {
    source = "./modules/vault"
  }

  variables {
    create_kms_key = true
  }

  assert {
    condition     = output.kms_key_arn == aws_kms_key.vault[0].arn && aws_kms_key.vault[0].enable_key_rotation
    error_message = "The key is not the one that is told, or it does not rotate."
  }
}

run "a_vault_with_two_keys" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    create_kms_key = true
    kms_key_arn    = "arn:aws:kms:eu-west-1:123456789012:key/a"
  }

  expect_failures = [var.kms_key_arn]
}

run "a_vault_for_no_account" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    backup = { account_id = "acme", region = "eu-central-1" }
  }

  expect_failures = [var.backup]
}

run "a_vault_for_no_region" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    backup = { account_id = "210987654321", region = "Frankfurt" }
  }

  expect_failures = [var.backup]
}

run "a_vault_with_a_path_without_slashes" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    backup = { account_id = "210987654321", region = "eu-central-1", iam_path = "backup" }
  }

  expect_failures = [var.backup]
}

run "a_vault_locked_longer_than_the_retention" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    object_lock = { mode = "COMPLIANCE", days = 31 }
  }

  expect_failures = [var.object_lock]
}

run "a_vault_with_an_unknown_lock_mode" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    object_lock = { mode = "STRICT", days = 28 }
  }

  expect_failures = [var.object_lock]
}

run "a_vault_with_a_name_that_is_none" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    name = "Vault"
  }

  expect_failures = [var.name]
}

run "half_a_day_of_retention_in_a_vault" {
  command = plan

  module {
    source = "./modules/vault"
  }

  variables {
    backup_retention_days = 0.5
    object_lock           = null
  }

  expect_failures = [var.backup_retention_days]
}
