"""Where results go: a table, JSON lines, CSV."""
