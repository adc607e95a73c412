# -- required -------------------------------------------------------------------------------------

variable "alarm_emails" {
  description = <<-EOT
    E-mail addresses that get every alarm. AWS sends each address a message to confirm; until it is confirmed, nothing
    arrives.
  EOT
  type        = list(string)
  nullable    = false

  validation {
    condition = alltrue([for email in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s.]+$", email))])
    error_message = join(" ", [
      "alarm_emails must be e-mail addresses such as oncall@example.com.",
      "Got: ${join(", ", var.alarm_emails)}.",
    ])
  }

  validation {
    condition = length(var.alarm_emails) > 0 || var.existing.topic != null || length(var.alarm_actions) > 0
    error_message = join(" ", [
      "alarm_emails is empty, and there is neither existing.topic nor alarm_actions: nobody would hear an alarm. Name",
      "at least one of them.",
    ])
  }
}

variable "github_app_id" {
  description = "The GitHub App's ID (123456) or client ID (Iv1.8a61f9b3a7aba766), from the App's settings page."
  type        = string
  nullable    = false

  validation {
    condition = can(regex("^([1-9][0-9]*|Iv[0-9A-Za-z.]+)$", var.github_app_id))
    error_message = join(" ", [
      "github_app_id must be the App's id (digits) or its client id (begins with Iv), not its name. Got:",
      "${var.github_app_id}.",
    ])
  }
}

variable "github_app_key_secret_writers" {
  description = <<-EOT
    ARNs of the IAM roles or users that may store the App's private key in the secret. Nobody else may store it, and
    only the backup task may read it.
  EOT
  type        = list(string)
  nullable    = false

  validation {
    condition = length(var.github_app_key_secret_writers) > 0 || var.existing.secret != null
    error_message = join(" ", [
      "github_app_key_secret_writers is empty: nobody could ever store the App's key. Name the role with which you",
      "will, for instance arn:aws:iam::123456789012:role/admin.",
    ])
  }

  validation {
    condition = alltrue([
      for arn in var.github_app_key_secret_writers :
      can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[\\w+=,.@/-]+$", arn))
    ])
    error_message = join(" ", [
      "github_app_key_secret_writers must be ARNs of IAM roles or users, for instance",
      "arn:aws:iam::123456789012:role/admin. An assumed role's session (arn:aws:sts::...) is not one: name its role.",
      "Got: ${join(", ", var.github_app_key_secret_writers)}.",
    ])
  }
}

variable "replica_region" {
  description = <<-EOT
    AWS region of the second copy of every bundle. Must differ from the provider's region: the copy is for the day that
    region is lost. A change replaces the replica bucket, so the plan is refused: the page Upgrading says how.
  EOT
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.replica_region))
    error_message = "replica_region must be the name of an AWS region such as eu-west-1. Got: ${var.replica_region}."
  }

  validation {
    condition = var.replica_region != data.aws_region.current.region
    error_message = join(" ", [
      "replica_region must not be the provider's own region. Choose another one.",
      "Got: ${var.replica_region}.",
    ])
  }
}

variable "subnet_ids" {
  description = <<-EOT
    IDs of the subnets, all in one VPC, in which the tasks run. They need a route to GitHub: a NAT gateway, or an
    internet gateway with assign_public_ip.
  EOT
  type        = list(string)
  nullable    = false

  validation {
    condition = length(var.subnet_ids) > 0 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = join(" ", [
      "subnet_ids must be at least one id such as subnet-0123456789abcdef0.",
      "Got: ${join(", ", var.subnet_ids)}.",
    ])
  }
}

# -- GitHub ---------------------------------------------------------------------------------------

variable "github_app_installation_id" {
  description = "ID of the only installation of the App to back up. null: every installation."
  type        = string
  default     = null

  validation {
    condition = (
      var.github_app_installation_id == null ? true :
      can(regex("^[1-9][0-9]*$", var.github_app_installation_id))
    )
    error_message = join(" ", [
      "github_app_installation_id must be the number at the end of the installation's URL, or null. Got:",
      "${coalesce(var.github_app_installation_id, "null")}.",
    ])
  }
}

variable "github_urls" {
  description = <<-EOT
    For GitHub Enterprise Server: URL of the API (https://HOST/api/v3) and of the server (https://HOST). A port is
    opened in the module's security group.
  EOT
  type        = object({ api = string, server = string })
  default     = { api = "https://api.github.com", server = "https://github.com" }
  nullable    = false

  validation {
    condition = alltrue([
      for url in values(var.github_urls) : can(regex("^https://[A-Za-z0-9.-]+(:[1-9][0-9]{0,4})?(/[\\w./-]*)?$", url))
    ])
    error_message = join(" ", [
      "github_urls must be https URLs, for instance",
      "https://github.example.com/api/v3 and https://github.example.com. Got: ${join(", ", values(var.github_urls))}.",
    ])
  }
}

variable "github_ca_pem" {
  description = <<-EOT
    Certificates (PEM text) of the private CA that signed the certificate of your GitHub Enterprise Server. null: public
    CAs only.
  EOT
  type        = string
  default     = null

  validation {
    condition = (
      var.github_ca_pem == null ? true :
      can(regex("-----BEGIN CERTIFICATE-----[\\s\\S]+-----END CERTIFICATE-----", var.github_ca_pem)) &&
      !strcontains(var.github_ca_pem, "PRIVATE KEY")
    )
    error_message = join(" ", [
      "github_ca_pem must be the text of one or more certificates (-----BEGIN CERTIFICATE-----), without a private",
      "key; use file() to read it from a file. Got: ${substr(coalesce(var.github_ca_pem, "null"), 0, 27)}.",
    ])
  }
}

# -- what is backed up ----------------------------------------------------------------------------

variable "repositories" {
  description = <<-EOT
    Which of the repositories that the App can see are backed up.
    - include, exclude: patterns of owner/name such as acme/* or */sandbox-*; * stands for any characters. A repository
      is backed up if a pattern of include matches and none of exclude does.
    - skip_forks, skip_archived: leave out forks, or archived repositories.
  EOT
  type = object({
    include       = optional(list(string), ["*"])
    exclude       = optional(list(string), [])
    skip_forks    = optional(bool, false)
    skip_archived = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition = (
      length(var.repositories.include) > 0 &&
      alltrue([
        for pattern in concat(var.repositories.include, var.repositories.exclude) :
        can(regex("^[\\w./*?!\\[\\]-]+$", pattern))
      ])
    )
    error_message = join(" ", [
      "repositories.include and exclude must be patterns such as acme/* without spaces and commas, and include must",
      "have at least one. Got: ${jsonencode(var.repositories)}.",
    ])
  }
}

variable "backup_content" {
  description = <<-EOT
    What is backed up besides git data; each part costs time in every run, and storage. New backups leave out what is
    switched off; what is already stored stays until it expires.
    - discussions, issues, pull_requests: what people wrote, where the App has that permission (read). false: their
      texts, comments, reviews and labels are gone with GitHub.
    - lfs: the Git LFS objects that any commit names. false: a restored repository has pointers in place of these files.
    - releases: releases and their files. false: only the tags of releases are restored.
    - wikis: wikis, with their whole history. false: no wiki is restored.
  EOT
  type = object({
    discussions   = optional(bool, true)
    issues        = optional(bool, true)
    lfs           = optional(bool, true)
    pull_requests = optional(bool, true)
    releases      = optional(bool, true)
    wikis         = optional(bool, true)
  })
  default  = {}
  nullable = false
}

variable "full_backup_days" {
  description = <<-EOT
    Days within which each repository is cloned again even if it did not change, 1 to 90. On the other days an unchanged
    repository writes nothing: the manifest names its last bundle. 1 clones everything on every run.
  EOT
  type        = number
  default     = 28
  nullable    = false

  validation {
    condition = (
      var.full_backup_days >= 1 &&
      var.full_backup_days <= 90 &&
      floor(var.full_backup_days) == var.full_backup_days
    )
    error_message = join(" ", [
      "full_backup_days must be a whole number from 1 to 90: bundles expire 91 days after the retention, and no",
      "manifest may name one that is gone. Got: ${var.full_backup_days}.",
    ])
  }
}

variable "differential" {
  description = <<-EOT
    Whether a changed repository stores what changed since its last full bundle. A restore then takes two files: the
    full bundle, at most full_backup_days old, and the day's. false stores every bundle in full: each file stands
    alone, and each change costs a clone and a copy of the whole repository.
  EOT
  type        = bool
  default     = true
  nullable    = false
}

variable "anomaly_percent" {
  description = <<-EOT
    Percentage of the repositories in the last complete backup that may disappear from GitHub before it is an anomaly.
    If more of them are gone, and at least 3, the run stores everything else, fails, and raises an alarm.
  EOT
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.anomaly_percent > 0 && var.anomaly_percent <= 100
    error_message = "anomaly_percent must be a number above 0 and at most 100. Got: ${var.anomaly_percent}."
  }
}

# -- when -----------------------------------------------------------------------------------------

variable "schedule_expression" {
  description = <<-EOT
    When runs start: rate(1 day), or cron(0 3 * * ? *) in UTC. A backup is at most this old, plus the time a run takes.
  EOT
  type        = string
  default     = "rate(1 day)"
  nullable    = false

  validation {
    condition     = anytrue([for form in local.schedule_forms : can(regex(form, var.schedule_expression))])
    error_message = "schedule_expression must be ${local.schedule_rule}. Got: ${var.schedule_expression}."
  }
}

variable "schedule_enabled" {
  description = <<-EOT
    false creates everything but starts nothing: no run, no restore drill, no check. For a first run by hand, or a
    pause. The alarms that nothing ran stay on.
  EOT
  type        = bool
  default     = true
  nullable    = false
}

variable "schedule" {
  description = <<-EOT
    Schedules of EventBridge Scheduler instead of EventBridge's rules, for a time zone or a window of time. null:
    schedule_expression, in UTC.
    - expression: as schedule_expression.
    - time_zone: name from the IANA database such as Europe/Berlin, in which all of the module's schedules are read.
    - flexible_minutes: minutes, at most 1440, within which a run starts after its time. 0: at its time.
  EOT
  type = object({
    expression       = string
    time_zone        = optional(string, "UTC")
    flexible_minutes = optional(number, 0)
  })
  default = null

  validation {
    condition = var.schedule == null ? true : anytrue([
      for form in local.schedule_forms : can(regex(form, var.schedule.expression))
    ])
    error_message = join(" ", [
      "schedule.expression must be ${local.schedule_rule}.",
      "Got: ${jsonencode(var.schedule)}.",
    ])
  }

  validation {
    condition = (
      var.schedule == null ? true : can(regex("^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$", var.schedule.time_zone))
    )
    error_message = join(" ", [
      "schedule.time_zone must be UTC or a name from the IANA database such as Europe/Berlin, and no abbreviation.",
      "Got: ${jsonencode(var.schedule)}.",
    ])
  }

  validation {
    condition = (
      var.schedule == null ? true :
      var.schedule.flexible_minutes >= 0 &&
      var.schedule.flexible_minutes <= 1440 &&
      floor(var.schedule.flexible_minutes) == var.schedule.flexible_minutes
    )
    error_message = join(" ", [
      "schedule.flexible_minutes must be a whole number from 0 to 1440.",
      "Got: ${jsonencode(var.schedule)}.",
    ])
  }

  validation {
    condition = var.schedule == null || var.schedule_expression == "rate(1 day)"
    error_message = join(" ", [
      "schedule and schedule_expression are both set, and there must be one time at which runs start: take one out.",
      "Got: ${jsonencode(var.schedule)}.",
    ])
  }
}

variable "run" {
  description = <<-EOT
    How far apart runs are, and how long one may take.
    - interval_hours: longest time between two starts. null reads it from the schedule; required where the expression
      does not tell.
    - grace_hours: hours that a run may be late, including the time it takes, before an alarm says that none ran.
    - deadline_hours: hours after which a run ends: what is still being backed up counts as failed, and the manifest is
      written. Fractions are allowed. null: the time between two runs; with orchestration an hour less, or a quarter
      less where that is less than an hour, which leaves time to merge.
  EOT
  type = object({
    interval_hours = optional(number)
    grace_hours    = optional(number, 6)
    deadline_hours = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for hours in [coalesce(var.run.interval_hours, 1), var.run.grace_hours] : hours >= 1 && floor(hours) == hours
    ])
    error_message = join(" ", [
      "run.interval_hours and run.grace_hours must be whole numbers from 1.",
      "Got: ${jsonencode(var.run)}.",
    ])
  }

  validation {
    condition = coalesce(var.run.deadline_hours, 1) > 0
    error_message = join(" ", [
      "run.deadline_hours must be a number above 0, or null.",
      "Got: ${jsonencode(var.run)}.",
    ])
  }
}

# -- tasks ----------------------------------------------------------------------------------------

variable "image_uri" {
  description = <<-EOT
    Container image. null: the public image of this release of the module. Pin your own by digest (...@sha256:...) or by
    a tag that is a commit SHA.
  EOT
  type        = string
  default     = null

  validation {
    condition = (
      var.image_uri == null ? true :
      can(regex("^[a-z0-9][\\w./:-]*(@sha256:[0-9a-f]{64}|:[\\w.-]+)$", var.image_uri)) &&
      !endswith(var.image_uri, ":latest")
    )
    error_message = join(" ", [
      "image_uri must be repository:tag or repository@sha256:digest, and not :latest, which changes under your feet.",
      "Got: ${coalesce(var.image_uri, "null")}.",
    ])
  }
}

variable "image_credentials_secret_arn" {
  description = <<-EOT
    ARN of a secret with the user name and password of the image's private registry, as ECS asks for it
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/private-auth.html). ECR needs none. null: none.
  EOT
  type        = string
  default     = null

  validation {
    condition = var.image_credentials_secret_arn == null ? true : can(regex(
      "^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\\w/+=.@-]+$", var.image_credentials_secret_arn
    ))
    error_message = join(" ", [
      "image_credentials_secret_arn must be the whole ARN of a secret, or null.",
      "Got: ${coalesce(var.image_credentials_secret_arn, "null")}.",
    ])
  }
}

variable "cpu_architecture" {
  description = "ARM64 or X86_64. ARM64 is 20 % cheaper; an image of your own must be built for it."
  type        = string
  default     = "ARM64"
  nullable    = false

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture must be ARM64 or X86_64. Got: ${var.cpu_architecture}."
  }
}

variable "task_cpu" {
  description = <<-EOT
    CPU units of the backup task (with orchestration, of each shard), 1024 per vCPU. More CPU backs up more repositories
    at once.
  EOT
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = contains(keys(local.fargate_memory), tostring(var.task_cpu))
    error_message = "task_cpu must be one of 256, 512, 1024, 2048, 4096, 8192, 16384. Got: ${var.task_cpu}."
  }
}

variable "task_memory" {
  description = <<-EOT
    Memory of the backup task (with orchestration, of each shard) in MiB. Repositories are cloned at once as far as
    memory allows; the largest needs about two thirds of its size, or is cloned alone.
  EOT
  type        = number
  default     = 4096
  nullable    = false

  validation {
    condition = contains(try(local.fargate_memory[tostring(var.task_cpu)], [var.task_memory]), var.task_memory)
    error_message = join(" ", [
      "task_memory for task_cpu ${var.task_cpu} must be one of",
      "${join(", ", try(local.fargate_memory[tostring(var.task_cpu)], []))} MiB, which is what Fargate sells. Got:",
      "${var.task_memory}.",
    ])
  }
}

variable "task_ephemeral_storage_gb" {
  description = <<-EOT
    Temporary disk of the backup task (with orchestration, of each shard) in GiB, 21 to 200. The largest repository
    needs a quarter more than its size.
  EOT
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition = (
      var.task_ephemeral_storage_gb >= 21 &&
      var.task_ephemeral_storage_gb <= 200 &&
      floor(var.task_ephemeral_storage_gb) == var.task_ephemeral_storage_gb
    )
    error_message = join(" ", [
      "task_ephemeral_storage_gb must be a whole number from 21 to 200, which is what Fargate has. Got:",
      "${var.task_ephemeral_storage_gb}.",
    ])
  }
}

variable "concurrency" {
  description = <<-EOT
    Repositories to clone and store at once (with orchestration, in each shard), 1 to 256. null: 8 per vCPU of the task,
    at least 8 and at most 64. Six times as many are asked at once whether they changed.
  EOT
  type        = number
  default     = null

  validation {
    condition = (
      var.concurrency == null ? true :
      var.concurrency >= 1 &&
      var.concurrency <= 256 &&
      floor(var.concurrency) == var.concurrency
    )
    error_message = "concurrency must be a whole number from 1 to 256, or null. Got: ${coalesce(var.concurrency, 0)}."
  }
}

variable "orchestration" {
  description = <<-EOT
    A run in many tasks at once, for more repositories than one task can back up in time: a Step Functions state machine
    lists the repositories, backs them up in shards, one task each, and merges the results into one manifest. null: one
    task; {} turns it on. task_cpu, task_memory, task_ephemeral_storage_gb and concurrency are then per shard, and
    Fargate's quota of vCPUs must allow all shards at once: those beyond it wait.
    - shards: tasks at once, at most 1000. A run with few repositories has fewer.
    - requests_per_installation: requests to GitHub in flight at once for one installation of the App, in all shards
      together. github.com refuses more than 100; a GitHub Enterprise Server has its own limits, or none.
    - attempts: how often a shard that died is started again. It continues where it ended.
    - list, merge: cpu and memory (MiB) of the tasks that list the repositories and merge the results.
    - volumes: true gives a shard whose repositories need more disk than task_ephemeral_storage_gb an EBS volume of the
      right size for as long as it runs. Only on request: Step Functions does not document that it passes volumes on.
  EOT
  type = object({
    shards                    = optional(number, 16)
    requests_per_installation = optional(number, 96)
    attempts                  = optional(number, 3)
    volumes                   = optional(bool, false)
    list                      = optional(object({ cpu = optional(number, 512), memory = optional(number, 2048) }), {})
    merge                     = optional(object({ cpu = optional(number, 512), memory = optional(number, 2048) }), {})
  })
  default = null

  validation {
    condition = (
      var.orchestration == null ? true :
      var.orchestration.shards >= 1 &&
      var.orchestration.shards <= 1000 &&
      floor(var.orchestration.shards) == var.orchestration.shards
    )
    error_message = join(" ", [
      "orchestration.shards must be a whole number from 1 to 1000. Got:",
      "${jsonencode(try(var.orchestration.shards, null))}.",
    ])
  }

  validation {
    condition = (
      var.orchestration == null ? true :
      var.orchestration.requests_per_installation >= 1 &&
      var.orchestration.requests_per_installation <= 10000 &&
      floor(var.orchestration.requests_per_installation) == var.orchestration.requests_per_installation
    )
    error_message = join(" ", [
      "orchestration.requests_per_installation must be a whole number from 1 to 10000; github.com allows 100. Got:",
      "${jsonencode(try(var.orchestration.requests_per_installation, null))}.",
    ])
  }

  validation {
    condition = (
      var.orchestration == null ? true :
      var.orchestration.attempts >= 0 &&
      var.orchestration.attempts <= 20 &&
      floor(var.orchestration.attempts) == var.orchestration.attempts
    )
    error_message = join(" ", [
      "orchestration.attempts must be a whole number from 0 to 20. Got:",
      "${jsonencode(try(var.orchestration.attempts, null))}.",
    ])
  }

  validation {
    condition = (
      var.orchestration == null ? true :
      alltrue([
        for task in [var.orchestration.list, var.orchestration.merge] :
        contains(try(local.fargate_memory[tostring(task.cpu)], []), task.memory)
      ])
    )
    error_message = join(" ", [
      "orchestration.list and merge must have pairs of cpu and memory that Fargate sells, such as 512 and 2048. Got:",
      "${jsonencode(try({ list = var.orchestration.list, merge = var.orchestration.merge }, null))}.",
    ])
  }
}

variable "fargate_spot" {
  description = <<-EOT
    Run tasks on Fargate Spot, which costs about 70 % less and which AWS may take back at any time.
    - shards: those of a run with orchestration. A shard that is stopped is started again, up to orchestration.attempts.
    - drill: the restore drill. One that is stopped fails, and the next one continues.
    An existing cluster must have the capacity provider FARGATE_SPOT.
  EOT
  type = object({
    shards = optional(bool, false)
    drill  = optional(bool, false)
  })
  default  = {}
  nullable = false
}

variable "container_insights" {
  description = "Container Insights of the module's cluster: off, on, or enhanced: shows each task, and costs more."
  type        = string
  default     = "on"
  nullable    = false

  validation {
    condition = contains(["off", "on", "enhanced"], var.container_insights)
    error_message = join(" ", [
      "container_insights must be off, on or enhanced.",
      "Got: ${var.container_insights}.",
    ])
  }
}

variable "extra_environment" {
  description = <<-EOT
    More environment variables for every task, for instance HTTPS_PROXY and NO_PROXY. Not for secrets: they would be in
    Terraform's state and in the task definition.
  EOT
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for name, value in var.extra_environment : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name)) && value != null
    ])
    error_message = join(" ", [
      "extra_environment must map names of letters, digits and _ to values.",
      "Got: ${jsonencode(var.extra_environment)}.",
    ])
  }

  validation {
    condition = length(setintersection(
      keys(var.extra_environment),
      ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_APP_KEY_FILE"],
    )) == 0
    error_message = join(" ", [
      "extra_environment must not hold credentials: the task has a role, and the App's key is in its secret. Got:",
      "${join(", ", keys(var.extra_environment))}.",
    ])
  }
}

# -- network --------------------------------------------------------------------------------------

variable "assign_public_ip" {
  description = <<-EOT
    Give the tasks a public IP address. Needed in subnets that reach the internet through an internet gateway instead of
    NAT. Nothing can connect to a task either way.
  EOT
  type        = bool
  default     = false
  nullable    = false
}

variable "network" {
  description = <<-EOT
    What the tasks reach besides the defaults.
    - create_security_group: false uses only security_group_ids, which must then let the tasks reach GitHub and AWS.
    - security_group_ids: up to 4 security groups besides the module's own.
    - https_cidrs: CIDR blocks that the module's security group lets the tasks reach on port 443. Default: everywhere,
      because GitHub and AWS have no fixed addresses. A proxy does not replace it: Fargate pulls the image and sends the
      logs itself. With [], name in egress the endpoints ecr.api, ecr.dkr, kms, logs and secretsmanager by their
      security group, and S3 by its prefix list.
    - egress: more destinations, by name, for instance { proxy = { port = 3128, to = "10.0.0.0/24" } }. to is a CIDR
      block, a security group or a prefix list; protocol is tcp (default) or udp.
  EOT
  type = object({
    create_security_group = optional(bool, true)
    security_group_ids    = optional(list(string), [])
    https_cidrs           = optional(list(string), ["0.0.0.0/0", "::/0"])
    egress = optional(map(object({
      port     = number
      to       = string
      protocol = optional(string, "tcp")
    })), {})
  })
  default  = {}
  nullable = false

  validation {
    condition = var.network.create_security_group || length(var.network.security_group_ids) > 0
    error_message = join(" ", [
      "network.security_group_ids must have at least one ID where network.create_security_group is false.",
      "Got: ${jsonencode(var.network.security_group_ids)}.",
    ])
  }

  validation {
    condition = var.network.create_security_group || length(var.network.egress) == 0
    error_message = join(" ", [
      "network.egress must be empty where network.create_security_group is false: it is about the module's own group.",
      "Got: ${jsonencode(var.network.egress)}.",
    ])
  }

  validation {
    condition = (
      length(var.network.security_group_ids) <= 4 &&
      alltrue([for id in var.network.security_group_ids : can(regex("^sg-[0-9a-f]+$", id))])
    )
    error_message = join(" ", [
      "network.security_group_ids must be at most 4 IDs such as sg-0123456789abcdef0. Got:",
      "${jsonencode(var.network.security_group_ids)}.",
    ])
  }

  validation {
    condition = alltrue([
      for cidr in var.network.https_cidrs :
      can(cidrnetmask(cidr)) ||
      can(regex("^[0-9a-f:]*:[0-9a-f:]*/[0-9]{1,3}$", cidr))
    ])
    error_message = join(" ", [
      "network.https_cidrs must be CIDR blocks such as 0.0.0.0/0 or ::/0.",
      "Got: ${jsonencode(var.network.https_cidrs)}.",
    ])
  }

  validation {
    condition = alltrue([
      for rule in values(var.network.egress) :
      contains(["tcp", "udp"], rule.protocol) && rule.port >= 1 && rule.port <= 65535 && floor(rule.port) == rule.port
      && (can(cidrnetmask(rule.to)) || can(regex("^([0-9a-f:]*:[0-9a-f:]*/[0-9]{1,3}|(sg|pl)-[0-9a-f]+)$", rule.to)))
    ])
    error_message = join(" ", [
      "network.egress must have a port from 1 to 65535, a CIDR block, security group or prefix list in to, and",
      "protocol tcp or udp. Got: ${jsonencode(var.network.egress)}.",
    ])
  }

  validation {
    condition = alltrue([for name in keys(var.network.egress) : can(regex("^[A-Za-z0-9 ._-]{1,100}$", name))])
    error_message = join(" ", [
      "network.egress must have names of letters, digits, spaces and . _ -: they are the rules' descriptions. Got:",
      "${jsonencode(keys(var.network.egress))}.",
    ])
  }
}

# -- buckets --------------------------------------------------------------------------------------

variable "s3_bucket_name" {
  description = <<-EOT
    Name of the new primary bucket; the replica's is the same with -replica at the end. null: service name, account and
    region. A change replaces both buckets, so the plan is refused: the page Upgrading says how.
  EOT
  type        = string
  default     = null

  validation {
    condition = var.s3_bucket_name == null ? true : can(regex("^[a-z0-9][a-z0-9-]{1,53}[a-z0-9]$", var.s3_bucket_name))
    error_message = join(" ", [
      "s3_bucket_name must be 3 to 55 of a-z, 0-9 and -: its replica's name is 8 longer, and S3 allows 63. Got:",
      "${coalesce(var.s3_bucket_name, "null")}.",
    ])
  }
}

variable "buckets" {
  description = <<-EOT
    More for the module's own buckets.
    - primary, replica: policy is the JSON of more statements of the bucket's policy, for instance an auditor's read
      access; access_log_bucket is the name of a bucket in the same region that gets S3's access logs.
    - replication_time_control: S3 copies objects within 15 minutes, and the replication costs more.
  EOT
  type = object({
    primary                  = optional(object({ policy = optional(string), access_log_bucket = optional(string) }), {})
    replica                  = optional(object({ policy = optional(string), access_log_bucket = optional(string) }), {})
    replication_time_control = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for bucket in [var.buckets.primary, var.buckets.replica] :
      bucket.policy == null ? true : can(jsondecode(bucket.policy).Statement)
    ])
    error_message = join(" ", [
      "buckets.primary.policy and buckets.replica.policy must be policy documents as JSON, with statements.",
      "Got: ${jsonencode([for bucket in [var.buckets.primary, var.buckets.replica] : bucket.policy])}.",
    ])
  }

  validation {
    condition = alltrue([
      for name in compact([var.buckets.primary.access_log_bucket, var.buckets.replica.access_log_bucket]) :
      can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", name))
    ])
    error_message = join(" ", [
      "buckets.primary.access_log_bucket and buckets.replica.access_log_bucket must be names of buckets.",
      "Got: ${jsonencode([for bucket in [var.buckets.primary, var.buckets.replica] : bucket.access_log_bucket])}.",
    ])
  }
}

variable "backup_retention_days" {
  description = <<-EOT
    Days for which every backup can be restored: at least 7, and at least twice the time between two runs. Objects
    expire later, in both buckets, because a manifest names objects that are older than itself: bundles, lists and
    manifests 91 days later (full_backup_days is 90 at most), LFS objects and files of releases 366 days later (they are
    stored once for up to a year). Expired versions are deleted after 7 more days. 0 keeps everything forever, at a cost
    that grows every day.
  EOT
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition = (
      var.backup_retention_days == 0 ||
      var.backup_retention_days >= 7 &&
      floor(var.backup_retention_days) == var.backup_retention_days
    )
    error_message = join(" ", [
      "backup_retention_days must be a whole number of days from 7, or 0 to keep everything forever. Got:",
      "${var.backup_retention_days}.",
    ])
  }
}

variable "storage_transitions" {
  description = <<-EOT
    Move objects in both buckets to cheaper storage classes after some days. [] moves none. S3 does not move objects
    below 128 KB. Restores from the default class are as fast and cost about $0.03 more per GB; the newest backup's
    bundles, at most full_backup_days old, are not in it, its LFS objects and files of releases, up to a year old, can
    be. Restores from GLACIER and DEEP_ARCHIVE take hours longer; with lfs or releases in backup_content, objects can go
    there only after more than a year.
  EOT
  type        = list(object({ days = number, storage_class = string }))
  default     = [{ days = 30, storage_class = "GLACIER_IR" }]
  nullable    = false

  validation {
    condition = alltrue([
      for transition in var.storage_transitions :
      contains([
        "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"
      ], transition.storage_class)
    ])
    error_message = join(" ", [
      "storage_transitions must use STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER or DEEP_ARCHIVE.",
      "Got: ${jsonencode(var.storage_transitions)}.",
    ])
  }

  validation {
    condition = alltrue([
      for transition in var.storage_transitions : transition.days >= 0 && floor(transition.days) == transition.days
    ])
    error_message = join(" ", [
      "storage_transitions must have whole numbers of days from 0.",
      "Got: ${jsonencode(var.storage_transitions)}.",
    ])
  }

  validation {
    condition = alltrue([
      for transition in var.storage_transitions :
      transition.days >= (endswith(transition.storage_class, "_IA") ? 30 : 0)
    ])
    error_message = join(" ", [
      "storage_transitions must not come before day 30 for STANDARD_IA and ONEZONE_IA. Got:",
      "${jsonencode(var.storage_transitions)}.",
    ])
  }
}

variable "replica_storage_class" {
  description = <<-EOT
    Storage class of the copies in the replica bucket, for instance STANDARD_IA or GLACIER_IR. null: the class of the
    original. Restores from GLACIER and DEEP_ARCHIVE take hours longer, and restore_drill can't read them.
  EOT
  type        = string
  default     = null

  validation {
    condition = (
      var.replica_storage_class == null ? true :
      contains([
        "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"
      ], var.replica_storage_class)
    )
    error_message = join(" ", [
      "replica_storage_class must be STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER or",
      "DEEP_ARCHIVE, or null. Got: ${coalesce(var.replica_storage_class, "null")}.",
    ])
  }
}

variable "object_lock" {
  description = <<-EOT
    Object Lock on both buckets: for this many days after its upload nobody can delete an object; in COMPLIANCE mode,
    not even the account's root user. It can be turned on later. It can't be turned off, nor withdrawn from objects that
    are already stored. S3 gives a copy the lock of its original, also in a vault. LFS objects and files of releases are
    stored once for up to a year: those older than this many days are not locked, though the newest backup names them.
  EOT
  type        = object({ mode = string, days = number })
  default     = null

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

  validation {
    condition = var.object_lock == null ? true : var.object_lock.days >= var.full_backup_days
    error_message = join(" ", [
      "object_lock.days must not be below full_backup_days (${var.full_backup_days}): the newest manifest names",
      "bundles that are up to so many days old, and would rest on some that are no longer locked. Got:",
      "${try(var.object_lock.days, 0)}.",
    ])
  }
}

variable "force_destroy" {
  description = <<-EOT
    Let terraform delete the buckets with every backup in them, and the keys that signed manifests. false: a plan that
    destroys or replaces one is refused. Set it from the start for a trial; the page Upgrading says how to set it later.
  EOT
  type        = bool
  default     = false
  nullable    = false
}

# -- signatures -----------------------------------------------------------------------------------

variable "manifest_signing" {
  description = <<-EOT
    Sign the manifest of each run with a key in KMS, which the module makes, or kms_key_arns.signing. Only the backup
    task can sign, and nobody can export the key: a run that somebody adds to the bucket has no signature. To switch it
    off later ends the key, so the plan is refused: the page Upgrading says how.
  EOT
  type        = bool
  default     = true
  nullable    = false
}

variable "signing_key_number" {
  description = <<-EOT
    Number of the module's key that signs manifests, from 1. KMS does not rotate such a key: a number that is one higher
    makes a new key, and nobody can sign with the older ones any more. They stay, at $1 a month each, for their public
    keys. Apply while no run is going.
  EOT
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition = (
      var.signing_key_number >= 1 &&
      var.signing_key_number <= 100 &&
      floor(var.signing_key_number) == var.signing_key_number
    )
    error_message = "signing_key_number must be a whole number from 1 to 100. Got: ${var.signing_key_number}."
  }
}

# -- restore drill --------------------------------------------------------------------------------

variable "restore_drill" {
  description = <<-EOT
    A scheduled task that restores repositories from the replica bucket and compares every ref with the manifest. null:
    no drill; {} turns it on.
    - schedule_expression: cron(), or rate() with a cron() backup schedule; must not start together with a backup run.
      null: daily, halfway between two backup runs.
    - interval_hours: hours between two drills; null reads it from schedule_expression.
    - within_days: days within which every repository is proven at least once. Fewer days restore, and cost, more in
      each drill; the largest repository is in every drill.
    - grace_hours: hours that a drill may be late before an alarm says that none ran. With the interval at most 168,
      which is how far CloudWatch looks back: a weekly drill is refused.
    - cpu, memory (MiB), ephemeral_storage_gb: size of the drill's task; null is the size of the backup task.
  EOT
  type = object({
    schedule_expression  = optional(string)
    interval_hours       = optional(number)
    within_days          = optional(number, 28)
    grace_hours          = optional(number, 6)
    cpu                  = optional(number)
    memory               = optional(number)
    ephemeral_storage_gb = optional(number)
  })
  default = null

  validation {
    condition = (
      try(var.restore_drill.schedule_expression, null) == null ? true :
      anytrue([for form in local.schedule_forms : can(regex(form, var.restore_drill.schedule_expression))])
    )
    error_message = join(" ", [
      "restore_drill.schedule_expression must be ${local.schedule_rule}. Got:",
      "${try(coalesce(var.restore_drill.schedule_expression), "null")}.",
    ])
  }

  validation {
    condition = var.restore_drill == null ? true : alltrue([
      for number in [
        coalesce(var.restore_drill.interval_hours, 1), var.restore_drill.within_days, var.restore_drill.grace_hours
      ] : number >= 1 && floor(number) == number
    ])
    error_message = join(" ", [
      "restore_drill.interval_hours, within_days and grace_hours must be whole numbers from 1. Got:",
      "${jsonencode(var.restore_drill)}.",
    ])
  }

  validation {
    condition = (
      var.restore_drill == null ? true :
      contains(
        try(local.fargate_memory[tostring(coalesce(var.restore_drill.cpu, var.task_cpu))], []),
        coalesce(var.restore_drill.memory, var.task_memory),
      )
    )
    error_message = join(" ", [
      "restore_drill.cpu and memory (null: task_cpu and task_memory, ${var.task_cpu} and ${var.task_memory}) must be a",
      "pair that Fargate sells, such as 1024 and 4096. Got: ${jsonencode(var.restore_drill)}.",
    ])
  }

  validation {
    condition = (
      try(var.restore_drill.ephemeral_storage_gb, null) == null ? true :
      var.restore_drill.ephemeral_storage_gb >= 21 &&
      var.restore_drill.ephemeral_storage_gb <= 200 &&
      floor(var.restore_drill.ephemeral_storage_gb) == var.restore_drill.ephemeral_storage_gb
    )
    error_message = join(" ", [
      "restore_drill.ephemeral_storage_gb must be a whole number from 21 to 200, which is what Fargate has, or null.",
      "Got: ${jsonencode(var.restore_drill)}.",
    ])
  }
}

# -- alarms and logs ------------------------------------------------------------------------------

variable "alarm_actions" {
  description = <<-EOT
    Up to 4 more ARNs in the provider's region that every alarm notifies, for instance an SNS topic that pages.
  EOT
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = (
      length(var.alarm_actions) <= 4 &&
      alltrue([for arn in var.alarm_actions : can(regex("^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{0,12}:.+$", arn))])
    )
    error_message = join(" ", [
      "alarm_actions must be at most 4 ARNs, for instance arn:aws:sns:eu-central-1:123456789012:pager. Got:",
      "${join(", ", var.alarm_actions)}.",
    ])
  }

  validation {
    condition = alltrue([
      for arn in var.alarm_actions : contains(["", data.aws_region.current.region], try(split(":", arn)[3], ""))
    ])
    error_message = join(" ", [
      "alarm_actions must be in the provider's region (${data.aws_region.current.region}): CloudWatch alarms notify",
      "only their own region. Got: ${join(", ", var.alarm_actions)}.",
    ])
  }
}

variable "log_retention_days" {
  description = "Days for which CloudWatch keeps the logs."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition = contains([
      1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
    ], var.log_retention_days)
    error_message = join(" ", [
      "log_retention_days must be one of the numbers that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180,",
      "365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653. Got: ${var.log_retention_days}.",
    ])
  }
}

# -- names, roles, keys, what is there already ----------------------------------------------------

variable "service_name" {
  description = <<-EOT
    Prefix of every name, and the value of the metrics' Service dimension. Two deployments in one account need two
    names. A change replaces almost everything. Where it would replace the buckets, the plan is refused: the page
    Upgrading says how.
  EOT
  type        = string
  default     = "github-backup"
  nullable    = false

  validation {
    condition = (
      can(regex("^[a-z][a-z0-9-]{1,25}[a-z0-9]$", var.service_name)) &&
      !strcontains(var.service_name, "--") &&
      !startswith(var.service_name, "sg-")
    )
    error_message = join(" ", [
      "service_name must be 3 to 27 of a-z, 0-9 and single -, beginning with a letter and not with sg-: it is part of",
      "the names of buckets and of a security group. Got: ${var.service_name}.",
    ])
  }
}

variable "tags" {
  description = "Tags of every resource and every task."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "iam" {
  description = <<-EOT
    Roles.
    - path, permissions_boundary_arn: of every role that the module creates.
    - role_arns: roles of yours instead of the module's, by name: task, execution, schedule, check, start,
      state-machine, volumes. Each must be assumed by its service and be allowed what the output role_policies says. The
      module always creates replication and drill: the replica bucket's policy names them.
  EOT
  type = object({
    path                     = optional(string, "/")
    permissions_boundary_arn = optional(string)
    role_arns                = optional(map(string), {})
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^/([\\w+=,.@-]+/)*$", var.iam.path))
    error_message = "iam.path must begin and end with a slash, for instance /backup/. Got: ${var.iam.path}."
  }

  validation {
    condition = (
      var.iam.permissions_boundary_arn == null ? true :
      can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.iam.permissions_boundary_arn))
    )
    error_message = join(" ", [
      "iam.permissions_boundary_arn must be the ARN of a policy. Got:",
      "${coalesce(var.iam.permissions_boundary_arn, "null")}.",
    ])
  }

  validation {
    condition = length(setsubtract(
      keys(var.iam.role_arns),
      ["task", "execution", "schedule", "check", "start", "state-machine", "volumes"],
    )) == 0
    error_message = join(" ", [
      "iam.role_arns must have no other keys than task, execution, schedule, check, start, state-machine and volumes.",
      "Got: ${jsonencode(var.iam.role_arns)}.",
    ])
  }

  validation {
    condition = alltrue([
      for arn in values(var.iam.role_arns) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\\w+=,.@/-]+$", arn))
    ])
    error_message = join(" ", [
      "iam.role_arns must be ARNs of roles, for instance arn:aws:iam::123456789012:role/backup.",
      "Got: ${jsonencode(var.iam.role_arns)}.",
    ])
  }
}

variable "secret" {
  description = <<-EOT
    More for the module's own secret with the App's key.
    - replicate: a copy in replica_region, for the day that the region is lost.
    - recovery_window_days: days for which a deleted secret can be brought back, 7 to 30. 0: none, and its name is free
      at once.
  EOT
  type = object({
    replicate            = optional(bool, false)
    recovery_window_days = optional(number, 30)
  })
  default  = {}
  nullable = false

  validation {
    condition = contains(concat([0], range(7, 31)), var.secret.recovery_window_days)
    error_message = join(" ", [
      "secret.recovery_window_days must be 0 or a whole number from 7 to 30.",
      "Got: ${var.secret.recovery_window_days}.",
    ])
  }
}

variable "kms_key_arns" {
  description = <<-EOT
    ARNs of customer-managed KMS keys, by use: logs, primary, replica, secret, signing, topic. What is left out uses
    AWS's default encryption; topic and signing get keys of the module's own: alarms can't publish to a topic with the
    AWS-managed key, and only an asymmetric key signs manifests. primary and replica go together; replica must be a key
    in replica_region. Each key's policy must allow the service that uses it: for topic, cloudwatch.amazonaws.com and
    events.amazonaws.com. Only one of github_app_key_secret_writers can change secret later: the secret's policy denies
    it to everybody else. signing must be a key for SIGN_VERIFY (ECC_NIST_P256) whose policy lets the output
    task_role_arn, and nobody else, call kms:Sign.
  EOT
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for use in keys(var.kms_key_arns) : contains(["logs", "primary", "replica", "secret", "signing", "topic"], use)
    ])
    error_message = join(" ", [
      "kms_key_arns must have no other keys than logs, primary, replica, secret, signing and topic. Got:",
      "${jsonencode(var.kms_key_arns)}.",
    ])
  }

  validation {
    condition = alltrue([
      for arn in values(var.kms_key_arns) : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[\\w-]+$", arn))
    ])
    error_message = join(" ", [
      "kms_key_arns must be ARNs of keys (arn:aws:kms:REGION:ACCOUNT:key/ID), not of aliases; leave out what has no",
      "key instead of setting it to null. Got: ${jsonencode(var.kms_key_arns)}.",
    ])
  }

  validation {
    condition = alltrue([
      for use, arn in var.kms_key_arns :
      use == "replica" ? true :
      try(strcontains(arn, ":kms:${data.aws_region.current.region}:"), true)
    ])
    error_message = join(" ", [
      "kms_key_arns other than replica must be keys in the provider's region (${data.aws_region.current.region}). Got:",
      "${jsonencode(var.kms_key_arns)}.",
    ])
  }

  validation {
    condition = try(strcontains(var.kms_key_arns.replica, ":kms:${var.replica_region}:"), true)
    error_message = join(" ", [
      "kms_key_arns.replica must be a key in replica_region (${var.replica_region}). Got:",
      "${jsonencode(var.kms_key_arns)}.",
    ])
  }

  validation {
    condition = contains(keys(var.kms_key_arns), "primary") == contains(keys(var.kms_key_arns), "replica")
    error_message = join(" ", [
      "kms_key_arns.primary and kms_key_arns.replica must go together: S3 replicates objects under a customer key only",
      "to a bucket that has one too. Got: ${jsonencode(var.kms_key_arns)}.",
    ])
  }
}

variable "existing" {
  description = <<-EOT
    Existing resources to use instead of creating new ones; null creates them.
    - bucket: a versioned primary bucket. Its hardening, lifecycle and Object Lock stay yours; the module adds only
      the replication of what is below github-backup, and that replaces replication rules that the bucket has. To set
      it later ends the module's own bucket, so the plan is refused: the page Upgrading says how. Add the output
      s3_bucket_policy to its policy: otherwise whoever may write to it can replace backups. Its lifecycle must keep
      objects longer than backup_retention_days, those below github-backup/ for 91 days and those below github-backup-
      lfs/ and github-backup-releases/ for 366: otherwise manifests name objects that are gone. If it uses SSE-KMS, put
      its key in kms_key_arns.primary: otherwise S3 does not replicate its objects.
    - cluster: an ECS cluster. Its Container Insights stay yours.
    - replica_bucket: a versioned bucket in replica_region, in this or another account, with Object Lock if the primary
      has it. modules/vault creates one. The policy of your own must allow the output replication_role_arn
      s3:ReplicateObject, s3:ReplicateTags and s3:ObjectOwnerOverrideToBucketOwner. With restore_drill, a bucket in
      another account must also allow the output restore_drill_role_arn s3:ListBucket, s3:ListBucketVersions,
      s3:GetObject and s3:GetObjectVersion, and its key must allow kms:Decrypt.
    - secret: a secret with the App's PEM. Its resource policy stays yours.
    - topic: an SNS topic that lets cloudwatch.amazonaws.com and events.amazonaws.com publish. If it is encrypted, its
      key must let them too.
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
    error_message = join(" ", [
      "existing.cluster.arn, existing.secret.arn and existing.topic.arn must be whole ARNs of an ECS cluster, a secret",
      "and a topic. Got: ${jsonencode(var.existing)}.",
    ])
  }

  validation {
    condition = alltrue([
      for arn in [for name in ["cluster", "secret", "topic"] : try(var.existing[name].arn, null)] :
      arn == null ? true : strcontains(arn, ":${data.aws_region.current.region}:")
    ])
    error_message = join(" ", [
      "existing.cluster, existing.secret and existing.topic must be in the provider's region, where the task and its",
      "alarms are. Got: ${jsonencode(var.existing)}.",
    ])
  }

  validation {
    condition = (
      var.existing.bucket == null ||
      var.existing.replica_bucket != null ? true :
      length(var.existing.bucket.name) <= 55
    )
    error_message = join(" ", [
      "existing.bucket must have a name of at most 55 characters, as its replica's is 8 longer and S3 allows 63; or",
      "bring existing.replica_bucket too. Got: ${jsonencode(var.existing)}.",
    ])
  }

  validation {
    condition = var.existing.bucket == null || var.s3_bucket_name == null
    error_message = join(" ", [
      "existing.bucket and s3_bucket_name are both set: the first uses a bucket that is there, the second names a new",
      "one. Take one of them out.",
    ])
  }

  validation {
    condition = (
      var.existing.replica_bucket == null ? true :
      can(regex("^[0-9]{12}$", var.existing.replica_bucket.account_id))
    )
    error_message = join(" ", [
      "existing.replica_bucket.account_id must be the 12 digits of the account that owns the bucket. Got:",
      "${jsonencode(var.existing.replica_bucket)}.",
    ])
  }
}
