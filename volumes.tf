# The role with which ECS gives a shard a volume. The statements are those of AWS's own
# AmazonECSInfrastructureRolePolicyForVolumes, without what only ECS on EC2 needs, and for tasks of this cluster instead
# of every task in every account.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/infrastructure_IAM_role.html

locals {
  # Only on request: Step Functions does not document VolumeConfigurations, and a state machine that it refuses backs up
  # nothing at all.
  volumes = [for orchestration in local.orchestrations : orchestration if orchestration.volumes]

  # ECS tags each volume with the task that it is for.
  volume_arns = "arn:${local.partition}:ec2:${local.region}:${local.account_id}:volume/*"
}

data "aws_iam_policy_document" "volumes" {
  #checkov:skip=CKV_AWS_356:EC2 has no resources to name where it describes

  count = length(local.volumes)

  # Without it: a shard with a volume does not start, "TaskFailedToStart".
  statement {
    sid       = "CreateVolumes"
    actions   = ["ec2:CreateVolume"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/AmazonECSManaged"
      values   = ["true"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:RequestTag/AmazonECSCreated"
      values   = [local.task_arns]
    }
  }

  # Without it: the same, because ECS creates volumes with tags. Only while they are created.
  statement {
    sid       = "TagVolumes"
    actions   = ["ec2:CreateTags"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateVolume"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/AmazonECSManaged"
      values   = ["true"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:RequestTag/AmazonECSCreated"
      values   = [local.task_arns]
    }
  }

  # Without it: ECS does not see when a volume is ready, nor in which zone the subnet is. EC2 has no resources to name
  # here.
  statement {
    sid       = "SeeVolumes"
    actions   = ["ec2:DescribeAvailabilityZones", "ec2:DescribeVolumes"]
    resources = ["*"]
  }

  # Without these two: the volume is there, but not in the task. The instance is Fargate's own, in an account of AWS.
  statement {
    sid       = "AttachVolumes"
    actions   = ["ec2:AttachVolume", "ec2:DetachVolume"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/AmazonECSManaged"
      values   = ["true"]
    }
  }

  statement {
    sid       = "AttachToFargate"
    actions   = ["ec2:AttachVolume", "ec2:DetachVolume"]
    resources = ["arn:${local.partition}:ec2:${local.region}:*:instance/*"]
  }

  # Without it: volumes stay when their task has ended, and are paid for.
  statement {
    sid       = "DeleteVolumes"
    actions   = ["ec2:DeleteVolume"]
    resources = [local.volume_arns]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/AmazonECSManaged"
      values   = ["true"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:ResourceTag/AmazonECSCreated"
      values   = [local.task_arns]
    }
  }
}
