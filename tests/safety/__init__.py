"""What must never happen, whatever is in a manifest, in a plan, or on a host."""
