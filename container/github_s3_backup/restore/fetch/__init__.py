"""`fetch`: repositories into a folder."""
