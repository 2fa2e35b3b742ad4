"""Runs that are paused, killed and started at once: a short form in the suite, the long one by `make chaos`."""
