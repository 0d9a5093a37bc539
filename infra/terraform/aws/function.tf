resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "lakekey" {
  function_name    = var.name
  description      = "Keeps Databricks secrets fresh wherever Power BI holds a copy of them"
  role             = aws_iam_role.function.arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.memory_mib
  timeout          = var.timeout_seconds
  kms_key_arn      = var.kms_key_arn
  tags             = var.tags

  environment {
    variables = merge(var.environment, {
      LAKEKEY_CONFIG          = "s3://${aws_s3_bucket.state.id}/${aws_s3_object.config.key}"
      LAKEKEY_QUEUE_URL       = aws_sqs_queue.work.url
      POWERTOOLS_SERVICE_NAME = var.name
    })
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.function.name
  }

  tracing_config { mode = "PassThrough" }

  depends_on = [aws_iam_role_policy.function]
}

# Schedules call the function without waiting: what it answers is retried here.
resource "aws_lambda_function_event_invoke_config" "lakekey" {
  function_name                = aws_lambda_function.lakekey.function_name
  maximum_event_age_in_seconds = 3600
  maximum_retry_attempts       = 1
  destination_config {
    on_failure { destination = aws_sqs_queue.dead.arn }
  }
}
