# What the module needs, and the image that it starts.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # From 6.22 to 6.39, every plan shows a change of blocked_encryption_types.
      version = ">= 6.40"
    }
  }
}

locals {
  # `make release` writes both: the version of container/github_s3_backup/version.py, and the digest of the image that
  # was built from it ("" until then). A module starts the image that it was released with, and no other.
  release       = "0.1.0"
  image_digest  = ""
  repository    = "public.ecr.aws/terraform-aws-github-backup/github-backup"
  default_image = "${local.repository}${local.image_digest == "" ? ":${local.release}" : "@${local.image_digest}"}"
  image_uri     = coalesce(var.image_uri, local.default_image)
}

check "image_is_pinned" {
  assert {
    condition = var.image_uri == null || can(regex("(@sha256:[0-9a-f]{64}|:[0-9a-f]{40})$", local.image_uri))
    error_message = join(" ", [
      "image_uri is not pinned: ${local.image_uri} may be another image tomorrow. Use repository@sha256:digest, or a",
      "commit SHA as the tag.",
    ])
  }
}
