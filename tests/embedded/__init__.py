"""The real parts that the demo, the benchmark and the tests run a backup against, on one machine."""
