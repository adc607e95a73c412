"""What is stored, as records: the manifest, the lists of LFS objects and releases, and the types of their fields."""
