"""`kvmdecl fmt`: the layout of manifests."""
