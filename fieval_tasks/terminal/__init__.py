"""A command in a terminal: what it shows, and how it ends."""
