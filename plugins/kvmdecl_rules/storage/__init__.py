"""Rules about disks and pools."""
