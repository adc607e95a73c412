# Wrong input is refused at plan. What the messages say is compared in tests/test_terraform/test_inputs.py.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  alarm_emails                  = ["oncall@example.com"]
  github_app_id                 = "123456"
  github_app_key_secret_writers = ["arn:aws:iam::123456789012:role/admin"]
  replica_region                = "eu-west-1"
  subnet_ids                    = ["subnet-0123456789abcdef0"]
}

run "a_replica_in_the_same_region" {
  command = plan

  variables {
    replica_region = "eu-central-1"
  }

  expect_failures = [var.replica_region]
}

run "a_replica_region_that_is_no_region" {
  command = plan

  variables {
    replica_region = "Ireland"
  }

  expect_failures = [var.replica_region]
}

run "an_amount_of_cpu_that_fargate_does_not_sell" {
  command = plan

  variables {
    task_cpu = 1000
  }

  expect_failures = [var.task_cpu]
}

run "a_pair_of_cpu_and_memory_that_fargate_does_not_sell" {
  command = plan

  variables {
    task_cpu    = 256
    task_memory = 4096
  }

  expect_failures = [var.task_memory]
}

run "too_little_storage" {
  command = plan

  variables {
    task_ephemeral_storage_gb = 20
  }

  expect_failures = [var.task_ephemeral_storage_gb]
}

run "too_much_storage" {
  command = plan

  variables {
    task_ephemeral_storage_gb = 201
  }

  expect_failures = [var.task_ephemeral_storage_gb]
}

run "a_rate_with_the_wrong_plural" {
  command = plan

  variables {
    schedule_expression = "rate(1 days)"
  }

  expect_failures = [var.schedule_expression]
}

run "a_cron_with_five_fields" {
  command = plan

  variables {
    schedule_expression = "cron(0 3 * * *)"
  }

  expect_failures = [var.schedule_expression]
}

run "a_word_as_schedule" {
  command = plan

  variables {
    schedule_expression = "daily"
  }

  expect_failures = [var.schedule_expression]
}

run "a_schedule_whose_interval_can_not_be_read" {
  command = plan

  variables {
    schedule_expression = "cron(0 3 ? * FRI#1 *)"
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_retention_shorter_than_two_intervals" {
  command = plan

  variables {
    schedule_expression   = "rate(5 days)"
    backup_retention_days = 9
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_retention_of_less_than_a_week" {
  command = plan

  variables {
    backup_retention_days = 6
  }

  expect_failures = [var.backup_retention_days]
}

run "an_interval_of_no_hours" {
  command = plan

  variables {
    run = { interval_hours = 0 }
  }

  expect_failures = [var.run]
}

run "a_grace_of_no_hours" {
  command = plan

  variables {
    run = { grace_hours = 0 }
  }

  expect_failures = [var.run]
}

run "what_is_no_email_address" {
  command = plan

  variables {
    alarm_emails = ["oncall"]
  }

  expect_failures = [var.alarm_emails]
}

run "alarms_that_reach_nobody" {
  command = plan

  variables {
    alarm_emails = []
  }

  expect_failures = [var.alarm_emails]
}

run "what_is_no_arn_as_an_action" {
  command = plan

  variables {
    alarm_actions = ["pager"]
  }

  expect_failures = [var.alarm_actions]
}

run "an_assumed_role_as_writer" {
  command = plan

  variables {
    github_app_key_secret_writers = ["arn:aws:sts::123456789012:assumed-role/admin/me"]
  }

  expect_failures = [var.github_app_key_secret_writers]
}

run "no_writers" {
  command = plan

  variables {
    github_app_key_secret_writers = []
  }

  expect_failures = [var.github_app_key_secret_writers]
}

run "the_apps_name_as_its_id" {
  command = plan

  variables {
    github_app_id = "my-backup-app"
  }

  expect_failures = [var.github_app_id]
}

run "an_organisation_as_installation" {
  command = plan

  variables {
    github_app_installation_id = "acme"
  }

  expect_failures = [var.github_app_installation_id]
}

run "no_subnets" {
  command = plan

  variables {
    subnet_ids = []
  }

  expect_failures = [var.subnet_ids]
}

run "a_vpc_as_subnet" {
  command = plan

  variables {
    subnet_ids = ["vpc-0123456789abcdef0"]
  }

  expect_failures = [var.subnet_ids]
}

run "a_bucket_name_too_long_for_its_replica" {
  command = plan

  variables {
    s3_bucket_name = "a-name-of-fifty-six-characters-that-leaves-no-room-behind"
  }

  expect_failures = [var.s3_bucket_name]
}

run "two_primary_buckets" {
  command = plan

  variables {
    s3_bucket_name = "new-one"
    existing       = { bucket = { name = "old-one" } }
  }

  expect_failures = [var.existing]
}

run "a_cluster_by_its_name" {
  command = plan

  variables {
    existing = { cluster = { arn = "shared" } }
  }

  expect_failures = [var.existing]
}

run "an_account_that_is_no_number" {
  command = plan

  variables {
    existing = { replica_bucket = { name = "vault", account_id = "vault" } }
  }

  expect_failures = [var.existing]
}

run "a_lock_longer_than_the_retention" {
  command = plan

  variables {
    object_lock           = { mode = "COMPLIANCE", days = 31 }
    backup_retention_days = 30
  }

  expect_failures = [var.object_lock]
}

run "a_lock_shorter_than_the_days_between_clones" {
  command = plan

  variables {
    object_lock      = { mode = "COMPLIANCE", days = 13 }
    full_backup_days = 14
  }

  expect_failures = [var.object_lock]
}

run "an_unknown_lock_mode" {
  command = plan

  variables {
    object_lock = { mode = "STRICT", days = 1 }
  }

  expect_failures = [var.object_lock]
}

run "half_a_day_of_retention" {
  command = plan

  variables {
    backup_retention_days = 0.5
  }

  expect_failures = [var.backup_retention_days]
}

run "days_that_cloudwatch_does_not_keep" {
  command = plan

  variables {
    log_retention_days = 366
  }

  expect_failures = [var.log_retention_days]
}

run "an_image_that_changes" {
  command = plan

  variables {
    image_uri = "example.com/backup:latest"
  }

  expect_failures = [var.image_uri]
}

run "an_image_without_tag" {
  command = plan

  variables {
    image_uri = "example.com/backup"
  }

  expect_failures = [var.image_uri]
}

run "an_alias_as_key" {
  command = plan

  variables {
    kms_key_arns = { logs = "arn:aws:kms:eu-central-1:123456789012:alias/logs" }
  }

  expect_failures = [var.kms_key_arns]
}

run "a_replica_key_in_another_region" {
  command = plan

  variables {
    kms_key_arns = {
      primary = "arn:aws:kms:eu-central-1:123456789012:key/a"
      replica = "arn:aws:kms:eu-central-1:123456789012:key/b"
    }
  }

  expect_failures = [var.kms_key_arns]
}

run "a_primary_key_without_one_for_the_replica" {
  command = plan

  variables {
    kms_key_arns = { primary = "arn:aws:kms:eu-central-1:123456789012:key/a" }
  }

  expect_failures = [var.kms_key_arns]
}

run "an_unknown_storage_class" {
  command = plan

  variables {
    storage_transitions = [{ days = 90, storage_class = "COLD" }]
  }

  expect_failures = [var.storage_transitions]
}

run "infrequent_access_too_early" {
  command = plan

  variables {
    storage_transitions = [{ days = 7, storage_class = "STANDARD_IA" }]
  }

  expect_failures = [var.storage_transitions]
}

run "a_service_name_in_capitals" {
  command = plan

  variables {
    service_name = "Backup"
  }

  expect_failures = [var.service_name]
}

run "a_path_without_slashes" {
  command = plan

  variables {
    iam = { path = "backup" }
  }

  expect_failures = [var.iam]
}

run "a_boundary_that_is_no_policy" {
  command = plan

  variables {
    iam = { permissions_boundary_arn = "arn:aws:iam::123456789012:role/x" }
  }

  expect_failures = [var.iam]
}

run "a_github_over_plain_http" {
  command = plan

  variables {
    github_urls = { api = "http://github.example.com/api/v3", server = "https://github.example.com" }
  }

  expect_failures = [var.github_urls]
}

run "more_workers_than_there_may_be" {
  command = plan

  variables {
    concurrency = 257
  }

  expect_failures = [var.concurrency]
}

run "a_full_backup_never" {
  command = plan

  variables {
    full_backup_days = 0
  }

  expect_failures = [var.full_backup_days]
}

run "a_full_backup_after_the_margin_of_the_lifecycle" {
  command = plan

  variables {
    full_backup_days = 91
  }

  expect_failures = [var.full_backup_days]
}

run "an_unknown_architecture" {
  command = plan

  variables {
    cpu_architecture = "arm64"
  }

  expect_failures = [var.cpu_architecture]
}

run "a_cron_with_two_days" {
  command = plan

  variables {
    schedule_expression = "cron(0 3 * * * *)"
  }

  expect_failures = [var.schedule_expression]
}

run "a_cron_of_words" {
  command = plan

  variables {
    schedule_expression = "cron(99 99 x ! ? foo)"
  }

  expect_failures = [var.schedule_expression]
}

run "half_a_day_of_lock" {
  command = plan

  variables {
    object_lock = { mode = "COMPLIANCE", days = 1.5 }
  }

  expect_failures = [var.object_lock]
}

run "five_actions" {
  command = plan

  variables {
    alarm_actions = [for n in range(5) : "arn:aws:sns:eu-central-1:123456789012:t${n}"]
  }

  expect_failures = [var.alarm_actions]
}

run "a_topic_in_another_region" {
  command = plan

  variables {
    existing = { topic = { arn = "arn:aws:sns:eu-west-1:123456789012:pager" } }
  }

  expect_failures = [var.existing]
}

run "a_brought_bucket_too_long_for_its_replica" {
  command = plan

  variables {
    existing = { bucket = { name = "a-name-of-fifty-six-characters-that-leaves-no-room-behind" } }
  }

  expect_failures = [var.existing]
}

run "a_key_in_another_region" {
  command = plan

  variables {
    kms_key_arns = { logs = "arn:aws:kms:eu-west-1:123456789012:key/a" }
  }

  expect_failures = [var.kms_key_arns]
}

run "a_service_named_like_a_security_group" {
  command = plan

  variables {
    service_name = "sg-backup"
  }

  expect_failures = [var.service_name]
}

run "a_word_as_the_drills_schedule" {
  command = plan

  variables {
    restore_drill = { schedule_expression = "weekly" }
  }

  expect_failures = [var.restore_drill]
}

run "a_weekly_drill" {
  command = plan

  variables {
    restore_drill = { schedule_expression = "cron(0 15 ? * SUN *)" }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_drill_that_the_alarm_can_not_cover" {
  command = plan

  variables {
    restore_drill = { interval_hours = 24, grace_hours = 145 }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_drill_that_comes_later_than_everything_must_be_proven" {
  command = plan

  variables {
    restore_drill = { schedule_expression = "cron(0 15 ? * MON,THU *)", within_days = 2 }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "content_frozen_before_it_is_written_again" {
  command = plan

  variables {
    storage_transitions = [{ days = 90, storage_class = "DEEP_ARCHIVE" }]
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_drill_on_frozen_backups" {
  command = plan

  variables {
    restore_drill       = {}
    storage_transitions = [{ days = 1, storage_class = "GLACIER" }]
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "half_a_day_of_drills" {
  command = plan

  variables {
    restore_drill = { within_days = 0.5 }
  }

  expect_failures = [var.restore_drill]
}

run "a_drill_without_grace" {
  command = plan

  variables {
    restore_drill = { grace_hours = 0 }
  }

  expect_failures = [var.restore_drill]
}

run "a_drill_every_no_hours" {
  command = plan

  variables {
    restore_drill = { interval_hours = 0 }
  }

  expect_failures = [var.restore_drill]
}

run "a_drill_with_cpu_that_fargate_does_not_sell" {
  command = plan

  variables {
    restore_drill = { cpu = 1000 }
  }

  expect_failures = [var.restore_drill]
}

run "a_drill_with_more_memory_than_its_cpu_allows" {
  command = plan

  variables {
    restore_drill = { cpu = 256 }
  }

  expect_failures = [var.restore_drill]
}

run "a_drill_with_too_little_storage" {
  command = plan

  variables {
    restore_drill = { ephemeral_storage_gb = 20 }
  }

  expect_failures = [var.restore_drill]
}

run "a_drill_with_too_much_storage" {
  command = plan

  variables {
    restore_drill = { ephemeral_storage_gb = 201 }
  }

  expect_failures = [var.restore_drill]
}

run "a_drill_that_starts_with_the_backup" {
  command = plan

  variables {
    schedule_expression = "cron(0 3 * * ? *)"
    restore_drill       = { schedule_expression = "cron(0 0/3 * * ? *)" }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "two_rates_that_start_together" {
  command = plan

  variables {
    restore_drill = { schedule_expression = "rate(12 hours)" }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_drill_whose_interval_can_not_be_read" {
  command = plan

  variables {
    restore_drill = { schedule_expression = "cron(0 15 ? * FRI#1 *)" }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_drill_on_a_frozen_replica" {
  command = plan

  variables {
    restore_drill         = {}
    replica_storage_class = "GLACIER"
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "an_action_in_another_region" {
  command = plan

  variables {
    alarm_actions = ["arn:aws:sns:eu-west-1:123456789012:pager"]
  }

  expect_failures = [var.alarm_actions]
}

run "an_anomaly_of_nothing" {
  command = plan

  variables {
    anomaly_percent = 0
  }

  expect_failures = [var.anomaly_percent]
}

run "a_deadline_of_no_hours" {
  command = plan

  variables {
    run = { deadline_hours = 0 }
  }

  expect_failures = [var.run]
}

run "a_variable_that_the_module_sets" {
  command = plan

  variables {
    extra_environment = { S3_BUCKET = "elsewhere" }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "credentials_as_extra_environment" {
  command = plan

  variables {
    extra_environment = { AWS_SECRET_ACCESS_KEY = "x" }
  }

  expect_failures = [var.extra_environment]
}

run "a_variable_with_a_space" {
  command = plan

  variables {
    extra_environment = { "MY VARIABLE" = "x" }
  }

  expect_failures = [var.extra_environment]
}

run "a_file_name_as_certificate" {
  command = plan

  variables {
    github_ca_pem = "ca.pem"
  }

  expect_failures = [var.github_ca_pem]
}

run "a_private_key_as_certificate" {
  command = plan

  variables {
    github_ca_pem = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMII\n"
  }

  expect_failures = [var.github_ca_pem]
}

run "an_unknown_use_of_a_key" {
  command = plan

  variables {
    kms_key_arns = { queue = "arn:aws:kms:eu-central-1:123456789012:key/a" }
  }

  expect_failures = [var.kms_key_arns]
}

run "a_signing_key_without_a_number" {
  command = plan

  variables {
    signing_key_number = 1.5
  }

  expect_failures = [var.signing_key_number]
}

run "a_key_that_is_null" {
  command = plan

  variables {
    kms_key_arns = { topic = null }
  }

  expect_failures = [var.kms_key_arns]
}

run "a_name_as_security_group" {
  command = plan

  variables {
    network = { security_group_ids = ["proxy"] }
  }

  expect_failures = [var.network]
}

run "five_more_security_groups" {
  command = plan

  variables {
    network = { security_group_ids = [for n in range(5) : "sg-${n}"] }
  }

  expect_failures = [var.network]
}

run "an_address_without_its_size" {
  command = plan

  variables {
    network = { https_cidrs = ["10.0.0.1"] }
  }

  expect_failures = [var.network]
}

run "a_port_that_is_none" {
  command = plan

  variables {
    network = { egress = { proxy = { port = 70000, to = "10.0.0.0/8" } } }
  }

  expect_failures = [var.network]
}

run "a_host_name_as_destination" {
  command = plan

  variables {
    network = { egress = { proxy = { port = 3128, to = "proxy.internal" } } }
  }

  expect_failures = [var.network]
}

run "an_unknown_protocol" {
  command = plan

  variables {
    network = { egress = { proxy = { port = 3128, to = "10.0.0.0/8", protocol = "icmp" } } }
  }

  expect_failures = [var.network]
}

run "patterns_in_one_string" {
  command = plan

  variables {
    repositories = { include = ["acme/*, other/*"] }
  }

  expect_failures = [var.repositories]
}

run "no_repositories" {
  command = plan

  variables {
    repositories = { include = [] }
  }

  expect_failures = [var.repositories]
}

run "an_unknown_class_of_replicas" {
  command = plan

  variables {
    replica_storage_class = "COLD"
  }

  expect_failures = [var.replica_storage_class]
}

run "half_a_day_of_transition" {
  command = plan

  variables {
    storage_transitions = [{ days = 0.5, storage_class = "GLACIER_IR" }]
  }

  expect_failures = [var.storage_transitions]
}

run "no_shards" {
  command = plan

  variables {
    orchestration = { shards = 0 }
  }

  expect_failures = [var.orchestration]
}

run "more_shards_than_a_state_machine_should_start" {
  command = plan

  variables {
    orchestration = { shards = 1001 }
  }

  expect_failures = [var.orchestration]
}

run "more_requests_at_once_than_github_allows" {
  command = plan

  variables {
    orchestration = { requests_per_installation = 10001 }
  }

  expect_failures = [var.orchestration]
}

run "half_an_attempt" {
  command = plan

  variables {
    orchestration = { attempts = 0.5 }
  }

  expect_failures = [var.orchestration]
}

run "a_list_with_memory_that_fargate_does_not_sell" {
  command = plan

  variables {
    orchestration = { list = { cpu = 256, memory = 8192 } }
  }

  expect_failures = [var.orchestration]
}

run "a_merge_with_cpu_that_fargate_does_not_sell" {
  command = plan

  variables {
    orchestration = { merge = { cpu = 1000 } }
  }

  expect_failures = [var.orchestration]
}

run "an_orchestrated_run_that_may_still_go_when_the_next_starts" {
  command = plan

  variables {
    orchestration = {}
    run           = { deadline_hours = 24 }
  }

  expect_failures = [aws_ecs_task_definition.task]
}

run "a_variable_that_the_state_machine_sets" {
  command = plan

  variables {
    orchestration     = {}
    extra_environment = { RUN_NAME = "x" }
  }

  expect_failures = [aws_ecs_task_definition.task]
}
