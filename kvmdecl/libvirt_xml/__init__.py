"""libvirt's XML to values and back. Pure: nothing here opens a connection."""
