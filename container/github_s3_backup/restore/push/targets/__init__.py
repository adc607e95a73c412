"""Where repositories are pushed to: GitHub, at its pace, or any git server."""
