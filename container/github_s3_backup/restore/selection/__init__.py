"""Which repositories are restored, from which backup."""
