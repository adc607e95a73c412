# Who is told. Everything that raises an alarm is measured in the module's own region, because CloudWatch notifies only
# topics of the alarm's region. S3 publishes the replication's lag in the other one: each run counts what is not
# replicated instead.

locals {
  topic_name = "${var.service_name}-alarms"
  own_topic  = var.existing.topic == null
  topic_arn  = local.own_topic ? aws_sns_topic.alarms[0].arn : var.existing.topic.arn

  # Asks for the name, not the value: a key that is created in the same apply has none yet when this is planned.
  own_topic_key = local.own_topic && !contains(keys(var.kms_key_arns), "topic")

  notify = distinct(concat([local.topic_arn], var.alarm_actions))
}

resource "aws_kms_key" "alarms" {
  count = local.own_topic_key ? 1 : 0

  description         = "Encrypts the alarms of ${var.service_name}"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.alarms_key.json
  tags                = local.tags
}

resource "aws_sns_topic" "alarms" {
  count = local.own_topic ? 1 : 0

  name              = local.topic_name
  kms_master_key_id = local.own_topic_key ? aws_kms_key.alarms[0].arn : local.kms_key_arns.topic
  tags              = local.tags
}

resource "aws_sns_topic_policy" "alarms" {
  count = local.own_topic ? 1 : 0

  arn    = aws_sns_topic.alarms[0].arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarm_emails)

  topic_arn = local.topic_arn
  protocol  = "email"
  endpoint  = each.value
}

# -- policies ------------------------------------------------------------------------------------

data "aws_iam_policy_document" "alarms" {
  # Without it: alarms change state and notify nobody.
  statement {
    sid       = "AlarmsNotify"
    actions   = ["sns:Publish"]
    resources = ["arn:${local.partition}:sns:${local.region}:${local.account_id}:${local.topic_name}"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }

  # Without it: a task that does not start is not reported. No condition: with one, EventBridge's message may be
  # refused, and a message too many is better than one too few.
  statement {
    sid       = "TaskEventsNotify"
    actions   = ["sns:Publish"]
    resources = ["arn:${local.partition}:sns:${local.region}:${local.account_id}:${local.topic_name}"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "alarms_key" {
  #checkov:skip=CKV_AWS_109:a key policy applies to its own key only, and without the account nobody could change it
  #checkov:skip=CKV_AWS_111:a key policy applies to its own key only
  #checkov:skip=CKV_AWS_356:a key policy applies to its own key only

  # Without it: nobody could ever change or delete the key again.
  statement {
    sid       = "TheAccountManagesTheKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account_id}:root"]
    }
  }

  # Without it: CloudWatch and EventBridge can't publish to the encrypted topic, and every alarm is silent. The policy
  # of the AWS-managed key (alias/aws/sns) can't be changed, which is why the module has its own.
  statement {
    sid       = "AlarmsAndEventsPublish"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
  }
}
