"""libvirt connection URIs: parsed into typed fields, checked against an allow-list, and rebuilt from the fields."""
