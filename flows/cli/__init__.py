"""The command line of all flows."""
