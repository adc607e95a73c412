# How far apart the starts of a schedule are, read from its expression. No resources, only a calculation.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html

locals {
  is_cron = var.expression == null ? false : startswith(var.expression, "cron(")

  # -- rate(): hours between two starts --

  rate_hours = try(
    tonumber(regex("^rate\\(([0-9]+) hour", var.expression)[0]),
    24 * tonumber(regex("^rate\\(([0-9]+) day", var.expression)[0]),
    null,
  )

  # -- cron(): the values of each field --

  month_names   = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
  weekday_names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]

  fields = {
    minute  = { low = 0, high = 59, words = {} }
    hour    = { low = 0, high = 23, words = {} }
    day     = { low = 1, high = 31, words = {} }
    month   = { low = 1, high = 12, words = { for index, name in local.month_names : name => index + 1 } }
    weekday = { low = 1, high = 7, words = { for index, name in local.weekday_names : name => index + 1 } }
  }

  texts = zipmap(
    ["minute", "hour", "day", "month", "weekday", "year"],
    local.is_cron ? split(" ", regex("^cron\\((.*)\\)$", var.expression)[0]) : ["", "", "", "", "", ""],
  )

  # Each comma-separated part of a field: *, 5, MON-FRI, 0/6 or 8-18/2. A field that can't be read (?, L, 15W, 6#1) has
  # none.
  word = "[0-9]+|[A-Z]{3}"
  parts = {
    for field, _ in local.fields : field => try([
      for part in split(",", local.texts[field]) :
      regex("^(?P<first>\\*|${local.word})(?:-(?P<last>${local.word}))?(?:/(?P<step>[1-9][0-9]*))?$", part)
    ], [])
  }

  expanded = {
    for field, parts in local.parts : field => try(distinct(flatten([
      for part in parts : range(
        part.first == "*" ? local.fields[field].low : lookup(local.fields[field].words, part.first, part.first),
        1 + (
          part.last != null ? lookup(local.fields[field].words, part.last, part.last) :
          part.first == "*" || part.step != null ? local.fields[field].high :
          lookup(local.fields[field].words, part.first, part.first)
        ),
        part.step == null ? 1 : part.step,
      )
    ])), [])
  }
  values = {
    for field, values in local.expanded : field =>
    alltrue([for value in values : value >= local.fields[field].low && value <= local.fields[field].high]) ? values : []
  }

  # -- cron(): when it starts --

  # Minutes of the day, in order.
  times  = [for pair in setproduct(local.values.hour, local.values.minute) : format("%04d", pair[0] * 60 + pair[1])]
  starts = local.is_cron ? [for minute in sort(local.times) : tonumber(minute)] : null

  # The days on which it starts, counted through a week, or through a year with and without February 29. What differs
  # from year to year in another way can't be told from the expression.
  month_lengths = [for february in [28, 29] : [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]]
  weeks         = length(local.values.month) == 12 ? [{ length = 7, days = local.values.weekday }] : []
  years = [for lengths in local.month_lengths : {
    length = sum(lengths)
    days = flatten([
      for month in local.values.month : [
        for day in local.texts.day == "L" ? [lengths[month - 1]] : local.values.day :
        sum(concat([0], slice(lengths, 0, month - 1))) + day if day <= lengths[month - 1]
      ]
    ])
  }]
  told   = local.texts.year == "*" && length(local.values.month) > 0
  cycles = !local.told ? [] : local.texts.day == "?" ? local.weeks : local.years

  # The longest way from one such day to the next, in days; null where there is no next one.
  day_gap = try(max([
    for cycle in local.cycles : max([
      for days in [[for day in sort(formatlist("%03d", cycle.days)) : tonumber(day)]] : max([
        for index, day in days : try(days[index + 1], days[0] + cycle.length) - day
      ]...)
    ]...)
  ]...), null)

  # The longest way from one start to the next, in minutes: over night and over days without one, or within a day.
  cron_minutes = try(max(concat(
    [local.day_gap * 24 * 60 + local.starts[0] - reverse(local.starts)[0]],
    [for index, start in slice(local.starts, 1, length(local.starts)) : start - local.starts[index]],
  )...), null)
}
