"""When it happens: schedules, a work pool, automations, and the GitHub action."""
