"""The restore commands, a module for each."""
