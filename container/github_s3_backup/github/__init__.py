"""GitHub: its REST API, the App, its key and its tokens."""
