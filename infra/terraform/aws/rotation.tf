# Secrets whose rotation Secrets Manager starts. The account alone is named as the source, for one function serves them all.
resource "aws_lambda_permission" "secrets_manager" {
  count          = length(var.rotated_by_secrets_manager) > 0 ? 1 : 0
  statement_id   = "SecretsManager"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.lakekey.function_name
  principal      = "secretsmanager.amazonaws.com"
  source_account = data.aws_caller_identity.this.account_id
}

resource "aws_secretsmanager_secret_rotation" "store" {
  for_each            = var.rotated_by_secrets_manager
  secret_id           = each.key
  rotation_lambda_arn = aws_lambda_function.lakekey.arn
  rotate_immediately  = false
  rotation_rules { automatically_after_days = each.value }
  depends_on = [aws_lambda_permission.secrets_manager]
}
