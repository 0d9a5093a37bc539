locals {
  arn_prefix = "arn:${data.aws_partition.this.partition}:secretsmanager:${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}:secret"

  # A secret's ARN ends in a hyphen and six characters that its name does not tell.
  store_arns     = [for secret in var.stores : startswith(secret, "arn:") ? secret : "${local.arn_prefix}:${secret}-??????"]
  reference_arns = [for secret in var.references : startswith(secret, "arn:") ? secret : "${local.arn_prefix}:${secret}-??????"]
  kms_key_arns   = setunion(var.secrets_kms_key_arns, var.kms_key_arn == null ? [] : [var.kms_key_arn])
}

data "aws_iam_policy_document" "assume_function" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  name               = "${var.name}-function"
  assume_role_policy = data.aws_iam_policy_document.assume_function.json
  tags               = var.tags
}

data "aws_iam_policy_document" "function" {
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function.arn}:*"]
  }

  statement {
    sid       = "JournalAndConfig"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.state.arn}/*"]
  }

  # No delete, and nothing outside the journal's own folder: the config is not the function's to write.
  statement {
    sid       = "AppendToJournal"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.state.arn}/state/*"]
  }

  statement {
    sid       = "ListJournal"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.state.arn]
  }

  statement {
    sid = "WorkQueue"
    actions = [
      "sqs:SendMessage",
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:ChangeMessageVisibility",
    ]
    resources = [aws_sqs_queue.work.arn]
  }

  statement {
    sid       = "ReportFailures"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead.arn]
  }

  statement {
    sid = "KeepStores"
    actions = [
      "secretsmanager:DescribeSecret",
      "secretsmanager:GetSecretValue",
      "secretsmanager:PutSecretValue",
      "secretsmanager:UpdateSecretVersionStage",
    ]
    resources = local.store_arns
  }

  dynamic "statement" {
    for_each = length(local.reference_arns) > 0 ? [local.reference_arns] : []
    content {
      sid       = "ReadReferences"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(local.kms_key_arns) > 0 ? [local.kms_key_arns] : []
    content {
      sid       = "UseKeys"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.web_identity_audiences) > 0 ? [var.web_identity_audiences] : []
    content {
      sid       = "SayWhoItIs"
      actions   = ["sts:GetWebIdentityToken"]
      resources = ["*"]
      condition {
        test     = "ForAllValues:StringEquals"
        variable = "sts:IdentityTokenAudience"
        values   = statement.value
      }
    }
  }
}

resource "aws_iam_role_policy" "function" {
  name   = "lakekey"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.function.json
}
