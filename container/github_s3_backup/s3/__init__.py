"""S3: what a run writes, and what a restore reads."""
