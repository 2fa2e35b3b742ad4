"""Rules about what a guest's system needs."""
