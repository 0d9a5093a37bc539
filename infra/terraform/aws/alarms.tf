locals {
  alarms = length(var.alarm_topic_arns) > 0 ? 1 : 0
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  count               = local.alarms
  alarm_name          = "${var.name}-errors"
  alarm_description   = "The function has failed three hours in a row. Its log says why; `lakekey status` says where every credential stands."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.lakekey.function_name }
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 3
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "silent" {
  count               = local.alarms
  alarm_name          = "${var.name}-silent"
  alarm_description   = "The function has not run for a day: nothing rotates any more."
  namespace           = "AWS/Lambda"
  metric_name         = "Invocations"
  dimensions          = { FunctionName = aws_lambda_function.lakekey.function_name }
  statistic           = "Sum"
  period              = 86400
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "dead" {
  count               = local.alarms
  alarm_name          = "${var.name}-dead"
  alarm_description   = "Messages or schedules could not be worked on. They hold ids only and can be deleted once the cause is mended; the schedule does their work again."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead.name }
  statistic           = "Maximum"
  period              = 3600
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  tags                = var.tags
}
