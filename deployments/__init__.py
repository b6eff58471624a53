"""When it happens: schedules, a work pool, automations."""
