"""Issues, pull requests and discussions, written to GitHub as issues."""
