# Backs up every repository that a GitHub App can see.
#
#     EventBridge rule                                   schedules.tf
#         |  starts
#         v
#     Fargate task  ---------------> GitHub              tasks.tf, network.tf, ecs.tf
#         |                            ^
#         |  signs in with a key ------+                 secret.tf
#         |  stores bundles, lists, and a manifest
#         v
#     primary bucket  -- S3 replication --> replica      s3.tf, replication.tf
#         |                                   |
#         |  metrics                          |  restores a sample
#         v                                   v
#     alarms -> SNS topic -> people       restore drill  alarms.tf, topic.tf, drill.tf
#
# A run: the task reads the App's key, lists the repositories, clones those that changed, and stores a bundle of each.
# The manifest comes last and names everything that is in the bucket; the metrics follow. S3 copies each object to the
# replica in another region, or in another account. What is written can't be replaced or deleted before it expires.
#
# Only on request or where needed:
#   orchestration.tf    a run in many tasks: state_machine.tf, state_machine_tasks.tf, state_machine_policies.tf,
#                       volumes.tf
#   drill.tf            a restore drill on its own schedule: drill_schedule.tf
#   check.tf            the age of the newest backup, where runs are further apart than an alarm looks back
#
# Everything else:
#   versions.tf         what the module needs, and the image that it starts
#   signing.tf          the key that signs manifests
#   names.tf            tags, metrics, and what the keys in the buckets begin with
#   iam.tf              all roles; statements.tf has what several policies share
#   task_failed.tf      a message for each task that failed
#   dashboard.tf        the metrics as graphs
#   modules/bucket      hardening and lifecycle, the same for both buckets
#   modules/vault       the replica bucket, here or in a second account
#   modules/schedule    reads hours and starts from a schedule expression


data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.region
  dns_suffix = data.aws_partition.current.dns_suffix
}
