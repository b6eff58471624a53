"""What all rooms share: errors, items, plans, templates, and the table that says what is done about each error."""
