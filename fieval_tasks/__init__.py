"""How each step of an evaluation run is done: pages that `flows/` calls by name."""
