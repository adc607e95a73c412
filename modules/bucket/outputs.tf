output "arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.backup.arn
}

output "content_expiration_days" {
  description = "Days after which LFS objects and files of releases expire. null: never."
  value       = local.content_expiration_days
}

output "expiration_days" {
  description = "Days after which bundles, lists, manifests and reports expire. null: never."
  value       = local.expiration_days
}

output "name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.backup.bucket
}
