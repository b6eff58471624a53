"""Rows become items: files and their formats, cells as text, columns that fill keys, ids."""
