"""The words everybody shares: errors, items, plans, templates, and the table of what becomes of each error."""
