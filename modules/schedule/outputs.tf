output "hours" {
  description = "Hours between two starts at most, rounded up. null where the expression does not tell."
  value       = try(coalesce(local.rate_hours, try(ceil(local.cron_minutes / 60), null)), null)
}

output "is_cron" {
  description = "Whether the expression is a cron()."
  value       = local.is_cron
}

output "rate_hours" {
  description = "Hours between two starts of a rate(). null for a cron()."
  value       = local.rate_hours
}

output "starts" {
  description = <<-EOT
    Minutes of the day at which a cron() starts, in order; empty where they can't be read. null for a rate().
  EOT
  value       = local.starts
}
