data "aws_iam_policy_document" "assume_schedule" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_scheduler_schedule_group.lakekey.arn]
    }
  }
}

resource "aws_iam_role" "schedule" {
  name               = "${var.name}-schedule"
  assume_role_policy = data.aws_iam_policy_document.assume_schedule.json
  tags               = var.tags
}

data "aws_iam_policy_document" "schedule" {
  statement {
    actions   = ["lambda:InvokeFunction"]
    resources = [aws_lambda_function.lakekey.arn]
  }
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead.arn]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "schedule" {
  name   = "invoke"
  role   = aws_iam_role.schedule.id
  policy = data.aws_iam_policy_document.schedule.json
}

resource "aws_scheduler_schedule_group" "lakekey" {
  name = var.name
  tags = var.tags
}

resource "aws_scheduler_schedule" "tick" {
  name                = "${var.name}-tick"
  group_name          = aws_scheduler_schedule_group.lakekey.name
  description         = "Rotates what is due, resumes what is open, retires what is past grace"
  schedule_expression = var.schedule
  kms_key_arn         = var.kms_key_arn
  flexible_time_window { mode = "OFF" }

  target {
    arn      = aws_lambda_function.lakekey.arn
    role_arn = aws_iam_role.schedule.arn
    # A heredoc, for jsonencode would escape the angle brackets that Scheduler looks for.
    input = <<-JSON
      {"lakekey":"schedule","execution":"<aws.scheduler.execution-id>","scheduled":"<aws.scheduler.scheduled-time>","attempt":"<aws.scheduler.attempt-number>"}
    JSON

    # The next tick is soon; deliveries of this one need not be tried for a day.
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 3
    }
    dead_letter_config { arn = aws_sqs_queue.dead.arn }
  }

  depends_on = [aws_iam_role_policy.schedule]
}
