# The replica in a second account, locked: whoever takes over the first account can't delete it. One apply makes both:
# the vault names the replication role by its ARN before the role exists, and replication begins when the vault is
# ready.

provider "aws" {
  region = "eu-central-1"
}

provider "aws" {
  alias  = "vault"
  region = "eu-west-1"

  # A role in the second account, for this apply only. Whoever runs it every day can administer both accounts.
  assume_role {
    role_arn = "arn:aws:iam::210987654321:role/vault-admin"
  }
}

data "aws_caller_identity" "backup" {}

module "vault" {
  source = "../../modules/vault" # in your own code: the module's source address with //modules/vault, and a version

  providers = { aws = aws.vault }

  name        = "acme-github-backup-vault"
  object_lock = { mode = "COMPLIANCE", days = 90 } # try GOVERNANCE first: COMPLIANCE can't be taken back
  backup      = { account_id = data.aws_caller_identity.backup.account_id, region = "eu-central-1" }
}

module "github_backup" {
  source = "../.."

  github_app_id                 = "123456"
  github_app_key_secret_writers = ["arn:aws:iam::123456789012:role/admin"]
  subnet_ids                    = ["subnet-0123456789abcdef0"]
  replica_region                = "eu-west-1"
  alarm_emails                  = ["oncall@example.com"]
  restore_drill                 = {}

  existing = {
    replica_bucket = { name = module.vault.bucket_name, account_id = module.vault.account_id }
  }
}
