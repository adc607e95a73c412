"""The restore commands: list, diff, fetch, verify, push. `main.py` runs them."""
