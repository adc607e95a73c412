# -- required ------------------------------------------------------------------------------------

variable "alarm_emails" {
  description = "E-mail addresses that get every alarm. AWS sends each two messages that must both be confirmed, one for each region; until then nothing arrives."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for email in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s.]+$", email))])
    error_message = "alarm_emails must be e-mail addresses such as oncall@example.com. Got: ${join(", ", var.alarm_emails)}."
  }

  validation {
    condition     = length(var.alarm_emails) > 0 || var.existing.topic != null || length(var.alarm_actions) > 0
    error_message = "alarm_emails is empty, and there is neither existing.topic nor alarm_actions: nobody would hear an alarm. Name at least one of them."
  }
}

variable "github_app_id" {
  description = "The GitHub App's id (123456) or client id (Iv1.8a61f9b3a7aba766), from the App's settings page."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([1-9][0-9]*|Iv[0-9A-Za-z.]+)$", var.github_app_id))
    error_message = "github_app_id must be the App's id (digits) or its client id (begins with Iv), not its name. Got: ${var.github_app_id}."
  }
}

variable "github_app_key_secret_writers" {
  description = "ARNs of the IAM roles or users that may store the App's private key in the secret. Nobody else may, and nobody but the backup's task may read it."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.github_app_key_secret_writers) > 0 || var.existing.secret != null
    error_message = "github_app_key_secret_writers is empty: nobody could ever store the App's key. Name the role with which you will, for instance arn:aws:iam::123456789012:role/admin."
  }

  validation {
    condition = alltrue([
      for arn in var.github_app_key_secret_writers : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[\\w+=,.@/-]+$", arn))
    ])
    error_message = "github_app_key_secret_writers must be ARNs of IAM roles or users, for instance arn:aws:iam::123456789012:role/admin. An assumed role's session (arn:aws:sts::...) is not one: name its role. Got: ${join(", ", var.github_app_key_secret_writers)}."
  }
}

variable "replica_region" {
  description = "The AWS region that holds the second copy of every bundle. Must not be the region in which the module is deployed: the copy is for the day when that one is gone."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.replica_region))
    error_message = "replica_region must be the name of an AWS region such as eu-west-1. Got: ${var.replica_region}."
  }

  validation {
    condition     = var.replica_region != data.aws_region.current.region
    error_message = "replica_region must not be the provider's own region. Choose another one. Got: ${var.replica_region}."
  }
}

variable "subnet_ids" {
  description = "Subnets of one VPC in which the task runs. They need a way to GitHub: a NAT gateway, or an internet gateway with assign_public_ip."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) > 0 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "subnet_ids must be at least one id such as subnet-0123456789abcdef0. Got: ${join(", ", var.subnet_ids)}."
  }
}

# -- optional ------------------------------------------------------------------------------------

variable "alarm_actions" {
  description = "At most 4 ARNs of this region that every alarm notifies besides the topic, for instance a topic that pages. The alarm for the replication's lag is in replica_region and can't notify them."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.alarm_actions) <= 4 && alltrue([for arn in var.alarm_actions : can(regex("^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{0,12}:.+$", arn))])
    error_message = "alarm_actions must be at most 4 ARNs, for instance arn:aws:sns:eu-central-1:123456789012:pager. Got: ${join(", ", var.alarm_actions)}."
  }
}

variable "assign_public_ip" {
  description = "Give the task a public address. Needed in subnets that reach the internet through an internet gateway and not through NAT. Nothing can connect to the task either way."
  type        = bool
  default     = false
  nullable    = false
}

variable "backup_retention_days" {
  description = "Days for which every backup can be restored. Objects expire 91 days later in both buckets, as a manifest names objects that are up to full_backup_days (90 at most) older than itself; expired versions are deleted after 7 more days. 0 keeps everything forever, at a cost that grows each day."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = var.backup_retention_days >= 0 && floor(var.backup_retention_days) == var.backup_retention_days
    error_message = "backup_retention_days must be a whole number of days, or 0 to keep everything forever. Got: ${var.backup_retention_days}."
  }
}

variable "concurrency" {
  description = "Repositories that are worked on at once, 1 to 256. null: eight per vCPU of the task, at least 8 and 64 at most."
  type        = number
  default     = null

  validation {
    condition     = var.concurrency == null ? true : var.concurrency >= 1 && var.concurrency <= 256 && floor(var.concurrency) == var.concurrency
    error_message = "concurrency must be a whole number from 1 to 256, or null. Got: ${coalesce(var.concurrency, 0)}."
  }
}

variable "cpu_architecture" {
  description = "ARM64 or X86_64. ARM64 costs a fifth less; an image of your own must have been built for it."
  type        = string
  default     = "ARM64"
  nullable    = false

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture must be ARM64 or X86_64. Got: ${var.cpu_architecture}."
  }
}

variable "existing" {
  description = <<-EOT
    What the module uses instead of making its own; null makes it.
    bucket: a versioned primary bucket. Its hardening, lifecycle and Object Lock stay yours; the module adds only the replication. Add the output s3_bucket_policy to its policy, or whoever may write to it can replace backups. Its lifecycle must keep objects for backup_retention_days and 91 more days, or manifests name what is gone. Under SSE-KMS name its key in kms_key_arns.primary, or S3 leaves its objects out of the copy.
    cluster: an ECS cluster. Its Container Insights stay yours.
    replica_bucket: a versioned bucket in replica_region, of this or another account, locked if the primary is. modules/vault makes one. The policy of your own must allow the output replication_role_arn s3:ReplicateObject, s3:ReplicateTags and s3:ObjectOwnerOverrideToBucketOwner. With restore_drill, that of another account must also allow the output restore_drill_role_arn s3:ListBucket, s3:ListBucketVersions, s3:GetObject and s3:GetObjectVersion, and its key kms:Decrypt.
    secret: a secret that holds the App's PEM. Its resource policy stays yours.
    topic: an SNS topic that lets cloudwatch.amazonaws.com and events.amazonaws.com publish.
  EOT
  type = object({
    bucket         = optional(object({ name = string }))
    cluster        = optional(object({ arn = string }))
    replica_bucket = optional(object({ name = string, account_id = string }))
    secret         = optional(object({ arn = string }))
    topic          = optional(object({ arn = string }))
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for rule, arn in {
        "^arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{12}:cluster/[\\w-]+$"                = try(var.existing.cluster.arn, null)
        "^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\\w/+=.@-]+$" = try(var.existing.secret.arn, null)
        "^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[\\w-]+$"                        = try(var.existing.topic.arn, null)
      } : arn == null ? true : can(regex(rule, arn))
    ])
    error_message = "existing.cluster.arn, existing.secret.arn and existing.topic.arn must be whole ARNs of an ECS cluster, a secret and a topic. Got: ${jsonencode(var.existing)}."
  }

  validation {
    condition = alltrue([
      for arn in [try(var.existing.secret.arn, null), try(var.existing.topic.arn, null), try(var.existing.cluster.arn, null)] :
      arn == null ? true : strcontains(arn, ":${data.aws_region.current.region}:")
    ])
    error_message = "existing.cluster, existing.secret and existing.topic must be in the provider's region, where the task and its alarms are. Got: ${jsonencode(var.existing)}."
  }

  validation {
    condition     = var.existing.bucket == null || var.existing.replica_bucket != null ? true : length(var.existing.bucket.name) <= 55
    error_message = "existing.bucket must have a name of at most 55 characters, as its replica's is 8 longer and S3 allows 63; or bring existing.replica_bucket too. Got: ${jsonencode(var.existing)}."
  }

  validation {
    condition     = var.existing.bucket == null || var.s3_bucket_name == null
    error_message = "existing.bucket and s3_bucket_name are both set: the first uses a bucket that is there, the second names a new one. Take one of them out."
  }

  validation {
    condition     = var.existing.replica_bucket == null ? true : can(regex("^[0-9]{12}$", var.existing.replica_bucket.account_id))
    error_message = "existing.replica_bucket.account_id must be the 12 digits of the account that owns the bucket. Got: ${jsonencode(var.existing.replica_bucket)}."
  }
}

variable "force_destroy" {
  description = "Let terraform destroy delete the buckets with every backup in them. For tests only."
  type        = bool
  default     = false
  nullable    = false
}

variable "full_backup_days" {
  description = "Days within which each repository is cloned again even if it did not change, 1 to 90. On the other days an unchanged repository writes nothing: the manifest names its last bundle. 1 clones everything on every run."
  type        = number
  default     = 28
  nullable    = false

  validation {
    condition     = var.full_backup_days >= 1 && var.full_backup_days <= 90 && floor(var.full_backup_days) == var.full_backup_days
    error_message = "full_backup_days must be a whole number from 1 to 90: objects expire 91 days after the retention, and no manifest may name one that is gone. Got: ${var.full_backup_days}."
  }
}

variable "github_app_installation_id" {
  description = "Back up this installation of the App only. null: every installation that the App has."
  type        = string
  default     = null

  validation {
    condition     = var.github_app_installation_id == null ? true : can(regex("^[1-9][0-9]*$", var.github_app_installation_id))
    error_message = "github_app_installation_id must be the number at the end of the installation's URL, or null. Got: ${coalesce(var.github_app_installation_id, "null")}."
  }
}

variable "github_urls" {
  description = "GitHub Enterprise: the API's URL (https://HOST/api/v3) and the server's (https://HOST)."
  type        = object({ api = string, server = string })
  default     = { api = "https://api.github.com", server = "https://github.com" }
  nullable    = false

  validation {
    condition     = alltrue([for url in values(var.github_urls) : can(regex("^https://[A-Za-z0-9.-]+(/[\\w./-]*)?$", url))])
    error_message = "github_urls must be https URLs without a port (the task reaches 443 only), for instance https://github.example.com/api/v3 and https://github.example.com. Got: ${join(", ", values(var.github_urls))}."
  }
}

variable "iam" {
  description = "Path and permissions boundary of every role that the module makes."
  type = object({
    path                     = optional(string, "/")
    permissions_boundary_arn = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^/([\\w+=,.@-]+/)*$", var.iam.path))
    error_message = "iam.path must begin and end with a slash, for instance /backup/. Got: ${var.iam.path}."
  }

  validation {
    condition     = var.iam.permissions_boundary_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.iam.permissions_boundary_arn))
    error_message = "iam.permissions_boundary_arn must be the ARN of a policy. Got: ${coalesce(var.iam.permissions_boundary_arn, "null")}."
  }
}

variable "image_uri" {
  description = "The container image. null: the public image of the module's own release. Pin one of your own by digest (...@sha256:...) or by a tag that is a commit's SHA."
  type        = string
  default     = null

  validation {
    condition     = var.image_uri == null ? true : can(regex("^[a-z0-9][\\w./:-]*(@sha256:[0-9a-f]{64}|:[\\w.-]+)$", var.image_uri)) && !endswith(var.image_uri, ":latest")
    error_message = "image_uri must be repository:tag or repository@sha256:digest, and not :latest, which changes under your feet. Got: ${coalesce(var.image_uri, "null")}."
  }
}

variable "kms_key_arns" {
  description = "Customer-managed KMS keys; whatever is left out is encrypted as AWS does without one. null: only the topics have a key, which the module makes so that alarms can publish. replica must be a key in replica_region. Each key's policy must let in the service that uses it; that of the topic cloudwatch.amazonaws.com and events.amazonaws.com."
  type = object({
    logs    = optional(string)
    primary = optional(string)
    replica = optional(string)
    secret  = optional(string)
    topic   = optional(string)
  })
  default = null

  validation {
    condition = var.kms_key_arns == null ? true : alltrue([
      for arn in values(var.kms_key_arns) : arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[\\w-]+$", arn))
    ])
    error_message = "kms_key_arns must be ARNs of keys (arn:aws:kms:REGION:ACCOUNT:key/ID), not of aliases. Got: ${jsonencode(var.kms_key_arns)}."
  }

  validation {
    condition = var.kms_key_arns == null ? true : alltrue([
      for name, arn in var.kms_key_arns : name == "replica" || arn == null ? true : strcontains(arn, ":kms:${data.aws_region.current.region}:")
    ])
    error_message = "kms_key_arns other than replica must be keys in the provider's region (${data.aws_region.current.region}). Got: ${jsonencode(var.kms_key_arns)}."
  }

  validation {
    condition     = try(var.kms_key_arns.replica, null) == null ? true : strcontains(var.kms_key_arns.replica, ":kms:${var.replica_region}:")
    error_message = "kms_key_arns.replica must be a key in replica_region (${var.replica_region}). Got: ${jsonencode(var.kms_key_arns)}."
  }

  validation {
    condition     = (try(var.kms_key_arns.primary, null) == null) == (try(var.kms_key_arns.replica, null) == null)
    error_message = "kms_key_arns.primary and kms_key_arns.replica go together: S3 replicates objects under a customer key only to a bucket that has one too. Got: ${jsonencode(var.kms_key_arns)}."
  }
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the logs."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of the numbers that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653. Got: ${var.log_retention_days}."
  }
}

variable "object_lock" {
  description = "Object Lock on both buckets: for so many days after its upload nobody can delete an object; in COMPLIANCE mode not even the account's root. Can be switched on later; can't be switched off again, nor taken back for what is already stored. S3 gives a copy the lock of its original, also in a vault."
  type        = object({ mode = string, days = number })
  default     = null

  validation {
    condition     = var.object_lock == null ? true : contains(["GOVERNANCE", "COMPLIANCE"], var.object_lock.mode) && var.object_lock.days >= 1 && floor(var.object_lock.days) == var.object_lock.days
    error_message = "object_lock must have mode GOVERNANCE or COMPLIANCE and a whole number of days from 1. Got: ${jsonencode(var.object_lock)}."
  }

  validation {
    condition     = var.object_lock == null || var.backup_retention_days == 0 ? true : var.object_lock.days <= var.backup_retention_days
    error_message = "object_lock.days must not be above backup_retention_days (${var.backup_retention_days}): the lifecycle could not delete what is still locked. Got: ${try(var.object_lock.days, 0)}."
  }

  validation {
    condition     = var.object_lock == null ? true : var.object_lock.days >= var.full_backup_days
    error_message = "object_lock.days must not be below full_backup_days (${var.full_backup_days}): the newest manifest names bundles that are up to so many days old, and would rest on some that are no longer locked. Got: ${try(var.object_lock.days, 0)}."
  }
}

variable "restore_drill" {
  description = <<-EOT
    A task on a schedule of its own that restores repositories from the replica bucket and compares every ref with the manifest. null: none; {} turns it on.
    schedule_expression: like the backup's, rate() or cron(); best hours away from the end of a backup run. interval_hours: hours between two drills; null takes it from a rate() schedule and is 24 for a cron() one.
    within_days: every repository is proven at least once in so many days, so fewer days restore, and cost, more at a time; the largest is in each drill.
    grace_hours: hours that a drill may take or be late before the alarm that none ran; with the interval at most 168, as far as CloudWatch looks back, which is why a weekly drill is refused.
    cpu, memory (MiB), ephemeral_storage_gb: null takes those of the backup's task.
  EOT
  type = object({
    schedule_expression  = optional(string, "rate(1 day)")
    interval_hours       = optional(number)
    within_days          = optional(number, 28)
    grace_hours          = optional(number, 6)
    cpu                  = optional(number)
    memory               = optional(number)
    ephemeral_storage_gb = optional(number)
  })
  default = null

  validation {
    condition     = var.restore_drill == null ? true : anytrue([for form in local.schedule_forms : can(regex(form, var.restore_drill.schedule_expression))])
    error_message = "restore_drill.schedule_expression must be ${local.schedule_rule}. Got: ${try(var.restore_drill.schedule_expression, "null")}."
  }

  validation {
    condition = var.restore_drill == null ? true : alltrue([
      for hours in [coalesce(var.restore_drill.interval_hours, 1), var.restore_drill.within_days, var.restore_drill.grace_hours] : hours >= 1 && floor(hours) == hours
    ])
    error_message = "restore_drill.interval_hours, within_days and grace_hours must be whole numbers from 1. Got: ${jsonencode(var.restore_drill)}."
  }

  validation {
    condition     = var.restore_drill == null ? true : contains(try(local.fargate_memory[tostring(coalesce(var.restore_drill.cpu, var.task_cpu))], []), coalesce(var.restore_drill.memory, var.task_memory))
    error_message = "restore_drill.cpu and memory (null: task_cpu and task_memory, ${var.task_cpu} and ${var.task_memory}) must be a pair that Fargate sells, such as 1024 and 4096. Got: ${jsonencode(var.restore_drill)}."
  }

  validation {
    condition     = try(var.restore_drill.ephemeral_storage_gb, null) == null ? true : var.restore_drill.ephemeral_storage_gb >= 21 && var.restore_drill.ephemeral_storage_gb <= 200 && floor(var.restore_drill.ephemeral_storage_gb) == var.restore_drill.ephemeral_storage_gb
    error_message = "restore_drill.ephemeral_storage_gb must be a whole number from 21 to 200, which is what Fargate has, or null. Got: ${jsonencode(var.restore_drill)}."
  }
}

variable "run_grace_hours" {
  description = "Hours that a run may take or be late before the alarm that nothing ran."
  type        = number
  default     = 6
  nullable    = false

  validation {
    condition     = var.run_grace_hours >= 1 && floor(var.run_grace_hours) == var.run_grace_hours
    error_message = "run_grace_hours must be a whole number from 1. Got: ${var.run_grace_hours}."
  }
}

variable "run_interval_hours" {
  description = "Hours between two runs, for the alarm that nothing ran. null takes it from a rate() schedule and is 24 for a cron() one: set it there if runs are further apart. With the grace it must fit into seven days, as far as CloudWatch looks back."
  type        = number
  default     = null

  validation {
    condition     = var.run_interval_hours == null ? true : var.run_interval_hours >= 1 && floor(var.run_interval_hours) == var.run_interval_hours
    error_message = "run_interval_hours must be a whole number from 1, or null. Got: ${coalesce(var.run_interval_hours, 0)}."
  }
}

variable "s3_bucket_name" {
  description = "Name of the new primary bucket; the replica gets the same with -replica behind it. null: service name, account and region. Changing it later makes new, empty buckets."
  type        = string
  default     = null

  validation {
    condition     = var.s3_bucket_name == null ? true : can(regex("^[a-z0-9][a-z0-9-]{1,53}[a-z0-9]$", var.s3_bucket_name))
    error_message = "s3_bucket_name must be 3 to 55 of a-z, 0-9 and -: its replica's name is 8 longer, and S3 allows 63. Got: ${coalesce(var.s3_bucket_name, "null")}."
  }
}

variable "schedule_enabled" {
  description = "false makes everything and starts nothing, neither a run nor a restore drill: for a first run by hand, or a pause. The alarms that nothing ran stay on."
  type        = bool
  default     = true
  nullable    = false
}

variable "schedule_expression" {
  description = "When a run starts: rate(1 day), or cron(0 3 * * ? *) in UTC. The recovery point is at most this old."
  type        = string
  default     = "rate(1 day)"
  nullable    = false

  validation {
    condition     = anytrue([for form in local.schedule_forms : can(regex(form, var.schedule_expression))])
    error_message = "schedule_expression must be ${local.schedule_rule}. Got: ${var.schedule_expression}."
  }
}

variable "service_name" {
  description = "Prefix of every name, and the metrics' Service dimension: two deployments in one account need two names."
  type        = string
  default     = "github-backup"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,25}[a-z0-9]$", var.service_name)) && !strcontains(var.service_name, "--") && !startswith(var.service_name, "sg-")
    error_message = "service_name must be 3 to 27 of a-z, 0-9 and single -, beginning with a letter and not with sg-: it is part of the names of buckets and of a security group. Got: ${var.service_name}."
  }
}

variable "storage_transitions" {
  description = "Move objects of both buckets to cheaper storage classes after so many days. [] moves none. S3 leaves objects below 128 KB where they are. From the default class a restore is as fast and costs about $0.03 a GB more; the newest backup, which is at most full_backup_days old, is not in it. Restoring from GLACIER and DEEP_ARCHIVE takes hours first."
  type        = list(object({ days = number, storage_class = string }))
  default     = [{ days = 30, storage_class = "GLACIER_IR" }]
  nullable    = false

  validation {
    condition = alltrue([
      for one in var.storage_transitions : contains(["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"], one.storage_class)
    ])
    error_message = "storage_transitions must use STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER or DEEP_ARCHIVE. Got: ${jsonencode(var.storage_transitions)}."
  }

  validation {
    condition = alltrue([
      for one in var.storage_transitions : one.days >= (endswith(one.storage_class, "_IA") ? 30 : 0)
    ])
    error_message = "storage_transitions must not come before day 30 for STANDARD_IA and ONEZONE_IA. Got: ${jsonencode(var.storage_transitions)}."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "task_cpu" {
  description = "CPU units of the task, 1024 to a vCPU. More lets more repositories be worked on at once."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = contains(keys(local.fargate_memory), tostring(var.task_cpu))
    error_message = "task_cpu must be one of 256, 512, 1024, 2048, 4096, 8192, 16384. Got: ${var.task_cpu}."
  }
}

variable "task_ephemeral_storage_gb" {
  description = "Temporary disk of the task in GiB, 21 to 200. The largest repository needs a quarter more than its size."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.task_ephemeral_storage_gb >= 21 && var.task_ephemeral_storage_gb <= 200 && floor(var.task_ephemeral_storage_gb) == var.task_ephemeral_storage_gb
    error_message = "task_ephemeral_storage_gb must be a whole number from 21 to 200, which is what Fargate has. Got: ${var.task_ephemeral_storage_gb}."
  }
}

variable "task_memory" {
  description = "Memory of the task in MiB. What fits into it together is cloned at once; the largest repository needs about two thirds of its size, or runs alone."
  type        = number
  default     = 4096
  nullable    = false

  validation {
    condition     = contains(try(local.fargate_memory[tostring(var.task_cpu)], [var.task_memory]), var.task_memory)
    error_message = "task_memory for task_cpu ${var.task_cpu} must be one of ${join(", ", try(local.fargate_memory[tostring(var.task_cpu)], []))} MiB, which is what Fargate sells. Got: ${var.task_memory}."
  }
}
