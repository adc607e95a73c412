locals {
  # Starts a task of the family that follows, as the schedule does.
  run_task = join(" ", [
    "aws ecs run-task --region ${local.region} --cluster ${local.cluster_arn} --launch-type FARGATE",
    "--network-configuration '${jsonencode({ awsvpcConfiguration = {
      subnets        = var.subnet_ids
      securityGroups = [aws_security_group.task.id]
      assignPublicIp = var.assign_public_ip ? "ENABLED" : "DISABLED"
    } })}'",
    "--task-definition",
  ])
}

output "dashboard_name" {
  description = "The CloudWatch dashboard: recovery point, runs, repositories, failures, bytes, duration, replication, and what the restore drill measured."
  value       = aws_cloudwatch_dashboard.backup.dashboard_name
}

output "ecs_cluster_arn" {
  description = "ARN of the cluster in which runs are started."
  value       = local.cluster_arn
}

output "ecs_cluster_name" {
  description = "Name of the cluster in which runs are started."
  value       = local.cluster_name
}

output "github_app_key_secret_arn" {
  description = "The secret to store the App's private key in: aws secretsmanager put-secret-value --secret-id THIS --secret-string file://KEY.pem"
  value       = local.secret_arn
}

output "log_group_name" {
  description = "Log group of the runs and drills, one JSON object a line."
  value       = aws_cloudwatch_log_group.task.name
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
  description = "The role that a replica bucket of another account must let in."
  value       = aws_iam_role.replication.arn
}

output "restore_drill_command" {
  description = "Starts a restore drill now, as its schedule does. null without restore_drill."
  value       = one([for task in aws_ecs_task_definition.drill : "${local.run_task} ${task.family}"])
}

output "restore_drill_role_arn" {
  description = "The role that a replica bucket of another account must let read. null without restore_drill."
  value       = one(aws_iam_role.drill[*].arn)
}

output "run_task_command" {
  description = "Starts a run now, as the schedule does."
  value       = "${local.run_task} ${aws_ecs_task_definition.backup.family}"
}

output "s3_bucket_arn" {
  description = "ARN of the primary bucket."
  value       = local.bucket_arn
  depends_on  = [module.primary]
}

output "s3_bucket_name" {
  description = "Name of the primary bucket: bundles and manifests under github-backup/, reports of restore drills under github-backup-drills/."
  value       = local.bucket_name
  depends_on  = [module.primary]
}

output "s3_bucket_policy" {
  description = "JSON of the statements that keep what is in the primary bucket from being replaced or deleted. The module's own bucket has them; add them to the policy of existing.bucket."
  value       = data.aws_iam_policy_document.primary.json
}

output "schedule_rule_arn" {
  description = "ARN of the EventBridge rule that starts runs."
  value       = aws_cloudwatch_event_rule.backup.arn
}

output "security_group_id" {
  description = "Security group of the task: out on 443, nothing in."
  value       = aws_security_group.task.id
}

output "sns_topic_arn" {
  description = "Topic that gets every alarm but that of the replication's lag, which a topic of the same name in replica_region gets."
  value       = local.topic_arns.primary
}

output "task_definition_arn" {
  description = "ARN of the task definition, with its revision."
  value       = aws_ecs_task_definition.backup.arn
}

output "task_role_arn" {
  description = "ARN of the role that a run has."
  value       = aws_iam_role.task.arn
}
