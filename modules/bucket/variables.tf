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

# -- optional ------------------------------------------------------------------------------------

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
  description = "Storage classes to which objects are moved after so many days."
  type        = list(object({ days = number, storage_class = string }))
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
  nullable    = false
}
