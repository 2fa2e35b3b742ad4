"""Rules about what a guest is for. They hold for guests of which the manifest says so; `kvmdecl advise` asks them."""
