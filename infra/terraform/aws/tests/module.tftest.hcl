mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "123456789012" } }
  mock_data "aws_partition" { defaults = { partition = "aws" } }
  mock_data "aws_region" { defaults = { region = "eu-central-1" } }
  mock_data "aws_iam_policy_document" { defaults = { json = "{}" } }
}

variables {
  package      = "tests/package.zip"
  config       = "version: 1\n"
  state_bucket = "contoso-lakekey"
  stores       = ["lakekey/sales-bi"]
}

run "least" {
  command = plan

  assert {
    condition     = aws_lambda_event_source_mapping.work.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "a failed record would be deleted"
  }
  assert {
    condition     = aws_sqs_queue.work.visibility_timeout_seconds >= 6 * aws_lambda_function.lakekey.timeout
    error_message = "a message would come again while it is being worked on"
  }
  assert {
    condition     = strcontains(aws_scheduler_schedule.tick.target[0].input, "<aws.scheduler.execution-id>")
    error_message = "Scheduler would not fill in its ids"
  }
  assert {
    condition     = length(aws_lambda_permission.secrets_manager) == 0 && length(aws_lambda_function_url.api) == 0
    error_message = "more is open than was asked for"
  }
  assert {
    condition     = local.store_arns[0] == "arn:aws:secretsmanager:eu-central-1:123456789012:secret:lakekey/sales-bi-??????"
    error_message = "the name of a secret is not its ARN"
  }
}

run "all" {
  command = plan

  variables {
    function_url               = true
    references                 = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:powerbi-AbCdEf"]
    rotated_by_secrets_manager = { "arn:aws:secretsmanager:eu-central-1:123456789012:secret:lakekey/sales-bi-AbCdEf" = 7 }
    web_identity_audiences     = ["https://adb-1234567890123456.7.azuredatabricks.net/oidc/v1/token"]
    alarm_topic_arns           = ["arn:aws:sns:eu-central-1:123456789012:alarms"]
    kms_key_arn                = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition     = aws_lambda_function_url.api[0].authorization_type == "AWS_IAM"
    error_message = "the API must stand behind IAM"
  }
  assert {
    condition     = !one(values(aws_secretsmanager_secret_rotation.store)).rotate_immediately
    error_message = "it would rotate while it is being set up"
  }
}

run "a_day_too_long" {
  command = plan

  variables {
    rotated_by_secrets_manager = { "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x-AbCdEf" = 91 }
  }

  expect_failures = [var.rotated_by_secrets_manager]
}
