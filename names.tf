# What the other files call things: resources, metrics, keys in the buckets, pages.

locals {
  tags = merge(var.tags, { Service = var.service_name })

  # null where the user names no key.
  kms_key_arns = {
    for use in ["logs", "primary", "replica", "secret", "signing", "topic"] : use => lookup(var.kms_key_arns, use, null)
  }

  # container/github_s3_backup/runtime/metrics.py has the same names; a test compares them.
  metrics = {
    namespace = "GitHubBackup"
    dimension = "Service"

    success            = "BackupSuccess"
    failure            = "BackupFailure"
    duration           = "RunDuration"
    bytes              = "BytesUploaded"
    unchanged          = "RepositoriesUnchanged"
    as_changes         = "RepositoriesStoredAsChanges"
    fetched            = "BytesFetched"
    issues_waiting     = "IssuesWaiting"
    vanished           = "RepositoriesVanished"
    anomaly            = "BackupAnomaly"
    replication_behind = "ReplicationBehind"
    backup_age         = "NewestBackupAge"

    restore_verified = "RestoreVerified"
    restore_failed   = "RestoreFailed"
    restore_seconds  = "RestoreSeconds"
    oldest_proof     = "OldestProofAge"

    shards        = "Shards"
    shards_failed = "ShardsFailed"
    refused       = "RunRefused"
  }

  # All that a run writes is below these: bundles, lists and manifests below the first, content below the others. Each
  # is named: "github-backup-*" would match the reports of drills too. modules/vault has the same names; a test compares
  # them.
  prefix           = "github-backup"
  content_prefixes = ["${local.prefix}-lfs", "${local.prefix}-releases"]
  backup_prefixes  = concat([local.prefix], local.content_prefixes)

  docs_url = "https://github.com/terraform-aws-github-backup/terraform-aws-github-backup/blob/main/docs"
}
