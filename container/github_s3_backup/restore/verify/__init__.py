"""`verify`: proof that backups can be restored, and the drill that asks for it regularly."""
