"""Runs that are paused, killed and started at once: `python -m tests.chaos`, by `make chaos-short` and `make chaos`."""
