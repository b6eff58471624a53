"""The platform's calls, typed: how its JSON is spelt, and how bytes go there and back."""
