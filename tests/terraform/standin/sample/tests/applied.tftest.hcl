# Not mocked: the stand-in answers, and after an apply everything is known.

run "policies_resolve" {
  assert {
    condition     = jsondecode(aws_iam_role_policy.task.policy).Statement[0].Resource == "arn:aws:s3:::sample-123456789012/*"
    error_message = aws_iam_role_policy.task.policy
  }

  assert {
    condition     = startswith(output.replica_key, "arn:aws:kms:us-west-2:123456789012:key/")
    error_message = output.replica_key
  }
}
