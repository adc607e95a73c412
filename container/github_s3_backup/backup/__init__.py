"""One backup run, from the listing to the exit code. `run.py` is the story."""
