"""The module, run by the real terraform against a stand-in for the AWS provider."""
