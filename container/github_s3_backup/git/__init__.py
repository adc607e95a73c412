"""git: processes, refs, mirrors, and bundles."""
