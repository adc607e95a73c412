"""The restore commands: list, check, diff, fetch, verify, push. `main.py` runs them."""
