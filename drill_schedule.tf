# When a restore drill starts: never together with a backup run. They would compete for the network, and the drill would
# prove yesterday's backup.

module "drill_schedule" {
  source = "./modules/schedule"

  expression = try(var.restore_drill.schedule_expression, null)
}

locals {
  backup_is_cron = module.backup_schedule.is_cron
  backup_starts  = coalesce(module.backup_schedule.starts, [])

  # cron(): daily, in the middle of the longest pause between two starts within a day. An unreadable time has no pause.
  pauses = [
    for index, start in local.backup_starts :
    { start = start, minutes = try(local.backup_starts[index + 1], local.backup_starts[0] + 24 * 60) - start }
  ]
  middle = try([
    for pause in local.pauses : (pause.start + floor(pause.minutes / 2)) % (24 * 60)
    if pause.minutes == max(local.pauses[*].minutes...)
  ][0], 0)

  # rate(): EventBridge counts from the moment at which the rule is created. A drill comes half a day after a daily run;
  # otherwise about half an interval after one, at another minute of the hour, as such runs drift through the day.
  rate    = coalesce(module.backup_schedule.rate_hours, 24)
  after   = local.rate % 24 == 0 ? 12 * 60 : floor(local.rate / 2) * 60 + 30
  created = one([for start in terraform_data.schedule_start : start.output])
  shifted = local.created == null ? 0 : (
    (tonumber(formatdate("h", local.created)) * 60 + tonumber(formatdate("m", local.created)) + local.after) % (24 * 60)
  )

  drill_minute           = local.backup_is_cron ? local.middle : local.shifted
  drill_default_schedule = "cron(${local.drill_minute % 60} ${floor(local.drill_minute / 60)} * * ? *)"

  drill_schedule_is_given = try(var.restore_drill.schedule_expression, null) != null
  drill_is_cron           = module.drill_schedule.is_cron
  common_starts           = setintersection(local.backup_starts, coalesce(module.drill_schedule.starts, []))
  drill_is_apart = (
    !local.drill_schedule_is_given ? true :
    local.backup_is_cron && local.drill_is_cron ? length(local.common_starts) == 0 :
    local.backup_is_cron || local.drill_is_cron
  )
}

# When the rule of a rate() schedule was created, about.
resource "terraform_data" "schedule_start" {
  count = local.backup_is_cron || var.restore_drill == null || local.drill_schedule_is_given ? 0 : 1

  input            = timestamp()
  triggers_replace = [local.schedule_expression, var.schedule_enabled]

  lifecycle {
    ignore_changes = [input]
  }
}
