"""`make bench`: what a backup costs, beside what others cost for the same and beside what cannot be undercut."""
