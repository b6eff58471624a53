"""How close to the server's own limit a run is: `python -m benchmarks --help`."""
