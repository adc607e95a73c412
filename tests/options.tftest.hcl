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
}

run "customer_keys_for_everything" {
  variables {
    kms_key_arns = {
      logs    = "arn:aws:kms:eu-central-1:123456789012:key/logs"
      primary = "arn:aws:kms:eu-central-1:123456789012:key/primary"
      replica = "arn:aws:kms:eu-west-1:123456789012:key/replica"
      secret  = "arn:aws:kms:eu-central-1:123456789012:key/secret"
      topic   = "arn:aws:kms:eu-central-1:123456789012:key/topic"
    }
  }

  assert {
    condition     = join(",", keys(aws_kms_key.alarms)) == "replica" && aws_sns_topic.alarms["primary"].kms_master_key_id == var.kms_key_arns.topic
    error_message = "The topic does not use the key that was given."
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
    condition     = length(module.primary) + length(module.replica) + length(aws_secretsmanager_secret.app_key) + length(aws_ecs_cluster.backup) == 0 && join(",", keys(aws_sns_topic.alarms)) == "replica"
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

run "a_six_day_schedule_fits_the_alarm" {
  variables {
    schedule_expression = "rate(6 days)"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["task-not-running"].evaluation_periods == 150
    error_message = "The window is not six days and 6 hours."
  }
}

run "the_schedule_can_be_off_and_run_by_hand" {
  variables {
    schedule_enabled = false
  }

  assert {
    condition     = aws_cloudwatch_event_rule.backup.state == "DISABLED"
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
    condition     = aws_cloudwatch_event_rule.drill[0].schedule_expression == "rate(1 day)" && aws_cloudwatch_event_rule.drill[0].state == "ENABLED"
    error_message = "The drill has another schedule."
  }

  assert {
    condition     = aws_ecs_task_definition.drill[0].cpu == tostring(var.task_cpu) && aws_ecs_task_definition.drill[0].memory == tostring(var.task_memory) && aws_ecs_task_definition.drill[0].ephemeral_storage[0].size_in_gib == var.task_ephemeral_storage_gb
    error_message = "The drill has not the size of the backup's task."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["drill-not-running"].evaluation_periods == 30 && aws_cloudwatch_metric_alarm.backup["restore-failed"].evaluation_periods == 30
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
      schedule_expression  = "rate(12 hours)"
      grace_hours          = 2
      within_days          = 7
      cpu                  = 4096
      memory               = 16384
      ephemeral_storage_gb = 100
    }
  }

  assert {
    condition     = aws_cloudwatch_event_rule.drill[0].schedule_expression == "rate(12 hours)" && aws_cloudwatch_event_rule.drill[0].state == "DISABLED"
    error_message = "The drill has another schedule, or it runs although schedules are off."
  }

  assert {
    condition     = aws_ecs_task_definition.drill[0].cpu == "4096" && aws_ecs_task_definition.drill[0].memory == "16384" && aws_ecs_task_definition.drill[0].ephemeral_storage[0].size_in_gib == 100
    error_message = "The drill has another size."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["drill-not-running"].evaluation_periods == 14
    error_message = "The window is not 12 hours and 2 of grace."
  }
}

run "a_cron_drill_with_its_interval" {
  variables {
    restore_drill = { schedule_expression = "cron(0 15 ? * MON,THU *)", interval_hours = 96 }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["drill-not-running"].evaluation_periods == 102
    error_message = "The window is not 96 hours and 6 of grace."
  }
}

run "names_boundary_and_extra_actions" {
  variables {
    alarm_actions = ["arn:aws:sns:eu-central-1:123456789012:pager"]
    iam           = { path = "/backup/", permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary" }
    restore_drill = {}
    service_name  = "backup-two"
    tags          = { Team = "platform" }
  }

  assert {
    condition     = alltrue([for role in [aws_iam_role.task, aws_iam_role.execution, aws_iam_role.schedule, aws_iam_role.replication, aws_iam_role.drill[0]] : role.path == "/backup/" && role.permissions_boundary == var.iam.permissions_boundary_arn])
    error_message = "A role lacks the path or the boundary."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.backup : contains(alarm.alarm_actions, "arn:aws:sns:eu-central-1:123456789012:pager") == (alarm.region == "eu-central-1")])
    error_message = "An alarm does not notify the extra action."
  }

  assert {
    condition     = aws_iam_role.replication.tags.Team == "platform" && aws_ecs_task_definition.backup.family == "backup-two" && aws_ecs_task_definition.drill[0].family == "backup-two-drill"
    error_message = "The tags or the name did not arrive."
  }
}
