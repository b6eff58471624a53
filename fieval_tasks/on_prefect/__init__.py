"""All that imports Prefect and is no flow."""
