locals {
  # Starts the task whose family comes next, as the schedule does.
  run_task = join(" ", [
    "aws ecs run-task --region ${local.region} --cluster ${local.cluster_arn} --launch-type FARGATE",
    "--network-configuration '${jsonencode({ awsvpcConfiguration = {
      subnets        = var.subnet_ids
      securityGroups = local.security_group_ids
      assignPublicIp = var.assign_public_ip ? "ENABLED" : "DISABLED"
    } })}'",
    "--propagate-tags TASK_DEFINITION --enable-ecs-managed-tags --task-definition",
  ])
}

output "alarm_arns" {
  description = "ARNs of the alarms by name, such as backup-failure."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.backup : name => alarm.arn }
}

output "dashboard_name" {
  description = <<-EOT
    Name of the CloudWatch dashboard: recovery point, runs, repositories, failures, bytes, duration, replication, and
    the results of restore drills.
  EOT
  value       = aws_cloudwatch_dashboard.backup.dashboard_name
}

output "dead_letter_queue_arn" {
  description = "ARN of the queue that keeps starts and messages that failed for good."
  value       = aws_sqs_queue.dead_letters.arn
}

output "ecs_cluster_arn" {
  description = "ARN of the ECS cluster that runs the tasks."
  value       = local.cluster_arn
}

output "ecs_cluster_name" {
  description = "Name of the ECS cluster that runs the tasks."
  value       = local.cluster_name
}

output "execution_role_arn" {
  description = "ARN of the role with which Fargate pulls the image and ships logs."
  value       = local.role_arns["execution"]
}

output "github_app_key_secret_arn" {
  description = <<-EOT
    ARN of the secret that holds the App's private key. To store the key: aws secretsmanager put-secret-value
    --secret-id THIS --secret-string file://KEY.pem
  EOT
  value       = local.secret_arn
}

output "log_group_name" {
  description = "Log group of all tasks, one JSON object per line."
  value       = aws_cloudwatch_log_group.task.name
}

output "manifest_signing_key_arn" {
  description = "ARN of the KMS key that signs manifests. null without manifest_signing."
  value       = one(local.signing_key_arns)
}

output "manifest_signing_public_keys" {
  description = <<-EOT
    Public keys (PEM) of the key that signs manifests and of the module's older ones, the newest first. Keep them
    outside of the account: terraform output -raw THIS > signing-key.pub.pem makes the file for restore --trusted-key.
    null without manifest_signing.
  EOT
  value = length(local.signing_public_keys) == 0 ? null : join("", [
    for pem in local.signing_public_keys : "${trimspace(pem)}\n"
  ])
}

output "replica_bucket_arn" {
  description = "ARN of the bucket with the second copy."
  value       = local.replica_arn
  depends_on  = [module.replica]
}

output "replica_bucket_name" {
  description = "Name of the bucket with the second copy, in replica_region."
  value       = local.replica_name
  depends_on  = [module.replica]
}

output "replication_role_arn" {
  description = "ARN of the role that a replica bucket in another account must allow to replicate."
  value       = local.role_arns["replication"]
}

output "restore_drill_command" {
  description = "Command that starts a restore drill now, as its schedule does. null without restore_drill."
  value       = one([for name in values(local.task_names) : "${local.run_task} ${name}" if name == local.drill_name])
}

output "restore_drill_role_arn" {
  description = <<-EOT
    ARN of the role that a replica bucket in another account must allow to read. null without restore_drill.
  EOT
  value       = lookup(local.role_arns, "drill", null)
}

output "role_policies" {
  description = "JSON of each role's policy, by the role's name: what a role in iam.role_arns must be allowed."
  value       = local.policies
}

output "run_task_command" {
  description = "Command that starts a backup run in one task now. Without orchestration, the schedule does the same."
  value       = "${local.run_task} ${aws_ecs_task_definition.task["backup"].family}"
}

output "s3_bucket_arn" {
  description = "ARN of the primary bucket."
  value       = local.bucket_arn
  depends_on  = [module.primary]
}

output "s3_bucket_name" {
  description = <<-EOT
    Name of the primary bucket. Bundles, lists and manifests are under github-backup/, LFS objects under
    github-backup-lfs/, files of releases under github-backup-releases/, reports of restore drills under
    github-backup-drills/.
  EOT
  value       = local.bucket_name
  depends_on  = [module.primary]
}

output "s3_bucket_policy" {
  description = <<-EOT
    JSON of the statements that keep what is in the primary bucket from being replaced or deleted. The module's own
    bucket has them; add them to the policy of existing.bucket.
  EOT
  value       = data.aws_iam_policy_document.primary.json
}

output "schedule_rule_arn" {
  description = "ARN of the EventBridge rule that starts backup runs; with schedule, of the schedule."
  value = (
    local.is_scheduler ? aws_scheduler_schedule.task["backup"].arn :
    aws_cloudwatch_event_rule.task["backup"].arn
  )
}

output "security_group_id" {
  description = <<-EOT
    ID of the tasks' security group: outbound HTTPS and network.egress, nothing inbound. null without
    network.create_security_group.
  EOT
  value       = one(aws_security_group.task[*].id)
}

output "sns_topic_arn" {
  description = "ARN of the SNS topic that gets every alarm."
  value       = local.topic_arn
}

output "start_execution_command" {
  description = <<-EOT
    Command that starts a backup run of the state machine now, as the schedule does. null without orchestration.
  EOT
  value = one([
    for machine in aws_sfn_state_machine.backup :
    "aws stepfunctions start-execution --region ${local.region} --state-machine-arn ${machine.arn}"
  ])
}

output "state_machine_arn" {
  description = "ARN of the state machine that runs backups. null without orchestration."
  value       = one(aws_sfn_state_machine.backup[*].arn)
}

output "task_definition_arn" {
  description = "ARN of the backup task definition, with its revision."
  value       = aws_ecs_task_definition.task["backup"].arn
}

output "task_role_arn" {
  description = "ARN of the role of a backup run."
  value       = local.role_arns["task"]
}
