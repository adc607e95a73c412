# Each waits for the whole bucket: whoever replicates to it finds versioning, lock and policy in place.

output "account_id" {
  description = "The account that owns the bucket."
  value       = data.aws_caller_identity.current.account_id
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = local.arn
  depends_on  = [module.bucket]
}

output "bucket_name" {
  description = "Name of the bucket, for the backup's existing.replica_bucket."
  value       = var.name
  depends_on  = [module.bucket]
}

output "kms_key_arn" {
  description = "The key that encrypts the copies, for the backup's kms_key_arns.replica. null: S3's own keys."
  value       = local.kms_key_arn
}

output "replication_role_arn" {
  description = "The only role that may write to the bucket. Must be the backup's output of the same name."
  value       = local.replication
}
