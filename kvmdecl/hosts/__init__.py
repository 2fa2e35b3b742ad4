"""Hosts: reached by libvirt URIs from worker processes, read into values, changed by tasks."""
