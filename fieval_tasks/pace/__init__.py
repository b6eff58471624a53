"""How fast requests go: finding the server's rate limits and keeping to them, also with several processes."""
