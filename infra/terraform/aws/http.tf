resource "aws_lambda_function_url" "api" {
  count              = var.function_url ? 1 : 0
  function_name      = aws_lambda_function.lakekey.function_name
  authorization_type = "AWS_IAM"
}
