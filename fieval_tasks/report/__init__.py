"""The report of a run for people, machines and CI: one summary, drawn as pages, tables, files and JUnit."""
