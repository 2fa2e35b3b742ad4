"""Rules about networks and NICs."""
