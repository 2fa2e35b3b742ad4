"""Rules about CPUs."""
