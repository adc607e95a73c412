mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b"] }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_region" {
    defaults = { region = "us-east-1" }
  }

  mock_data "aws_s3_bucket" {
    defaults = { id = "logs-of-us" }
  }

  mock_data "aws_subnets" {
    defaults = { ids = ["subnet-1"] }
  }
}

run "replica_is_elsewhere" {
  command = plan

  assert {
    condition     = aws_s3_bucket.replica.region == "us-west-2" && aws_s3_bucket.primary.bucket == "sample-123456789012"
    error_message = "replica: ${aws_s3_bucket.replica.region}"
  }
}
