"""What people wrote on GitHub: issues, pull requests, and discussions."""
