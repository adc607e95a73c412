"""Issues, pull requests and discussions as HTML pages that need neither GitHub nor a network."""
