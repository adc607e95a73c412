output "arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.backup.arn
}

output "expiration_days" {
  description = "Days after which objects expire. null: never."
  value       = local.expiration_days
}

output "name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.backup.bucket
}
