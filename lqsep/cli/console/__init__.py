"""What a terminal is shown: progress, tables, and what Ctrl-C does."""
