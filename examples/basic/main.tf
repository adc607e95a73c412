# A scheduled, replicated, alarmed backup of every repository that the App can see. For a trial, set
# force_destroy = true: then terraform destroy removes everything again, with all backups.

provider "aws" {
  region = "eu-central-1"
}

module "github_backup" {
  source = "../.." # in your own code: the module's source address and a version

  github_app_id                 = "123456"
  github_app_key_secret_writers = ["arn:aws:iam::123456789012:role/admin"]
  subnet_ids                    = ["subnet-0123456789abcdef0", "subnet-0fedcba9876543210"]
  replica_region                = "eu-west-1"
  alarm_emails                  = ["oncall@example.com"]
}

output "next_steps" {
  description = "What is left to do by hand after the first apply."
  value       = <<-EOT
    aws secretsmanager put-secret-value --secret-string file://KEY.pem --secret-id \
      ${module.github_backup.github_app_key_secret_arn}
    ${module.github_backup.run_task_command}
  EOT
}
