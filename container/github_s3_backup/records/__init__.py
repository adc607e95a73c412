"""What is stored, as records: the manifest, the lists beside a bundle, and the types of their fields."""
