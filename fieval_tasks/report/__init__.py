"""What a run found, for people, machines and CI: one summary, drawn several ways."""
