# -- required ------------------------------------------------------------------------------------

variable "backup_retention_days" {
  description = "Days for which every manifest can be restored. 0: nothing expires."
  type        = number
  nullable    = false
}

variable "name" {
  description = "Name of the bucket."
  type        = string
  nullable    = false
}

variable "policy" {
  description = "Statements of the bucket's policy besides those that ask for TLS, as the JSON of a policy document."
  type        = string
  nullable    = false
}

variable "prefixes" {
  description = <<-EOT
    What the keys begin with, before a slash. content: LFS objects and files of releases, which manifests name for
    longest. backups: all else. Other objects never expire.
  EOT
  type        = object({ backups = list(string), content = list(string) })
  nullable    = false
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

variable "force_destroy" {
  description = "Let terraform destroy delete the bucket with every backup in it."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "Customer-managed KMS key for the objects. null: S3's own (AES-256)."
  type        = string
  default     = null
}

variable "object_lock" {
  description = "Default retention of Object Lock. null: none."
  type        = object({ mode = string, days = number })
  default     = null
}

variable "region" {
  description = "The bucket's region. null: that of the provider."
  type        = string
  default     = null
}

variable "storage_transitions" {
  description = "Storage classes to which objects move after some days."
  type        = list(object({ days = number, storage_class = string }))
  default     = []
  nullable    = false

  # S3 moves objects only down this ladder, and only after 30 days out of STANDARD_IA and ONEZONE_IA.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
  validation {
    condition = alltrue(flatten([
      for index, from in var.storage_transitions : [
        for other, to in var.storage_transitions :
        try(local.storage_ranks[from.storage_class] < local.storage_ranks[to.storage_class], true) &&
        to.days >= from.days + (endswith(from.storage_class, "_IA") ? 30 : 1)
        if index != other && (from.days < to.days || from.days == to.days && index < other)
      ]
    ]))
    error_message = join(" ", [
      "storage_transitions must get colder with time (STANDARD_IA, INTELLIGENT_TIERING, ONEZONE_IA or GLACIER_IR,",
      "GLACIER, DEEP_ARCHIVE), on different days, and at least 30 days after STANDARD_IA or ONEZONE_IA. Got:",
      "${jsonencode(var.storage_transitions)}.",
    ])
  }
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
  nullable    = false
}
