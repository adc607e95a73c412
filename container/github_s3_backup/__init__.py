"""Back up every GitHub repository that an App can see to S3, and restore from there."""
