# What somebody gets who sets the required inputs only.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alarm_emails                  = ["oncall@example.com"]
  github_app_id                 = "123456"
  github_app_key_secret_writers = ["arn:aws:iam::123456789012:role/admin"]
  replica_region                = "eu-west-1"
  subnet_ids                    = ["subnet-0123456789abcdef0"]

  # So that the run can take away what it made.
  force_destroy = true
}

run "the_required_inputs_are_enough" {
  # The two buckets have the same name but for the end.

  assert {
    condition     = module.primary[0].name == "github-backup-123456789012-eu-central-1"
    error_message = "The primary bucket has another name."
  }

  assert {
    condition     = module.replica[0].bucket_name == "${module.primary[0].name}-replica"
    error_message = "The replica has another name."
  }

  assert {
    condition     = module.primary[0].expiration_days == 365 + 90 + 1 && module.primary[0].content_expiration_days == 365 + 365 + 1
    error_message = "Objects expire on another day."
  }

  assert {
    condition     = var.full_backup_days < var.storage_transitions[0].days
    error_message = "The newest backup rests on bundles in a colder class."
  }

  # The task runs read-only on Fargate.

  assert {
    condition     = jsondecode(aws_ecs_task_definition.task["backup"].container_definitions)[0].readonlyRootFilesystem
    error_message = "The container can write to its root file system."
  }

  assert {
    condition     = can(regex("^public\\.ecr\\.aws/terraform-aws-github-backup/github-backup(:\\d+\\.\\d+\\.\\d+|@sha256:[0-9a-f]{64})$", jsondecode(aws_ecs_task_definition.task["backup"].container_definitions)[0].image))
    error_message = "The default image is not that of the release."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.task["backup"].schedule_expression == "rate(1 day)" && aws_cloudwatch_event_rule.task["backup"].state == "ENABLED"
    error_message = "The schedule is another one."
  }

  # Everything is backed up.

  assert {
    condition = alltrue([
      for name in ["BACKUP_LFS", "BACKUP_RELEASES", "BACKUP_WIKIS"] :
      contains(jsondecode(aws_ecs_task_definition.task["backup"].container_definitions)[0].environment, { name = name, value = "true" })
    ])
    error_message = "Wikis, Git LFS objects or releases are left out."
  }

  # An alarm that nothing ran covers interval and grace.

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["task-not-running"].period * aws_cloudwatch_metric_alarm.backup["task-not-running"].evaluation_periods == 30 * 3600
    error_message = "The window is not 24 hours and 6 of grace."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backup["task-not-running"].treat_missing_data == "breaching"
    error_message = "Silence would not raise the alarm."
  }

  assert {
    condition     = endswith(aws_cloudwatch_metric_alarm.backup["backup-failure"].alarm_name, "-backup-failure")
    error_message = "The alarm has another name."
  }

  # Alarms follow the newest run.

  assert {
    condition = alltrue([
      for name in ["backup-failure", "run-failed", "anomaly", "replica-behind"] :
      aws_cloudwatch_metric_alarm.backup[name].treat_missing_data == "ignore" && aws_cloudwatch_metric_alarm.backup[name].period == 300 && aws_cloudwatch_metric_alarm.backup[name].evaluation_periods == 1
    ])
    error_message = "An alarm would not clear with the next good run."
  }

  # No restore drill and no check are created.

  assert {
    condition = alltrue([for set in [aws_ecs_task_definition.task, aws_cloudwatch_event_rule.task, aws_cloudwatch_event_target.task] : join(",", keys(set)) == "backup"]) && (
      join(" ", keys(aws_iam_role.role)) == "execution replication schedule task"
    )
    error_message = "Something of the restore drill or the age check is created."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.backup) == 9
    error_message = "There are other alarms than those of a backup."
  }

  assert {
    condition     = output.restore_drill_command == null && output.restore_drill_role_arn == null
    error_message = "An output speaks of a drill that is not there."
  }

  # The secret has no value.

  assert {
    condition     = length(aws_secretsmanager_secret.app_key) == 1
    error_message = "There is no secret for the App's key."
  }
}
