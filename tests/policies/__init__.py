"""Policies: what they say of plans, and who listens."""
