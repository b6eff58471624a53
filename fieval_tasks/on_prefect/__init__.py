"""Everything that imports Prefect and is not a flow: artifacts, events, blocks' helpers, the shared limit, our own server."""
