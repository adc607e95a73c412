# -- required ------------------------------------------------------------------------------------

variable "backup" {
  description = <<-EOT
    The deployment that replicates to this bucket: its account, its region, and its inputs service_name and iam.path.
    They make up the ARNs of its roles, which need not exist yet.
  EOT
  type = object({
    account_id   = string
    region       = string
    service_name = optional(string, "github-backup")
    iam_path     = optional(string, "/")
  })
  nullable = false

  validation {
    condition = can(regex("^[0-9]{12}$", var.backup.account_id))
    error_message = join(" ", [
      "backup.account_id must be the 12 digits of the account in which the backup runs.",
      "Got: ${var.backup.account_id}.",
    ])
  }

  validation {
    condition = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.backup.region))
    error_message = join(" ", [
      "backup.region must be the AWS region in which the backup runs, such as eu-central-1.",
      "Got: ${var.backup.region}.",
    ])
  }

  validation {
    condition = can(regex("^/([\\w+=,.@-]+/)*$", var.backup.iam_path))
    error_message = join(" ", [
      "backup.iam_path must begin and end with a slash, for instance /backup/.",
      "Got: ${var.backup.iam_path}.",
    ])
  }
}

variable "name" {
  description = "Name of the bucket. Changing it later makes a new, empty one."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 63 of a-z, 0-9 and -, as S3 asks of a bucket. Got: ${var.name}."
  }
}

variable "object_lock" {
  description = <<-EOT
    Object Lock: for so many days after its upload nobody can delete a copy; in COMPLIANCE mode not even the account's
    root. Must be at least the backup's full_backup_days: bundles that the newest manifest names can be that old. LFS
    objects and files of releases can be 365 days older than it: those older than the lock are not locked. Can't be
    taken back for what is already stored. null: no lock, and so no vault.
  EOT
  type        = object({ mode = string, days = number })

  validation {
    condition = (
      var.object_lock == null ? true :
      contains(["GOVERNANCE", "COMPLIANCE"], var.object_lock.mode) &&
      var.object_lock.days >= 1 &&
      floor(var.object_lock.days) == var.object_lock.days
    )
    error_message = join(" ", [
      "object_lock must have mode GOVERNANCE or COMPLIANCE and a whole number of days from 1. Got:",
      "${jsonencode(var.object_lock)}.",
    ])
  }

  validation {
    condition = (
      var.object_lock == null ||
      var.backup_retention_days == 0 ? true :
      var.object_lock.days <= var.backup_retention_days
    )
    error_message = join(" ", [
      "object_lock.days must not be above backup_retention_days (${var.backup_retention_days}): the lifecycle could",
      "not delete what is still locked. Got: ${try(var.object_lock.days, 0)}.",
    ])
  }
}

# -- optional ------------------------------------------------------------------------------------

variable "access_log_bucket" {
  description = "Name of a bucket in the same region that gets S3's access logs. null: none."
  type        = string
  default     = null
}

variable "extra_policy" {
  description = "More statements for the bucket's policy, as the JSON of a policy document. null: none."
  type        = string
  default     = null
}

variable "backup_retention_days" {
  description = <<-EOT
    Days for which every backup in this bucket can be restored, as the backup's input of the same name. 0 keeps
    everything forever.
  EOT
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition = var.backup_retention_days >= 0 && floor(var.backup_retention_days) == var.backup_retention_days
    error_message = join(" ", [
      "backup_retention_days must be a whole number of days, or 0 to keep everything forever. Got:",
      "${var.backup_retention_days}.",
    ])
  }
}

variable "create_kms_key" {
  description = <<-EOT
    Encrypt with a key of the vault's account that is made here. Name the output kms_key_arn in the backup's
    kms_key_arns.replica, and a key for its primary bucket. false: kms_key_arn, or S3's own keys.
  EOT
  type        = bool
  default     = false
  nullable    = false
}

variable "force_destroy" {
  description = "Let terraform destroy delete the bucket with every backup in it. For tests only."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = <<-EOT
    Encrypt with this KMS key. Its policy must let the replication role use it for kms:Encrypt and kms:GenerateDataKey.
    null: S3's own keys.
  EOT
  type        = string
  default     = null

  validation {
    condition = !(var.create_kms_key && var.kms_key_arn != null)
    error_message = join(" ", [
      "kms_key_arn must be null where create_kms_key is true: the objects are encrypted with one key. Take one of them",
      "out.",
    ])
  }
}

variable "region" {
  description = "The bucket's region: the backup's replica_region. null: that of the provider."
  type        = string
  default     = null
}

variable "restore_drill" {
  description = "Let the backup's restore drill read the bucket."
  type        = bool
  default     = true
  nullable    = false
}

variable "storage_transitions" {
  description = "Move copies to cheaper storage classes after so many days. [] moves none."
  type        = list(object({ days = number, storage_class = string }))
  default     = [{ days = 30, storage_class = "GLACIER_IR" }]
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}
