"""`diff`: what changed from one backup to another."""
