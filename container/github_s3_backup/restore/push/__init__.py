"""`push`: repositories to GitHub or another git server."""
