output "state_url" {
  description = "What the config's `state` must name."
  value       = "s3://${aws_s3_bucket.state.id}/state"
}

output "function_arn" {
  description = "The function, for policies of callers."
  value       = aws_lambda_function.lakekey.arn
}

output "role_arn" {
  description = "Who the function is: the subject of a Databricks federation policy for `auth: aws-web-identity`."
  value       = aws_iam_role.function.arn
}

output "api_url" {
  description = "Where the HTTP API is, if it is served. Callers need lambda:InvokeFunctionUrl and lambda:InvokeFunction."
  value       = one(aws_lambda_function_url.api[*].function_url)
}
