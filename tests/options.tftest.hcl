# Every option that people ask for, switched on.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alarm_emails                  = ["oncall@example.com"]
  github_app_id                 = "Iv1.8a61f9b3a7aba766"
  github_app_key_secret_writers = ["arn:aws:iam::123456789012:role/admin"]
  replica_region                = "eu-west-1"
  subnet_ids                    = ["subnet-0123456789abcdef0"]

  # So that each run can take away what the one before it made.
  force_destroy = true
}

run "customer_keys_for_everything" {
  variables {
    kms_key_arns = {
      logs    = "arn:aws:kms:eu-central-1:123456789012:key/logs"
      primary = "arn:aws:kms:eu-central-1:123456789012:key/primary"
      replica = "arn:aws:kms:eu-west-1:123456789012:key/replica"
      secret  = "arn:aws:kms:eu-central-1:123456789012:key/secret"
      signing = "arn:aws:kms:eu-central-1:123456789012:key/signing"
      topic   = "arn:aws:kms:eu-central-1:123456789012:key/topic"
    }
  }

  assert {
    condition     = length(aws_kms_key.alarms) == 0 && aws_sns_topic.alarms[0].kms_master_key_id == var.kms_key_arns.topic
    error_message = "The topic does not use the key that was given."
  }

  assert {
    condition     = length(aws_kms_key.signing) == 0 && output.manifest_signing_key_arn == var.kms_key_arns.signing && length(data.aws_kms_public_key.existing) == 1
    error_message = "Manifests are not signed with the key that was given."
  }

  assert {
    condition     = aws_cloudwatch_log_group.task.kms_key_id == var.kms_key_arns.logs && aws_secretsmanager_secret.app_key[0].kms_key_id == var.kms_key_arns.secret
    error_message = "The logs or the secret do not use the key that was given."
  }

  assert {
    condition     = one(one(aws_s3_bucket_replication_configuration.backup.rule).destination).encryption_configuration[0].replica_kms_key_id == var.kms_key_arns.replica
    error_message = "The replicas do not use the key that was given."
  }
}

run "no_signatures" {
  variables {
    manifest_signing = false
  }

  assert {
    condition     = length(aws_kms_key.signing) == 0 && output.manifest_signing_key_arn == null && output.manifest_signing_public_keys == null
    error_message = "There is a key that signs nothing."
  }
}

run "what_is_there_already_is_used" {
  variables {
    alarm_emails                  = []
    github_app_key_secret_writers = []
    existing = {
      bucket         = { name = "our-backups" }
      cluster        = { arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/shared" }
      replica_bucket = { name = "vault-backups", account_id = "210987654321" }
      secret         = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-key-AbCdEf" }
      topic          = { arn = "arn:aws:sns:eu-central-1:123456789012:pager" }
    }
  }

  assert {
    condition     = length(module.primary) + length(module.replica) + length(aws_secretsmanager_secret.app_key) + length(aws_ecs_cluster.backup) + length(aws_sns_topic.alarms) + length(aws_kms_key.alarms) == 0
    error_message = "Something is made that was there already."
  }

  assert {
    condition     = output.s3_bucket_name == "our-backups" && output.replica_bucket_name == "vault-backups" && output.ecs_cluster_name == "shared"
    error_message = "The outputs name something else than what is used."
  }

  assert {
    condition     = one(one(aws_s3_bucket_replication_configuration.backup.rule).destination).account == "210987654321"
    error_message = "The replicas would not belong to the other account."
  }
}

run "the_topic_keeps_the_modules_key_where_none_is_given" {
  variables {
    kms_key_arns = { logs = "arn:aws:kms:eu-central-1:123456789012:key/logs" }
  }

  assert {
    condition     = length(aws_kms_key.alarms) == 1 && aws_sns_topic.alarms[0].kms_master_key_id == aws_kms_key.alarms[0].arn
    error_message = "The topic is not encrypted."
  }
}

run "a_six_day_schedule_fits_the_alarm" {
  variables {
    schedule_expression = "rate(6 days)"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["task-not-running"].evaluation_periods == 150 && !contains(keys(aws_ecs_task_definition.task), "check")
    error_message = "The window is not six days and 6 hours."
  }
}

run "a_weekday_schedule_waits_over_the_weekend" {
  variables {
    schedule_expression = "cron(0 3 ? * MON-FRI *)"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["task-not-running"].evaluation_periods == 78
    error_message = "The window is not three days and 6 hours."
  }
}

run "a_monthly_schedule_is_watched_by_a_daily_check" {
  variables {
    schedule_expression = "cron(0 3 1 * ? *)"
  }

  assert {
    condition     = aws_cloudwatch_event_rule.task["check"].schedule_expression == "rate(1 day)"
    error_message = "There is no daily check."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["task-not-running"].metric_name == "NewestBackupAge" && aws_cloudwatch_metric_alarm.backup["task-not-running"].threshold == (744 + 6) * 3600
    error_message = "The alarm does not look at the newest backup's age."
  }
}

run "the_schedule_can_be_off_and_run_by_hand" {
  variables {
    schedule_enabled = false
  }

  assert {
    condition     = aws_cloudwatch_event_rule.task["backup"].state == "DISABLED"
    error_message = "The schedule is on."
  }

  assert {
    condition     = strcontains(output.run_task_command, "aws ecs run-task") && strcontains(output.run_task_command, "subnet-0123456789abcdef0")
    error_message = "The command to run a task by hand is not whole."
  }
}

run "an_empty_object_turns_the_restore_drill_on" {
  variables {
    restore_drill = {}
  }

  assert {
    condition     = can(regex("^cron\\([0-9]+ [0-9]+ \\* \\* \\? \\*\\)$", aws_cloudwatch_event_rule.task["drill"].schedule_expression)) && aws_cloudwatch_event_rule.task["drill"].state == "ENABLED"
    error_message = "The drill has another schedule."
  }

  assert {
    condition     = aws_ecs_task_definition.task["drill"].cpu == tostring(var.task_cpu) && aws_ecs_task_definition.task["drill"].memory == tostring(var.task_memory) && aws_ecs_task_definition.task["drill"].ephemeral_storage[0].size_in_gib == var.task_ephemeral_storage_gb
    error_message = "The drill has not the size of the backup's task."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["drill-not-running"].evaluation_periods == 30 && aws_cloudwatch_metric_alarm.backup["restore-failed"].treat_missing_data == "ignore"
    error_message = "The window is not 24 hours and 6 of grace."
  }

  assert {
    condition     = strcontains(output.restore_drill_command, "--task-definition github-backup-drill")
    error_message = "The command to start a drill by hand is not whole."
  }
}

run "a_restore_drill_of_its_own_size_and_pace" {
  variables {
    schedule_enabled = false
    restore_drill = {
      schedule_expression  = "cron(30 3,15 * * ? *)"
      grace_hours          = 2
      within_days          = 7
      cpu                  = 4096
      memory               = 16384
      ephemeral_storage_gb = 100
    }
  }

  assert {
    condition     = aws_cloudwatch_event_rule.task["drill"].schedule_expression == "cron(30 3,15 * * ? *)" && aws_cloudwatch_event_rule.task["drill"].state == "DISABLED"
    error_message = "The drill has another schedule, or it runs although schedules are off."
  }

  assert {
    condition     = aws_ecs_task_definition.task["drill"].cpu == "4096" && aws_ecs_task_definition.task["drill"].memory == "16384" && aws_ecs_task_definition.task["drill"].ephemeral_storage[0].size_in_gib == 100
    error_message = "The drill has another size."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["drill-not-running"].evaluation_periods == 14
    error_message = "The window is not 12 hours and 2 of grace."
  }
}

run "a_drill_twice_a_week" {
  variables {
    restore_drill = { schedule_expression = "cron(0 15 ? * MON,THU *)" }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["drill-not-running"].evaluation_periods == 102
    error_message = "The window is not 96 hours and 6 of grace."
  }
}

run "a_drill_halfway_between_two_runs" {
  variables {
    schedule_expression = "cron(15 1,13 * * ? *)"
    restore_drill       = {}
  }

  assert {
    condition     = aws_cloudwatch_event_rule.task["drill"].schedule_expression == "cron(15 7 * * ? *)"
    error_message = "The drill does not start halfway between two runs."
  }
}

run "an_empty_object_turns_orchestration_on" {
  variables {
    orchestration = {}
  }

  assert {
    condition     = aws_cloudwatch_event_target.start[0].arn == aws_sfn_state_machine.backup[0].arn && !contains(keys(aws_cloudwatch_event_target.task), "backup")
    error_message = "The schedule does not start the state machine, or still starts a task."
  }

  assert {
    condition     = toset(keys(aws_ecs_task_definition.task)) == toset(["backup", "list", "shard", "merge"])
    error_message = "The state machine's tasks are not there, or the single run's is not."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.backup[0].definition).States.BackUpShards.MaxConcurrency == 16
    error_message = "There are not 16 shards."
  }

  assert {
    condition     = strcontains(output.start_execution_command, "aws stepfunctions start-execution")
    error_message = "The command to start a run by hand is not whole."
  }
}

run "an_orchestration_of_its_own_size" {
  variables {
    task_cpu    = 2048
    task_memory = 8192
    orchestration = {
      shards                    = 64
      requests_per_installation = 80
      attempts                  = 1
      volumes                   = true
      list                      = { cpu = 1024, memory = 4096 }
      merge                     = { cpu = 2048, memory = 16384 }
    }
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.backup[0].definition).States.BackUpShards.MaxConcurrency == 64
    error_message = "There are not 64 shards."
  }

  assert {
    condition     = join(" ", [for name in ["list", "shard", "shard-on-volume", "merge"] : aws_ecs_task_definition.task[name].memory]) == "4096 8192 8192 16384"
    error_message = "The tasks have other sizes."
  }
}

run "names_boundary_and_extra_actions" {
  variables {
    alarm_actions = ["arn:aws:sns:eu-central-1:123456789012:pager"]
    iam           = { path = "/backup/", permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary" }
    orchestration = { volumes = true }
    restore_drill = {}
    service_name  = "backup-two"
    tags          = { Team = "platform" }
  }

  assert {
    condition     = length(aws_iam_role.role) == 8 && alltrue([for role in aws_iam_role.role : role.path == "/backup/" && role.permissions_boundary == var.iam.permissions_boundary_arn])
    error_message = "A role lacks the path or the boundary."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.backup : contains(alarm.alarm_actions, "arn:aws:sns:eu-central-1:123456789012:pager")])
    error_message = "An alarm does not notify the extra action."
  }

  assert {
    condition     = aws_iam_role.role["replication"].tags.Team == "platform" && aws_ecs_task_definition.task["backup"].family == "backup-two" && aws_ecs_task_definition.task["drill"].family == "backup-two-drill"
    error_message = "The tags or the name did not arrive."
  }
}

run "what_the_tasks_reach_and_what_they_back_up" {
  variables {
    backup_content        = { lfs = false, wikis = false }
    extra_environment     = { HTTPS_PROXY = "http://proxy.internal:3128" }
    replica_storage_class = "GLACIER_IR"
    repositories          = { include = ["acme/*"], exclude = ["*/sandbox-*"], skip_forks = true, skip_archived = true }

    network = {
      security_group_ids = ["sg-00112233445566778"]
      https_cidrs        = ["10.0.0.0/8"]
      egress = {
        proxy    = { port = 3128, to = "sg-0fedcba9876543210" }
        resolver = { port = 53, protocol = "udp", to = "10.0.0.2/32" }
      }
    }
  }

  assert {
    condition     = join(",", keys(aws_vpc_security_group_egress_rule.task)) == "HTTPS to 10.0.0.0/8,proxy,resolver"
    error_message = "The security group lets the tasks reach something else."
  }

  assert {
    condition = alltrue([
      for name, value in { BACKUP_LFS = "false", BACKUP_RELEASES = "true", BACKUP_WIKIS = "false" } :
      contains(jsondecode(aws_ecs_task_definition.task["backup"].container_definitions)[0].environment, { name = name, value = value })
    ])
    error_message = "The task backs up other content."
  }

  assert {
    condition     = length(aws_cloudwatch_event_target.task["backup"].ecs_target[0].network_configuration[0].security_groups) == 2
    error_message = "The task does not have both security groups."
  }

  assert {
    condition     = one(one(aws_s3_bucket_replication_configuration.backup.rule).destination).storage_class == "GLACIER_IR"
    error_message = "The replicas have another storage class."
  }
}
