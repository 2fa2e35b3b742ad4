"""Rules about running guests for years."""
