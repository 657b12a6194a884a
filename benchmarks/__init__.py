"""Measurements; nothing here is a test. `python -m benchmarks` prints the figures of the documentation."""
