"""How fast requests go: limits found and kept, also by many processes together."""
