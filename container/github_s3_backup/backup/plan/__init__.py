"""The plan of a run: what is to be backed up, in shards, and what the last backup held."""
