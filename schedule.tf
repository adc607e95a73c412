# How far apart the starts of a schedule are, read from its expression.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html

locals {
  # EventBridge's schedules; in a cron() exactly one of the two days is ?.
  schedule_forms = [
    "^rate\\((1 (hour|day)|([2-9]|[1-9][0-9]+) (hours|days))\\)$",
    "^cron\\([0-9,*/-]+ [0-9,*/-]+ \\? [0-9A-Z,*/-]+ [0-9A-Z,*/#L-]+ [0-9,*/-]+\\)$",
    "^cron\\([0-9,*/-]+ [0-9,*/-]+ [0-9,*/LW-]+ [0-9A-Z,*/-]+ \\? [0-9,*/-]+\\)$",
  ]
  schedule_rule = "rate(1 hour), rate(N hours), rate(1 day), rate(N days), or cron() with six fields of which exactly one of day-of-month and day-of-week is ?, such as cron(0 3 * * ? *)"

  # -- rate(): hours between two starts --

  rate_hours = {
    for name, expression in local.schedules : name => try(
      tonumber(regex("^rate\\(([0-9]+) hour", expression)[0]),
      24 * tonumber(regex("^rate\\(([0-9]+) day", expression)[0]),
      null,
    )
  }

  # -- cron(): the values of each field --

  cron_fields = {
    minute  = { low = 0, high = 59, words = {} }
    hour    = { low = 0, high = 23, words = {} }
    day     = { low = 1, high = 31, words = {} }
    month   = { low = 1, high = 12, words = { JAN = 1, FEB = 2, MAR = 3, APR = 4, MAY = 5, JUN = 6, JUL = 7, AUG = 8, SEP = 9, OCT = 10, NOV = 11, DEC = 12 } }
    weekday = { low = 1, high = 7, words = { SUN = 1, MON = 2, TUE = 3, WED = 4, THU = 5, FRI = 6, SAT = 7 } }
  }

  cron_texts = {
    for name, expression in local.schedules : name => zipmap(
      ["minute", "hour", "day", "month", "weekday", "year"],
      split(" ", regex("^cron\\((.*)\\)$", expression)[0]),
    ) if startswith(expression, "cron(")
  }

  # Each comma-separated part of a field: *, 5, MON-FRI, 0/6 or 8-18/2. A field that can't be read (?, L, 15W, 6#1) has none.
  cron_parts = {
    for name, texts in local.cron_texts : name => {
      for field, _ in local.cron_fields : field => try([
        for part in split(",", texts[field]) :
        regex("^(?P<first>\\*|[0-9]+|[A-Z]{3})(?:-(?P<last>[0-9]+|[A-Z]{3}))?(?:/(?P<step>[1-9][0-9]*))?$", part)
      ], [])
    }
  }

  cron_expanded = {
    for name, fields in local.cron_parts : name => {
      for field, parts in fields : field => try(distinct(flatten([
        for part in parts : range(
          part.first == "*" ? local.cron_fields[field].low : lookup(local.cron_fields[field].words, part.first, part.first),
          1 + (
            part.last != null ? lookup(local.cron_fields[field].words, part.last, part.last) :
            part.first == "*" || part.step != null ? local.cron_fields[field].high :
            lookup(local.cron_fields[field].words, part.first, part.first)
          ),
          part.step == null ? 1 : part.step,
        )
      ])), [])
    }
  }
  cron_values = {
    for name, fields in local.cron_expanded : name => {
      for field, values in fields : field =>
      alltrue([for value in values : value >= local.cron_fields[field].low && value <= local.cron_fields[field].high]) ? values : []
    }
  }

  # -- cron(): when it starts --

  # Minutes of the day, in UTC and in order.
  starts = {
    for name, values in local.cron_values : name => [
      for minute in sort([for pair in setproduct(values.hour, values.minute) : format("%04d", pair[0] * 60 + pair[1])]) : tonumber(minute)
    ]
  }

  # The days on which it starts, counted through a week, or through a year with and without February 29. What differs from
  # year to year in another way can't be told from the expression.
  month_lengths = [for february in [28, 29] : [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]]
  cycles = {
    for name, values in local.cron_values : name => (
      local.cron_texts[name].year != "*" || length(values.month) == 0 ? [] :
      local.cron_texts[name].day == "?" ? [for days in [values.weekday] : { length = 7, days = days } if length(values.month) == 12] :
      [for lengths in local.month_lengths : {
        length = sum(lengths)
        days = flatten([
          for month in values.month : [
            for day in local.cron_texts[name].day == "L" ? [lengths[month - 1]] : values.day :
            sum(concat([0], slice(lengths, 0, month - 1))) + day if day <= lengths[month - 1]
          ]
        ])
      }]
    )
  }

  # The longest way from one such day to the next, in days; null where there is no next one.
  day_gaps = {
    for name, cycles in local.cycles : name => try(max([
      for cycle in cycles : max([
        for days in [[for day in sort(formatlist("%03d", cycle.days)) : tonumber(day)]] : max([
          for index, day in days : try(days[index + 1], days[0] + cycle.length) - day
        ]...)
      ]...)
    ]...), null)
  }

  # The longest way from one start to the next, in minutes: over night and over days without one, or within a day.
  cron_minutes = {
    for name, starts in local.starts : name => try(max(concat(
      [local.day_gaps[name] * 24 * 60 + starts[0] - reverse(starts)[0]],
      [for index, start in slice(starts, 1, length(starts)) : start - starts[index]],
    )...), null)
  }

  # -- both: hours between two starts at most, rounded up; null where the expression does not tell --

  derived_hours = {
    for name, expression in local.schedules : name => try(coalesce(local.rate_hours[name], try(ceil(local.cron_minutes[name] / 60), null)), null)
  }
}
