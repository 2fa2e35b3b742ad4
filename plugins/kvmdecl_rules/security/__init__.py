"""Rules about who can reach what."""
