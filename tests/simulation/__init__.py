"""Simulated hosts in memory, held against a real libvirtd, and what may happen to a fleet of them."""
