# Who may do what: a role for each task and each service. Tests evaluate every AWS call of a real run against the
# policies, and each statement says what breaks without it. The policies of a task and of what starts it are here; all
# others stand with what they are for. statements.tf has what several of them share.

locals {
  rules_arn = "arn:${local.partition}:events:${local.region}:${local.account_id}:rule"

  # A service assumes a role only for this account, and those that start something only for their own rules.
  starter = local.is_scheduler ? "scheduler.amazonaws.com" : "events.amazonaws.com"
  trust_of = {
    tasks = {
      sid         = "AssumedByItsServiceHere"
      service     = "ecs-tasks.amazonaws.com"
      source_arns = ["arn:${local.partition}:ecs:${local.region}:${local.account_id}:*"]
    }
    rules = {
      sid     = "AssumedByItsServiceHere"
      service = local.starter
      source_arns = local.is_scheduler ? [local.schedule_group_arn] : [
        for name in values(local.started_names) : "${local.rules_arn}/${name}"
      ]
    }
    run_rule = {
      sid         = "AssumedByItsServiceHere"
      service     = local.starter
      source_arns = [local.is_scheduler ? local.schedule_group_arn : "${local.rules_arn}/${var.service_name}"]
    }
    state_machine = {
      sid         = "AssumedByItsServiceHere"
      service     = "states.amazonaws.com"
      source_arns = [local.state_machine_arn, "${local.state_machine_arn}/*"]
    }

    # Do not add a condition to these two: AWS's trust policies have none, and neither S3 nor ECS documents that it
    # sends aws:SourceAccount or aws:SourceArn here. If they do not, nothing is replicated and no volume is ever
    # created. No other account can use the roles: IAM passes a role only within its own account.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
    replication = { sid = "AssumedByS3", service = "s3.amazonaws.com", source_arns = [] }
    volumes     = { sid = "AssumedByECS", service = "ecs.amazonaws.com", source_arns = [] }
  }

  roles = merge(
    {
      task        = { purpose = "What a backup run may do", trust = "tasks" }
      execution   = { purpose = "What Fargate does to start a task and ship its logs", trust = "tasks" }
      replication = { purpose = "Copies backups to the replica bucket", trust = "replication" }
    },
    length(local.started_names) == 0 ? {} : {
      schedule = { purpose = "Starts runs on schedule", trust = "rules" }
    },
    length(local.drills) == 0 ? {} : {
      drill = { purpose = "What a restore drill may do: read the replica, report the result", trust = "tasks" }
    },
    length(local.checks) == 0 ? {} : {
      check = {
        purpose = "What the check may do: read the manifests, publish the newest backup's age"
        trust   = "tasks"
      }
    },
    length(local.orchestrations) == 0 ? {} : {
      start         = { purpose = "Starts the state machine on schedule", trust = "run_rule" }
      state-machine = { purpose = "Runs the tasks of a backup run", trust = "state_machine" }
    },
    length(local.volumes) == 0 ? {} : {
      volumes = { purpose = "Creates and deletes the volumes of shards", trust = "volumes" }
    },
  )

  own_roles = { for name, role in local.roles : name => role if !contains(keys(var.iam.role_arns), name) }
  role_arns = merge(
    { for name in keys(local.own_roles) : name => aws_iam_role.role[name].arn },
    { for name, arn in var.iam.role_arns : name => arn if contains(keys(local.roles), name) },
  )

  policies = { for name, json in {
    task          = data.aws_iam_policy_document.task.json
    execution     = data.aws_iam_policy_document.execution.json
    replication   = data.aws_iam_policy_document.replication.json
    schedule      = try(data.aws_iam_policy_document.start_tasks["schedule"].json, null)
    drill         = one(data.aws_iam_policy_document.drill[*].json)
    check         = one(data.aws_iam_policy_document.check[*].json)
    start         = one(data.aws_iam_policy_document.start[*].json)
    state-machine = one(data.aws_iam_policy_document.state_machine[*].json)
    volumes       = one(data.aws_iam_policy_document.volumes[*].json)
  } : name => json if contains(keys(local.roles), name) }
}

resource "aws_iam_role" "role" {
  for_each = local.own_roles

  name                 = "${var.service_name}-${each.key}-${local.region}"
  path                 = var.iam.path
  permissions_boundary = var.iam.permissions_boundary_arn
  description          = each.value.purpose
  assume_role_policy   = data.aws_iam_policy_document.trust[each.value.trust].json
  tags                 = local.tags
}

resource "aws_iam_role_policy" "role" {
  for_each = local.own_roles

  name   = each.key == "task" ? "backup" : each.key
  role   = aws_iam_role.role[each.key].id
  policy = local.policies[each.key]
}

data "aws_iam_policy_document" "trust" {
  for_each = { for name in distinct([for role in values(local.roles) : role.trust]) : name => local.trust_of[name] }

  statement {
    sid     = each.value.sid
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [each.value.service]
    }

    dynamic "condition" {
      for_each = length(each.value.source_arns) == 0 ? {} : {
        "StringEquals aws:SourceAccount" = [local.account_id]
        "ArnLike aws:SourceArn"          = each.value.source_arns
      }

      content {
        test     = split(" ", condition.key)[0]
        variable = split(" ", condition.key)[1]
        values   = condition.value
      }
    }
  }
}

# -- task: what a backup run may do --------------------------------------------------------------

data "aws_iam_policy_document" "task" {
  # Without them: no metrics, and the alarm that nothing ran fires; a manifest that somebody deleted is not found, and
  # the next run clones every repository; S3 can't encrypt the bundles; exit code 2, the secret can't be decrypted.
  source_policy_documents = compact([
    data.aws_iam_policy_document.publish_metrics.json,
    data.aws_iam_policy_document.list_manifests.json,
    lookup(local.key_statements, "EncryptPrimary", ""),
    lookup(local.key_statements, "DecryptSecret", ""),
  ])

  # Without it: exit code 2, "the secret ... can't be read".
  statement {
    sid       = "ReadTheAppsKey"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.secret_arn]
  }

  # Without it: exit code 2, "accepts no objects". There is no permission to delete: a stolen task role destroys
  # nothing.
  statement {
    sid       = "PutBackups"
    actions   = ["s3:PutObject"]
    resources = local.backup_arns
  }

  # Without it: exit code 1, because the manifest can't be read back; every repository is cloned on every run; and
  # nobody knows what is replicated: HeadObject, which tells the replication status, needs these too.
  statement {
    sid       = "ReadBackups"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = local.backup_arns
  }

  # Without it: the manifest is stored without a signature, and the run ends with exit code 1.
  dynamic "statement" {
    for_each = local.signing_key_arns

    content {
      sid       = "SignManifests"
      actions   = ["kms:GetPublicKey", "kms:Sign"]
      resources = [statement.value]
    }
  }

  # Without it: the parts of an interrupted upload stay, unseen and paid for, until the lifecycle rule removes them.
  statement {
    sid       = "AbortUploads"
    actions   = ["s3:AbortMultipartUpload"]
    resources = local.backup_arns
  }

  # Without it: a missing bucket can't be told from a forbidden one, and the last manifest is not found.
  statement {
    sid       = "SeeWhetherTheBucketIsThere"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }
}

# -- execution: what Fargate does to start a task and ship its logs ------------------------------

locals {
  # Private images need permissions; public ones (public.ecr.aws, ghcr.io) need none.
  private_image = try(regex(join("", [
    "^(?P<account>[0-9]{12})\\.dkr[.-]ecr(?:-fips)?\\.(?P<region>[a-z0-9-]+)",
    "\\.[a-z.]+/(?P<name>[^@:]+)",
  ]), local.image_uri), null)
}

data "aws_iam_policy_document" "execution" {
  # Without it: the task does not start, "ResourceInitializationError: failed to validate logger args".
  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for name in keys(local.task_names) : "${aws_cloudwatch_log_group.task.arn}:log-stream:${name}/*"]
  }

  # Without these two: "CannotPullContainerError". The registry token has no resource to name.
  dynamic "statement" {
    for_each = local.private_image == null ? [] : [local.private_image]

    content {
      sid       = "SignInToTheRegistry"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = local.private_image == null ? [] : [local.private_image]

    content {
      sid     = "PullTheImage"
      actions = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [join(":", [
        "arn:${local.partition}:ecr", statement.value.region, statement.value.account,
        "repository/${statement.value.name}",
      ])]
    }
  }

  # Without it: "CannotPullContainerError" from a private registry.
  dynamic "statement" {
    for_each = var.image_credentials_secret_arn == null ? [] : [var.image_credentials_secret_arn]

    content {
      sid       = "ReadTheRegistrysCredentials"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [statement.value]
    }
  }
}
