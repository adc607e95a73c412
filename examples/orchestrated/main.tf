# A large organization: a state machine runs 32 tasks at once instead of one. Fargate's quota of vCPUs must allow them
# all (here 64), those beyond it wait: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html

provider "aws" {
  region = "eu-central-1"
}

module "github_backup" {
  source = "../.." # in your own code: the module's source address, and a version

  github_app_id                 = "123456"
  github_app_key_secret_writers = ["arn:aws:iam::123456789012:role/admin"]
  subnet_ids                    = ["subnet-0123456789abcdef0"]
  replica_region                = "eu-west-1"
  alarm_emails                  = ["oncall@example.com"]

  orchestration = { shards = 32 }

  # Of each shard.
  task_cpu                  = 2048
  task_memory               = 8192
  task_ephemeral_storage_gb = 100

  # A run that takes longer is cut off; by default an hour before the next one starts.
  schedule_expression = "cron(0 1 * * ? *)"
  run                 = { deadline_hours = 12 }

  restore_drill = {}
}

output "start_a_run" {
  description = "Command that starts a run now."
  value       = module.github_backup.start_execution_command
}
