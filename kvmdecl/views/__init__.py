"""Values -> text: for terminals, for logs, for programs. Nothing here prints."""
