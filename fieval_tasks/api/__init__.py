"""The platform's API calls, typed: requests and replies as JSON, and the HTTP transport beneath them."""
