"""The backup of what people wrote: after the git data, and with what is left of GitHub's budget."""
