"""A command in a terminal, or as a step on GitHub: what it shows, and how it ends."""
