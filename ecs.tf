# Where the tasks run, and where they log.

# -- cluster -------------------------------------------------------------------------------------

resource "aws_ecs_cluster" "backup" {
  count = var.existing.cluster == null ? 1 : 0

  name = var.service_name
  tags = local.tags

  setting {
    name  = "containerInsights"
    value = { off = "disabled", on = "enabled", enhanced = "enhanced" }[var.container_insights]
  }

  depends_on = [aws_cloudwatch_log_group.container_insights]
}

# An existing cluster has its own.
resource "aws_ecs_cluster_capacity_providers" "backup" {
  count = var.existing.cluster == null && (var.fargate_spot.shards || var.fargate_spot.drill) ? 1 : 0

  cluster_name       = aws_ecs_cluster.backup[0].name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

locals {
  cluster_arn  = var.existing.cluster != null ? var.existing.cluster.arn : aws_ecs_cluster.backup[0].arn
  cluster_name = reverse(split("/", local.cluster_arn))[0]

  task_arns = "arn:${local.partition}:ecs:${local.region}:${local.account_id}:task/${local.cluster_name}/*"
}

# -- logs ----------------------------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "task" {
  name              = "/ecs/${var.service_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arns.logs
  tags              = local.tags
}

# Otherwise Container Insights creates this group itself, and it never expires. It may do so after a destroy, too:
# import the group then.
resource "aws_cloudwatch_log_group" "container_insights" {
  count = var.existing.cluster == null && var.container_insights != "off" ? 1 : 0

  name              = "/aws/ecs/containerinsights/${var.service_name}/performance"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arns.logs
  tags              = local.tags
}
